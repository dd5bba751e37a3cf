from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import TrainingError
from aegis_yield.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from aegis_yield.models.fitting import LEAST_EPOCHS, MAX_SCOUTS, FittedModel, FittingSession, Progress, rounded
from aegis_yield.models.lstm import Weights
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.recipes import TextbookRecipe
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.training import EpochReport, MemberState
from aegis_yield.models.validation import rows_as_inputs
from aegis_yield.preprocessing.panel import build_panel, to_date
from aegis_yield.preprocessing.splits import TimeSplit
from aegis_yield.preprocessing.windows import WindowSet, build_windows

Fitted = tuple[FittedModel, Progress]
ONE_EPOCH = TrainingPlan(epochs=1, batch_size=256, members=1, volatility_members=0, shape_members=0)


class Interrupter:
    """An observer that presses Ctrl-C."""

    def __init__(self, after_epochs: int) -> None:
        self.left = after_epochs

    def started(self, label: str, max_epochs: int, windows_per_epoch: int) -> None: ...

    def advanced(self, n_windows: int, loss: float) -> None:
        if self.left == 0:
            raise KeyboardInterrupt

    def epoch_ended(self, report: EpochReport) -> None:
        self.left -= 1


def no_save(progress: Progress) -> None: ...


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def scrambled_after(dataset: Dataset, day: int, seed: int = 0) -> Dataset:
    """Every number dated after a day is multiplied by its own random factor."""
    rng = np.random.default_rng(seed)

    def scramble(table: pl.DataFrame) -> pl.DataFrame:
        later = pl.col("date") > to_date(day)
        numbers = [name for name in table.columns if table.schema[name].is_float()]
        factors = {name: pl.Series(np.exp(rng.normal(0.0, 1.0, table.height))) for name in numbers}
        return table.with_columns(pl.when(later).then(pl.col(n) * f).otherwise(pl.col(n)) for n, f in factors.items())

    return replace(dataset, yields=scramble(dataset.yields), market=scramble(dataset.market))


def states_of(dataset: Dataset, split: TimeSplit, silent: Any) -> list[MemberState]:
    session = FittingSession(build_windows(build_panel(dataset)), split, ONE_EPOCH)
    session.run(silent, no_save)
    return session.progress.done


def test_scouts_never_see_a_row_after_the_training_block(small_market: Dataset, split: TimeSplit, silent: Any) -> None:
    scout, final = states_of(small_market, split, silent)
    scout_again, final_again = states_of(scrambled_after(small_market, split.train_end), split, silent)
    assert same(scout.network, scout_again.network)
    assert same(scout.average, scout_again.average)
    assert scout.scores != scout_again.scores  # the validation block did change
    assert not same(final.network, final_again.network)  # and finals learn from it


def test_scouts_do_see_the_last_day_of_the_training_block(small_market: Dataset, split: TimeSplit, silent: Any) -> None:
    scout = states_of(small_market, split, silent)[0]
    other = states_of(scrambled_after(small_market, split.train_end - 1), split, silent)[0]
    assert not same(scout.network, other.network)


def test_stopping_is_decided_before_the_calibration_block(small_market: Dataset, split: TimeSplit, silent: Any) -> None:
    scout = states_of(small_market, split, silent)[0]
    again = states_of(scrambled_after(small_market, split.validation_end), split, silent)[0]
    assert scout.scores == again.scores


def test_scaling_is_fitted_on_the_training_block(windows: WindowSet, split: TimeSplit) -> None:
    session = FittingSession(windows, split, ONE_EPOCH)
    rows = windows.eligible & (windows.day < split.train_end) & (windows.max_horizon >= 1)
    np.testing.assert_allclose(session.scaler.mean, windows.features[rows].mean(axis=0), rtol=1e-4, atol=1e-5)


def test_scores_come_from_the_calibration_block_alone(fitted: Fitted, split: TimeSplit) -> None:
    pool = fitted[0].scores
    origin = pool.known_day - pool.horizon_days
    assert len(pool) > 100
    assert origin.min() >= split.validation_end
    assert pool.known_day.max() <= split.calibration_end


def test_scores_are_the_scouts_errors_over_their_spreads(fitted: Fitted, windows: WindowSet, split: TimeSplit) -> None:
    model, progress = fitted[0].model, fitted[1]
    scouts = replace(model, members=tuple(state.best for state in progress.done[:MAX_SCOUTS]))
    pool = fitted[0].scores.where(fitted[0].scores.horizon_days == 1)
    last = pool.where(pool.known_day == pool.known_day.max())
    rows = np.flatnonzero(windows.eligible & (windows.day == last.known_day[0] - 1) & (windows.max_horizon >= 1))
    raw = scouts.locate(rows_as_inputs(windows, rows), 1)
    expected = (windows.apy[rows + 1] - raw.location) / raw.scale
    distance = raw.distances()[:, -1]
    np.testing.assert_allclose(
        np.sort(last.ratio[:, -1].astype(float)), np.sort(expected * raw.scale / distance), rtol=2e-3, atol=1e-4
    )


def test_finals_train_as_long_as_scouts_were_best(fitted: Fitted, small_plan: TrainingPlan) -> None:
    model, progress = fitted
    scouts, finals = progress.done[:MAX_SCOUTS], progress.done[MAX_SCOUTS:]
    best = round(np.mean([state.best_epoch for state in scouts]))
    assert model.epochs == min(max(best, LEAST_EPOCHS), max(state.epoch for state in scouts))
    assert [state.epoch for state in finals] == [model.epochs] * small_plan.members
    assert len(model.model.members) == small_plan.members
    assert all(same(kept, rounded(state.best)) for kept, state in zip(model.model.members, finals, strict=True))


def test_members_differ(fitted: Fitted) -> None:
    heads = [state.network["head.weight"] for state in fitted[1].done]
    assert not any(torch.equal(a, b) for i, a in enumerate(heads) for b in heads[:i])


def test_curves_have_an_entry_an_epoch(fitted: Fitted) -> None:
    model, progress = fitted
    assert list(model.curves) == [
        "scout 1", "scout 2", "final 1", "final 2", "scout 1 validation", "scout 2 validation"
    ]  # fmt: skip
    assert [len(model.curves[name]) for name in list(model.curves)[:4]] == [state.epoch for state in progress.done]


def test_rounding_moves_an_output_by_less_than_a_thousandth(fitted: Fitted, windows: WindowSet) -> None:
    model, states = fitted[0].model, fitted[1].done[MAX_SCOUTS:]
    exact = replace(model, members=tuple(state.best for state in states))
    raw = rows_as_inputs(windows, np.flatnonzero(windows.eligible)[::20]).windows
    assert np.abs(exact.outputs(raw, 7) - model.outputs(raw, 7)).max() < 1e-3


def test_an_interruption_keeps_the_best_so_far(windows: WindowSet, split: TimeSplit, small_plan: TrainingPlan) -> None:
    session = FittingSession(windows, split, small_plan)
    kept = session.run(Interrupter(after_epochs=1), no_save)
    assert kept.interrupted
    assert len(kept.model.members) == 1
    assert same(kept.model.members[0], rounded(session.progress.current.best))
    assert len(kept.scores) > 100


def test_an_interruption_among_the_finals_serves_the_finished_ones(
    windows: WindowSet, split: TimeSplit, small_plan: TrainingPlan, fitted: Fitted
) -> None:
    epochs = [state.epoch for state in fitted[1].done]
    kept = FittingSession(windows, split, small_plan).run(Interrupter(sum(epochs[:3])), no_save)
    assert kept.interrupted
    assert len(kept.model.members) == 1
    assert same(kept.model.members[0], fitted[0].model.members[0])
    assert np.array_equal(kept.scores.ratio, fitted[0].scores.ratio)


def test_an_interruption_before_a_final_is_done_serves_the_scouts(
    windows: WindowSet, split: TimeSplit, small_plan: TrainingPlan, fitted: Fitted
) -> None:
    scouts = fitted[1].done[:MAX_SCOUTS]
    kept = FittingSession(windows, split, small_plan).run(Interrupter(sum(s.epoch for s in scouts)), no_save)
    assert kept.interrupted
    assert all(same(a, rounded(state.best)) for a, state in zip(kept.model.members, scouts, strict=True))


def test_an_interruption_before_the_first_epoch_learned_nothing(
    windows: WindowSet, split: TimeSplit, small_plan: TrainingPlan
) -> None:
    session = FittingSession(windows, split, small_plan)
    with pytest.raises(TrainingError, match="interrupted before the first epoch ended: nothing was learned"):
        session.run(Interrupter(after_epochs=0), no_save)


@pytest.mark.parametrize("after_epochs", [1, 3])
def test_a_resumed_session_equals_one_that_ran_through(
    after_epochs: int, windows: WindowSet, split: TimeSplit, small_plan: TrainingPlan, fitted: Fitted,
    tmp_path: Path, silent: Any,
) -> None:  # fmt: skip
    def save(progress: Progress) -> None:
        save_checkpoint(tmp_path / "c.ckpt", Checkpoint({}, progress))

    FittingSession(windows, split, small_plan).run(Interrupter(after_epochs), save)
    session = FittingSession(windows, split, small_plan)
    session.progress = load_checkpoint(tmp_path / "c.ckpt").progress
    resumed = session.run(silent, save)
    assert all(same(a, b) for a, b in zip(resumed.model.members, fitted[0].model.members, strict=True))
    assert np.array_equal(resumed.scores.ratio, fitted[0].scores.ratio)
    assert resumed.curves.keys() == fitted[0].curves.keys()


def test_progress_is_saved_after_every_epoch_and_network(windows: WindowSet, split: TimeSplit, silent: Any) -> None:
    saved: list[tuple[int, int]] = []

    def save(progress: Progress) -> None:
        saved.append((len(progress.done), progress.current.epoch if progress.current else 0))

    FittingSession(windows, split, ONE_EPOCH).run(silent, save)
    assert saved == [(0, 1), (1, 0), (1, 1), (2, 0)]


def test_the_textbook_recipe_fits_too(windows: WindowSet, split: TimeSplit, silent: Any) -> None:
    plan = replace(ONE_EPOCH, recipe="textbook")
    made = FittingSession(windows, split, plan).run(silent, no_save)
    assert isinstance(made.model.recipe, TextbookRecipe)
    assert made.model.architecture.n_inputs == 6
    raw = made.model.locate(rows_as_inputs(windows, np.flatnonzero(windows.eligible)[::50]), 7)
    assert all(np.isfinite(x).all() for x in (raw.location, raw.scale, raw.volatility))


def test_the_textbook_statistics_are_those_of_the_training_block(
    small_market: Dataset, windows: WindowSet, split: TimeSplit
) -> None:
    plan = replace(ONE_EPOCH, recipe="textbook")
    later = build_windows(build_panel(scrambled_after(small_market, split.train_end)))
    assert FittingSession(later, split, plan).recipe == FittingSession(windows, split, plan).recipe


@pytest.mark.parametrize("recipe", ["anchored", "textbook"])
@pytest.mark.parametrize("block", ["validation", "calibration"])
def test_a_block_without_origins_is_no_obstacle(
    windows: WindowSet, split: TimeSplit, silent: Any, recipe: str, block: str
) -> None:
    """Every strategy of a dataset may have paused for a while."""
    first = split.train_end if block == "validation" else split.validation_end
    last = split.validation_end if block == "validation" else split.calibration_end
    paused = replace(windows, eligible=windows.eligible & ~((windows.day >= first) & (windows.day < last)))
    made = FittingSession(paused, split, replace(ONE_EPOCH, recipe=recipe)).run(silent, no_save)
    assert (len(made.scores) > 0) == (block == "validation")
    raw = made.model.locate(rows_as_inputs(windows, np.flatnonzero(windows.eligible)[::50]), 7)
    assert all(np.isfinite(x).all() for x in (raw.location, raw.scale, raw.volatility))


def test_nothing_to_train_on_is_said(windows: WindowSet, split: TimeSplit) -> None:
    nobody = replace(windows, eligible=np.zeros_like(windows.eligible))
    with pytest.raises(TrainingError, match=r"^no training window: none of [\d,]+ rows .*use a dataset with more"):
        FittingSession(nobody, split, ONE_EPOCH)
