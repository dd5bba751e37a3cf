"""Steps of a run that people act on: forecast with the model that serves, and allocate."""

from __future__ import annotations

import json
from dataclasses import dataclass

import polars as pl

from aegis_yield.models.bundle import bundle_digest
from aegis_yield.pipelines.models import choose_model
from aegis_yield.pipelines.names import load_names
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.pipelines.record import record_forecasts
from aegis_yield.pipelines.run_engine import Outcome, Results
from aegis_yield.pipelines.run_options import allocation_order, present_positions
from aegis_yield.pipelines.run_steps import Bench, hashed, kept, reports_folder
from aegis_yield.registry import version_of
from aegis_yield.utils.files import write_atomically, write_text_atomically
from aegis_yield.utils.plain import plain


@dataclass
class Forecast:
    """Forecast every strategy, for readers and for monitoring."""

    bench: Bench
    name: str = "forecast"
    needs: tuple[str, ...] = ("validate",)

    def fingerprint(self, results: Results) -> str:
        """Hash data, horizon, and the models that may serve."""
        return hashed(results["validate"]["dataset_sha256"], self.bench.order.horizon_days, self.bench.may_serve())

    def run(self, results: Results) -> Outcome:
        """Write ``reports/forecasts.parquet`` and remember the forecasts."""
        forecaster = _forecaster(self.bench, results)
        answer = forecaster.ask(Question(None, self.bench.order.horizon_days))
        made_by = {"model_version": answer.model_version, "simulated": answer.simulated}
        table = answer.forecasts.with_columns(**{name: pl.lit(value) for name, value in made_by.items()})
        path = reports_folder() / "forecasts.parquet"
        write_atomically(path, table.write_parquet)
        record_forecasts(answer)
        notes = "".join(f"; {note}" for note in answer.notes)
        said = f"{len(answer.rows)} strategies by {answer.model_version}, {len(answer.left_out)} left out{notes}"
        return Outcome(said, {"files": [kept(path)]})


@dataclass
class Allocate:
    """Split the capital, if some was named."""

    bench: Bench
    name: str = "allocate"
    needs: tuple[str, ...] = ("validate", "forecast")

    def fingerprint(self, results: Results) -> str:
        """Hash data, capital, options, present positions, and the models that may serve."""
        order = self.bench.order
        asked = (
            (order.capital_usd, order.allocation, present_positions(order.allocation)) if order.capital_usd else None
        )
        return hashed(results["validate"]["dataset_sha256"], asked, self.bench.may_serve())

    def run(self, results: Results) -> Outcome:
        """Write ``reports/allocation.json``."""
        order = self.bench.order
        capital = order.capital_usd
        if capital is None:
            return Outcome("not asked for; name the US dollars with --capital, or in configs/run.toml")
        from aegis_yield.pipelines.allocate import allocate_with, to_json

        wanted = allocation_order(order.allocation, capital, present_positions(order.allocation))
        report = to_json(allocate_with(_forecaster(self.bench, results), wanted))
        path = reports_folder() / "allocation.json"
        write_text_atomically(path, json.dumps(plain(report), indent=2, default=str, allow_nan=False) + "\n")
        return Outcome(f"${capital:,.0f} over {len(report['weights'])} strategies", {"files": [kept(path)]})


def _forecaster(bench: Bench, results: Results) -> Forecaster:
    dataset = bench.dataset(results)
    path, bundle = choose_model(dataset)
    return Forecaster(dataset, bundle, f"{version_of(path)}-{bundle_digest(path)}", load_names(), path)
