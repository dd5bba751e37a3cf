"""Standings against the project's own scorecard, naive loops, and numbers known in advance."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.forecast import QUANTILE_COLUMNS
from aegis_yield.models.baselines import Ewma, LastValue
from aegis_yield.pipelines.scoring import Frame, scorecard
from aegis_yield.pipelines.walk import Course as WalkCourse
from aegis_yield.pipelines.walk import Walk, fresh, walk_forward
from aegis_yield.preprocessing.origins import history_before
from aegis_yield.preprocessing.panel import build_panel, to_date, to_day
from benchmarks.race.cold import cold_table, newborn_table
from benchmarks.race.rows import Rows, log_error, month_name, month_of, quarter_name, quarter_of
from benchmarks.race.standings import (
    Field,
    pair_table,
    score_table,
    slice_table,
    tercile_labels,
    volatility_table,
)

HORIZON = 7


@pytest.fixture(scope="module")
def origins(small_market: Dataset) -> tuple[int, ...]:
    last = to_day(small_market.last_date)
    return tuple(range(last - 150, last - 5, 7))


@pytest.fixture(scope="module")
def walks(small_market: Dataset, origins: tuple[int, ...]) -> dict[str, Walk]:
    panel = build_panel(
        small_market, start=to_date(history_before(origins[0]) - 182), end=to_date(origins[-1] + HORIZON)
    )
    course = WalkCourse(origins, HORIZON, 7)
    naive, ewma = walk_forward(panel, [fresh(LastValue()), fresh(Ewma())], course)
    return {"last": naive, "ewma": ewma}


@pytest.fixture(scope="module")
def rows(small_market: Dataset, origins: tuple[int, ...]) -> Rows:
    return Rows.of(small_market, origins, HORIZON)


@pytest.fixture(scope="module")
def field(rows: Rows, walks: dict[str, Walk], origins: tuple[int, ...]) -> Field:
    read = {key: rows.read(walk.forecasts.to_frame(), key, origins) for key, walk in walks.items()}
    losses = {key: rows.losses(forecasts) for key, forecasts in read.items()}
    return Field(rows, losses, {key: r["volatility"].to_numpy() for key, r in read.items()}, month_of)


def test_the_common_rows_are_those_of_the_walk_with_known_outcome(rows: Rows, walks: dict[str, Walk]) -> None:
    walk = walks["last"]
    known = np.isfinite(walk.actual_apy)
    assert 0 < known.sum() < len(known)
    assert rows.strategy_id.tolist() == walk.forecasts.keys.strategy_id[known].astype(str).tolist()
    assert rows.day.tolist() == walk.forecasts.keys.origin[known].astype(int).tolist()
    assert np.array_equal(rows.apy, walk.actual_apy[known])
    assert np.array_equal(rows.volatility, walk.actual_volatility[known])
    assert np.array_equal(rows.category, walk.forecasts.keys.category[known])


def test_births_are_first_rows(rows: Rows, small_market: Dataset) -> None:
    first = dict(small_market.yields.group_by("strategy_id").agg(pl.col("date").min()).iter_rows())
    assert {to_date(day) for day in rows.born} <= set(first.values())
    assert all(first[name] == to_date(born) for name, born in zip(rows.strategy_id, rows.born, strict=True))


@pytest.mark.parametrize("method", ["last", "ewma"])
def test_scores_are_those_of_the_projects_own_scorecard(field: Field, walks: dict[str, Walk], method: str) -> None:
    ours = score_table(field, ["last", "ewma"], field.everywhere)[method]
    theirs = scorecard(walks[method], Frame.of(walks["last"]))
    assert ours["mae"] == pytest.approx(theirs["rel_mae"], rel=1e-12)
    assert ours["crps"] == pytest.approx(theirs["rel_crps"], rel=1e-12)
    assert ours["pooled_mae"] == pytest.approx(theirs["mae"], rel=1e-12)
    assert ours["strategy_gap90"] == pytest.approx(theirs["coverage_90_of_strategies"]["mean_gap"], rel=1e-12)
    for level in (80, 90, 95):
        assert ours[f"cover{level}"] == pytest.approx(theirs["intervals"][f"0.{level}"]["coverage"], rel=1e-12)
    for category, entry in theirs["rel_crps_by_category"].items():
        assert ours["by_category"][category]["crps"] == pytest.approx(entry["score"], rel=1e-12)
        covered = theirs["coverage_90_by_category"][category]["coverage"]
        assert ours["by_category"][category]["cover90"] == pytest.approx(covered, rel=1e-12)


def test_slices_by_month_cover_as_the_scorecard_says(field: Field, walks: dict[str, Walk]) -> None:
    theirs = scorecard(walks["ewma"], Frame.of(walks["last"]))
    table = slice_table(field, "ewma", field.everywhere)
    months = {label: (entry["cover90"], entry["n_rows"]) for label, entry in table["month"].items()}
    own = {label: (entry["cover90"], entry["n_rows"]) for label, entry in table["own_tercile"].items()}
    assert months == {m: (e["coverage"], e["n_forecasts"]) for m, e in theirs["coverage_90_by_month"].items()}
    assert own == {t: (e["coverage"], e["n_forecasts"]) for t, e in theirs["coverage_90_by_volatility"].items()}


def test_a_slices_score_is_that_of_a_loop(field: Field) -> None:
    table = slice_table(field, "ewma", field.everywhere)
    naive, own = field.losses["last"]["crps"], field.losses["ewma"]["crps"]
    scored = field.scored(field.everywhere)
    months = np.array([month_name(month) for month in month_of(field.rows.day)])
    for label, entry in table["month"].items():
        top = bottom = 0.0
        for at in np.flatnonzero(months == label):
            code = field.rows.strategy[at]
            if scored[code]:
                mean = naive[field.rows.strategy == code].mean()
                top, bottom = top + own[at] / mean, bottom + naive[at] / mean
        assert entry["crps"] == pytest.approx(top / bottom, rel=1e-10)
    assert {entry["mae"] for entry in slice_table(field, "last", field.everywhere)["month"].values()} == {1.0}


def test_a_method_that_leaves_out_a_row_is_refused(
    rows: Rows, walks: dict[str, Walk], origins: tuple[int, ...]
) -> None:
    table = walks["ewma"].forecasts.to_frame()
    name = str(rows.strategy_id[3])
    without = table.filter(~((pl.col("strategy_id") == name) & (pl.col("origin") == to_date(int(rows.day[3])))))
    with pytest.raises(ValueError, match=f"the first is {name}"):
        rows.read(without, "ewma", origins)


def test_a_thinned_method_is_scored_only_where_it_spoke(rows: Rows, field: Field, walks: dict[str, Walk],
                                                        origins: tuple[int, ...]) -> None:  # fmt: skip
    thinned = origins[::3]
    table = walks["ewma"].forecasts.to_frame().filter(pl.col("origin").is_in([to_date(day) for day in thinned]))
    losses = dict(field.losses) | {"few": rows.losses(rows.read(table, "few", thinned))}
    both = Field(rows, losses, field.volatility, month_of)
    assert np.array_equal(both.covered_by("few"), np.isin(rows.day, thinned))
    with pytest.raises(ValueError, match="few has no forecast"):
        score_table(both, ["last", "few"], both.everywhere)
    common = both.covered_by("last", "few")
    scores = score_table(both, ["last", "ewma", "few"], common)
    assert str(scores["few"]) == str(scores["ewma"])  # few outcomes: what is not known is NaN in both
    assert scores["last"]["crps"] == 1.0
    assert pair_table(both, "few", "ewma")["crps"]["value"] == pytest.approx(1.0)


def test_pairs_are_ratios_of_the_scores_where_the_naive_cancels(field: Field) -> None:
    table = pair_table(field, "ewma", "last")
    score = score_table(field, ["ewma"], field.everywhere)["ewma"]
    assert table["crps"]["value"] == pytest.approx(score["crps"], rel=1e-9)
    assert table["crps"]["low"] < table["crps"]["value"] < table["crps"]["high"]
    assert sum(entry["n_rows"] for entry in table["by_category"].values()) == len(field.rows)


def test_terciles_split_the_chosen_rows_in_three() -> None:
    volatility = np.arange(90.0)
    labels = tercile_labels(volatility, volatility < 30)
    assert [(labels[:30] == name).sum() for name in ("calm", "middle", "volatile")] == [10, 10, 10]
    assert set(labels[30:]) == {"volatile"}


def test_volatility_is_scored_where_all_have_spoken(field: Field) -> None:
    table = volatility_table(field, ["last", "ewma"], "last")
    assert table["last"]["rel_qlike"] == table["last"]["rel_log"] == 1.0
    # Both baselines carry the same RiskMetrics volatility.
    assert table["ewma"] == table["last"]


def test_the_log_error_is_symmetric_and_floored() -> None:
    assert log_error(np.array([0.2, 0.1]), np.array([0.1, 0.2])) == pytest.approx([np.log(2)] * 2)
    assert log_error(np.zeros(1), np.array([1e-4])).tolist() == [0.0]


def test_a_cold_start_without_any_loss_of_skill_is_a_ratio_of_one(field: Field) -> None:
    held_out = frozenset(field.rows.strategy_id[field.rows.strategy % 3 == 0].tolist())
    table = cold_table(field, "ewma", field.losses["ewma"], held_out)
    assert table["ratio"]["crps"]["value"] == pytest.approx(1.0)
    assert table["unseen"] == table["warm"]
    assert table["unseen"]["n_rows"] + table["seen"]["n_rows"] == len(field.rows)
    for groups in table["unseen_groups"].values():
        assert sum(group["n_rows"] for group in groups.values()) == table["unseen"]["n_rows"]
        inside = sum(group["n_rows"] * group["cover90"] for group in groups.values())
        assert inside / table["unseen"]["n_rows"] == pytest.approx(table["unseen"]["cover90"])


def test_a_cold_start_compares_the_held_out_strategies_only(field: Field) -> None:
    unseen = field.rows.strategy % 3 == 0
    worse = {name: np.where(unseen, 2.0, 1.0) * loss for name, loss in field.losses["ewma"].items()}
    table = cold_table(field, "ewma", worse, frozenset(field.rows.strategy_id[unseen].tolist()))
    assert table["ratio"]["crps"]["value"] == pytest.approx(2.0)
    assert table["seen"] == table["warm_seen"]
    assert table["unseen_over_seen"]["crps"] == pytest.approx(2 * table["warm_unseen_over_seen"]["crps"])


def test_the_newborn_are_those_without_a_row_at_the_cutoff(field: Field) -> None:
    born = field.rows.born
    cutoff = int(np.quantile(born, 0.8))
    cutoffs = np.full(len(born), cutoff)
    table = newborn_table(field, ["last", "ewma"], cutoffs)
    assert table["last"]["n_rows"] == int((born > cutoff).sum())
    assert table["last"]["crps"] == pytest.approx(1.0)
    assert newborn_table(field, ["last"], np.full(len(born), born.max())) == {}


def test_calendar_names() -> None:
    days = np.array([to_day(dt.date(2024, 9, 30)), to_day(dt.date(2024, 10, 1)), to_day(dt.date(1970, 1, 1))])
    assert [month_name(month) for month in month_of(days)] == ["2024-09", "2024-10", "1970-01"]
    assert [quarter_name(quarter) for quarter in quarter_of(days)] == ["2024-Q3", "2024-Q4", "1970-Q1"]


def test_losses_of_a_forecast_that_was_right(rows: Rows) -> None:
    exact = pl.DataFrame(dict.fromkeys(("apy", *QUANTILE_COLUMNS), rows.apy)).with_columns(
        pl.Series("volatility", rows.volatility)
    )
    losses = rows.losses(exact)
    for name in ("mae", "crps", "winkler90", "qlike", "log"):
        assert losses[name] == pytest.approx(np.zeros(len(rows)), abs=1e-12)
    assert losses["inside90"].all()
