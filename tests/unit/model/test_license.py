"""Who may issue licenses: public keys as `license keygen` prints them, and nothing else."""

from __future__ import annotations

import pytest

from bellcow.errors import Code, Error
from bellcow.license.signature import new_key
from bellcow.model.license import ISSUER_PREFIX, issuer_key


def test_each_new_key_is_an_issuer():
    for _ in range(20):
        pem, issuer = new_key()
        assert ISSUER_PREFIX + issuer_key(issuer) == issuer
        assert "PRIVATE" in pem


@pytest.mark.parametrize("form", ["ed25519:{}", "{}", "ed25519:{}=", "  ed25519:{}\n"])
def test_a_key_may_be_written_in_several_ways(form):
    key = new_key()[1].removeprefix(ISSUER_PREFIX)
    assert issuer_key(form.format(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519:",
        "ed25519:AAAA",
        "ed25519:" + "A" * 42,
        "A" * 44,
        "A" * 42 + "B",  # four bits, and two that no encoder writes
        "A" * 42 + "+",
        "ssh-ed25519 AAAA",
        "\u00e9" * 43,
    ],
)
def test_a_text_that_is_no_public_key_is_refused_by_name(text):
    with pytest.raises(Error, match="is not a license issuer") as told:
        issuer_key(text)
    assert told.value.code is Code.INVALID
    assert ascii(text[:20]) in told.value.message


def test_private_key_given_as_issuer_is_not_repeated():
    pem = new_key()[0]
    with pytest.raises(Error) as told:
        issuer_key(pem)
    assert "-----BEGIN" in told.value.message
    assert pem.splitlines()[1][:8] not in told.value.message
