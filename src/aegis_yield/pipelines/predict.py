"""Predict: what chosen strategies will pay, from the newest rows each of them has."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import HistoryError, RequestError
from aegis_yield.domain.forecast import Forecasts, levels_for
from aegis_yield.domain.limits import (
    DEFAULT_HORIZON_DAYS,
    DEFAULT_LEVEL,
    ELIGIBILITY_MIN_ROWS,
    ELIGIBILITY_WINDOW_DAYS,
    check_horizon,
    check_level,
)
from aegis_yield.domain.naming import StrategyNames
from aegis_yield.models.bundle import Bundle, bundle_digest
from aegis_yield.monitoring.records import Lineage
from aegis_yield.pipelines.datasets import open_dataset
from aegis_yield.pipelines.memory import InputsMemory
from aegis_yield.pipelines.models import choose_model
from aegis_yield.pipelines.names import load_names
from aegis_yield.pipelines.record import lineage_of
from aegis_yield.preprocessing.origins import joined
from aegis_yield.preprocessing.panel import to_day
from aegis_yield.registry import version_of

RECENT_DAYS = 30
"""Forecasting everything leaves out strategies without a row in so many days: they have ended."""

MAX_UNLEARNED_DAYS = 28
"""A bundle that did not learn from the outcomes of more days of data than this is said to be behind."""


@dataclass(frozen=True)
class Question:
    """What to forecast.

    Attributes
    ----------
    strategies : sequence of str or None
        Aliases or ids, or None for every strategy that can be forecast.
    horizon_days : int
        Days ahead, 1 … 30.
    level : float
        Of the interval, 0.50 … 0.98.
    as_of : datetime.date, optional
        Pretend that this day has just ended.
    """

    strategies: Sequence[str] | None
    horizon_days: int = DEFAULT_HORIZON_DAYS
    level: float = DEFAULT_LEVEL
    as_of: dt.date | None = None

    def __post_init__(self) -> None:
        """Refuse what is out of bounds."""
        check_horizon(self.horizon_days)
        check_level(self.level)
        if self.strategies is not None and not len(self.strategies):
            raise RequestError("strategies", list(self.strategies), "at least one alias or strategy_id")


@dataclass(frozen=True)
class StrategyForecast:
    """One strategy's forecast, for people and programs.

    Attributes
    ----------
    name : str
        As asked for.
    strategy_id : str
        What the name stands for.
    category : str
        Kind of strategy.
    apy, low, high : float
        Point forecast and the interval's ends, fraction per year.
    volatility : float
        Annualised normal volatility of the rate.
    last_apy : float
        The latest observed rate, for comparison.
    as_of : datetime.date
        Day of the newest row used.
    data_age_days : int
        Days from ``as_of`` to today (UTC), or to the day asked about.
    """

    name: str
    strategy_id: str
    category: str
    apy: float
    low: float
    high: float
    volatility: float
    last_apy: float
    as_of: dt.date
    data_age_days: int


@dataclass(frozen=True)
class Answer:
    """Forecasts of the strategies asked for.

    Attributes
    ----------
    question : Question
        What was asked.
    rows : list of StrategyForecast
        In the order asked, or sorted by id.
    left_out : dict of str to str
        Strategies that could not be forecast, with the reason (only when all were asked for).
    forecasts : polars.DataFrame
        All quantiles, one row per strategy.
    model_version : str
        Name and digest of the bundle.
    simulated : bool
        Whether the data is simulated.
    notes : tuple of str
        What a reader must know before using the numbers.
    lineage : Lineage, optional
        From which model file and tables they were made; None where the model came from no file.
    """

    question: Question
    rows: list[StrategyForecast]
    left_out: dict[str, str]
    forecasts: pl.DataFrame
    model_version: str
    simulated: bool
    notes: tuple[str, ...] = ()
    lineage: Lineage | None = None

    def forecast_id(self, row: StrategyForecast) -> str | None:
        """Return the name under which ``aegis trace`` finds a row once it is recorded."""
        if self.lineage is None:
            return None
        return self.lineage.forecast_id(row.strategy_id, row.as_of, self.question.horizon_days)


@dataclass(frozen=True)
class Forecaster:
    """Tables and a model, loaded once, ready to answer questions.

    Attributes
    ----------
    dataset : Dataset
        Validated tables.
    bundle : Bundle
        The model.
    model_version : str
        For answers.
    names : StrategyNames
        Aliases.
    bundle_path : Path, optional
        Where the model lies, for tracing a number back to it.
    """

    dataset: Dataset
    bundle: Bundle
    model_version: str
    names: StrategyNames
    bundle_path: Path | None = None

    @classmethod
    def open(cls, data: Path | None = None, model: Path | None = None) -> Forecaster:
        """Load tables and model, each from its default place unless a path is given."""
        dataset = open_dataset(data)
        path, bundle = choose_model(dataset, model)
        return cls(dataset, bundle, f"{version_of(path)}-{bundle_digest(path)}", load_names(), path)

    @cached_property
    def lineage(self) -> Lineage | None:
        """From what forecasts are made; None if the model came from no file."""
        return lineage_of(self.dataset, self.bundle_path) if self.bundle_path is not None else None

    @cached_property
    def _memory(self) -> InputsMemory:
        return InputsMemory(self.dataset)

    @cached_property
    def worked_out(self) -> dict[tuple[Any, ...], Any]:
        """What other pipelines worked out from these tables and this model, for the next question."""
        return {}

    @cached_property
    def last_rows(self) -> pl.DataFrame:
        """Newest row of every strategy: strategy_id, date, category, sorted by id."""
        newest = self.dataset.yields.group_by("strategy_id").agg(pl.col("date").max())
        return newest.join(self.dataset.strategies, on="strategy_id", how="left").sort("strategy_id")

    @cached_property
    def known_strategies(self) -> list[str]:
        """Every strategy_id with rows, sorted."""
        return list(self.last_rows["strategy_id"].to_list())

    def ask(self, question: Question) -> Answer:
        """Forecast what was asked.

        Raises
        ------
        UnknownStrategyError
            If a name is neither an alias nor a strategy of the dataset.
        HistoryError
            If a strategy asked for by name has too little history.
        RequestError
            If ``as_of`` lies outside the data.
        """
        dataset = self._as_known(question.as_of)
        wanted = self._wanted(question)
        origins = self._origins(dataset, question, wanted)
        forecasts, last_apy = self._forecast(question, origins)
        position = {strategy: row for row, strategy in enumerate(forecasts.keys.strategy_id.tolist())}
        missing = [strategy for strategy in wanted.values() if strategy not in position]
        if missing and question.strategies is not None:
            raise HistoryError(self._why_not(dataset, missing[:1])[missing[0]])
        low, high = forecasts.interval(question.level)
        reference = question.as_of or dt.datetime.now(dt.UTC).date()
        categories = dict(zip(self.last_rows["strategy_id"], self.last_rows["category"], strict=True))
        rows = [
            StrategyForecast(
                name=name,
                strategy_id=strategy,
                category=str(categories[strategy]),
                apy=float(forecasts.apy[row]),
                low=float(low[row]),
                high=float(high[row]),
                volatility=float(forecasts.volatility[row]),
                last_apy=float(last_apy[row]),
                as_of=forecasts.keys.origin[row].item(),
                data_age_days=(reference - forecasts.keys.origin[row].item()).days,
            )
            for name, strategy in wanted.items()
            if (row := position.get(strategy)) is not None
        ]
        left_out = self._why_not(dataset, missing)
        return Answer(
            question,
            rows,
            left_out,
            forecasts.to_frame().sort("strategy_id"),
            self.model_version,
            self.dataset.is_simulated,
            self._notes(question),
            self.lineage,
        )

    def _as_known(self, as_of: dt.date | None) -> Dataset:
        if as_of is None:
            return self.dataset
        if not self.dataset.first_date <= as_of <= self.dataset.last_date:
            allowed = f"a date from {self.dataset.first_date} to {self.dataset.last_date}, where the data lies"
            raise RequestError("as_of", as_of.isoformat(), allowed)
        return self.dataset.known_at(as_of)

    def _wanted(self, question: Question) -> dict[str, str]:
        if question.strategies is None:
            return {strategy: strategy for strategy in self.known_strategies}
        return {name: self.names.resolve(name, self.known_strategies) for name in question.strategies}

    def _origins(self, dataset: Dataset, question: Question, wanted: dict[str, str]) -> dict[str, int]:
        newest = dataset.yields.group_by("strategy_id").agg(pl.col("date").max())
        newest = newest.filter(pl.col("strategy_id").is_in(list(wanted.values())))
        if question.strategies is None:
            newest = newest.filter(pl.col("date") > dataset.last_date - dt.timedelta(days=RECENT_DAYS))
        return {strategy: to_day(date) for strategy, date in newest.iter_rows()}

    def _forecast(self, question: Question, origins: dict[str, int]) -> tuple[Forecasts, np.ndarray]:
        levels = levels_for(question.level)
        batches = list(self._memory.at(origins))
        if not any(len(batch.keys) for batch in batches):
            return Forecasts.joined([], question.horizon_days, levels), np.empty(0)
        keys, inputs = joined(batches)
        raw = self.bundle.model.locate(inputs, question.horizon_days)
        return self.bundle.calibrator.forecasts(raw, keys, question.horizon_days, levels), inputs.last_apy

    def _why_not(self, dataset: Dataset, strategies: Sequence[str]) -> dict[str, str]:
        """Say of each strategy why it cannot be forecast."""
        own = dataset.yields.lazy().filter(pl.col("strategy_id").is_in(list(strategies)))
        recent = pl.col("date") > pl.col("date").max() - dt.timedelta(days=ELIGIBILITY_WINDOW_DAYS)
        counted = own.group_by("strategy_id").agg(pl.col("date").max(), recent.sum().alias("recent")).collect()
        reasons = {strategy: _reason(strategy, newest, recent) for strategy, newest, recent in counted.iter_rows()}
        unborn = "no row up to the day asked about, the first is later; choose a later day"
        return {strategy: reasons.get(strategy, f"{strategy}: {unborn}") for strategy in strategies}

    def _notes(self, question: Question) -> tuple[str, ...]:
        notes = []
        if self.dataset.is_simulated:
            notes.append("SIMULATED market data: these numbers say nothing about real strategies")
        if self.bundle.is_simulated:
            notes.append("this model was trained on SIMULATED data")
        if question.as_of is not None and question.as_of.isoformat() < self.bundle.data_end:
            notes.append(f"the model has learned from days after {question.as_of}: no proof of skill")
        if question.as_of is None and self._unlearned_days > MAX_UNLEARNED_DAYS:
            notes.append(
                f"intervals have learned from no outcome of the last {self._unlearned_days} days of data: let them, "
                "with aegis calibrate --update, or every week with aegis run"
            )
        return tuple(notes)

    @cached_property
    def _unlearned_days(self) -> int:
        """Days of data since the bundle last learned; 0 where it cannot learn from them, or does not say."""
        if self.bundle.is_simulated != self.dataset.is_simulated:
            return 0
        try:
            return (self.dataset.last_date - dt.date.fromisoformat(self.bundle.data_end)).days
        except ValueError:
            return 0


def _reason(strategy: str, newest: dt.date, recent_rows: int) -> str:
    if recent_rows >= ELIGIBILITY_MIN_ROWS:
        return f"{strategy}: no row since {newest}, it seems to have ended; ask for it by name to forecast it anyway"
    return (
        f"{strategy}: too little history, received {recent_rows} rows in the {ELIGIBILITY_WINDOW_DAYS} days to "
        f"{newest}, needed are {ELIGIBILITY_MIN_ROWS}; wait for more rows or collect its past"
    )


def predict(
    strategies: Sequence[str] | None = None,
    horizon_days: int = DEFAULT_HORIZON_DAYS,
    *,
    data: str | Path | None = None,
    model: str | Path | None = None,
    level: float = DEFAULT_LEVEL,
) -> Answer:
    """Forecast strategies in one call.

    Parameters
    ----------
    strategies : sequence of str, optional
        Aliases or ids; by default every strategy of the dataset.
    horizon_days : int
        Days ahead, 1 … 30.
    data, model : path, optional
        Dataset folder and bundle; by default those of the project.
    level : float
        Of the interval.

    Returns
    -------
    Answer
        ``.rows`` for people, ``.forecasts`` as a table with all quantiles.

    Examples
    --------
    >>> import aegis_yield
    >>> answer = aegis_yield.predict(["aave", "lido", "delta"], horizon_days=7)
    >>> [row.name for row in answer.rows]
    ['aave', 'lido', 'delta']
    """
    forecaster = Forecaster.open(Path(data) if data else None, Path(model) if model else None)
    return forecaster.ask(Question(strategies, horizon_days, level))


def to_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain values, the shape that the service and ``--json`` share."""
    return {
        "predictions": {
            row.name: {
                "apy": row.apy,
                "volatility": row.volatility,
                "confidence_interval": {"level": answer.question.level, "lower": row.low, "upper": row.high},
                "strategy_id": row.strategy_id,
                "category": row.category,
                "last_apy": row.last_apy,
                "as_of": row.as_of.isoformat(),
                "data_age_days": row.data_age_days,
                "horizon_days": answer.question.horizon_days,
                **({} if (key := answer.forecast_id(row)) is None else {"forecast_id": key}),
            }
            for row in answer.rows
        },
        "horizon_days": answer.question.horizon_days,
        "model_version": answer.model_version,
        "simulated": answer.simulated,
        "notes": list(answer.notes),
    }
