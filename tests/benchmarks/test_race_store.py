"""The cache: what is kept, under which key, and what a half-written file counts for."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks.race import store as module
from benchmarks.race.store import Store, code_digest, digest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    code_digest.cache_clear()
    yield tmp_path
    code_digest.cache_clear()


def version(project: Path, text: str) -> str:
    (project / "a.py").write_text(text)
    code_digest.cache_clear()
    return code_digest(("*.py",))


def test_code_has_the_same_version_until_it_means_something_else(project: Path) -> None:
    plain = version(project, "x = 1\n")
    assert version(project, "# a remark\nx   =  1\n") == plain
    assert version(project, "x = 2\n") != plain


def test_a_new_file_is_a_new_version(project: Path) -> None:
    plain = version(project, "x = 1\n")
    (project / "b.py").write_text("")
    code_digest.cache_clear()
    assert code_digest(("*.py",)) != plain


def test_code_that_is_not_there_is_refused(project: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        code_digest(("nowhere/*.py",))


def test_facts_are_told_apart_whatever_their_order() -> None:
    assert digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_tables_and_facts_come_back(tmp_path: Path) -> None:
    kept = Store(tmp_path / "new")
    table = pl.DataFrame({"a": [1.5, None]})
    kept.keep_table("t", table)
    kept.keep_facts("t", {"seconds": 1.0})
    assert kept.table("t").equals(table)  # type: ignore[union-attr]
    assert kept.facts("t") == {"seconds": 1.0}
    assert (kept.table("u"), kept.facts("u")) == (None, None)


def test_broken_files_count_as_absent(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "t.json").write_text('{"seconds": ')
    assert (kept.table("t"), kept.facts("t")) == (None, None)
    made = kept.remembered("t", lambda: pl.DataFrame({"a": [1]}))
    assert kept.table("t").equals(made)  # type: ignore[union-attr]


def test_what_is_remembered_is_made_once(tmp_path: Path) -> None:
    kept, calls = Store(tmp_path), []

    def make() -> pl.DataFrame:
        calls.append(1)
        return pl.DataFrame({"a": [1]})

    assert kept.remembered("t", make).equals(kept.remembered("t", make))
    assert calls == [1]
