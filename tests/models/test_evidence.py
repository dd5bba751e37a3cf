from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.targets import realised_apy
from aegis_yield.models import evidence as evidence_module
from aegis_yield.models.calibration import HORIZON_GRID, SIDE_LEVELS, ScorePool
from aegis_yield.models.evidence import STEP_DAYS, Evidence, gather_evidence
from aegis_yield.models.lstm import LstmModel
from aegis_yield.models.own_records import strategy_codes
from aegis_yield.models.quantile_functions import laplace_quantiles
from aegis_yield.models.recipes import TextbookRecipe
from aegis_yield.models.validation import rows_as_inputs
from aegis_yield.models.volatility import VolatilityMap
from aegis_yield.preprocessing.origins import history_before
from aegis_yield.preprocessing.panel import build_panel, to_date
from aegis_yield.preprocessing.splits import TimeSplit
from aegis_yield.preprocessing.windows import WindowSet, build_windows

MakeModel = Callable[..., LstmModel]
Block = tuple[int, int]


@dataclass(frozen=True)
class Outcome:
    """What one forecast of the scouts' said and what happened."""

    horizon: int
    known_day: int
    category: int
    location: float
    scale: float
    actual: float

    @property
    def score(self) -> float:
        return (self.actual - self.location) / self.scale


def outcomes(scouts: LstmModel, data: WindowSet, block: Block) -> list[Outcome]:
    """Row by row, what a block of days has to teach."""
    found = []
    for horizon in HORIZON_GRID:
        for row in np.flatnonzero(data.eligible & (data.day >= block[0]) & (data.max_horizon >= horizon)):
            day = int(data.day[row])
            if day + horizon > block[1] or (block[1] - day) % STEP_DAYS:
                continue
            inputs = rows_as_inputs(data, np.array([row]))
            raw = scouts.locate(inputs, horizon)
            actual = float(realised_apy(data.apy[row + 1 : row + 1 + horizon]))
            known_day, category = day + horizon, int(data.category[row])
            found.append(Outcome(horizon, known_day, category, float(raw.location[0]), float(raw.scale[0]), actual))
    return found


def scores_in_spreads(pool: ScorePool) -> np.ndarray:
    """What the ratios of forecasts in Laplace's shape say: errors over spreads."""
    return pool.ratio[:, -1].astype(float) * float(laplace_quantiles(np.array([SIDE_LEVELS[-1]]))[0])


def table(evidence: Evidence) -> np.ndarray:
    """Scores in a fixed order: columns horizon, known day, category, score."""
    pool = evidence.scores
    columns = (scores_in_spreads(pool), pool.category, pool.known_day, pool.horizon_days)
    return np.stack(columns[::-1], axis=1)[np.lexsort(columns)]


def check_same(a: Evidence, b: Evidence) -> None:
    np.testing.assert_allclose(table(a), table(b), rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(a.volatility_map.coefficients, b.volatility_map.coefficients, atol=1e-5)


def scrambled(dataset: Dataset, first_day: int, last_day: int) -> Dataset:
    """Every number dated outside these days is multiplied by its own random factor."""
    rng = np.random.default_rng(0)

    def scramble(table: pl.DataFrame) -> pl.DataFrame:
        inside = pl.col("date").is_between(to_date(first_day), to_date(last_day))
        numbers = [name for name in table.columns if table.schema[name].is_float()]
        factors = {name: pl.Series(np.exp(rng.normal(0.0, 1.0, table.height))) for name in numbers}
        return table.with_columns(pl.when(inside).then(pl.col(n)).otherwise(pl.col(n) * f) for n, f in factors.items())

    return replace(dataset, yields=scramble(dataset.yields), market=scramble(dataset.market))


@pytest.fixture(scope="module")
def scouts(make_model: MakeModel) -> LstmModel:
    return make_model(n_members=1, seed=3)


@pytest.fixture(scope="module")
def block(split: TimeSplit) -> Block:
    return split.validation_end, split.calibration_end


@pytest.fixture(scope="module")
def evidence(scouts: LstmModel, windows: WindowSet, block: Block) -> Evidence:
    return gather_evidence(scouts, windows, *block)


@pytest.fixture(scope="module")
def expected(scouts: LstmModel, windows: WindowSet, block: Block) -> list[Outcome]:
    return outcomes(scouts, windows, block)


def test_scores_come_from_the_block_alone(evidence: Evidence, block: Block) -> None:
    pool = evidence.scores
    origin = pool.known_day - pool.horizon_days
    assert set(pool.horizon_days) == set(HORIZON_GRID)
    assert origin.min() >= block[0]
    assert pool.known_day.max() == block[1]
    assert ((block[1] - origin) % STEP_DAYS == 0).all()


def test_scores_know_whose_they_are(evidence: Evidence, windows: WindowSet) -> None:
    pool, codes = evidence.scores, strategy_codes(windows.strategy_ids)
    category_of = dict(zip(windows.strategy.tolist(), windows.category.tolist(), strict=True))
    place = {int(code): number for number, code in enumerate(codes)}
    assert set(pool.strategy.tolist()) <= place.keys()
    assert len(set(pool.strategy.tolist())) > 1
    assert [category_of[place[code]] for code in pool.strategy.tolist()] == pool.category.tolist()


def test_scores_are_errors_over_the_spread(evidence: Evidence, expected: list[Outcome]) -> None:
    rows = sorted((one.horizon, one.known_day, one.category, one.score) for one in expected)
    np.testing.assert_allclose(table(evidence), rows, rtol=1e-3, atol=1e-3)


def test_a_block_without_outcomes_teaches_nothing(scouts: LstmModel, windows: WindowSet, block: Block) -> None:
    nothing = gather_evidence(scouts, windows, block[1], block[1])
    assert len(nothing.scores) == 0
    assert np.array_equal(nothing.volatility_map.coefficients, VolatilityMap.identity().coefficients)


def test_a_block_too_short_for_long_horizons_teaches_the_short_ones(
    scouts: LstmModel, windows: WindowSet, block: Block
) -> None:
    short = gather_evidence(scouts, windows, block[1] - 10, block[1])
    assert set(short.scores.horizon_days) == {horizon for horizon in HORIZON_GRID if horizon <= 10}


def test_the_textbook_recipe_is_scored_alike(make_model: MakeModel, windows: WindowSet, block: Block) -> None:
    textbook = make_model(n_members=1, recipe=TextbookRecipe(0.06, 0.02, 0.1, 0.3))
    found = gather_evidence(textbook, windows, *block)
    rows = [(one.horizon, one.known_day, one.category, one.score) for one in outcomes(textbook, windows, block)]
    np.testing.assert_allclose(table(found), sorted(rows), rtol=1e-3, atol=1e-3)


def test_what_the_block_may_not_see_changes_nothing(
    small_market: Dataset, scouts: LstmModel, windows: WindowSet, split: TimeSplit
) -> None:
    block = (split.train_end, split.validation_end)  # with days before its history and days after it
    other = scrambled(small_market, history_before(block[0]), block[1])
    again = gather_evidence(scouts, build_windows(build_panel(other)), *block)
    check_same(gather_evidence(scouts, windows, *block), again)


def test_the_last_day_of_the_block_is_seen(
    small_market: Dataset, scouts: LstmModel, windows: WindowSet, split: TimeSplit
) -> None:
    block = (split.train_end, split.validation_end)
    other = build_windows(build_panel(scrambled(small_market, 0, block[1] - 1)))
    before, after = (gather_evidence(scouts, data, *block) for data in (windows, other))
    last = before.scores.known_day == block[1]
    assert np.array_equal(before.scores.known_day, after.scores.known_day)
    assert (before.scores.ratio[last] != after.scores.ratio[last]).all()


def test_a_bundle_keeps_no_more_scores_than_it_may(
    scouts: LstmModel, windows: WindowSet, block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_module, "MAX_SCORES_PER_HORIZON", 50)
    pool = gather_evidence(scouts, windows, *block).scores
    _, count = np.unique(pool.horizon_days, return_counts=True)
    assert 25 < count.min() <= count.max() <= 50
    days = pool.known_day[pool.horizon_days == 1]
    assert days.min() <= block[0] + 10  # from the whole block
    assert days.max() >= block[1] - 10
