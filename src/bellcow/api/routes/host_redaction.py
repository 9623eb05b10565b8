"""Secrets in the environment and command line of the process, found by name or by look.

A guess, and a wide one: a value hidden without need costs a look at the machine, a secret shown
costs a password.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

REDACTED = "<redacted>"

_NAMES = re.compile(
    r"TOKEN|SECRET|PASS|PWD|KEY|CRED|AUTH|LICENSE|COOKIE|JWT|SESSION|PRIVATE|BEARER|SIGNATURE|SALT"
    r"|DSN|CONN(?:ECTION)?_?STR|WEBHOOK|ENCRYPT|(?:^|_)(?:PW|PIN|OTP|SAS)(?:_|$)",
    re.IGNORECASE,
)
_HARMLESS = frozenset({"PWD", "OLDPWD"})  # the shell's directories
_VALUES = re.compile(
    r"""
    ://[^\s@]*@                                       # a URL with a user in it
    | ^[^\s:@/]+:[^\s@]+@                             # the same without a scheme
    | \beyJ[\w-]+\.[\w-]+\.                           # a JSON Web Token
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY
    | ^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$   # a UUID, as tokens of Nomad and Consul are
    | \b(?:gh[a-z]_|github_pat_|glpat-|xox[a-z]-|hv[bs]\.|sk-|AKIA[0-9A-Z]{12})[\w-]*
    | \b(?:Bearer|Basic)\s+\S
    | (?:pass(?:word|wd)?|pwd|secret|token|(?:access|api|account)_?key|sig(?:nature)?)\s*=
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_secret_name(name: str) -> bool:
    """Whether a variable or a flag of this name may hold a secret."""
    return name not in _HARMLESS and _NAMES.search(name) is not None


def is_secret_value(value: str) -> bool:
    """Whether the text looks like a secret, or like a URL or a list of settings that holds one."""
    return _VALUES.search(value) is not None


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables in byte order of their names, the values of secret ones redacted."""
    return {
        name: REDACTED if is_secret_name(name) or is_secret_value(value) else value
        for name, value in sorted(environment.items())
    }
