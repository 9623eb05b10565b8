"""The command line as it is shown."""

from __future__ import annotations

import pytest

from bellcow.api.routes.pprof import without_secrets


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["-config=a.hcl", "-dev"], ["-config=a.hcl", "-dev"]),
        (["-encrypt=cg8StVXb", "-dev"], ["-encrypt=<redacted>", "-dev"]),
        (["--encrypt", "cg8StVXb", "x"], ["--encrypt", "<redacted>", "x"]),
        (["-token", "-dev", "x"], ["-token", "-dev", "x"]),
        (["-acl-replication-token=1=2"], ["-acl-replication-token=<redacted>"]),
    ],
)
def test_values_of_flags_that_look_like_secrets_are_not_shown(words, shown):
    assert list(without_secrets(words)) == shown
