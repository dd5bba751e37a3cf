"""Scores that every training leaves: of the scouts, on days they have not seen, by horizon and category."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from bundles import TINY_PLAN, Silent, market, trained_until

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.models.calibration import SIDE_LEVELS
from aegis_yield.models.fitting import FittedModel, FittingSession
from aegis_yield.models.training import EpochReport
from aegis_yield.models.validation import rows_as_inputs
from aegis_yield.pipelines.training_record import adopted, pictures_of
from aegis_yield.pipelines.training_scores import STEP_DAYS, flat_scores, held_scores, scores_of_training
from aegis_yield.preprocessing.panel import build_panel
from aegis_yield.preprocessing.splits import split_time
from aegis_yield.preprocessing.windows import build_windows

PLAN = replace(TINY_PLAN, batch_size=128, epochs=2, shape_members=0, volatility_members=0)


def new_session() -> FittingSession:
    panel = build_panel(market().known_at(trained_until()))
    split = split_time(panel.first_day, panel.first_day + panel.n_days - 1)
    return FittingSession(build_windows(panel), split, PLAN)


@functools.cache
def trained() -> tuple[FittingSession, FittedModel]:
    session = new_session()
    return session, session.run(Silent(), lambda _: None)


def errors_one_by_one(horizon: int) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Error of the scout and of the last value, by category and strategy, from one forecast after the other."""
    session, fitted = trained()
    data, split = session.data, session.split
    scout = replace(fitted.model, members=(session.progress.done[0].best,), shape=None)
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in range(len(data.day)):
        day = int(data.day[row])
        inside = split.validation_end < day <= split.calibration_end - horizon
        if inside and data.eligible[row] and (split.calibration_end - day) % STEP_DAYS == 0:
            future = data.apy[row + 1 : row + 1 + horizon]
            if data.max_horizon[row] >= horizon:
                growth = np.prod((1 + np.maximum(future, 1e-6 - 1)) ** (1 / 365))
                paid = float(growth ** (365 / horizon) - 1)
                said = float(scout.locate(rows_as_inputs(data, np.array([row])), horizon).location[0])
                of_kind = found.setdefault(CATEGORIES[data.category[row]], {})
                pair = (abs(paid - said), abs(paid - float(data.apy[row])))
                of_kind.setdefault(str(data.strategy[row]), []).append(pair)
    return found


@pytest.mark.parametrize("horizon", [1, 7])
def test_errors_are_those_of_the_scout_forecast_by_forecast(horizon: int) -> None:
    table = scores_of_training(*trained())[str(horizon)]
    everything = []
    for category, strategies in errors_one_by_one(horizon).items():
        ratios = [
            np.mean([own for own, _ in pairs]) / np.mean([naive for _, naive in pairs])
            for pairs in strategies.values()
            if len(pairs) >= 10 and np.mean([naive for _, naive in pairs]) > 1e-6
        ]
        everything += ratios
        if ratios:
            assert table[category]["rel_mae"] == pytest.approx(np.exp(np.mean(np.log(ratios))), abs=2e-4)
            assert table[category]["n_strategies"] == len(ratios)
    assert len(everything) > 5
    assert table["all"]["rel_mae"] == pytest.approx(np.exp(np.mean(np.log(everything))), abs=2e-4)


def test_coverage_is_the_share_inside_before_calibration() -> None:
    fitted = trained()[1]
    low, high = SIDE_LEVELS.index(0.05), SIDE_LEVELS.index(0.95)
    by_category: dict[str, list[bool]] = {}
    for ratio, category, horizon in zip(
        fitted.scores.ratio, fitted.scores.category, fitted.scores.horizon_days, strict=True
    ):
        if horizon == 7:
            by_category.setdefault(CATEGORIES[category], []).append(bool(ratio[low] <= 1 and ratio[high] <= 1))
    table = scores_of_training(*trained())["7"]
    for category, inside in by_category.items():
        assert table[category]["coverage_90"] == pytest.approx(np.mean(inside), abs=1e-4)
    assert set(by_category) | {"all"} == {name for name, card in table.items() if "coverage_90" in card}


def test_figures_are_named_by_horizon_and_category() -> None:
    scores = {"7": {"all": {"rel_mae": 0.9}, "lending": {"rel_mae": 0.8}}}
    assert flat_scores(scores) == {"scouts/h07/rel_mae": 0.9, "scouts/h07/rel_mae/lending": 0.8}


@pytest.mark.parametrize(
    "scores", [None, 3, "x", [], {"7": 1}, {"7": {"lending": 2}}, {"7": {"all": {"rel_mae": "x"}}}]
)
def test_a_foreign_bundle_may_say_anything(scores: object) -> None:
    provenance = {"scores": scores, "curves": {"scout 1": scores}}
    assert flat_scores(held_scores(provenance)) == {}
    assert adopted("lstm_v1", b"", provenance, {}).metrics == {}
    assert not [name for name in pictures_of(provenance) if name not in ("pictures/loss.svg",)]


class Stopped(Silent):
    """Interrupts a training in the middle of its first network."""

    def epoch_ended(self, report: EpochReport) -> None:
        if report.epoch == 2:
            raise KeyboardInterrupt


def test_a_training_stopped_before_a_scout_was_done_has_no_scores() -> None:
    session = new_session()
    fitted = session.run(Stopped(), lambda _: None)
    assert fitted.interrupted
    assert scores_of_training(session, fitted) == {}
