from __future__ import annotations

from bellcow.store.staging import BYTES, OBJECTS, chunks


def items(count: int, size: int) -> list[tuple[tuple[str, str], bytes]]:
    return [(("table", str(number)), bytes(size)) for number in range(count)]


def test_nothing_is_no_chunk():
    assert list(chunks([])) == []


def test_chunks_hold_all_items_in_their_order():
    given = items(2_500, 3)
    cut = list(chunks(given))
    assert [len(chunk) for chunk in cut] == [OBJECTS, OBJECTS, 500]
    assert [item for chunk in cut for item in chunk] == given


def test_chunk_ends_with_the_item_that_makes_it_large():
    assert [len(chunk) for chunk in chunks(items(5, BYTES // 2))] == [2, 2, 1]
