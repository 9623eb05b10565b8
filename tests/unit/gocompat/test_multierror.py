from __future__ import annotations

from bellcow.gocompat.multierror import several_errors


def test_several_errors_are_counted_and_listed() -> None:
    assert several_errors(["one", "two"]) == "2 errors occurred:\n\t* one\n\t* two\n\n"


def test_one_error_is_counted_in_the_singular() -> None:
    assert several_errors(["one"]) == "1 error occurred:\n\t* one\n\n"
