"""Promises are judged by the numbers they name, and every table and picture can be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.race.page import write_race_page
from benchmarks.race.standings import OURS
from benchmarks.race.tables import all_tables, ratio_text
from benchmarks.race.verdicts import verdict_table, verdicts, worst_gap

COVERED = {"cover80": 0.80, "cover90": 0.90, "cover95": 0.95}


def scores(value: float, n_rows: int = 400, **covered: float) -> dict[str, Any]:
    losses = {"mae": value, "crps": value, "winkler90": value}
    return losses | COVERED | covered | {"n_rows": n_rows, "n_strategies": 20}


def ratio(value: float) -> dict[str, float]:
    return {
        "value": value,
        "low": value - 0.02,
        "high": value + 0.02,
        "n_strategies": 20,
        "n_rows": 400,
        "n_blocks": 12,
    }


def pair(value: float, names: tuple[str, ...] = ("mae", "crps", "winkler90"), n_rows: int = 400) -> dict[str, Any]:
    own = {name: ratio(value) for name in names}
    return own | {"n_rows": n_rows, "by_category": {"lending": own | {"n_rows": n_rows}}}


def full(value: float) -> dict[str, Any]:
    return scores(value) | {
        "pooled_mae": 0.01,
        "strategy_gap90": 0.04,
        "median_width90": 0.1,
        "by_category": {"lending": scores(value)},
    }


def slices(value: float) -> dict[str, Any]:
    return {
        "month": {"2024-10": scores(value)},
        "quarter": {"2024-Q4": scores(value)},
        "tercile": {"calm": scores(value)},
        "own_tercile": {"calm": scores(value)},
    }


def results(**pairs: float) -> dict[str, Any]:
    volatility = {"rel_qlike": 0.8, "rel_log": 0.8, "mean_qlike": 2.0, "median_qlike": 0.5, "mean_log": 0.9}
    main = {
        "n_rows": 400,
        "n_origins": 51,
        "scores": {OURS: full(0.7), "last": full(1.0)},
        "common": {OURS: full(0.7), "fracast": full(1.1)},
        "common_origins": 13,
        "slices": {OURS: slices(0.7), "last": slices(1.0)},
        "pairs": {key.replace("_", "-"): pair(value) for key, value in pairs.items()},
        "newborn": {OURS: scores(0.7)},
        "volatility": {OURS: volatility, "vol-ewma": volatility},
        "volatility_pairs": {"vol-ewma": pair(0.85, ("qlike", "log")), "vol-loghar": pair(1.5, ("qlike", "log"))},
    }
    cold = {
        **{kind: scores(0.75) for kind in ("unseen", "seen", "warm", "warm_seen")},
        "ratio": {name: ratio(1.02) for name in ("mae", "crps", "winkler90")},
        "unseen_groups": {
            "category": {"lending": scores(0.7, cover90=0.885), "vault": scores(0.7, 299)},
            "quarter": {},
        },
        "unseen_over_seen": {"mae": 1.0, "crps": 1.04, "winkler90": 1.0},
        "warm_unseen_over_seen": {"mae": 1.0, "crps": 1.03, "winkler90": 1.0},
    }
    cost = {"fit_seconds": 9.0, "total_seconds": 10.0, "features_seconds": 0.1, "peak_mb": 900.0, "data_mb": 500.0}
    return {
        "course": {
            "data": {"name": "test", "simulated": False}, "start": "2024-10-01", "end": "2025-09-20", "every_days": 7,
            "n_origins": 51, "refits": ["2024-09-30"], "commit": "abc",
        },
        "horizons": {7: main, 30: main},
        "cold": {"horizon_days": 7, "n_held_out": 9, "methods": {OURS: cold}},
        "costs": {OURS: cost | {"origin_seconds": 0.01}, "ets": cost | {"origin_seconds": 4.0}},
        "failures": [],
    }  # fmt: skip


def judged(found: dict[str, Any], words: str) -> tuple[float, bool]:
    (verdict,) = [verdict for verdict in verdicts(found) if words in verdict.promise]
    return verdict.value, verdict.met


def test_trees_are_beaten_by_as_much_as_was_promised() -> None:
    assert judged(results(lgbm_cqr=0.91), "CRPS over LightGBM quantile + CQR, 30 d") == (0.91, True)
    found = [v for v in verdicts(results(lgbm_cqr=0.91)) if v.promise == "CRPS over LightGBM quantile + CQR"]
    assert [(v.value, v.limit, v.met) for v in found] == [(0.91, 0.92, True)]
    assert judged(results(lgbm_cqr=0.91), "Winkler 90 over LightGBM quantile + CQR, lending") == (0.91, True)
    winkler = [v for v in verdicts(results(lgbm_cqr=0.91)) if v.promise == "Winkler 90 over LightGBM quantile + CQR"]
    assert [v.met for v in winkler] == [False]


def test_the_best_outsider_is_the_one_we_beat_least() -> None:
    assert judged(results(ses=0.5, ets=0.79, fracast=0.6), "the best of statsforecast") == (0.79, True)
    assert judged(results(ses=0.5, nf_lstm=0.81), "neuralforecast LSTM") == (0.81, False)


def test_volatility_is_held_against_the_three_that_were_named() -> None:
    assert judged(results(), "QLIKE over the best of its peers (EWMA (RiskMetrics))") == (0.85, True)


def test_small_categories_are_not_judged() -> None:
    found = results(lgbm_cqr=0.5)
    found["horizons"][7]["pairs"]["lgbm-cqr"] = pair(1.5, n_rows=299)
    assert not [v for v in verdicts(found) if "lending" in v.promise and "CRPS" in v.promise]


def test_coverage_is_judged_by_its_worst_interval() -> None:
    assert worst_gap(scores(0.7, cover80=0.77, cover95=0.96)) == pytest.approx(0.03)
    found = results()
    found["horizons"][7]["slices"][OURS]["quarter"]["2024-Q4"] = scores(0.7, cover95=0.915)
    assert judged(found, "2024-Q4") == (pytest.approx(0.035), False)
    assert judged(found, "calm tercile") == (pytest.approx(0.0), True)


def test_cold_starts_are_held_to_the_same_coverage() -> None:
    assert judged(results(), "cold start: coverage off by, lending") == (pytest.approx(0.015), True)
    assert not [v for v in verdicts(results()) if "cold start" in v.promise and "vault" in v.promise]


def test_speed_is_judged_by_one_origin() -> None:
    assert judged(results(), "AutoETS") == (pytest.approx(1_000 * 0.01 / 4.0), False)


def test_an_unknown_value_is_no_kept_promise() -> None:
    assert judged(results(ses=float("nan")), "the best of statsforecast")[1] is False


def test_every_table_and_the_page_can_be_made(tmp_path: Path) -> None:
    found = results(lgbm_cqr=0.9, lgbm_point=0.95, last=0.7, fracast=0.6)
    tables = [*all_tables(found), verdict_table(found)]
    assert all(len(row) == len(table.header) for table in tables for row in table.rows)
    titles = [table.title for table in tables]
    assert len(titles) == len(set(titles))
    write_race_page(found, tables, tmp_path / "race.html")
    page = (tmp_path / "race.html").read_text()
    assert "0.900 [0.880, 0.920]" in page
    assert page.count("<table") == len(tables)


def test_a_ratio_shows_its_interval() -> None:
    assert ratio_text(ratio(0.9)) == "0.900 [0.880, 0.920]"
