"""Commands on policies and tokens: plain functions of a draft. Time and secrets are arguments.

A command raises Error when it is refused; the commit then contains nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bellcow.acl.hashing import token_hash
from bellcow.acl.validation import invalid_token, validate_token
from bellcow.errors import invalid, not_found
from bellcow.model.acl import ACLBootstrap, ACLToken, secret_digest
from bellcow.state.commands import Written, put_row
from bellcow.state.tables import ACL_BOOTSTRAP, ACL_POLICIES, ACL_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bellcow.model.acl import ACLPolicy
    from bellcow.state.draft import Draft


def put_policy(policy: ACLPolicy) -> Callable[[Draft], Written]:
    return put_row(ACL_POLICIES, policy.name, policy)


def delete_policy(name: str) -> Callable[[Draft], Written]:
    """Delete a policy. Nomad: an unknown one is deleted with success."""

    def command(draft: Draft) -> Written:
        draft.delete(ACL_POLICIES, name)
        return Written(draft.index)

    return command


def create_token(token: ACLToken) -> Callable[[Draft], ACLToken]:
    """Store a new token. Its ids, secret and time are already set.

    The command raises `invalid` if a value is wrong, or the accessor or the secret is taken.
    """

    def command(draft: Draft) -> ACLToken:
        _check(token)
        if draft.get(ACL_TOKENS, token.accessor_id) is not None:
            raise invalid(f"a token with accessor {token.accessor_id} exists")
        if draft.find(ACL_TOKENS, secret_digest(token.secret_id)) is not None:
            raise invalid("a token with that secret exists")
        return draft.put(ACL_TOKENS, token.accessor_id, _hashed(token))

    return command


def update_token(token: ACLToken) -> Callable[[Draft], ACLToken]:
    """Replace name, type and policies of the token with that accessor; its secret and time stay.

    The command raises `not_found` for an unknown token, `invalid` if a value is wrong or `global`
    differs.
    """

    def command(draft: Draft) -> ACLToken:
        old = draft.get(ACL_TOKENS, token.accessor_id.lower())
        if old is None:
            raise not_found(f"cannot find token {token.accessor_id}")
        if old.global_ != token.global_:
            raise invalid(f"cannot toggle global mode of {token.accessor_id}")
        _check(token)
        changed = msgspec.structs.replace(
            token,
            accessor_id=old.accessor_id,
            secret_id=old.secret_id,
            create_time=old.create_time,
        )
        return draft.put(ACL_TOKENS, old.accessor_id, _hashed(changed))

    return command


def delete_token(accessor_id: str) -> Callable[[Draft], Written]:
    """Delete a token. The command raises `invalid` for an unknown one."""

    def command(draft: Draft) -> Written:
        old = draft.get(ACL_TOKENS, accessor_id.lower())
        if old is None:
            raise invalid(f"Cannot delete nonexistent tokens: {accessor_id}")
        draft.delete(ACL_TOKENS, old.accessor_id)
        return Written(draft.index)

    return command


def bootstrap(token: ACLToken, reset_index: int | None) -> Callable[[Draft], ACLToken]:
    """Store the first management token; a second time only with the reset index of the first.

    The command raises `invalid` if that index is missing or another, or if the secret is taken.
    """

    def command(draft: Draft) -> ACLToken:
        done = draft.one(ACL_BOOTSTRAP)
        if done is not None and reset_index is None:
            raise invalid(f"ACL bootstrap already done (reset index: {done.reset_index})")
        if done is not None and reset_index != done.reset_index:
            raise invalid(
                f"Invalid bootstrap reset index (specified {reset_index}, "
                f"reset index: {done.reset_index})"
            )
        if draft.find(ACL_TOKENS, secret_digest(token.secret_id)) is not None:
            raise invalid("a token with that secret exists")
        draft.put_one(
            ACL_BOOTSTRAP, ACLBootstrap(accessor_id=token.accessor_id, reset_index=draft.index)
        )
        return draft.put(ACL_TOKENS, token.accessor_id, _hashed(token))

    return command


def _check(token: ACLToken) -> None:
    reasons = validate_token(token)
    if reasons:
        raise invalid_token(reasons)


def _hashed(token: ACLToken) -> ACLToken:
    return msgspec.structs.replace(token, hash=token_hash(token))
