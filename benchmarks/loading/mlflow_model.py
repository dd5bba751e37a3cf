"""The same forecasts as an MLflow model, written as its documentation shows: load in ``load_context``, then predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from aegis_yield.pipelines.predict import Forecaster, Question, to_json


class ForecastModel(PythonModel):
    """Forecasts the strategies of a column ``strategy``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load bundle and tables once."""
        self.forecaster = Forecaster.open(Path(context.artifacts["data"]), Path(context.artifacts["model"]))

    def predict(  # what MLflow calls it with
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: Any,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """Return one forecast for each row."""
        answer = to_json(self.forecaster.ask(Question(list(model_input["strategy"]))))
        return list(answer["predictions"].values())


mlflow.models.set_model(ForecastModel())
