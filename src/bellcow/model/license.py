"""The license document as shown and as stored, and the form of an issuer's key."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from bellcow.errors import invalid
from bellcow.wire import Wire

ISSUER_PREFIX = "ed25519:"
# 32 bytes in URL-safe base64: the last character carries four bits.
_ISSUER = re.compile(rf"(?:{ISSUER_PREFIX})?([A-Za-z0-9_-]{{42}}[AEIMQUYcgkosw048])=?")

FEATURES = (
    "Automated Upgrades",
    "Enhanced Read Scalability",
    "Redundancy Zones",
    "Namespaces",
    "Resource Quotas",
    "Preemption",
    "Audit Logging",
    "Setinel Policies",  # Nomad: misspelled in the documentation, sent as documented
)


class License(Wire, frozen=True, kw_only=True):
    """The claims of a license. Times are RFC 3339; `installation_id` `*` means any cluster."""

    customer_id: str = ""
    expiration_time: str = ""
    features: tuple[str, ...] = ()
    flags: dict[str, Any] = msgspec.field(default_factory=dict)
    installation_id: str = "*"
    issue_time: str = ""
    license_id: str = ""
    modules: tuple[str, ...] = ()
    product: str = "nomad"
    start_time: str = ""
    termination_time: str = ""


class LicenseReply(Wire, frozen=True, kw_only=True):
    known_leader: bool = False
    last_contact: int = 0
    last_index: int = 0
    license: License
    request_time: int = 0


class StoredLicense(Wire, frozen=True, kw_only=True):
    """The signed text as it was installed; it is verified again whenever it is read."""

    blob: str
    create_index: int = 0
    modify_index: int = 0


class TemporaryLicense(Wire, frozen=True, kw_only=True):
    """When the six hours of a new cluster's temporary license began, RFC 3339."""

    create_index: int = 0
    modify_index: int = 0
    start_time: str


class IndexReply(Wire, frozen=True, kw_only=True):
    index: int


def issuer_key(issuer: str) -> str:
    """The public key, in base64, of an entry of `issuers`.

    Raises:
        invalid: the entry is no issuer.
    """
    found = _ISSUER.fullmatch(issuer.strip())
    if found is None:
        # Shortened: it may be the private key, by mistake.
        raise invalid(
            f"{issuer[:20]!a} is not a license issuer: it looks like {ISSUER_PREFIX}KEY, "
            "as `bellcow license keygen` prints it"
        )
    return found[1]
