"""Feeds damaged licenses to the reader: none but the one that was signed is taken.

python -m tests.fuzz.fuzz_license [SECONDS] [SEED]
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from tests.fuzz.mutation import Target, main

from bellcow.errors import Code, Error
from bellcow.license import rules, signature

if TYPE_CHECKING:
    from bellcow.model.license import License

PEM, ISSUER = signature.new_key()
CLUSTER = "3ec8e47d-8e11-1f72-b2b5-bda9f3ed7b91"
CLAIMS = {
    "LicenseID": "lic-1",
    "CustomerID": "team",
    "InstallationID": "*",
    "IssueTime": "2026-01-01T00:00:00Z",
    "StartTime": "2026-01-01T00:00:00Z",
    "ExpirationTime": "2027-01-01T00:00:00Z",
    "TerminationTime": "2027-02-01T00:00:00Z",
    "Product": "nomad",
    "Features": ["Redundancy Zones"],
}
BLOB = rules.issue(CLAIMS, PEM).encode()


def part(text: bytes) -> bytes:
    return urlsafe_b64encode(text).rstrip(b"=")


HEADERS = tuple(
    part(text)
    for text in (
        b'{"alg":"none"}',
        b'{"alg":"HS256"}',
        b'{"alg":"EdDSA","crit":["x"],"x":1}',
        b'{"alg":["EdDSA"]}',
        b'{"alg":"EdDSA","jwk":{"kty":"OKP"}}',
        b"[" * 2_000,
        b"null",
        b"\xff",
    )
)
PIECES = (b".", b"..", b"=", b"-", b"_", b"/", b"+", b"\n", b"\0", b"\xc3\xa9", b"A" * 40, *HEADERS)
SAMPLES = (BLOB, BLOB, *(b".".join([head, *BLOB.split(b".")[1:]]) for head in HEADERS))


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found: License | None = None
    refusal = Error(Code.INVALID, "")
    try:
        found = rules.read(text, [ISSUER], CLUSTER)
    except Error as error:
        refusal = error
    assert refusal.code is Code.INVALID, refusal.code
    assert len(refusal.message) < 1_000, len(refusal.message)
    assert "-----BEGIN" not in refusal.message
    if found is None:
        return
    assert found.license_id == "lic-1"
    assert text.strip().split(".")[:2] == BLOB.decode().split(".")[:2], "signed by nobody"


TARGET = Target(check, SAMPLES, PIECES)

if __name__ == "__main__":
    main(TARGET)
