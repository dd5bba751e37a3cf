"""What DeFi yield strategies will pay, how sure that is, and what can go wrong.

Rooms, from the top; imports point down only (``docs/architecture.md``):

``cli``            commands
``reporting``      tables, pictures, HTML
``pipelines``      collect, train, evaluate, predict, risk, allocate: the only room that knows the others
``portfolio``      rate curves, limits, the optimiser
``risk``           measures, scenarios, loss events
``client``         a service that runs elsewhere, asked over HTTP
``collection``     sources, raw answers, history, tables
``models``         the network, its training, calibration, baselines, bundles
``registry``       versions of model files
``simulation``     the simulated market
``preprocessing``  tables, cleaning, features, windows, splits
``domain``         frozen values, units, errors
``utils``          files, paths, array types
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis_yield.pipelines.allocate import AllocationOrder, optimize
    from aegis_yield.pipelines.predict import Answer, Forecaster, Question, predict
    from aegis_yield.pipelines.risk import assess
    from aegis_yield.portfolio.problem import Holdings, Limits, Objective

__version__ = "0.1.0"
__all__ = [
    "AllocationOrder",
    "Answer",
    "Forecaster",
    "Holdings",
    "Limits",
    "Objective",
    "Question",
    "__version__",
    "assess",
    "optimize",
    "predict",
]

_HOMES = {
    **dict.fromkeys(("Answer", "Forecaster", "Question", "predict"), "aegis_yield.pipelines.predict"),
    **dict.fromkeys(("AllocationOrder", "optimize"), "aegis_yield.pipelines.allocate"),
    **dict.fromkeys(("Holdings", "Limits", "Objective"), "aegis_yield.portfolio.problem"),
    "assess": "aegis_yield.pipelines.risk",
}


def __getattr__(name: str) -> Any:
    # Importing the package must not import torch: only what is used is loaded.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
