"""The keys that servers share: the `encrypt` setting, and the keyring file, which wins over it.

The file is read here and never written.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from bellcow.config.derive import encrypt_key, server_directory

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.config.model import Settings

NAME = "serf.keyring"  # Nomad: the same name, so that its data directories can be used
SIZES = frozenset({16, 24, 32})


def path_of(settings: Settings) -> Path | None:
    """The keyring file; None for a server without a data directory."""
    directory = server_directory(settings)
    return directory / NAME if directory else None


def exists(settings: Settings) -> bool:
    """Whether the servers share a key; a keyring file counts even if it cannot be read."""
    path = path_of(settings)
    return bool(settings.server.encrypt) or (path is not None and path.exists())


def read_keys(settings: Settings) -> tuple[bytes, ...]:
    """All keys, the one that issues certificates first.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file or the setting holds no keys.
    """
    path = path_of(settings)
    kept = _read(path) if path else ()
    if kept:
        return kept
    return (encrypt_key(settings),) if settings.server.encrypt else ()


def _read(path: Path) -> tuple[bytes, ...]:
    """The keys of the file, a JSON list of keys in base64; () without a file.

    Raises:
        ValueError: the file is malformed, or holds no key or one of another size.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    try:
        keys = [
            base64.b64decode(key, validate=True)
            for key in msgspec.json.decode(data, type=list[str])
        ]
    except (msgspec.DecodeError, ValueError):
        raise ValueError(f"{path} is not a JSON list of keys in base64") from None
    if not keys:
        raise ValueError(f"no keys present in keyring file: {path}")
    if any(len(key) not in SIZES for key in keys):
        raise ValueError(f"key size must be 16, 24 or 32 bytes: {path}")
    return tuple(keys)


def to_text(key: bytes) -> bytes:
    """The content of a keyring file with this one key."""
    return msgspec.json.encode([base64.b64encode(key).decode()])
