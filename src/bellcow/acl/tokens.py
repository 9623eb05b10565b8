"""From the secret a client sends to what it may do, cached until policies or tokens change."""

from __future__ import annotations

import asyncio
import hmac
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from bellcow.acl.policy import (
    DENY_ALL,
    MANAGEMENT,
    NOTHING,
    Rights,
    Rules,
    compile_rights,
    parse_rules,
)
from bellcow.errors import Code, Error, denied
from bellcow.state.tables import ACL_BOOTSTRAP, ACL_POLICIES, ACL_TOKENS, secret_digest

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
BAD_TOKEN_WINDOW_S = 10.0
BAD_TOKEN_ADDRESSES = 10_000
SAY_EVERY_S = 60.0


class Resolver:
    """Rights by secret. With ACLs off everything is allowed and secrets are not looked at.

    ACLs belong to the cluster: once they are bootstrapped they are on, whatever this server's own
    settings say. While it is not known whether they are, they are on as well.
    """

    def __init__(
        self, tables: Tables, *, enabled: bool, is_known: Callable[[], bool] = lambda: True
    ) -> None:
        """`enabled` is this server's setting; `is_known` tells whether memory holds the state."""
        self._tables = tables
        self._is_set = enabled
        self._is_known = is_known
        self._cache: dict[str, Rights] = {}
        self._rules: dict[str, tuple[ACLPolicy, Rules]] = {}
        self._version = -1
        self._head: Head | None = None  # of the state in which they were bootstrapped, or not
        self._bootstrapped = False

    @property
    def is_known(self) -> bool:
        """Whether memory holds the tokens of the cluster, if there is one."""
        return self._is_known()

    @property
    def enabled(self) -> bool:
        """Whether tokens are asked for."""
        if self._is_set:
            return True
        head = self._tables.head
        if head is not self._head:  # each request asks, and only a commit changes it
            self._head = head
            self._bootstrapped = self.are_bootstrapped
        return self._bootstrapped or not self._is_known()

    @property
    def are_bootstrapped(self) -> bool:
        """Whether the cluster has a first token, or had one."""
        return self._tables.one(ACL_BOOTSTRAP) is not None

    def resolve(self, secret: str) -> Rights:
        """What the bearer of `secret` ("" for none) may do; Error(DENIED) when nobody has it."""
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
        """The token with that secret. Looked up by digest, compared in constant time (B11)."""
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
        """The rules of the policies that exist. Nomad: those that do not are skipped."""
        out = []
        for name in names:
            policy = self._tables.get(ACL_POLICIES, name)
            if policy is not None:
                out.append(self.rules_of(policy))
        return out

    def rules_of(self, policy: ACLPolicy) -> Rules:
        """The rules of a stored policy, parsed once; what cannot be read denies everything.

        Known by the row itself: after a restore another policy may have the same name and index.
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
    """Counts unknown tokens per client address, and says when one has sent too many (B14)."""

    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self.limit = limit
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._count = 0  # since it was last said, also of addresses that are not in the list
        self._unsaid: Counter[str] = Counter()

    def check(self, client: str) -> None:
        """Count one unknown token from `client`; Error(TOO_MANY) above the limit of the window."""
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
        """Say once a minute how many unknown tokens came, and from where most of them."""
        try:
            while True:
                await asyncio.sleep(SAY_EVERY_S)
                self.say(report)
        finally:
            self.say(report)

    def say(self, report: Report) -> None:
        """Say it now; nothing when there was none since the last time."""
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
