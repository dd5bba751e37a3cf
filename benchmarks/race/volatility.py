"""Volatility's peers: RiskMetrics' EWMA, HAR, log-HAR and GARCH(1,1), on daily changes of a rate.

The target is the root of 365 times the mean squared daily change over the horizon; a forecast is the root of 365 times
the mean square expected. HAR (Corsi 2009) regresses the mean square of the coming days on those of the last day, week
and month; pooled over the strategies of a category, each in units of its own long-run mean square (Bollerslev, Hood,
Huss & Pedersen 2018), by weighted least squares, it beat HAR by strategy on origins of 2023-07 … 2024-09. Log-HAR does
the same with logarithms and forecasts the typical rather than the mean square. Both are fitted anew at every origin.
GARCH(1,1) has a mean of zero and normal likelihood; it is fitted anew every fourth origin and filtered in
between. A strategy whose rate has not moved, or whose fit fails, gets EWMA's forecast.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from aegis_yield.domain.forecast import QUANTILE_COLUMNS
from aegis_yield.domain.targets import DAYS_PER_YEAR
from aegis_yield.models.baselines import ewma_volatility
from aegis_yield.preprocessing.features.context import fill_limited
from aegis_yield.preprocessing.origins import HISTORY_DAYS
from aegis_yield.preprocessing.panel import Panel, build_panel, to_date
from aegis_yield.utils.typing import FloatArray, IntArray
from benchmarks.race.task import Run, Task

CONTEXT_DAYS: Final = 500
HAR_DAYS: Final = (1, 7, 28)
MIN_ROWS: Final = 60
"""GARCH is fitted to this many known changes or more; else a strategy gets EWMA's forecast."""

MAX_POOLED_ROWS: Final = 100
"""A strategy gives at most about so many rows, evenly spread, to a pooled regression."""

REFIT_EVERY: Final = 4
LOG_FLOOR: Final = 1e-4
"""Added to mean squares, in units of their long-run mean, before logarithms."""

_STEPS: Final = 8
_LEAST_FIT: Final = 0.02
_LEAST_SQUARE: Final = 1e-12


@dataclass(frozen=True)
class Histories:
    """What is known of the eligible strategies at one origin.

    Attributes
    ----------
    names : list of str
    category : ndarray of int, shape (n,)
    changes : list of ndarray
        Known daily changes of each strategy, oldest first.
    """

    names: list[str]
    category: IntArray
    changes: list[FloatArray]


Forecast = Callable[[Histories, int], FloatArray]
"""From what is known and a horizon to mean squares of shape (n,), NaN where it fails."""


def run_ewma(task: Task) -> Run:
    """Race RiskMetrics' exponentially weighted variance."""
    return _run(task, lambda known, _horizon: np.full(len(known.names), np.nan))


def run_har(task: Task) -> Run:
    """Race the heterogeneous autoregression of squared changes."""
    return _run(task, lambda known, horizon: pooled_har(known, horizon, logarithms=False))


def run_log_har(task: Task) -> Run:
    """Race the heterogeneous autoregression of their logarithms."""
    return _run(task, lambda known, horizon: pooled_har(known, horizon, logarithms=True))


def run_garch(task: Task) -> Run:
    """Race GARCH(1,1)."""
    return _run(task, Garch())


def _run(task: Task, forecast: Forecast) -> Run:
    start = to_date(task.origins[0] - CONTEXT_DAYS - 60)
    panel = build_panel(task.dataset, start=start, end=to_date(task.origins[-1]))
    filled = fill_limited(panel.series["apy"])[0]
    eligible = panel.eligible()
    tables: dict[int, list[pl.DataFrame]] = {horizon: [] for horizon in task.horizons}
    seconds = []
    for done, day in enumerate(task.origins, start=1):
        column = panel.column_of(day)
        rows = np.flatnonzero(eligible[:, column])
        began = time.perf_counter()
        known = histories(panel, filled[:, : column + 1], rows)
        ewma = ewma_volatility(filled[rows, column + 1 - HISTORY_DAYS : column + 1])
        for horizon in task.horizons:
            own = np.sqrt(DAYS_PER_YEAR * forecast(known, horizon))
            volatility = np.where(np.isfinite(own) & (own > 0.0), own, ewma)
            tables[horizon].append(_table(panel, rows, day, horizon, volatility))
        seconds.append((time.perf_counter() - began) / len(task.horizons))
        task.say(done, len(task.origins))
    return Run({h: pl.concat(parts) for h, parts in tables.items()}, {"fit": 0.0, "origin": float(np.median(seconds))})


def histories(panel: Panel, filled: FloatArray, rows: IntArray) -> Histories:
    """Return what is known of these rows of a panel; ``filled`` ends with the origin's day."""
    changes = np.diff(filled[rows, -CONTEXT_DAYS:], axis=1)
    known = [row[~np.isnan(row)] for row in changes]
    return Histories(panel.strategy_ids[rows].astype(str).tolist(), panel.categories[rows], known)


def _table(panel: Panel, rows: IntArray, day: int, horizon_days: int, volatility: FloatArray) -> pl.DataFrame:
    columns = {
        "strategy_id": panel.strategy_ids[rows].tolist(),
        "origin": np.full(len(rows), day, dtype="datetime64[D]"),
        "horizon_days": np.full(len(rows), horizon_days, dtype=np.int32),
        "apy": np.full(len(rows), np.nan),
        "volatility": volatility,
    }
    columns |= {name: np.full(len(rows), np.nan) for name in QUANTILE_COLUMNS}
    return pl.DataFrame(columns).with_columns(pl.col("strategy_id").cast(pl.String))


def pooled_har(known: Histories, horizon_days: int, logarithms: bool) -> FloatArray:
    """Return the mean squares expected over the horizon, shape (n,).

    Parameters
    ----------
    known : Histories
    horizon_days : int
        Days ahead.
    logarithms : bool
        Whether to regress logarithms.

    Returns
    -------
    ndarray of shape (n,)
        NaN where nothing has moved, or a strategy is younger than the longest mean.
    """
    found = np.full(len(known.names), np.nan)
    designs = {at: one for at, c in enumerate(known.changes) if (one := har_design(c**2, horizon_days)) is not None}
    for code in np.unique(known.category):
        own = {at: design for at, design in designs.items() if known.category[at] == code}
        x = np.concatenate([np.empty((0, 4)), *(design.x[: len(design.y)] for design in own.values())])
        y = np.concatenate([np.empty(0), *(design.y for design in own.values())])
        if len(y) < MIN_ROWS:
            continue
        beta = _log_least_squares(x, y) if logarithms else _weighted_least_squares(x, y)
        for at, design in own.items():
            newest = _logs(design.x[-1:])[0] if logarithms else design.x[-1]
            value = float(newest @ beta)
            value = np.exp(value) - LOG_FLOOR if logarithms else value
            found[at] = max(value, _LEAST_SQUARE) * design.scale
    return found


@dataclass(frozen=True)
class HarDesign:
    """Regression rows of one strategy, in units of its long-run mean square.

    Attributes
    ----------
    x : ndarray of shape (n_rows + 1, 4)
        One, and the mean squares of the last day, week and month; the last row is the origin's.
    y : ndarray of shape (n_rows,)
        Mean square of the days after each row, known at the origin.
    scale : float
        The long-run mean square.
    """

    x: FloatArray
    y: FloatArray
    scale: float


def har_design(squares: FloatArray, horizon_days: int) -> HarDesign | None:
    """Return the regression rows of squared changes (oldest first); None without a row or any movement."""
    longest = HAR_DAYS[-1]
    n_rows = len(squares) - longest - horizon_days + 1
    if n_rows < 1 or squares.max() <= 0.0:
        return None
    scale = float(squares.mean())
    total = np.concatenate([[0.0], np.cumsum(squares / scale)])
    ends = np.r_[np.arange(longest, longest + n_rows, max(1, n_rows // MAX_POOLED_ROWS)), len(squares)]
    x = np.stack([np.ones(len(ends)), *((total[ends] - total[ends - days]) / days for days in HAR_DAYS)], axis=1)
    y = (total[ends[:-1] + horizon_days] - total[ends[:-1]]) / horizon_days
    return HarDesign(x, y, scale)


def _weighted_least_squares(x: FloatArray, y: FloatArray) -> FloatArray:
    """Weight by one over the squared fit: a variance is known in proportion to its size (Clements & Preve 2021)."""
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    for _ in range(_STEPS):
        fit = np.maximum(x @ beta, _LEAST_FIT)
        beta = np.maximum(np.linalg.lstsq(x / fit[:, None], y / fit, rcond=None)[0], 0.0)
    return np.asarray(beta)


def _log_least_squares(x: FloatArray, y: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.lstsq(_logs(x), np.log(y + LOG_FLOOR), rcond=None)[0])


def _logs(x: FloatArray) -> FloatArray:
    return np.concatenate([x[:, :1], np.log(np.maximum(x[:, 1:], 0.0) + LOG_FLOOR)], axis=1)


@dataclass
class Garch:
    """GARCH(1,1) with its last parameters of each strategy.

    Attributes
    ----------
    refit_every : int
        Origins between fits.
    """

    refit_every: int = REFIT_EVERY
    _held: dict[str, tuple[int, int, FloatArray]] = field(default_factory=dict)

    def __call__(self, known: Histories, horizon_days: int) -> FloatArray:
        """Return expected mean squares, shape (n,); NaN with too few days or a failed fit."""
        return np.array([
            mean_square(changes, self._parameters(name, changes), horizon_days)
            if len(changes) >= MIN_ROWS and changes.any()
            else np.nan
            for name, changes in zip(known.names, known.changes, strict=True)
        ])  # fmt: skip

    def _parameters(self, name: str, changes: FloatArray) -> FloatArray:
        """Return omega, alpha, beta, fitted anew if the last fit is some origins old."""
        stamp = hash(changes.tobytes())  # another horizon at the same origin is no new origin
        age, held, parameters = self._held.get(name, (self.refit_every, 0, np.empty(0)))
        age += held != stamp
        if age >= self.refit_every:
            scale = float(np.sqrt(np.mean(changes**2)))
            age, parameters = 0, fit_garch(changes / scale) * [scale**2, 1.0, 1.0]
        self._held[name] = (age, stamp, parameters)
        return parameters


def fit_garch(changes: FloatArray) -> FloatArray:
    """Return omega, alpha and beta by maximum likelihood (``arch``), NaN where it fails."""
    arch = importlib.import_module("arch")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            model = arch.arch_model(changes, mean="Zero", vol="GARCH", p=1, q=1, rescale=False)
            result = model.fit(disp="off", show_warning=False)
    except (ValueError, FloatingPointError, np.linalg.LinAlgError):
        return np.full(3, np.nan)
    return np.asarray(result.params, dtype=float)


def mean_square(changes: FloatArray, parameters: FloatArray, horizon_days: int) -> float:
    """Return GARCH(1,1)'s expected mean square of the next days.

    Parameters
    ----------
    changes : ndarray of shape (n_days,)
        Daily changes up to the origin, oldest first.
    parameters : ndarray of shape (3,)
        omega, alpha, beta.
    horizon_days : int
        Days ahead.

    Notes
    -----
    ``s_{t+1} = omega + alpha x_t² + beta s_t``, begun at the mean square; from then on the expectation moves
    by the factor alpha + beta towards, or beyond one away from, its own level.
    """
    omega, alpha, beta = parameters
    squares = changes**2
    # The recursion's solution: weights beta^k on past squares, and what is left of the start.
    weight = beta ** np.arange(len(squares))[::-1]
    after = omega * weight.sum() + alpha * (weight @ squares) + beta ** len(squares) * squares.mean()
    path = [after]
    for _ in range(horizon_days - 1):
        path.append(omega + (alpha + beta) * path[-1])
    return float(np.mean(path))
