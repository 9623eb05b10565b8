"""What is shown of environment and command line: names and values that hold secrets are not."""

from __future__ import annotations

import pytest

from bellcow.api.routes.host_redaction import REDACTED, without_secrets

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://app:hunter2@db.example/app"),
        ("DATABASE_URL", "postgres://app:hun/ter2@db.example/app"),
        ("http_proxy", "http://user:hunter2@proxy.example:3128"),
        ("HTTPS_PROXY", "user:hunter2@proxy.example:3128"),
        ("MYSQL", "app:hunter2@tcp(127.0.0.1:3306)/app"),
        ("SENTRY", "https://0123abcd@sentry.example/1"),
        ("STORAGE", "DefaultEndpointsProtocol=https;AccountKey=aHVudGVyMg==;"),
        ("CALLBACK", "https://example.com/hook?token=hunter2"),
        ("SETTINGS", f"x {JWT}"),
        ("HEADER", "Authorization: Bearer hunter2"),
        ("PEM", "-----BEGIN RSA PRIVATE KEY-----\nabc"),
        ("CLUSTER", "331fd3e5-7ec5-c6b0-290c-2414c75b9878"),
        ("CI", "ghp_0123456789abcdefghij"),
        ("AWS", "AKIA0123456789ABCDEF"),
        ("MYSQL_PWD", "hunter2"),
        ("APP_JWT", "hunter2"),
        ("COOKIE", "hunter2"),
        ("PGPASSWORD", "hunter2"),
        ("session_id", "hunter2"),
        ("DB_DSN", "hunter2"),
        ("SLACK_WEBHOOK", "https://hooks.example/T0/B0/hunter2"),
        ("SMTP_PW", "hunter2"),
        ("NOMAD_TOKEN", "hunter2"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ],
)
def test_secret_of_the_environment_is_not_shown(name, value):
    assert without_secrets({name: value}) == {name: REDACTED}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PWD", "/srv/bellcow"),
        ("OLDPWD", "/"),
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/srv/app"),
        ("LANG", "de_DE.UTF-8@euro"),
        ("http_proxy", "http://proxy.example:3128"),
        ("DATABASE_URL", "postgres://db.example/app"),
        ("NOMAD_ADDR", "https://10.0.0.1:4646"),
        ("MAILTO", "ops@example.com"),
        ("LS_COLORS", "rs=0:di=01;34:ln=01;36"),
        ("SHELL_PINNED", "no"),
        ("INVOCATION_ID", "4b2f1c0a9d8e4f6fa1b2c3d4e5f60718"),
    ],
)
def test_value_without_a_secret_is_shown(name, value):
    assert without_secrets({name: value}) == {name: value}


def test_variables_are_sorted():
    assert list(without_secrets({"b": "", "A": "", "a": ""})) == ["A", "a", "b"]
