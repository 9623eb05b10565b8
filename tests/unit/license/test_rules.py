"""Licenses: signature, dates, and the features they enable."""

from __future__ import annotations

import hashlib
import hmac
import re
import subprocess
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.errors import Code, Error
from bellcow.gocompat.duration import NS_PER_S
from bellcow.gocompat.time import parse_time, rfc3339
from bellcow.license import built_in, rules, signature
from bellcow.license.rules import Phase
from bellcow.model.license import FEATURES, License, issuer_key
from bellcow.wire import to_json

DAY = 24 * 3600 * NS_PER_S
CLUSTER = "3ec8e47d-8e11-1f72-b2b5-bda9f3ed7b91"
START = parse_time("2026-01-01T00:00:00.000000001Z")
EXPIRATION = START + 365 * DAY
TERMINATION = EXPIRATION + 10 * DAY

PEM, ISSUER = signature.new_key()
OTHER_PEM, OTHER_ISSUER = signature.new_key()


def claims(**changed):
    return {
        "LicenseID": "lic-1",
        "CustomerID": "team",
        "InstallationID": "*",
        "IssueTime": rfc3339(START),
        "StartTime": rfc3339(START),
        "ExpirationTime": rfc3339(EXPIRATION),
        "TerminationTime": rfc3339(TERMINATION),
        "Product": "nomad",
        "Features": ["Redundancy Zones"],
        **changed,
    }


BLOB = rules.issue(claims(), PEM)


def b64(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header, payload, pem=PEM):
    """A token with any header and payload, signed by hand."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    body = f"{b64(header)}.{b64(payload)}"
    return f"{body}.{b64(load_pem_private_key(pem.encode(), None).sign(body.encode()))}"


def foreign(pem=PEM, **changed):
    """A license that `issue` would not sign, from a key that is trusted all the same."""
    return signed(b'{"alg":"EdDSA"}', msgspec.json.encode(claims(**changed)), pem)


def refusal(blob, issuers=(ISSUER,), now_ns=START, cluster_id=CLUSTER):
    with pytest.raises(Error) as caught:
        rules.verify(blob, issuers, now_ns, cluster_id)
    assert caught.value.code is Code.INVALID
    return caught.value.message


NOT_A_LICENSE = "the text is not a license: three parts in base64 joined by dots are expected"
WRONG_SIGNATURE = "the signature of the license is not that of a configured issuer"


# Signatures


def test_issued_license_reads_back_the_same():
    read = rules.verify(BLOB, [ISSUER], START, CLUSTER)
    assert read == msgspec.convert(claims(), License)


def test_white_space_around_the_text_does_not_matter():
    assert rules.verify(f"\r\n {BLOB}\n", [ISSUER], START, CLUSTER).license_id == "lic-1"


def test_any_of_the_configured_issuers_may_have_signed():
    assert rules.verify(BLOB, [OTHER_ISSUER, ISSUER], START, CLUSTER).license_id == "lic-1"


def test_an_issuer_may_stand_without_its_prefix():
    bare = ISSUER.removeprefix("ed25519:")
    assert rules.verify(BLOB, [bare + "="], START, CLUSTER).license_id == "lic-1"


def test_without_issuers_nothing_is_believed():
    assert refusal(BLOB, issuers=()) == "no license issuer is configured on this cluster"


def test_another_signer_is_refused():
    assert refusal(BLOB, issuers=[OTHER_ISSUER]) == WRONG_SIGNATURE


def test_each_changed_byte_is_refused():
    header, payload, signature = BLOB.split(".")
    forged = msgspec.json.encode(claims(InstallationID="*", CustomerID="other"))
    assert refusal(f"{header}.{b64(forged)}.{signature}") == WRONG_SIGNATURE
    raw = bytearray(urlsafe_b64decode(signature + "=="))
    for place in range(len(raw)):
        raw[place] ^= 1
        assert refusal(f"{header}.{payload}.{b64(bytes(raw))}") == WRONG_SIGNATURE
        raw[place] ^= 1


@pytest.mark.parametrize("cut", [1, 40, 85])
def test_a_text_that_was_cut_off_is_refused(cut):
    assert refusal(BLOB[:-cut]) == WRONG_SIGNATURE


@pytest.mark.parametrize("text", ["ed25519:AAAA", "A" * 44, "ssh-ed25519 AAAA"])
def test_an_issuer_that_is_no_public_key_is_named(text):
    assert "is not a license issuer" in refusal(BLOB, issuers=[text])


# Confusion about the algorithm


def public_pem(issuer):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = urlsafe_b64decode(issuer.removeprefix("ed25519:") + "=")
    return raw, Ed25519PublicKey.from_public_bytes(raw).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", ["AA", BLOB.split(".")[2]], ids=["short", "right"])
def test_the_algorithm_none_is_refused(name, signature):
    header = b64(msgspec.json.encode({"alg": name}))
    payload = b64(msgspec.json.encode(claims()))
    text = refusal(f"{header}.{payload}.{signature}")
    assert text == f"the license is signed with algorithm '{name}'; only EdDSA is accepted"


def test_an_empty_signature_is_refused():
    assert refusal(BLOB.rsplit(".", 1)[0] + ".") == NOT_A_LICENSE


@pytest.mark.parametrize("form", ["raw", "pem", "text"])
def test_a_mac_with_the_public_key_as_secret_is_refused(form):
    raw, pem = public_pem(ISSUER)
    secret = {"raw": raw, "pem": pem, "text": ISSUER.encode()}[form]
    for header in (b'{"alg":"HS256"}', b'{"alg":"EdDSA"}'):
        body = f"{b64(header)}.{b64(msgspec.json.encode(claims()))}"
        mac = hmac.new(secret, body.encode(), hashlib.sha256).digest()
        expected = WRONG_SIGNATURE if b"EdDSA" in header else "algorithm 'HS256'; only EdDSA"
        assert expected in refusal(f"{body}.{b64(mac)}")


def test_an_rsa_signature_is_refused():
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    key = rsa.generate_private_key(65537, 2048)
    for header in (b'{"alg":"RS256"}', b'{"alg":"EdDSA"}'):
        body = f"{b64(header)}.{b64(msgspec.json.encode(claims()))}"
        signature = key.sign(body.encode(), padding.PKCS1v15(), SHA256())
        expected = WRONG_SIGNATURE if b"EdDSA" in header else "algorithm 'RS256'; only EdDSA"
        assert expected in refusal(f"{body}.{b64(signature)}")


def test_a_key_that_comes_with_the_text_is_not_used():
    key = {"kty": "OKP", "crv": "Ed25519", "x": OTHER_ISSUER.removeprefix("ed25519:")}
    header = msgspec.json.encode({"alg": "EdDSA", "jwk": key})
    assert refusal(signed(header, msgspec.json.encode(claims()), OTHER_PEM)) == WRONG_SIGNATURE


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b'{"alg":"EdDSA","crit":["b64"],"b64":false}', "requires extensions"),
        (b'{"alg":"EdDSA","crit":["exp"]}', "requires extensions"),
        (b"{}", "algorithm ''; only EdDSA"),
        (b'{"alg":null}', NOT_A_LICENSE),
        (b'{"alg":["EdDSA"]}', NOT_A_LICENSE),
        (b'{"alg":"EdDSA","alg":"none"}', "algorithm 'none'"),
        (b'{"alg":"none","alg":"ES256"}', "algorithm 'ES256'"),
        (b"[]", NOT_A_LICENSE),
        (b"\xff\xfe", NOT_A_LICENSE),
        (b'{"alg":"EdDSA","x":' + b"[" * 300, NOT_A_LICENSE),
        (b'{"alg":"EdDSA","kid":"' + b"k" * 500 + b'"}', NOT_A_LICENSE),
        (b'{"alg":"' + b"A" * 300 + b'"}', "algorithm '" + "A" * 40 + "'; only"),
        ('{"alg":"\u202e\x1b"}'.encode().replace(b"\x1b", b"\\u001b"), r"'\u202e\x1b'; only"),
    ],
)
def test_a_strange_header_is_refused_although_the_signature_is_right(header, expected):
    assert expected in refusal(signed(header, msgspec.json.encode(claims())))


# Garbage


@pytest.mark.parametrize(
    "blob",
    [
        "",
        " ",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c.d",
        "é.é.é",
        "\x00.\x00.\x00",
        "a.b.c",
        "{}",
        "\ud800",
    ],
)
def test_garbage_is_refused(blob):
    assert refusal(blob) == NOT_A_LICENSE


def test_a_right_header_before_no_unicode_is_refused():
    assert refusal(BLOB.split(".")[0] + ".\ud800.\ud800") == NOT_A_LICENSE


def test_a_text_over_64_kib_is_refused_before_anything_is_tried():
    long = signed(b'{"alg":"EdDSA"}', msgspec.json.encode(claims(CustomerID="c" * 65536)))
    assert refusal(long) == "the license is larger than 65536 bytes"
    assert refusal("x" * 10_000_000) == "the license is larger than 65536 bytes"
    assert rules.verify(foreign(CustomerID="c" * 40_000), [ISSUER], START, CLUSTER)


@given(st.text(max_size=200) | st.text(alphabet="abAB01-_.=+/ ", max_size=200))
def test_any_text_is_refused_with_a_reason(blob):
    assert refusal(blob)


@given(st.binary(max_size=120), st.binary(max_size=120), st.binary(max_size=80))
def test_any_three_parts_are_refused_with_a_reason(header, payload, signature):
    assert refusal(f"{b64(header)}.{b64(payload)}.{b64(signature)}")


@given(st.integers(0, len(BLOB) - 1), st.characters(max_codepoint=0x2FF))
def test_one_changed_character_never_gives_another_license(place, char):
    changed = BLOB[:place] + char + BLOB[place + 1 :]
    try:
        read = rules.verify(changed, [ISSUER], START, CLUSTER)
    except Error as problem:
        assert problem.code is Code.INVALID  # noqa: PT017  either way is right
    else:
        assert to_json(read) == to_json(rules.verify(BLOB, [ISSUER], START, CLUSTER))


@given(
    st.binary(min_size=1, max_size=200)
    | st.text(min_size=1, max_size=50).map(lambda text: text.encode())
)
def test_a_trusted_signature_over_any_bytes_gives_a_license_or_a_reason(payload):
    assert "claims of the license are not understood" in refusal(
        signed(b'{"alg":"EdDSA"}', payload)
    ) or payload.startswith(b"{")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"{}", "LicenseID of the license is missing"),
        (b"null", "not understood"),
        (b"[" * 5000, "not understood"),
        (b'{"Flags":' * 4000, "not understood"),
        (b"\xff", "not understood"),
    ],
)
def test_claims_that_are_no_license_are_refused(payload, expected):
    assert expected in refusal(signed(b'{"alg":"EdDSA"}', payload))


# Claims


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"Product": "consul"}, "the license is for product 'consul', not for nomad"),
        ({"Product": ""}, "the license is for product '', not for nomad"),
        ({"LicenseID": ""}, "LicenseID of the license is missing"),
        ({"IssueTime": ""}, "IssueTime of the license is not a time like"),
        ({"StartTime": "soon"}, "StartTime of the license is not a time like"),
        ({"ExpirationTime": ""}, "ExpirationTime of the license is not a time like"),
        ({"TerminationTime": "2026-02-30T00:00:00Z"}, "TerminationTime of the license is not a"),
        ({"TerminationTime": rfc3339(EXPIRATION - 1)}, "are not in that order"),
        ({"ExpirationTime": rfc3339(START - 1)}, "are not in that order"),
        ({"Features": "Redundancy Zones"}, "the claims of the license are not understood"),
        ({"StartTime": 5}, "the claims of the license are not understood"),
    ],
)
def test_wrong_claims_are_refused_when_issued_and_when_read(changed, expected):
    assert expected in refusal(foreign(**changed))
    with pytest.raises(Error) as caught:
        rules.issue(claims(**changed), PEM)
    assert expected in caught.value.message


def test_a_license_for_another_installation_is_refused():
    blob = rules.issue(claims(InstallationID="elsewhere"), PEM)
    assert refusal(blob) == f"the license is for installation elsewhere, this is {CLUSTER}"
    prefix = rules.issue(claims(InstallationID=CLUSTER[:-1]), PEM)
    assert "is for installation" in refusal(prefix)


def test_license_for_this_installation_is_accepted():
    blob = rules.issue(claims(InstallationID=CLUSTER), PEM)
    assert rules.verify(blob, [ISSUER], START, CLUSTER).installation_id == CLUSTER


def test_features_of_a_newer_issuer_are_kept():
    read = rules.verify(foreign(Features=["Teleport"]), [ISSUER], START, CLUSTER)
    assert read.features == ("Teleport",)


def test_misspelled_features_and_claims_are_not_issued():
    with pytest.raises(Error, match="unknown features Redundancy Zone; known are Automated"):
        rules.issue(claims(Features=["Redundancy Zone"]), PEM)
    with pytest.raises(Error, match="unknown claims Expires; known are CustomerID"):
        rules.issue(claims(Expires="x"), PEM)


def test_a_left_out_issue_time_is_the_start():
    short = claims()
    del short["IssueTime"]
    read = rules.verify(rules.issue(short, PEM), [ISSUER], START, CLUSTER)
    assert read.issue_time == rfc3339(START)


@pytest.mark.parametrize(
    "pem",
    ["", "x", PEM[:60], "ed25519:AAAA", PEM.replace("PRIVATE", "PUBLIC")],
    ids=["empty", "letter", "cut", "issuer", "renamed"],
)
def test_a_file_that_is_no_key_signs_nothing(pem):
    with pytest.raises(Error, match="the private key is not a PEM file"):
        rules.issue(claims(), pem)


def test_a_key_of_another_kind_signs_nothing():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed448, rsa

    for key in (ed448.Ed448PrivateKey.generate(), rsa.generate_private_key(65537, 2048)):
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        with pytest.raises(Error, match="key is not a"):
            rules.issue(claims(), pem)
    with pytest.raises(Error, match="key is not a"):
        rules.issue(claims(), public_pem(ISSUER)[1].decode())


def test_two_keys_are_two_keys():
    assert PEM != OTHER_PEM
    assert ISSUER != OTHER_ISSUER
    assert "PRIVATE" not in ISSUER


# Time


def test_a_license_may_be_put_from_its_start_to_its_expiration():
    before = rfc3339(START)
    assert refusal(BLOB, now_ns=START - 1) == f"the license is not valid before {before}"
    assert rules.verify(BLOB, [ISSUER], START, CLUSTER)
    assert rules.verify(BLOB, [ISSUER], EXPIRATION - 1, CLUSTER)
    expired = f"the license expired on {rfc3339(EXPIRATION)}"
    assert refusal(BLOB, now_ns=EXPIRATION) == expired
    assert refusal(BLOB, now_ns=TERMINATION + 1) == expired


def test_a_license_that_is_installed_is_read_at_any_time():
    assert rules.read(BLOB, [ISSUER], CLUSTER).license_id == "lic-1"
    with pytest.raises(Error, match="signature"):
        rules.read(BLOB, [OTHER_ISSUER], CLUSTER)


@pytest.mark.parametrize(
    ("now_ns", "phase"),
    [
        (START - DAY, Phase.VALID),
        (START, Phase.VALID),
        (EXPIRATION - 30 * DAY - 1, Phase.VALID),
        (EXPIRATION - 30 * DAY, Phase.EXPIRING),
        (EXPIRATION - 1, Phase.EXPIRING),
        (EXPIRATION, Phase.EXPIRED),
        (TERMINATION - 1, Phase.EXPIRED),
        (TERMINATION, Phase.TERMINATED),
        (TERMINATION + 10_000 * DAY, Phase.TERMINATED),
    ],
)
def test_the_phases_of_a_license(now_ns, phase):
    license_ = msgspec.convert(claims(), License)
    found = rules.status(license_, now_ns)
    assert found.phase is phase
    assert found.text.startswith("the license ")
    assert "lic-1" not in found.text  # health is for everybody
    assert ("install a new license" in found.text) == (phase is not Phase.VALID)
    acting = "Redundancy Zones" in rules.features_in_force(license_, now_ns)
    assert acting == (phase is not Phase.TERMINATED)


@pytest.mark.parametrize(
    ("left_ns", "words"),
    [
        (12 * DAY + 5, "expires in 12 days;"),
        (DAY, "expires in 1 day;"),
        (DAY - 1, "expires in 23 hours;"),
        (90 * 60 * NS_PER_S, "expires in 1 hour;"),
        (120 * NS_PER_S, "expires in 2 minutes;"),
        (1, "expires in less than a minute;"),
    ],
)
def test_warning_names_the_time_left(left_ns, words):
    license_ = msgspec.convert(claims(), License)
    assert words in rules.status(license_, EXPIRATION - left_ns).text


def test_text_of_an_ended_license_names_the_stopped_features():
    text = rules.status(msgspec.convert(claims(), License), TERMINATION).text
    assert rfc3339(TERMINATION) in text
    assert "Automated Upgrades, Enhanced Read Scalability, Redundancy Zones, Snapshot Agent" in text


# Built-in licenses and features


def test_the_temporary_license_looks_like_the_documented_one():
    start = parse_time("2020-06-01T08:50:16.581304556-04:00")
    assert msgspec.json.decode(to_json(built_in.temporary(start))) == {
        "CustomerID": "temporary license customer",
        "ExpirationTime": "2020-06-01T18:50:16.581304556Z",
        "Features": [
            "Automated Upgrades",
            "Enhanced Read Scalability",
            "Redundancy Zones",
            "Namespaces",
            "Resource Quotas",
            "Preemption",
            "Audit Logging",
            "Setinel Policies",
        ],
        "Flags": {"modules": ["governance-policy"]},
        "InstallationID": "*",
        "IssueTime": "2020-06-01T12:50:16.581304556Z",
        "LicenseID": "temporary-license",
        "Modules": ["governance-policy"],
        "Product": "nomad",
        "StartTime": "2020-06-01T12:50:16.581304556Z",
        "TerminationTime": "2020-06-01T18:50:16.581304556Z",
    }


def test_the_temporary_license_ends_after_six_hours():
    license_ = built_in.temporary(START)
    end = START + 6 * 3600 * NS_PER_S
    assert rules.features_in_force(license_, end - 1) >= set(FEATURES)
    assert rules.status(license_, end).phase is Phase.TERMINATED


def test_the_community_license_has_everything_for_a_hundred_years():
    license_ = built_in.community(START)
    assert license_.license_id == "community"
    late = START + 99 * 365 * DAY
    assert rules.status(license_, late).phase is Phase.VALID
    assert rules.features_in_force(license_, late) == {*FEATURES, rules.SNAPSHOT_AGENT}


def test_only_the_licensed_features_hang_on_the_license():
    narrow = msgspec.convert(claims(Features=["Redundancy Zones"]), License)
    free = set(FEATURES) - rules.LICENSED
    assert free == {
        "Namespaces",
        "Resource Quotas",
        "Preemption",
        "Audit Logging",
        "Setinel Policies",
    }
    assert rules.features_in_force(narrow, START) == {
        *free,
        "Redundancy Zones",
        rules.SNAPSHOT_AGENT,
    }
    assert rules.features_in_force(narrow, TERMINATION) == free


def test_unknown_feature_enables_nothing():
    strange = msgspec.convert(claims(Features=["Teleport"]), License)
    assert "Teleport" not in rules.features_in_force(strange, START)


def test_a_clock_set_back_before_the_start_stops_nothing():
    license_ = msgspec.convert(claims(), License)
    assert "Redundancy Zones" in rules.features_in_force(license_, START - DAY)


def test_a_server_that_sees_no_license_loads_no_key_library():
    code = (
        "import sys; from bellcow.license import built_in, rules; "
        "rules.status(built_in.community(0), 0); "
        "print({'cryptography', 'joserfc'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# The page

PAGE = (Path(__file__).parents[3] / "docs" / "operations" / "license.md").read_text("utf-8")


def test_the_example_of_the_page_can_be_issued_and_installed():
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    blob = rules.issue(msgspec.json.decode(example), PEM)
    assert rules.verify(blob, [ISSUER], parse_time("2027-06-01T00:00:00Z"), CLUSTER)
    (issuer,) = re.findall(r'issuers = \["(.*)"\]', PAGE)
    assert issuer_key(issuer)


def test_the_page_names_every_claim():
    for claim in claims():
        assert f"`{claim}`" in PAGE


@pytest.mark.parametrize(
    "text",
    [
        NOT_A_LICENSE,
        WRONG_SIGNATURE,
        "the license is larger than 65536 bytes",
        "the license is not valid before",
        "the license expired on",
        "the license is for product",
        "the license is for installation",
        "no license issuer is configured on this cluster",
    ],
)
def test_the_page_says_what_to_do_about_each_refusal(text):
    starts = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert any(text.startswith(start) for start in starts)
