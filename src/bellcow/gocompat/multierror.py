"""Several errors as one text, as HashiCorp's go-multierror writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def several_errors(reasons: Sequence[str]) -> str:
    """The number of errors, then one bullet a line (go-multierror, `ListFormatFunc`)."""
    count = "1 error" if len(reasons) == 1 else f"{len(reasons)} errors"
    return f"{count} occurred:\n" + "".join(f"\t* {reason}\n" for reason in reasons) + "\n"
