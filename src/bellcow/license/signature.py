"""Keys of licenses, and the signature of a license: how it is made and checked.

The libraries for keys are imported where they are used: most servers never see a signed license.
"""

from __future__ import annotations

import functools
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.errors import Error, invalid
from bellcow.model.license import ISSUER_PREFIX, issuer_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joserfc.jwk import OKPKey
    from joserfc.jws import JWSRegistry

MAX_BYTES = 64 * 1024
_ALGORITHM = "EdDSA"
# A header is three words. The limit keeps the depth of its JSON harmless before it is read.
_MAX_HEADER = 512


class _Header(msgspec.Struct):
    alg: str = ""
    crit: Any = None


def new_key() -> tuple[str, str]:
    """A private key as PEM, and its public key in the form of `license { issuers = [...] }`."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=")
    return pem.decode(), ISSUER_PREFIX + public.decode()


def check_form(blob: str) -> None:
    """Check that size, parts and header are those of a license.

    The algorithm is checked before any key is tried: the text must not choose it.

    Raises:
        invalid: they are not.
    """  # noqa: DOC501  made by `_not_a_license` too
    if len(blob) > MAX_BYTES:
        raise invalid(f"the license is larger than {MAX_BYTES} bytes")
    parts = blob.split(".")
    if not blob.isascii() or len(parts) != 3 or not all(parts):
        raise _not_a_license()
    if len(parts[0]) > _MAX_HEADER:
        raise _not_a_license()
    try:
        header = msgspec.json.decode(_unbase64(parts[0]), type=_Header)
    except (ValueError, RecursionError):
        raise _not_a_license() from None
    if header.alg != _ALGORITHM:
        raise invalid(
            f"the license is signed with algorithm {header.alg[:40]!a}; "
            f"only {_ALGORITHM} is accepted"
        )
    if header.crit is not None:
        raise invalid("the license requires extensions that are not supported")


def payload_of(blob: str, issuers: Sequence[str]) -> bytes:
    from joserfc import jws
    from joserfc.errors import JoseError

    for issuer in issuers:
        try:
            key = _public_key(issuer)
            return jws.deserialize_compact(blob, key, registry=_one_algorithm()).payload
        except JoseError:
            continue
    raise invalid("the signature of the license is not that of a configured issuer")


@functools.cache
def _one_algorithm() -> JWSRegistry:
    """The library's list of algorithms, reduced to EdDSA.

    The library warns at each use that RFC 9864 prefers another name for it. Other tools know only
    the name EdDSA, and an operator could do nothing about the warning.
    """
    from joserfc.errors import UnsupportedAlgorithmError
    from joserfc.jws import JWSRegistry

    class OneAlgorithm(JWSRegistry):
        def get_alg(self, name: str) -> Any:
            if name != _ALGORITHM:
                raise UnsupportedAlgorithmError(name)
            return self.algorithms[name]

    return OneAlgorithm()


def _public_key(issuer: str) -> OKPKey:
    from joserfc.jwk import OKPKey

    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": issuer_key(issuer)})


def _private_key(pem: str) -> OKPKey:
    from joserfc.errors import JoseError
    from joserfc.jwk import OKPKey

    try:
        key = OKPKey.import_key(pem)
    except (JoseError, ValueError, TypeError):
        raise invalid("the private key is not a PEM file of `bellcow license keygen`") from None
    if key.curve_name != "Ed25519" or not key.is_private:
        raise invalid("the key is not a private Ed25519 key")
    return key


def _unbase64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _not_a_license() -> Error:
    return invalid("the text is not a license: three parts in base64 joined by dots are expected")
