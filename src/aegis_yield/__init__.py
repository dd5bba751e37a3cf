"""What DeFi yield strategies will pay, how sure that is, and what can go wrong.

Rooms, from the top; imports point down only (``docs/architecture.md``):

``cli``            commands
``reporting``      tables, pictures, HTML
``pipelines``      train, evaluate, predict: the only room that knows the others
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
    from aegis_yield.pipelines.predict import Answer, Forecaster, Question, predict

__version__ = "0.1.0"
__all__ = ["Answer", "Forecaster", "Question", "__version__", "predict"]


def __getattr__(name: str) -> Any:
    # Importing the package must not import torch: only what is used is loaded.
    if name in __all__:
        from aegis_yield.pipelines import predict as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
