"""The history: every value ever seen of every day, as revisions; nothing is overwritten.

A table is a folder of Parquet segments, each written whole. A row that was seen before with the same value adds
nothing; with another value it becomes the next revision. What was known at a moment is the newest revision ingested
by then.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from aegis_yield.collection.checks import sift
from aegis_yield.collection.schemas import PROVENANCE, TABLES, TableSpec
from aegis_yield.utils.files import remove_unfinished, write_atomically, write_text_atomically

MAX_SEGMENTS: Final = 40
"""More segments than this are merged into one."""

MERGED_BYTES: Final = 64 * 1024**2
"""A segment of this size is left alone when others are merged."""


@dataclass(frozen=True)
class Appended:
    """What became of rows that were appended, counted.

    Attributes
    ----------
    new, revised, unchanged, rejected : int
        Days seen for the first time, seen with another value, seen before, and impossible.
    """

    new: int = 0
    revised: int = 0
    unchanged: int = 0
    rejected: int = 0

    def __add__(self, other: Appended) -> Appended:
        return Appended(
            self.new + other.new,
            self.revised + other.revised,
            self.unchanged + other.unchanged,
            self.rejected + other.rejected,
        )


class History:
    """The tables of :mod:`schemas` under one folder.

    Parameters
    ----------
    folder : Path
        Holds generations ``g0001`` … and ``CURRENT``, which names the one in use: a rebuild writes the next one beside
        it and changes over in one step.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        current = folder / "CURRENT"
        self.generation = current.read_text().strip() if current.is_file() else "g0001"
        self._serial = 0

    @property
    def _root(self) -> Path:
        return self.folder / self.generation

    def append(self, table: str, rows: pl.DataFrame) -> Appended:
        """Check rows and store what is new in them.

        Parameters
        ----------
        table : str
            One of :data:`schemas.TABLES`.
        rows : polars.DataFrame
            Its columns and the provenance. Of two rows of one answer for the same key the later one holds.

        Returns
        -------
        Appended
            Counts. The rows are on the disk when this returns.
        """
        return joined(self.append_pages(table, rows).values())

    def append_pages(self, table: str, rows: pl.DataFrame) -> dict[str, Appended]:
        """Do as :meth:`append` and count for every answer, by ``raw_id``."""
        spec = TABLES[table]
        good, bad = sift(spec, rows)
        if bad.height:
            self._quarantine(table, bad)
        fresh = revised_rows(spec, self._latest_for(spec, good), good)
        if fresh.height:
            self._write_segment(table, fresh)
        is_new = pl.col("revision") == 1
        n_new, n_fresh = _counts(fresh.filter(is_new)), _counts(fresh)
        n_good, n_bad = _counts(good), _counts(bad)
        return {
            page: Appended(
                n_new.get(page, 0),
                n_fresh.get(page, 0) - n_new.get(page, 0),
                n_good.get(page, 0) - n_fresh.get(page, 0),
                n_bad.get(page, 0),
            )
            for page in {**n_good, **n_bad}
        }

    def latest(
        self,
        table: str,
        as_of: dt.datetime | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """Return the newest revision of every key, sorted by key.

        Parameters
        ----------
        table : str
            One of :data:`schemas.TABLES`.
        as_of : datetime, optional
            Only what was ingested by then.
        where : polars.Expr, optional
            Only rows that satisfy it, judged on key columns.
        """
        spec = TABLES[table]
        return _newest(spec, self._scan(table, as_of, where).collect())

    def revisions(self, table: str) -> pl.DataFrame:
        """Return every revision ever stored, sorted by key and revision."""
        spec = TABLES[table]
        return self._scan(table).collect().unique([*spec.keys, "revision"]).sort(*spec.keys, "revision")

    def quarantined(self, table: str) -> pl.DataFrame:
        """Return the rows that were set aside, with the reason; empty if there are none."""
        files = sorted((self._root / "quarantine" / table).glob("[!.]*.parquet"))
        if not files:
            return pl.DataFrame()
        # The same answers read again in other batches lie in files of other names.
        found = pl.concat([pl.read_parquet(path, glob=False) for path in files])
        return found.unique(["raw_id", "row_no"], keep="last", maintain_order=True)

    def next_generation(self) -> History:
        """Return an empty history beside this one, to be filled and then adopted."""
        number = int(self.generation.removeprefix("g")) + 1
        successor = History(self.folder)
        successor.generation = f"g{number:04d}"
        shutil.rmtree(successor._root, ignore_errors=True)
        return successor

    def adopt(self) -> None:
        """Make this generation the one in use, and delete all others."""
        self._root.mkdir(parents=True, exist_ok=True)
        write_text_atomically(self.folder / "CURRENT", f"{self.generation}\n")
        for other in self.folder.glob("g[0-9]*"):
            if other.name != self.generation:
                shutil.rmtree(other, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what a killed writer left unfinished; only for whoever alone may write here."""
        for folder in (self.folder, *self.folder.glob("g[0-9]*/*"), *self.folder.glob("g[0-9]*/quarantine/*")):
            remove_unfinished(folder)

    def compact(self) -> None:
        """Merge small segments where there are many; readers see the same rows before, between and after."""
        for table in TABLES:
            small = [path for path in self._segments(table) if path.stat().st_size < MERGED_BYTES]
            if len(small) > MAX_SEGMENTS:
                spec = TABLES[table]
                rows = pl.read_parquet(small, glob=False)
                rows = rows.unique([*spec.keys, "revision"]).sort(*spec.keys, "revision")
                merged = self._write_segment(table, rows)
                for path in small:
                    if path != merged:
                        path.unlink(missing_ok=True)

    def _latest_for(self, spec: TableSpec, rows: pl.DataFrame) -> pl.DataFrame:
        if not rows.height:
            return _newest(spec, rows.with_columns(pl.lit(1, pl.Int32).alias("revision")))
        where = pl.lit(True)
        for name in spec.entity:
            where &= pl.col(name).is_in(rows[name].unique().to_list())
        where &= pl.col(spec.when).is_between(rows[spec.when].min(), rows[spec.when].max())
        return _newest(spec, self._scan(spec.name, where=where).collect())

    def _scan(self, table: str, as_of: dt.datetime | None = None, where: pl.Expr | None = None) -> pl.LazyFrame:
        files = self._segments(table)
        schema = {**TABLES[table].columns, **PROVENANCE, "revision": pl.Int32}
        # Paths are paths: with patterns on, a folder named data[1] would read as empty.
        frame = pl.scan_parquet(files, schema=schema, glob=False) if files else pl.LazyFrame(schema=schema)
        frame = frame if as_of is None else frame.filter(pl.col("ingested_at") <= as_of)
        return frame if where is None else frame.filter(where)

    def _segments(self, table: str) -> list[Path]:
        return sorted((self._root / table).glob("[!.]*.parquet"))

    def _write_segment(self, table: str, rows: pl.DataFrame) -> Path:
        folder = self._root / table
        path = folder / self._segment_name(rows)
        while path.exists():  # of another process, whose serial numbers began at 1 too
            path = folder / self._segment_name(rows)
        write_atomically(path, rows.write_parquet)
        return path

    def _quarantine(self, table: str, rows: pl.DataFrame) -> None:
        # Named by what it holds: reading the same answers again writes the same file again.
        name = f"{rows['raw_id'].min()!s}-{rows['raw_id'].max()!s}.parquet"
        write_atomically(self._root / "quarantine" / table / name, rows.write_parquet)

    def _segment_name(self, rows: pl.DataFrame) -> str:
        self._serial += 1
        return f"{rows['raw_id'].max()!s}-{rows.height}-{self._serial:05d}.parquet"


def revised_rows(spec: TableSpec, known: pl.DataFrame, received: pl.DataFrame) -> pl.DataFrame:
    """Return what received rows add to what is known, as revisions.

    Parameters
    ----------
    spec : TableSpec
        The table.
    known : polars.DataFrame
        The newest revision of each key, with a column ``revision``.
    received : polars.DataFrame
        Rows with provenance, several per key allowed; the order of answers is that of ``raw_id``.

    Returns
    -------
    polars.DataFrame
        Rows to append: revision 1 for a new key, else one more than before. A value equal to the one before it adds
        nothing, a provisional value never follows a final one (a stale copy of a page shows yesterday as today), and
        an answer that is not newer than what is known adds nothing either (it was read before, and is read again
        because the journal was lost or killed).
    """
    keys = list(spec.keys)
    newest = known.select(*keys, pl.col("raw_id").alias("_newest"))
    received = received.join(newest, on=keys, how="left")
    received = received.filter((pl.col("raw_id") > pl.col("_newest")).fill_null(True)).drop("_newest")
    received = received.sort("raw_id", "row_no", maintain_order=True)
    received = received.unique([*keys, "raw_id"], keep="last", maintain_order=True)
    columns = [*spec.columns, *PROVENANCE]
    line = pl.concat(
        [
            known.select(*columns, "revision", pl.lit(True).alias("_known")),
            received.select(*columns, pl.lit(1, pl.Int32).alias("revision"), pl.lit(False).alias("_known")),
        ]
    )
    # Most keys have one row: a day seen for the first time, or one that was not asked about again.
    is_alone = pl.struct(keys).is_unique()
    alone = line.filter(is_alone & ~pl.col("_known"))
    fresh = [alone, _revisions_among(spec, line.filter(~is_alone))]
    return pl.concat(fresh).drop("_known").sort(*keys, "revision")


def _revisions_among(spec: TableSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """Return those rows of keys with several rows that are revisions, numbered; without the rows known before."""
    keys = list(spec.keys)
    line = rows.sort(*keys, pl.col("_known").not_(), "raw_id", maintain_order=True)
    finals_before = pl.col("is_final").cast(pl.Int32).cum_sum().over(keys) - pl.col("is_final").cast(pl.Int32)
    line = line.filter(pl.col("_known") | pl.col("is_final") | (finals_before == 0))
    compared = [*spec.values, "is_final"]
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1).over(keys)) for name in compared)
    is_first = pl.int_range(pl.len()).over(keys) == 0
    line = line.filter(pl.col("_known") | is_first | ~same)
    line = line.with_columns(pl.col("revision").cum_sum().over(keys).cast(pl.Int32))
    return line.filter(~pl.col("_known"))


def _counts(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows.group_by("raw_id", maintain_order=True).len().iter_rows())


def _newest(spec: TableSpec, rows: pl.DataFrame) -> pl.DataFrame:
    keys = list(spec.keys)
    return rows.sort(*keys, "revision").unique(keys, keep="last", maintain_order=True)


def stamped(rows: pl.DataFrame, table: str, raw_id: str, fetched_at: dt.datetime) -> pl.DataFrame:
    """Return the rows that one answer holds for a table with the table's types and their provenance.

    Columns that the reader left out are null; ``is_final`` is true unless it says otherwise.
    """
    spec = TABLES[table]
    defaults: dict[str, Any] = {"is_final": pl.lit(True)}
    missing = [
        defaults.get(name, pl.lit(None, kind)).alias(name)
        for name, kind in spec.columns.items()
        if name not in rows.columns
    ]
    return (
        rows.with_columns(missing)
        .select(pl.col(name).cast(kind) for name, kind in spec.columns.items())
        .with_columns(
            pl.lit(fetched_at).cast(PROVENANCE["ingested_at"]).alias("ingested_at"),
            pl.lit(raw_id).alias("raw_id"),
            pl.int_range(pl.len(), dtype=pl.Int32).alias("row_no"),
        )
    )


def joined(counts: Iterable[Appended]) -> Appended:
    """Add counts up."""
    total = Appended()
    for count in counts:
        total += count
    return total
