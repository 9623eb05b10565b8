"""Which kept answers are sent again, and to which clients."""

from __future__ import annotations

import gzip
from typing import Any

import msgspec

from bellcow.acl.rights import Need
from bellcow.api.message import Request, Response
from bellcow.api.pipeline.cache import SHARED_BYTES, EncodedAnswers, SharedAnswers
from bellcow.api.route import Route, Serve
from bellcow.state.tables import SCHEDULER
from bellcow.store.protocol import NO_HEAD

GZIP = [(b"accept-encoding", b"gzip")]
ROUTE = Route(
    method="GET",
    path="/v1/x",
    need=Need.ANONYMOUS,
    serve=Serve.LEADER,
    handler=print,
    summary="",
    cache=(SCHEDULER,),
)


def head(index: int) -> Any:
    return msgspec.structs.replace(NO_HEAD, index=index)


class Site:
    """The parts of a server that a cache looks at."""

    def __init__(self, *, leads: bool = True) -> None:
        self.tables = self.leadership = self
        self.is_leader = leads
        self.head = head(1)
        self.epoch = 1
        self.of_table = 1

    def version(self, *tables: object) -> int:
        assert tables == ROUTE.cache
        return self.of_table


def request(headers: Any = ()) -> Request:
    return Request("GET", "/v1/x", b"/v1/x", b"", list(headers))


def kept(site: Any) -> EncodedAnswers:
    cache = EncodedAnswers()
    cache.keep(ROUTE, site, request(), Response(200, [], b"body" * 100))
    return cache


def test_answer_is_found_until_its_table_changes():
    site: Any = Site()
    cache = kept(site)
    first = cache.find(ROUTE, site, request())
    assert first is not None
    site.head = head(2)  # a commit to another table
    assert cache.find(ROUTE, site, request()) is first
    site.head, site.of_table = head(3), 3
    assert cache.find(ROUTE, site, request()) is None


def test_answer_ends_with_the_leadership():
    site: Any = Site()
    cache = kept(site)
    site.epoch += 1
    assert cache.find(ROUTE, site, request()) is None


def test_answer_of_a_follower_is_not_kept():
    site: Any = Site(leads=False)
    assert kept(site).find(ROUTE, site, request()) is None


def test_answer_is_compressed_once_and_only_for_clients_that_accept_it():
    site: Any = Site()
    cache = kept(site)
    packed = cache.find(ROUTE, site, request(GZIP))
    assert packed is not None
    assert gzip.decompress(packed.body) == b"body" * 100
    assert cache.find(ROUTE, site, request(GZIP)) is packed
    plain = cache.find(ROUTE, site, request())
    assert plain is not None
    assert (plain.body, plain.headers) == (b"body" * 100, [])


def test_shared_answers_are_dropped_at_another_head_or_epoch():
    shared, first = SharedAnswers(), head(1)
    for move in ((head(1), 1), (first, 2)):
        shared.move_to(first, 1)
        shared.keep(("key",), Response(200, [], b"x"))
        shared.move_to(first, 1)
        assert shared.get(("key",)) is not None
        shared.move_to(*move)
        assert shared.get(("key",)) is None


def test_shared_answer_that_is_not_packed_is_copied():
    shared, answer = SharedAnswers(), Response(200, [(b"a", b"b")], b"x")
    shared.keep(("key",), answer)
    copy = shared.get(("key",))
    assert copy is not None
    copy.headers.append((b"c", b"d"))
    assert answer.headers == [(b"a", b"b")]
    answer.packed = True
    assert shared.get(("key",)) is answer


def test_shared_answers_take_a_bounded_space_for_each_head():
    shared = SharedAnswers()
    shared.move_to(head(1), 1)
    shared.keep((1,), Response(200, [], bytes(SHARED_BYTES)))
    assert shared.get((1,)) is None
    shared.keep((2,), Response(200, [], bytes(SHARED_BYTES // 2)))
    shared.keep((3,), Response(200, [], bytes(SHARED_BYTES // 2)))
    assert shared.get((2,)) is not None
    assert shared.get((3,)) is None
