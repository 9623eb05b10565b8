from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_good_files_are_valid(cli: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.hcl"
    path.write_text(f'data_dir = "{tmp_path}"\nserver {{ enabled = true }}\n')
    result = cli("config", "validate", str(path), "-dev=false")
    assert result.status == 1
    result = cli("config", "validate", str(path))
    assert (result.status, result.out.splitlines()[-1]) == (0, "Configuration is valid!")


def test_every_problem_is_printed_with_its_place(cli: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.hcl"
    path.write_text('data_dir = "relative"\nlog_level = "LOUD"\nserver { enabled = true }\n')
    result = cli("config", "validate", str(path))
    assert (result.status, result.out) == (1, "")
    assert "data-dir must be given as an absolute path: got relative" in result.err
    assert f"{path}:2" in result.err
    assert result.err.endswith("\nConfiguration is invalid\n")


def test_an_issuer_that_is_no_key_is_named_with_its_line(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.hcl"
    lines = (f'data_dir = "{tmp_path}"', "server { enabled = true }")
    path.write_text("\n".join([*lines, 'license { issuers = ["ed25519:secret-by-mistake"] }']))
    result = cli("config", "validate", str(path))
    assert result.status == 1
    assert "license.issuers: 'ed25519:secret-by-mi' is not a license issuer" in result.err
    assert f"{path}:3: license.issuers = (not shown)" in result.err


def test_a_path_is_needed(cli: Callable[..., Any]) -> None:
    assert cli("config", "validate").err.startswith(
        "Must specify at least one config file or directory\n"
    )
