from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from aegis_yield.utils.project import code_version, project_root, shipped_file

CHECKOUT = Path(__file__).parents[2]


def test_aegis_home_decides_where_the_project_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    assert project_root() == tmp_path.resolve()


def test_aegis_home_may_begin_with_a_tilde_and_hold_dots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AEGIS_HOME", "~/there/../here")
    assert project_root() == (tmp_path / "here").resolve()


@pytest.mark.parametrize("value", [None, ""])
def test_without_aegis_home_it_is_the_checkout(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("AEGIS_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("AEGIS_HOME", value)
    assert project_root() == CHECKOUT


def test_aegis_home_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("one", "two"):
        monkeypatch.setenv("AEGIS_HOME", str(tmp_path / name))
        assert project_root().name == name


def test_a_shipped_file_is_the_users_own_if_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    assert shipped_file("configs/x.toml", "configs/x.toml") == CHECKOUT / "src" / "aegis_yield" / "configs" / "x.toml"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "x.toml").touch()
    assert shipped_file("configs/x.toml", "configs/x.toml") == tmp_path.resolve() / "configs" / "x.toml"


def test_the_code_version_names_the_commit() -> None:
    version = code_version()
    if version == "unknown":
        pytest.skip("not a git checkout with a commit")
    head = subprocess.run(["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?", version)
    assert head.stdout.startswith(version.removesuffix("-dirty"))


def test_without_git_the_code_version_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version() == "unknown"
