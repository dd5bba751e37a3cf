"""The cache: tables kept under the hash of everything that made them, written whole or not at all."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from aegis_yield.utils.files import write_atomically, write_text_atomically

ROOT = Path(__file__).resolve().parents[2]


def digest(facts: Mapping[str, Any]) -> str:
    """Return a short hash of plain values: the same facts give the same hash, in any order of their keys."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@cache
def code_digest(patterns: tuple[str, ...]) -> str:
    """Return a hash over what source files mean: layout and comments do not count.

    Parameters
    ----------
    patterns : tuple of str
        Files or globs relative to the project, e.g. ``"src/aegis_yield/models/*.py"``.

    Raises
    ------
    FileNotFoundError
        If a pattern finds nothing: a version that misses its code would never change.
    """
    total = hashlib.sha256()
    for pattern in sorted(patterns):
        files = sorted(ROOT.glob(pattern))
        if not files:
            raise FileNotFoundError(f"{pattern}: no such source file below {ROOT}")
        for path in files:
            total.update(str(path.relative_to(ROOT)).encode())
            total.update(ast.dump(ast.parse(path.read_text())).encode())
    return total.hexdigest()[:20]


@dataclass(frozen=True)
class Store:
    """A folder of results.

    Attributes
    ----------
    folder : Path
        Made on first use.
    """

    folder: Path

    def path(self, name: str, suffix: str) -> Path:
        """Return where a result of this name lies or will lie."""
        return self.folder / f"{name}{suffix}"

    def table(self, name: str) -> pl.DataFrame | None:
        """Return a kept table, or None; an unreadable one (a disk that failed) counts as absent."""
        path = self.path(name, ".parquet")
        if not path.is_file():
            return None
        try:
            return pl.read_parquet(path, glob=False)
        except (pl.exceptions.PolarsError, OSError):
            return None

    def keep_table(self, name: str, table: pl.DataFrame) -> None:
        """Keep a table; it appears whole."""
        write_atomically(self.path(name, ".parquet"), table.write_parquet)

    def facts(self, name: str) -> dict[str, Any] | None:
        """Return kept plain values, or None."""
        path = self.path(name, ".json")
        try:
            return dict(json.loads(path.read_text())) if path.is_file() else None
        except (json.JSONDecodeError, OSError):
            return None

    def keep_facts(self, name: str, facts: Mapping[str, Any]) -> None:
        """Keep plain values; the file appears whole."""
        write_text_atomically(self.path(name, ".json"), json.dumps(facts, sort_keys=True, indent=1))

    def remembered(self, name: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """Return a kept table, made and kept first if need be."""
        kept = self.table(name)
        if kept is None:
            kept = make()
            self.keep_table(name, kept)
        return kept

    def without(self, names: Sequence[str]) -> None:
        """Drop results so that they are made again."""
        for name in names:
            for suffix in (".parquet", ".json"):
                self.path(name, suffix).unlink(missing_ok=True)
