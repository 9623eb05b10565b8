"""The rules about who votes, on configurations as servers show them."""

from __future__ import annotations

from tests.cluster.chaos.votes import Shown, judge_votes, shown_by


def shown(server: str, index: int, voters: str, others: str = "") -> Shown:
    return Shown(
        server=server,
        life=1,
        index=index,
        servers=tuple(sorted(voters + others)),
        voters=tuple(voters),
    )


def test_servers_that_show_the_same_configurations_are_in_order():
    seen = [shown("s1", 5, "abc"), shown("s2", 5, "abc"), shown("s1", 9, "ab", "c")]
    assert judge_votes(seen, least=2) == []


def test_two_configurations_at_one_index_are_found():
    (problem,) = judge_votes([shown("s1", 5, "abc"), shown("s2", 5, "abd")], least=2)
    assert problem == "s1 and s2 show two configurations at index 5"


def test_too_few_voters_are_found_once():
    (problem,) = judge_votes([shown("s1", 5, "a", "bc"), shown("s1", 5, "a", "bc")], least=2)
    assert problem == "s1 shows at index 5 that only a votes"


def test_what_a_server_answers_is_read():
    answer = {
        "Index": 7,
        "Servers": [
            {"ID": "b", "Voter": False, "Address": "1:1"},
            {"ID": "a", "Voter": True, "Address": "2:2"},
        ],
    }
    assert shown_by("s1", 1, answer) == shown("s1", 7, "a", "b")
