"""The same forecasts as a BentoML service, written as its documentation shows: load at start, answer an API method."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml  # type: ignore[import-not-found]  # in an environment of its own

from aegis_yield.pipelines.predict import Forecaster, Question, to_json


@bentoml.service(workers=1)
class ForecastService:
    """Forecasts the strategies of a request."""

    def __init__(self) -> None:
        self.forecaster = Forecaster.open(Path(os.environ["AEGIS_DATA"]), Path(os.environ["AEGIS_MODEL"]))

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, strategies: list[str]) -> dict[str, Any]:
        """Return the forecasts by strategy."""
        return to_json(self.forecaster.ask(Question(strategies)))
