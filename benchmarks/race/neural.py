"""neuralforecast's LSTM and NHITS with the quantiles of their own multi-quantile loss.

Both forecast the trailing h-day mean of the rate h steps ahead, over all strategies at once: the last step of that path
is the target itself, so its quantiles are those of the target and nothing about days has to be assumed. The daily rate
comes along as a historic input, the category as a static one. Windows are standardised one by one; a window
without any movement has no scale, its forecast is its last value. Scalers and lengths of windows were tried on
origins of 2023-07 … 2024-01 and the strongest kept: relCRPS of NHITS .83 with 56 days and this scaler, .85 with 28,
1.05 with the LSTM's default scaler; of the LSTM .99, 1.08 with its default scaler.
"""

from __future__ import annotations

import importlib
import logging
import time
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.domain.targets import log_growth
from aegis_yield.preprocessing.origins import OriginBatch
from aegis_yield.preprocessing.panel import Panel, build_panel
from aegis_yield.preprocessing.rolling import fill_forward, trailing_sum
from aegis_yield.utils.typing import FloatArray, IntArray
from benchmarks.race.task import Assignment, QuantileWalk, Run, Task, joined

INPUT_DAYS: Final = {"LSTM": 28, "NHITS": 56}
MAX_STEPS: Final = 1_000
BATCH_WINDOWS: Final = 256
SCALER: Final = "standard"


def run_lstm(task: Task) -> Run:
    """Race neuralforecast's LSTM, two layers of 128 as by default."""
    return _run(task, "LSTM")


def run_nhits(task: Task) -> Run:
    """Race neuralforecast's NHITS with its default blocks."""
    return _run(task, "NHITS")


def _run(task: Task, kind: str) -> Run:
    tables, seconds = {}, {"fit": 0.0, "origin": 0.0}
    for done, horizon in enumerate(task.horizons, start=1):
        assignment = task.assignment(horizon)
        began = time.perf_counter()
        forecaster = fitted(kind, assignment, task.settings)
        seconds["fit"] += time.perf_counter() - began
        panel = assignment.panel()
        reader = Reader(forecaster, horizon, panel, int(task.settings.get("input_days", INPUT_DAYS[kind])))
        walk = QuantileWalk(kind, horizon, reader, None, corrects_point=False)
        tables[horizon] = joined(list(walk.over(panel, task.origins)), horizon).to_frame()
        seconds["origin"] = float(np.median(walk.seconds))
        task.say(done, len(task.horizons))
    return Run(tables, seconds)


def fitted(kind: str, task: Assignment, settings: Any) -> Any:
    """Return a NeuralForecast object trained on rows up to the cut-off."""
    import torch

    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # a worker's own process: remarks of Lightning about its version of torch
    library = importlib.import_module("neuralforecast")
    models = importlib.import_module("neuralforecast.models")
    loss = importlib.import_module("neuralforecast.losses.pytorch").MQLoss(quantiles=list(QUANTILE_LEVELS))
    options = {
        "h": task.horizon_days,
        "input_size": int(settings.get("input_days", INPUT_DAYS[kind])),
        "hist_exog_list": ["apy"],
        "stat_exog_list": list(CATEGORIES),
        "loss": loss,
        "max_steps": int(settings.get("steps", MAX_STEPS)),
        "val_check_steps": int(settings.get("steps", MAX_STEPS)),
        "windows_batch_size": int(settings.get("windows", BATCH_WINDOWS)),
        "scaler_type": str(settings.get("scaler", SCALER)),
        "random_seed": int(settings.get("seed", 0)),
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    panel = build_panel(task.training_data())
    frame, static = training_frames(panel, task.horizon_days, int(options["input_size"]))
    forecaster = library.NeuralForecast([getattr(models, kind)(**options)], freq=1)
    forecaster.fit(frame, static_df=static)
    return forecaster


def training_frames(panel: Panel, horizon_days: int, input_days: int) -> tuple[Any, Any]:
    """Return long pandas tables of the trailing mean and the daily rate, and of each strategy's category.

    Strategies that are too short for one window are left out; days without a row repeat the one before.
    """
    pd = importlib.import_module("pandas")
    mean, apy = carried(panel, horizon_days)
    newest = panel.n_days - 1 - panel.observed[:, ::-1].argmax(axis=1)
    known = ~np.isnan(mean) & (np.arange(panel.n_days) <= newest[:, None])
    known &= (known.sum(axis=1) >= input_days + horizon_days)[:, None]
    row, column = np.nonzero(known)
    names = panel.strategy_ids[row]
    frame = pd.DataFrame({"unique_id": names, "ds": column, "y": mean[known], "apy": apy[known]})
    return frame, _static(panel, np.unique(row))


def carried(panel: Panel, horizon_days: int) -> tuple[FloatArray, FloatArray]:
    """Return the trailing mean over the horizon and the daily rate, gaps filled from the past, (n, n_days)."""
    apy = fill_forward(panel.series["apy"])[0]
    padded = np.pad(log_growth(apy), ((0, 0), (horizon_days - 1, 0)), constant_values=np.nan)
    return np.expm1(trailing_sum(padded, horizon_days, panel.n_days) / horizon_days), apy


def _static(panel: Panel, rows: IntArray) -> Any:
    pd = importlib.import_module("pandas")
    frame = pd.DataFrame(np.eye(len(CATEGORIES))[panel.categories[rows]], columns=list(CATEGORIES))
    frame.insert(0, "unique_id", panel.strategy_ids[rows])
    return frame


@dataclass(frozen=True)
class Reader:
    """Asks a trained NeuralForecast for the quantiles of an origin's batch.

    Attributes
    ----------
    forecaster : NeuralForecast
    horizon_days : int
        Days ahead.
    panel : Panel
        Series around the origins; days after an origin are not read.
    input_days : int
        Days of history given; where a strategy is younger, its first value stands for the days before.
    """

    forecaster: Any
    horizon_days: int
    panel: Panel
    input_days: int

    def __call__(self, batch: OriginBatch) -> FloatArray:
        """Return quantiles of shape (n, n_levels)."""
        pd = importlib.import_module("pandas")
        mean, apy = self._context(batch)
        count = len(batch.rows)
        frame = pd.DataFrame(
            {
                "unique_id": np.repeat(self.panel.strategy_ids[batch.rows], self.input_days),
                "ds": np.tile(np.arange(self.input_days), count),
                "y": mean.ravel(),
                "apy": apy.ravel(),
            }
        )
        answer = self.forecaster.predict(frame, static_df=_static(self.panel, batch.rows))
        steps = answer.iloc[:, 2:].to_numpy(dtype=float).reshape(count, self.horizon_days, len(QUANTILE_LEVELS))
        flat = (np.ptp(mean, axis=1) == 0.0) & (np.ptp(apy, axis=1) == 0.0)
        return np.where(flat[:, None], apy[:, -1:], np.sort(steps[:, -1], axis=1))

    def _context(self, batch: OriginBatch) -> tuple[FloatArray, FloatArray]:
        stop = self.panel.column_of(batch.day) + 1
        known = Panel(
            self.panel.strategy_ids[batch.rows], self.panel.categories[batch.rows], self.panel.first_day,
            self.panel.age_at_start[batch.rows], {"apy": self.panel.series["apy"][batch.rows, :stop]}, {},
        )  # fmt: skip
        both = [series[:, -self.input_days :] for series in carried(known, self.horizon_days)]
        return _backed(both[0]), _backed(both[1])


def _backed(series: FloatArray) -> FloatArray:
    """Return series whose leading unknown days hold the first known value."""
    return np.asarray(fill_forward(series[:, ::-1])[0][:, ::-1])
