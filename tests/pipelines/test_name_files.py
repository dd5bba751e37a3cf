"""Aliases and defaults from a TOML file: the shipped one, the user's, or a refusal in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from bundles import CHECKOUT

from aegis_yield.domain.errors import DataError
from aegis_yield.pipelines.names import load_names

OWN = '[aliases]\nMine = "aave-v3:base:usdc"\n[defaults]\nstrategies = ["mine"]\n'


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "names.toml"
    path.write_text(OWN)
    return path


def test_the_shipped_names_are_the_promised_ones() -> None:
    names = load_names()
    assert names.defaults == ("aave", "lido", "delta")
    assert names.aliases["aave"] == ("aave-v3:ethereum:usdc",)
    assert names.aliases["lido"] == ("lido:ethereum:steth",)
    assert set(names.defaults) <= set(names.aliases)


def test_a_home_without_names_uses_the_shipped_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    shipped = tomllib.loads((CHECKOUT / "configs" / "strategies.toml").read_text())
    as_lists = {alias: [ids] if isinstance(ids, str) else ids for alias, ids in shipped["aliases"].items()}
    assert {alias: list(ids) for alias, ids in load_names().aliases.items()} == as_lists


def test_a_homes_own_names_win_over_the_shipped_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "strategies.toml").write_text(OWN)
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    assert load_names().defaults == ("mine",)


def test_the_environment_names_another_file(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_STRATEGIES", str(own))
    assert load_names().defaults == ("mine",)


def test_a_path_wins_over_the_environment(own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AEGIS_STRATEGIES", str(tmp_path / "absent.toml"))
    assert load_names(own).defaults == ("mine",)


def test_aliases_are_found_in_any_case(own: Path) -> None:
    assert load_names(own).resolve("MINE", ["aave-v3:base:usdc"]) == "aave-v3:base:usdc"


def test_a_file_may_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").touch()
    names = load_names(tmp_path / "empty.toml")
    assert (dict(names.aliases), names.defaults) == ({}, ())


@pytest.mark.parametrize(
    "content",
    [
        b"[aliases\nx = 1",
        b"\xff\xfe",
        b"[aliases]\nx = 5",
        b'aliases = "x"',
        b'defaults = ["aave"]',
        b'[defaults]\nstrategies = "aave"',
        b"[defaults]\nstrategies = [1]",
        b"[aliases]\nx = []",
        b"[aliases]\nx = [1]",
    ],
)
def test_a_broken_file_is_refused_in_one_line_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(DataError) as refusal:
        load_names(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.toml: cannot be read"):
        load_names(tmp_path / "absent.toml")
