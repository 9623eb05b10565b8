"""The hashes of policies, tokens and namespaces: base64 of BLAKE2b-256 over their own texts.

Clients use them to see whether an object changed. No hash covers a secret.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bellcow.model.acl import ACLPolicy, ACLToken
    from bellcow.model.namespace import Namespace, NamespaceCapabilities


def policy_hash(policy: ACLPolicy) -> str:
    return _hash(policy.name, policy.description, policy.rules)


def token_hash(token: ACLToken) -> str:
    reach = "global" if token.global_ else "local"
    return _hash(token.name, token.type, *(token.policies or ()), reach)


def namespace_hash(namespace: Namespace) -> str:
    return _hash(
        namespace.name,
        namespace.description,
        namespace.quota,
        *_capabilities(namespace.capabilities),
        *(text for pair in sorted((namespace.meta or {}).items()) for text in pair),
    )


def _capabilities(capabilities: NamespaceCapabilities | None) -> Iterator[str]:
    if capabilities is not None:
        yield from capabilities.enabled_task_drivers or ()
        yield from capabilities.disabled_task_drivers or ()
        yield from capabilities.enabled_network_modes or ()
        yield from capabilities.disabled_network_modes or ()


def _hash(*parts: str) -> str:
    # Nomad: the parts have no separator, so "ab" + "c" and "a" + "bc" are the same.
    text = "".join(parts).encode("utf-8", "surrogatepass")
    return b64encode(hashlib.blake2b(text, digest_size=32).digest()).decode()
