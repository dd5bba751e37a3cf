"""The history against a plain replay: revisions do not depend on how answers are cut into batches."""

from __future__ import annotations

import datetime as dt
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aegis_yield.collection import history as module
from aegis_yield.collection.history import Appended, History, joined, revised_rows, stamped
from aegis_yield.collection.schemas import PROVENANCE, TABLES

TABLE = "pool_days"
SPEC = TABLES[TABLE]
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
FIRST = dt.date(2026, 1, 1)
KEYS = ("pool", "date")
VALUES = ("apy", "apy_base", "apy_reward", "tvl_usd")


@dataclass(frozen=True)
class Row:
    """A row of an answer: which pool and day, two of the values, and whether it can still change."""

    pool: str
    day: int
    apy: float
    base: float | None = None
    is_final: bool = True

    @property
    def cells(self) -> dict[str, Any]:
        return {
            "pool": self.pool, "date": FIRST + dt.timedelta(days=self.day), "apy": self.apy, "apy_base": self.base,
            "is_final": self.is_final,
        }  # fmt: skip


Answer = Sequence[Row]
MANY = 6
"""Segments that are left alone, fewer than in earnest."""

NO_CUTS: frozenset[int] = frozenset()


def when(number: int) -> dt.datetime:
    """When an answer was received."""
    return NOON + dt.timedelta(minutes=number)


def frame(number: int, answer: Answer) -> pl.DataFrame:
    """The rows of an answer as a reader delivers them."""
    cells = [row.cells for row in answer]
    types = {name: kind for name, kind in SPEC.columns.items() if name in Row("", 0, 0).cells}
    return stamped(pl.DataFrame(cells, schema=types), TABLE, f"raw-{number:03d}", when(number))


def replay(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """All revisions in the order of keys, by a loop over dicts that knows nothing of tables."""

    def same(one: Any, other: Any) -> bool:
        if one is None or other is None:
            return one is other
        return one == other or (math.isnan(one) and math.isnan(other))

    revisions: dict[tuple[str, dt.date], list[dict[str, Any]]] = {}
    for number, answer in enumerate(answers):
        rows = {}
        for row_no, row in enumerate(answer):
            rows[row.pool, row.cells["date"]] = (row_no, row)  # the later one holds
        for key, (row_no, row) in rows.items():
            line = revisions.setdefault(key, [])
            if line and line[-1]["is_final"] and not row.is_final:
                continue
            known = line[-1] if line else None
            is_same = known and all(same(known[name], row.cells.get(name)) for name in VALUES)
            if is_same and known["is_final"] == row.is_final:
                continue
            values = {name: row.cells.get(name) for name in (*KEYS, *VALUES, "is_final")}
            source = {"ingested_at": when(number), "raw_id": f"raw-{number:03d}", "row_no": row_no}
            line.append({**values, **source, "revision": len(line) + 1})
    return [revision for key in sorted(revisions) for revision in revisions[key]]


def batches(answers: Sequence[Answer], cuts: frozenset[int]) -> list[pl.DataFrame]:
    """Cut answers before every number in ``cuts``, and stack each batch."""
    found: list[list[pl.DataFrame]] = []
    for number, answer in enumerate(answers):
        if not found or number in cuts:
            found.append([])
        found[-1].append(frame(number, answer))
    return [pl.concat(batch) for batch in found]


def plain(table: pl.DataFrame) -> list[dict[str, Any]]:
    return table.select(*KEYS, *VALUES, "is_final", *PROVENANCE, "revision").to_dicts()


def comparable(revisions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let NaN be equal to itself."""
    return [{name: "nan" if cell != cell else cell for name, cell in row.items()} for row in revisions]


rows = st.builds(
    Row,
    pool=st.sampled_from("ab"),
    day=st.integers(0, 2),
    apy=st.sampled_from([0.01, 0.02, 0.03]),
    base=st.sampled_from([None, 0.01, 0.0]),
    is_final=st.booleans(),
)
answers_of = st.lists(st.lists(rows, max_size=5), min_size=1, max_size=7)
cuts_of = st.frozensets(st.integers(1, 6))
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(st.lists(st.lists(rows | rows.map(lambda r: Row(r.pool, r.day, r.apy, math.nan)), max_size=5)), cuts_of)
@example([[Row("a", 0, 0.01, math.nan)], [Row("a", 0, 0.01, math.nan)], [Row("a", 0, 0.01, None)]], frozenset({1, 2}))
@example([[Row("a", 0, 0.01, None)], [Row("a", 0, 0.01, math.nan)], [Row("a", 0, 0.01, None)]], NO_CUTS)
@relaxed
def test_revisions_equal_those_of_a_plain_replay(answers: list[list[Row]], cuts: frozenset[int]) -> None:
    answers = [answer for answer in answers if answer]
    known = frame(0, []).with_columns(pl.lit(1, pl.Int32).alias("revision"))
    stored = [known]
    for batch in batches(answers, cuts):
        fresh = revised_rows(SPEC, known, batch)
        stored.append(fresh)
        known = pl.concat(stored).sort(*KEYS, "revision").unique(KEYS, keep="last", maintain_order=True)
    assert comparable(plain(pl.concat(stored).sort(*KEYS, "revision"))) == comparable(replay(answers))


@given(answers_of, cuts_of, st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_stored_does_not_depend_on_cuts_processes_or_reading_twice(
    answers: list[list[Row]], cuts: frozenset[int], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        total = Appended()
        done: list[pl.DataFrame] = []
        for batch in batches(answers, cuts):
            total += History(Path(folder)).append(TABLE, batch)  # every batch by another process
            done.append(batch)
            again = data.draw(st.sampled_from([None, *range(len(done))]))
            if again is not None:  # a process was killed, or its journal lost: answers are read once more
                repeated = History(Path(folder)).append(TABLE, pl.concat(done[again:]))
                assert (repeated.new, repeated.revised) == (0, 0)
        history = History(Path(folder))
        expected = replay(answers)
        assert plain(history.revisions(TABLE)) == expected
        assert total.new == sum(revision["revision"] == 1 for revision in expected)
        assert total.new + total.revised == len(expected)
        n_rows = sum(len(answer) for answer in answers)
        assert total.new + total.revised + total.unchanged == n_rows
        for number in range(-1, len(answers)):
            seen = replay(answers[: number + 1])
            newest = {(revision["pool"], revision["date"]): revision for revision in seen}
            assert plain(history.latest(TABLE, as_of=when(number))) == [newest[key] for key in sorted(newest)]
        assert history.latest(TABLE).equals(history.latest(TABLE, as_of=when(len(answers))))


@given(answers_of)
@relaxed
def test_nothing_provisional_follows_what_is_final(answers: list[list[Row]]) -> None:
    known = frame(0, []).with_columns(pl.lit(1, pl.Int32).alias("revision"))
    revisions = revised_rows(SPEC, known, pl.concat([frame(n, answer) for n, answer in enumerate(answers)]))
    for _, line in revisions.group_by(KEYS, maintain_order=True):
        finals = line.sort("revision")["is_final"].to_list()
        assert finals == sorted(finals)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setattr(module, "MAX_SEGMENTS", MANY)
    return History(tmp_path / "history")


def append(history: History, number: int, *rows: Row) -> Appended:
    return history.append(TABLE, frame(number, rows))


def test_a_life_of_one_day(history: History) -> None:
    """Provisional twice, then final, then a stale copy, then rewritten by the source."""
    assert append(history, 0, Row("a", 0, 0.01, is_final=False)) == Appended(new=1)
    assert append(history, 1, Row("a", 0, 0.02, is_final=False)) == Appended(revised=1)
    assert append(history, 2, Row("a", 0, 0.02)) == Appended(revised=1)
    assert append(history, 3, Row("a", 0, 0.01, is_final=False)) == Appended(unchanged=1)
    assert append(history, 4, Row("a", 0, 0.02)) == Appended(unchanged=1)
    assert append(history, 5, Row("a", 0, 0.05)) == Appended(revised=1)
    assert history.revisions(TABLE).select("apy", "is_final", "revision", "raw_id").rows() == [
        (0.01, False, 1, "raw-000"),
        (0.02, False, 2, "raw-001"),
        (0.02, True, 3, "raw-002"),
        (0.05, True, 4, "raw-005"),
    ]
    assert history.latest(TABLE, as_of=when(4))["apy"].to_list() == [0.02]
    assert history.latest(TABLE, as_of=when(0) - dt.timedelta(microseconds=1)).height == 0


def test_a_value_that_comes_back_is_a_revision_of_its_own(history: History) -> None:
    for number, apy in enumerate([0.01, 0.02, 0.01]):
        append(history, number, Row("a", 0, apy))
    assert history.revisions(TABLE)["apy"].to_list() == [0.01, 0.02, 0.01]


def test_an_older_answer_that_is_read_late_revises_nothing(history: History) -> None:
    append(history, 5, Row("a", 0, 0.02))
    assert append(history, 3, Row("a", 0, 0.01), Row("a", 1, 0.01)) == Appended(new=1, unchanged=1)
    assert history.latest(TABLE)["apy"].to_list() == [0.02, 0.01]


def test_order_is_that_of_answers_even_if_the_clock_went_back(history: History) -> None:
    later = frame(1, [Row("a", 0, 0.02)]).with_columns(pl.lit(when(-60)).alias("ingested_at"))
    history.append(TABLE, pl.concat([later, frame(0, [Row("a", 0, 0.01)])]))
    assert history.latest(TABLE)["apy"].to_list() == [0.02]


def test_counts_are_told_by_answer(history: History) -> None:
    append(history, 0, Row("a", 0, 0.01))
    batch = [frame(1, [Row("a", 0, 0.01), Row("a", 1, 0.01)]), frame(2, [Row("a", 1, 0.02), Row("b", 0, -1.0)])]
    counts = history.append_pages(TABLE, pl.concat(batch))
    assert counts == {"raw-001": Appended(new=1, unchanged=1), "raw-002": Appended(revised=1, rejected=1)}
    assert joined(counts.values()) == Appended(1, 1, 1, 1)


def test_a_reader_may_ask_for_some_keys_only(history: History) -> None:
    append(history, 0, Row("a", 0, 0.01), Row("a", 1, 0.02), Row("b", 0, 0.03))
    append(history, 1, Row("a", 1, 0.04))
    found = history.latest(TABLE, where=(pl.col("pool") == "a") & (pl.col("date") > FIRST))
    assert found["apy"].to_list() == [0.04]


def test_an_unknown_table_is_a_mistake(history: History) -> None:
    with pytest.raises(KeyError):
        history.latest("pool_day")


def test_an_empty_history_has_tables_with_columns(history: History) -> None:
    for name, spec in TABLES.items():
        assert history.latest(name).schema == history.revisions(name).schema
        assert history.latest(name).columns == [*spec.columns, *PROVENANCE, "revision"]
        assert history.quarantined(name).height == 0
    assert not history.folder.exists()


def test_appending_nothing_writes_nothing(history: History) -> None:
    assert history.append(TABLE, frame(0, [])) == Appended()
    assert append(history, 0, Row("a", 0, 0.01)) == Appended(new=1)
    assert append(history, 1, Row("a", 0, 0.01)) == Appended(unchanged=1)
    assert len(segments(history)) == 1


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    history = History(tmp_path / "data[1] {a,b} *?=" / "history")
    append(history, 0, Row("a", 0, 0.01))
    append(history, 1, Row("a", 0, 0.02), Row("a", 1, -1.0))
    assert history.latest(TABLE)["apy"].to_list() == [0.02]
    assert history.quarantined(TABLE).height == 1
    for number in range(2, MANY + 2):
        append(history, number, Row("a", 0, number / 1000))
    history.compact()
    assert history.latest(TABLE)["revision"].to_list() == [MANY + 2]


def segments(history: History) -> list[Path]:
    return sorted((history.folder / history.generation / TABLE).glob("*.parquet"))


def test_two_processes_never_write_over_each_others_segments(history: History) -> None:
    append(history, 0, Row("a", 0, 0.01))
    # Another process, the same answer as far as its name says, as many rows: only the serial number could differ.
    History(history.folder).append(TABLE, frame(0, [Row("b", 0, 0.02)]))
    assert history.latest(TABLE)["apy"].to_list() == [0.01, 0.02]


# Merging


@pytest.fixture
def long_history(history: History) -> History:
    for number in range(MANY + 3):
        append(history, number, Row("a", number % 5, 0.01 + number / 1000), Row("b", number % 3, 0.02))
    return history


def views(history: History) -> list[pl.DataFrame]:
    moments = [when(number) for number in (0, 3, 7)]
    return [history.revisions(TABLE), history.latest(TABLE), *(history.latest(TABLE, as_of=t) for t in moments)]


def same_views(history: History, before: list[pl.DataFrame]) -> bool:
    return all(one.equals(other) for one, other in zip(views(history), before, strict=True))


def test_merging_changes_nothing_for_readers(long_history: History) -> None:
    before = views(long_history)
    assert len(segments(long_history)) == MANY + 3
    long_history.compact()
    assert len(segments(long_history)) == 1
    assert same_views(long_history, before)
    append(long_history, 100, Row("a", 0, 0.9))
    assert long_history.latest(TABLE)["apy"].to_list()[0] == 0.9


def test_few_segments_are_left_alone(history: History) -> None:
    for number in range(MANY):
        append(history, number, Row("a", number, 0.01))
    history.compact()
    assert len(segments(history)) == MANY


@pytest.mark.parametrize("n_back", [1, 4, MANY + 3])
def test_merging_may_be_killed_before_all_small_segments_are_gone(
    long_history: History, tmp_path: Path, n_back: int
) -> None:
    before = views(long_history)
    kept = [Path(shutil.copy(path, tmp_path / path.name)) for path in segments(long_history)]
    long_history.compact()
    (merged,) = segments(long_history)
    for path in kept[-n_back:]:
        shutil.copy(path, merged.parent / path.name)
    restarted = History(long_history.folder)
    assert len(segments(restarted)) == n_back + 1
    assert same_views(restarted, before)
    assert append(restarted, 8, Row("a", 8 % 5, 0.01 + 8 / 1000)) == Appended(unchanged=1)
    for number in range(200, 200 + MANY):
        append(restarted, number, Row("c", number - 200, 0.03))
    everything = views(restarted)
    restarted.compact()
    assert len(segments(restarted)) == 1
    assert same_views(restarted, everything)


def test_large_segments_are_not_merged(long_history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    before = views(long_history)
    monkeypatch.setattr(module, "MERGED_BYTES", 10)
    long_history.compact()
    assert len(segments(long_history)) == MANY + 3
    assert same_views(long_history, before)


def test_half_a_segment_of_a_killed_process_is_not_read(long_history: History) -> None:
    before = views(long_history)
    (long_history.folder / long_history.generation / TABLE / ".raw-999-2-00001.parquet.x1y2.parquet").write_bytes(
        b"PAR"
    )
    long_history.compact()
    assert same_views(long_history, before)


# Quarantine


def test_rows_set_aside_lie_there_once_however_often_and_in_whatever_batches_they_are_read(history: History) -> None:
    pages = [frame(n, [Row("a", n, 0.01), Row("a", n + 1, -0.5 - n)]) for n in range(4)]
    for batch in ([0, 1], [2, 3], [0, 1, 2], [3], [1, 2, 3], [0]):
        rejected = history.append(TABLE, pl.concat([pages[n] for n in batch])).rejected
        assert rejected == len(batch)
    aside = history.quarantined(TABLE).sort("raw_id")
    assert aside["raw_id"].to_list() == [f"raw-{n:03d}" for n in range(4)]
    assert aside["apy"].to_list() == [-0.5, -1.5, -2.5, -3.5]
    assert set(aside["reason"]) == {"apy must lie in 0 … 10000 (a fraction a year)"}
    assert history.latest(TABLE)["date"].to_list() == [FIRST + dt.timedelta(days=n) for n in range(4)]


def test_an_impossible_value_does_not_replace_a_possible_one(history: History) -> None:
    append(history, 0, Row("a", 0, 0.01))
    append(history, 1, Row("a", 0, math.nan))
    append(history, 2, Row("a", 0, -0.01))
    assert history.latest(TABLE)["apy"].to_list() == [0.01]
    assert history.quarantined(TABLE).height == 2


# Generations


def test_a_new_generation_serves_from_one_moment_to_the_next(history: History) -> None:
    append(history, 0, Row("a", 0, 0.01))
    successor = history.next_generation()
    append(successor, 0, Row("a", 0, 0.02))
    assert History(history.folder).latest(TABLE)["apy"].to_list() == [0.01]  # killed here: the old one serves
    again = History(history.folder).next_generation()
    assert again.generation == successor.generation
    assert again.latest(TABLE).height == 0  # what a killed rebuild left is not taken over
    append(again, 0, Row("a", 0, 0.03))
    again.adopt()
    assert History(history.folder).latest(TABLE)["apy"].to_list() == [0.03]
    assert [path.name for path in history.folder.glob("g*")] == ["g0002"]
    assert History(history.folder).next_generation().generation == "g0003"


def test_a_changeover_that_was_killed_before_the_old_one_was_deleted_holds(history: History, tmp_path: Path) -> None:
    append(history, 0, Row("a", 0, 0.01))
    shutil.copytree(history.folder / "g0001", tmp_path / "kept")
    successor = history.next_generation()
    append(successor, 0, Row("a", 0, 0.02))
    successor.adopt()
    shutil.copytree(tmp_path / "kept", history.folder / "g0001")
    assert History(history.folder).latest(TABLE)["apy"].to_list() == [0.02]


# What a reader delivers


def test_columns_that_a_reader_left_out_are_unknown_and_its_rows_final() -> None:
    table = stamped(pl.DataFrame({"pool": ["a"], "date": [FIRST], "apy": [1]}), TABLE, "raw-1", NOON)
    assert table.to_dicts() == [
        {
            "pool": "a", "date": FIRST, "apy": 1.0, "apy_base": None, "apy_reward": None, "tvl_usd": None,
            "is_final": True, "ingested_at": NOON, "raw_id": "raw-1", "row_no": 0,
        }
    ]  # fmt: skip
    assert table.schema == pl.Schema({**SPEC.columns, **PROVENANCE})


def test_columns_beyond_the_table_are_left_out_and_wrong_types_refused() -> None:
    extra = pl.DataFrame({"pool": ["a"], "date": [FIRST], "apy": [1.0], "mood": ["good"]})
    assert "mood" not in stamped(extra, TABLE, "r", NOON).columns
    with pytest.raises(pl.exceptions.InvalidOperationError):
        stamped(extra.with_columns(pl.lit("high").alias("apy")), TABLE, "r", NOON)
