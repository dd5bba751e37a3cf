"""What the tests of the networks share: tables, windows, a toy problem, models with random weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.forecast import ForecastKeys
from aegis_yield.domain.limits import MAX_HORIZON_DAYS
from aegis_yield.models.bundle import Bundle
from aegis_yield.models.calibration import HORIZON_GRID, Calibrator, ScorePool
from aegis_yield.models.fitting import FittedModel, FittingSession, Progress, rounded
from aegis_yield.models.lstm import LstmModel
from aegis_yield.models.network import Architecture, YieldNetwork
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.recipes import AnchoredRecipe, Recipe
from aegis_yield.models.scaling import FeatureScaler
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.training import EpochReport
from aegis_yield.models.volatility import VolatilityMap
from aegis_yield.preprocessing.features import FEATURE_NAMES, WINDOW_DAYS
from aegis_yield.preprocessing.origins import HISTORY_DAYS, ModelInputs
from aegis_yield.preprocessing.panel import Panel, build_panel
from aegis_yield.preprocessing.splits import TimeSplit, split_time
from aegis_yield.preprocessing.windows import WindowSet, build_windows

N_FEATURES = len(FEATURE_NAMES)


class Silent:
    """An observer that only keeps the reports."""

    def __init__(self) -> None:
        self.reports: list[EpochReport] = []

    def started(self, label: str, max_epochs: int, windows_per_epoch: int) -> None: ...

    def advanced(self, n_windows: int, loss: float) -> None: ...

    def epoch_ended(self, report: EpochReport) -> None:
        self.reports.append(report)


@pytest.fixture
def silent() -> Silent:
    return Silent()


@pytest.fixture(scope="session")
def panel(small_market: Dataset) -> Panel:
    return build_panel(small_market)


@pytest.fixture(scope="session")
def windows(panel: Panel) -> WindowSet:
    return build_windows(panel)


@pytest.fixture(scope="session")
def split(panel: Panel) -> TimeSplit:
    return split_time(panel.first_day, panel.first_day + panel.n_days - 1)


@pytest.fixture(scope="session")
def small_plan() -> TrainingPlan:
    return TrainingPlan(epochs=2, batch_size=256, members=2, volatility_members=0, shape_members=0, patience=2)


@pytest.fixture(scope="session")
def fitted(windows: WindowSet, split: TimeSplit, small_plan: TrainingPlan) -> tuple[FittedModel, Progress]:
    session = FittingSession(windows, split, small_plan)
    return session.run(Silent(), lambda progress: None), session.progress


@pytest.fixture(scope="session")
def toy() -> WindowSet:
    """Four strategies: every day half the gap to the mean closes, and the first feature is the gap."""
    rng = np.random.default_rng(0)
    n_strategies, n_days = 4, 200
    gap = np.zeros((n_strategies, n_days))
    for today in range(1, n_days):
        gap[:, today] = 0.5 * gap[:, today - 1] + rng.standard_normal(n_strategies)
    noise = rng.standard_normal((n_strategies, n_days, 2))
    day = np.tile(np.arange(n_days), n_strategies)
    return WindowSet(
        features=np.concatenate([gap[:, :, None], noise], axis=2).reshape(-1, 3).astype(np.float32),
        apy=np.pad(0.05 + 0.01 * gap.ravel(), (0, MAX_HORIZON_DAYS), constant_values=np.nan),
        scale=np.full(day.size, 0.01),
        day=day,
        strategy=np.repeat(np.arange(n_strategies), n_days),
        category=np.zeros(day.size, dtype=np.int64),
        eligible=day >= 30,
        max_horizon=np.minimum(n_days - 1 - day, MAX_HORIZON_DAYS),
        strategy_ids=np.arange(n_strategies).astype(str),
    )


@pytest.fixture(scope="session")
def inputs() -> ModelInputs:
    rng = np.random.default_rng(5)
    n = 40
    raw = rng.standard_normal((n, WINDOW_DAYS, N_FEATURES)).astype(np.float32)
    raw[:, :, -len(CATEGORIES) :] = np.eye(len(CATEGORIES))[rng.integers(0, len(CATEGORIES), n)][:, None, :]
    history = np.abs(0.05 + np.cumsum(0.002 * rng.standard_normal((n, HISTORY_DAYS)), axis=1))
    return ModelInputs(raw, history[:, -1], rng.uniform(1e-4, 1e-2, n), history)


@pytest.fixture(scope="session")
def keys(inputs: ModelInputs) -> ForecastKeys:
    n = len(inputs)
    category = inputs.windows[:, -1, -len(CATEGORIES) :].argmax(axis=1)
    return ForecastKeys(np.arange(n).astype(str), np.full(n, "2025-06-01", dtype="datetime64[D]"), category)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., LstmModel]:
    def make(n_members: int = 2, recipe: Recipe | None = None, seed: int = 0) -> LstmModel:
        recipe = recipe or AnchoredRecipe()
        rng = np.random.default_rng(seed)
        n_channels = recipe.inputs(np.zeros((1, N_FEATURES), dtype=np.float32)).shape[1]
        architecture = Architecture(n_inputs=n_channels + 1)
        members = []
        for member in range(n_members):
            torch.manual_seed(100 * seed + member)
            network = YieldNetwork(architecture)
            torch.nn.init.normal_(network.head.weight)
            members.append(rounded({name: tensor.detach() for name, tensor in network.named_parameters()}))
        scaler = FeatureScaler.fit(rng.standard_normal((50, n_channels)).astype(np.float32))
        mapping = VolatilityMap(rng.normal(0.0, 0.3, 3 + len(CATEGORIES)))
        return LstmModel(architecture, recipe, scaler, tuple(members), mapping)

    return make


@pytest.fixture(scope="session")
def make_bundle(make_model: Callable[..., LstmModel]) -> Callable[..., Bundle]:
    def make(n_members: int = 1, n_scores: int = 200, recipe: Recipe | None = None, seed: int = 0) -> Bundle:
        rng = np.random.default_rng(seed)
        horizon = rng.choice(HORIZON_GRID, n_scores)
        pool = ScorePool.of_scores(
            rng.laplace(size=n_scores),
            category=rng.integers(0, len(CATEGORIES), n_scores).astype(np.int32),
            horizon_days=horizon.astype(np.int32),
            known_day=rng.integers(20_100, 20_240, n_scores).astype(np.int32),
        )
        provenance = {"data": {"last_date": "2025-06-01", "n_rows": 7}, "curves": {"scout 1": [1.5, 1.25]}}
        return Bundle(make_model(n_members, recipe, seed), Calibrator(pool, halflife_days=50.0), provenance)

    return make
