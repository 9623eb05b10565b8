"""Resolves the secret of a request to rights, cached until policies or tokens change."""

from __future__ import annotations

import asyncio
import hmac
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from bellcow.acl.policy import DENY_ALL, Rules, parse_rules
from bellcow.acl.rights import MANAGEMENT, NOTHING, Rights, compile_rights
from bellcow.errors import Code, Error, denied
from bellcow.model.acl import secret_digest
from bellcow.state.tables import ACL_BOOTSTRAP, ACL_POLICIES, ACL_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bellcow.clock import Clock
    from bellcow.events import Report
    from bellcow.model.acl import ACLPolicy, ACLToken
    from bellcow.state.tables import Tables
    from bellcow.store.protocol import Head

ANONYMOUS_POLICY = "anonymous"
TOKEN_NOT_FOUND = "ACL token not found"  # noqa: S105  a text, not a secret
CACHE_LIMIT = 10_000
BAD_TOKEN_WINDOW_S = 10.0  # `limits { http_max_bad_tokens }` counts within it
BAD_TOKEN_ADDRESSES = 10_000  # bounds the memory that guessing clients can use
SAY_EVERY_S = 60.0


class Resolver:
    """Rights by secret. With ACLs off every request has all rights.

    ACLs belong to the cluster: once they are bootstrapped they are enforced, whatever this server's
    settings say. They are also enforced until this server has loaded the state that says so.
    """

    def __init__(
        self, tables: Tables, *, enabled: bool, is_known: Callable[[], bool] = lambda: True
    ) -> None:
        """`enabled` is this server's setting; `is_known` says whether the state is loaded."""
        self._tables = tables
        self._is_set = enabled
        self._is_known = is_known
        self._cache: dict[str, Rights] = {}
        self._rules: dict[str, tuple[ACLPolicy, Rules]] = {}
        self._version = -1
        self._head: Head | None = None  # of the state that `_bootstrapped` was read from
        self._bootstrapped = False

    @property
    def is_known(self) -> bool:
        """Whether the tokens of the cluster are loaded, or there is no cluster."""
        return self._is_known()

    @property
    def enabled(self) -> bool:
        """Whether a request needs a token."""
        if self._is_set:
            return True
        head = self._tables.head
        if head is not self._head:  # read by each request, changed only by a commit
            self._head = head
            self._bootstrapped = self.are_bootstrapped
        return self._bootstrapped or not self._is_known()

    @property
    def are_bootstrapped(self) -> bool:
        """Whether a first token was ever made in this cluster."""
        return self._tables.one(ACL_BOOTSTRAP) is not None

    def resolve(self, secret: str) -> Rights:
        """The rights of `secret`, "" for none.

        Raises:
            denied: no token has this secret.
        """
        if not self.enabled:
            return MANAGEMENT
        version = self._tables.version(ACL_TOKENS, ACL_POLICIES)
        if version != self._version or len(self._cache) > CACHE_LIMIT:
            self._cache.clear()
            self._version = version
        rights = self._cache.get(secret)
        if rights is None:
            rights = self._compile(secret)
            self._cache[secret] = rights
        return rights

    def token(self, secret: str) -> ACLToken | None:
        """The token with that secret. Compared in constant time, so timing reveals no secret."""
        digest = secret_digest(secret)
        token = self._tables.find(ACL_TOKENS, digest)
        if token is None or not hmac.compare_digest(secret_digest(token.secret_id), digest):
            return None
        return token

    def _compile(self, secret: str) -> Rights:
        if not secret:
            if self._tables.get(ACL_POLICIES, ANONYMOUS_POLICY) is None:
                return NOTHING
            return compile_rights(self._parsed([ANONYMOUS_POLICY]))
        token = self.token(secret)
        if token is None:
            raise denied(TOKEN_NOT_FOUND)
        if token.type == "management":
            return MANAGEMENT
        return compile_rights(self._parsed(token.policies or ()))

    def _parsed(self, names: Iterable[str]) -> list[Rules]:
        """The rules of the policies that exist. Nomad: other names are skipped."""
        out = []
        for name in names:
            policy = self._tables.get(ACL_POLICIES, name)
            if policy is not None:
                out.append(self.rules_of(policy))
        return out

    def rules_of(self, policy: ACLPolicy) -> Rules:
        """The rules of a stored policy, parsed once. Unreadable rules deny everything.

        The cache compares the row itself: after a restore another policy may have the same name and
        index.
        """
        known = self._rules.get(policy.name)
        if known is None or known[0] is not policy:
            try:
                rules = parse_rules(policy.rules)
            except Error:
                rules = DENY_ALL
            known = (policy, rules)
            self._rules[policy.name] = known
        return known[1]


class BadTokens:
    """Counts unknown tokens by client address, and refuses an address that has sent too many."""

    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self.limit = limit
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._count = 0  # since the last report, also of addresses beyond the limit of the list
        self._unsaid: Counter[str] = Counter()

    def check(self, client: str) -> None:
        """Count one unknown token from `client`.

        Raises:
            Error: TOO_MANY, the client sent more than `limit` in BAD_TOKEN_WINDOW_S seconds; 0 is
                no limit.
        """
        if client in self._unsaid or len(self._unsaid) < BAD_TOKEN_ADDRESSES:
            self._unsaid[client] += 1
        self._count += 1
        if not self.limit:
            return
        now = self._clock.monotonic()
        since, count = self._seen.pop(client, (now, 0))
        if now - since >= BAD_TOKEN_WINDOW_S:
            since, count = now, 0
        self._seen[client] = (since, count + 1)
        if len(self._seen) > BAD_TOKEN_ADDRESSES:
            self._seen.popitem(last=False)
        if count >= self.limit:
            raise Error(
                Code.TOO_MANY,
                f"more than {self.limit} unknown tokens in {BAD_TOKEN_WINDOW_S:g} s "
                "from this address; wait before trying again",
            )

    async def run(self, report: Report) -> None:
        """Report once a minute how many unknown tokens came, and from where most of them."""
        try:
            while True:
                await asyncio.sleep(SAY_EVERY_S)
                self.report(report)
        finally:
            self.report(report)

    def report(self, report: Report) -> None:
        """Report now, unless there were none since the last report."""
        if not self._count:
            return
        ((client, most),) = self._unsaid.most_common(1)
        report(
            "unknown_tokens",
            count=self._count,
            addresses=len(self._unsaid),
            most_from=client,
            most=most,
        )
        self._count = 0
        self._unsaid.clear()
