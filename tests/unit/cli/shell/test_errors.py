from __future__ import annotations

import pytest

from bellcow.cli.shell.errors import CommandError, RequestError, failing, opening
from bellcow.errors import invalid


@pytest.mark.parametrize("error", [RequestError("no"), invalid("no")])
def test_a_refusal_begins_with_the_attempt(error: Exception) -> None:
    with pytest.raises(CommandError) as caught, failing("Error doing: "):
        raise error
    assert (caught.value.message, caught.value.status) == ("Error doing: no", 1)


def test_a_failure_inside_keeps_its_own_words() -> None:
    with pytest.raises(CommandError) as caught, failing("Error doing: "):
        raise CommandError("said already")
    assert caught.value.message == "said already"


def test_the_systems_words_are_those_of_go() -> None:
    text = opening(FileNotFoundError(2, "No such file or directory"), "x")
    assert text == "open x: no such file or directory"
