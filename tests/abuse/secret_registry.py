"""Every secret that a test run makes or sends, and where one of them has come to light."""

from __future__ import annotations

import re

# What a PEM file holds between its lines; one line of it is enough to know it again.
_PEM_LINE = re.compile(r"^[A-Za-z0-9+/=]{40,}$", re.MULTILINE)


class Secrets:
    """Knows the secrets; says which of them a text holds, without repeating them whole."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, secret: str, kind: str = "token") -> str:
        """Remember a secret; returns it, so that it can be registered where it is used."""
        assert len(secret) >= 8, "too short to be told from chance"
        self._known[secret] = kind
        return secret

    def add_pem(self, pem: str) -> str:
        """Remember a private key by the lines of its file."""
        lines = _PEM_LINE.findall(pem)
        assert lines, "not the text of a key"
        for line in lines:
            self.add(line, "private key")
        return pem

    def found_in(self, text: str) -> list[str]:
        """The secrets a text holds, by kind and first characters."""
        return [f"{kind} {secret[:6]}..." for secret, kind in self._known.items() if secret in text]
