"""Who races: every method with its code, its cost and whether it is trained."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.race.task import Run, Task

_SHARED: Final = (
    "benchmarks/race/task.py", "benchmarks/race/cqr.py", "src/aegis_yield/domain/*.py",
    "src/aegis_yield/preprocessing/**/*.py", "src/aegis_yield/models/baselines.py",
)  # fmt: skip
"""Code on which everybody's forecasts depend: rows, targets, features."""

_ENGINE: Final = (
    "src/aegis_yield/models/*.py", "src/aegis_yield/pipelines/train.py", "src/aegis_yield/pipelines/evaluate.py",
    "src/aegis_yield/pipelines/walk.py",
)  # fmt: skip


@dataclass(frozen=True)
class Method:
    """A racer.

    Attributes
    ----------
    key : str
        On the command line.
    label : str
        In tables.
    entry : str
        ``module:function`` below ``benchmarks.race``; imported only in the worker that runs it.
    code : tuple of str
        Source files beyond the shared ones that its results depend on.
    trained : bool
        Whether it is refitted at each cut-off; else one walk over all origins.
    slow : bool
        Whether it runs on a thinned set of origins unless told otherwise.
    few_horizons : bool
        Whether it may be asked for fewer horizons than the others because each costs it minutes.
    only_volatility : bool
        Whether it forecasts volatility and nothing else.
    settings : tuple of str
        Names of settings it reads.
    weight : float
        Rough seconds for an origin, or for a fit: only the estimate of the time left needs it.
    """

    key: str
    label: str
    entry: str
    code: tuple[str, ...]
    trained: bool = False
    slow: bool = False
    few_horizons: bool = False
    only_volatility: bool = False
    settings: tuple[str, ...] = ()
    weight: float = 0.1

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Every source file or glob that this method's results depend on."""
        return (*_SHARED, *self.code)

    def run(self, task: Task) -> Run:
        """Import the method and let it race."""
        module, function = self.entry.split(":")
        entry: Callable[[Task], Run] = getattr(importlib.import_module(f"benchmarks.race.{module}"), function)
        return entry(task)


def _file(name: str) -> tuple[str, ...]:
    return (f"benchmarks/race/{name}.py",)


_TREE_SETTINGS: Final = ("trees",)
_NEURAL_SETTINGS: Final = ("steps",)

_BASELINE_CODE: Final = (
    *_file("baselines"), "src/aegis_yield/pipelines/walk.py", "src/aegis_yield/models/calibration.py",
)  # fmt: skip

METHODS: Final[tuple[Method, ...]] = (
    Method("ours", "ours", "ours:run", (*_file("ours"), *_ENGINE), trained=True,
           settings=("members", "epochs", "batch_size", "seed"), weight=600.0),
    Method("last", "last value", "baselines:run_last_value", _BASELINE_CODE),
    Method("ewma", "EWMA 0.3", "baselines:run_ewma", _BASELINE_CODE),
    Method("ses", "SES", "classical:run_ses", _file("classical"), weight=0.5),
    Method("ets", "AutoETS", "classical:run_ets", _file("classical"), weight=4.0),
    Method("theta", "AutoTheta", "classical:run_theta", _file("classical"), weight=6.0),
    Method("lgbm-point", "LightGBM point", "trees:run_point", _file("trees"), trained=True,
           settings=_TREE_SETTINGS, weight=15.0),
    Method("lgbm-raw", "LightGBM quantile", "trees:run_raw_quantiles", _file("trees"), trained=True,
           settings=_TREE_SETTINGS, weight=100.0),
    Method("lgbm-cqr", "LightGBM quantile + CQR", "trees:run_quantiles", _file("trees"), trained=True,
           settings=_TREE_SETTINGS, weight=100.0),
    Method("nf-lstm", "neuralforecast LSTM", "neural:run_lstm", _file("neural"), trained=True,
           settings=_NEURAL_SETTINGS, few_horizons=True, weight=180.0),
    Method("nf-nhits", "neuralforecast NHITS", "neural:run_nhits", _file("neural"), trained=True,
           settings=_NEURAL_SETTINGS, few_horizons=True, weight=120.0),
    Method("fracast", "fracast zero-shot", "zero_shot:run", _file("zero_shot"),
           slow=True, few_horizons=True, weight=40.0),
    Method("vol-ewma", "EWMA (RiskMetrics)", "volatility:run_ewma", _file("volatility"), only_volatility=True),
    Method("vol-har", "HAR", "volatility:run_har", _file("volatility"), only_volatility=True, weight=0.3),
    Method("vol-loghar", "log-HAR", "volatility:run_log_har", _file("volatility"), only_volatility=True, weight=0.3),
    Method("vol-garch", "GARCH(1,1)", "volatility:run_garch", _file("volatility"), only_volatility=True, weight=5.0),
)  # fmt: skip
"""In the order of the tables."""

BY_KEY: Final = {method.key: method for method in METHODS}
