"""The keys between servers: which of setting and file counts, and what a file may hold."""

from __future__ import annotations

import pytest

from bellcow.config import keyring
from bellcow.config.keys import put_value
from bellcow.config.model import Settings

OLD, NEW = b"o" * 16, b"n" * 32


def settings(tmp_path, encrypt=""):
    made = put_value(Settings(), "server.encrypt", encrypt)
    return put_value(made, "data_dir", str(tmp_path))


def keep(tmp_path, text):
    path = tmp_path / "server" / keyring.NAME
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text)
    return path


def test_without_setting_and_file_there_is_no_key(tmp_path):
    assert keyring.read_keys(settings(tmp_path)) == ()
    assert keyring.read_keys(Settings()) == ()


def test_the_setting_counts_until_there_is_a_file(tmp_path):
    given = settings(tmp_path, "bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm4=")
    assert keyring.read_keys(given) == (NEW,)
    keep(tmp_path, keyring.to_text(OLD))
    assert keyring.read_keys(given) == (OLD,)
    assert keyring.read_keys(settings(tmp_path)) == (OLD,)


def test_the_first_key_of_several_stays_the_first(tmp_path):
    keep(
        tmp_path, b'["bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm4=",\n "b29vb29vb29vb29vb29vbw=="]'
    )
    assert keyring.read_keys(settings(tmp_path)) == (NEW, OLD)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not a JSON list of keys in base64"),
        (b"null", "not a JSON list of keys in base64"),
        (b'"b29vb29vb29vb29vb29vbw=="', "not a JSON list of keys in base64"),
        (b'["!!!"]', "not a JSON list of keys in base64"),
        ('["ö"]'.encode(), "not a JSON list of keys in base64"),
        (b"[1]", "not a JSON list of keys in base64"),
        (b"\xff", "not a JSON list of keys in base64"),
        (b"[]", "no keys present in keyring file"),
        (b'["YQ=="]', "key size must be 16, 24 or 32 bytes"),
    ],
)
def test_a_file_that_holds_no_keys_is_refused_and_named(tmp_path, text, reason):
    path = keep(tmp_path, text)
    with pytest.raises(ValueError, match=reason) as caught:
        keyring.read_keys(settings(tmp_path))
    assert str(path) in str(caught.value)
