"""Explain: which features and which days moved each forecast, in words and in fractions per year."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from aegis_yield.domain.errors import RequestError
from aegis_yield.models.attribution import Attribution, attribute
from aegis_yield.pipelines.memory import InputsMemory
from aegis_yield.pipelines.predict import Answer, Forecaster, Question, StrategyForecast, to_json
from aegis_yield.preprocessing.features import WINDOW_DAYS, describe_features
from aegis_yield.preprocessing.origins import OriginBatch
from aegis_yield.preprocessing.panel import to_day
from aegis_yield.utils.typing import FloatArray

MAX_EXPLAINED: Final = 20
"""Strategies explained at once: each costs about fifty forecasts, and more than these nobody reads."""

N_TOP: Final = 8
"""Features that are named; the others are summed."""

FAMILIES: Final[dict[str, str]] = {
    "apy window": "own rate",
    "moving averages": "technical",
    "distance": "technical",
    "oscillator": "technical",
    "momentum": "technical",
    "rolling volatility": "technical",
    "protocol tvl": "tvl",
    "utilisation": "use",
    "calendar": "age",
    "mask": "what is known",
}
"""From a feature's group to the family it is summed in; other groups are families themselves."""


@dataclass(frozen=True)
class FeatureShare:
    """What one feature had to do with a forecast, all days of the window together.

    Attributes
    ----------
    name, family, meaning : str
        Which feature, and what it says.
    value : float
        On the newest day, in the unit that ``meaning`` names.
    apy : float
        By how much it moved the forecast, fraction per year.
    """

    name: str
    family: str
    meaning: str
    value: float
    apy: float


@dataclass(frozen=True)
class Explanation:
    """What one forecast is made of; the parts add up to ``apy``, which they explain, but for rounding.

    Attributes
    ----------
    ewma : float
        Exponentially weighted mean of the rate, fraction per year: the forecast of a practitioner's EWMA.
    today_over_ewma : float
        Today's rate less that mean.
    usual_drift : float
        What strategies of the category usually do over the horizon when nothing has happened.
    features : tuple of FeatureShare
        Those that moved the forecast most, largest first.
    other_features : float
        All others together.
    calibration : float
        What the median of the taught shape and the floor at zero add to the networks' own forecast; rounding included.
    apy : float
        The forecast.
    families : dict of str to float
        The features' shares summed by family, largest first.
    days : dict of date to float
        The same shares summed by the day of the window on which the features were seen.
    gap : float
        Error of the integral behind the shares, fraction per year; it is part of ``calibration``.
    """

    ewma: float
    today_over_ewma: float
    usual_drift: float
    features: tuple[FeatureShare, ...]
    other_features: float
    calibration: float
    apy: float
    families: dict[str, float]
    days: dict[dt.date, float]
    gap: float


def ask_why(forecaster: Forecaster, question: Question) -> tuple[Answer, list[Explanation]]:
    """Forecast what was asked and explain each forecast.

    Returns
    -------
    answer : Answer
        As :meth:`Forecaster.ask` gives it.
    explanations : list of Explanation
        One for each of ``answer.rows``.

    Raises
    ------
    RequestError
        If more than :data:`MAX_EXPLAINED` strategies are asked for.
    UnknownStrategyError, HistoryError
        As :meth:`Forecaster.ask`.
    """
    _check_few(len(set(question.strategies or ())))
    answer = forecaster.ask(question)
    return answer, explain(forecaster, answer)


def explain(forecaster: Forecaster, answer: Answer) -> list[Explanation]:
    """Explain the forecasts of an answer that this forecaster gave, one for each row.

    Raises
    ------
    RequestError
        If there are more than :data:`MAX_EXPLAINED`.
    """
    _check_few(len(answer.rows))
    model, horizon = forecaster.bundle.model, answer.question.horizon_days
    found: dict[str, Explanation] = {}
    for batch, rows in _inputs(forecaster, answer):
        attribution = attribute(model, batch.inputs, horizon)
        values = batch.inputs.windows[:, -1].astype(float)
        for place, row in enumerate(rows):
            found[row.strategy_id] = _explanation(row, attribution, values[place], place)
    return [found[row.strategy_id] for row in answer.rows]


def to_json_with(answer: Answer, explanations: list[Explanation]) -> dict[str, Any]:
    """Return an answer as plain values; where there are explanations, each prediction has its ``explanation``."""
    content = to_json(answer)
    for row, explanation in zip(answer.rows, explanations, strict=bool(explanations)):
        content["predictions"][row.name]["explanation"] = _plain(explanation)
    return content


def _check_few(count: int) -> None:
    if count > MAX_EXPLAINED:
        allowed = f"at most {MAX_EXPLAINED} strategies at once with an explanation; ask for fewer, or without"
        raise RequestError("explain", f"{count:,} strategies", allowed)


def _inputs(forecaster: Forecaster, answer: Answer) -> Iterator[tuple[OriginBatch, list[StrategyForecast]]]:
    """Yield the inputs of every origin with the answer's rows that they belong to, each strategy once."""
    rows = {row.strategy_id: row for row in answer.rows}
    for batch in InputsMemory(forecaster.dataset).at({name: to_day(row.as_of) for name, row in rows.items()}):
        yield batch, [rows[name] for name in batch.keys.strategy_id.astype(str).tolist()]


def _explanation(row: StrategyForecast, attribution: Attribution, values: FloatArray, place: int) -> Explanation:
    shares = attribution.shares[place]
    by_feature = shares.sum(axis=0)
    features = _named(by_feature, values)
    ewma, last, drift = (
        float(part[place]) for part in (attribution.ewma, attribution.last_apy, attribution.usual_drift)
    )
    return Explanation(
        ewma=ewma,
        today_over_ewma=last - ewma,
        usual_drift=drift,
        features=tuple(features[:N_TOP]),
        other_features=float(sum(feature.apy for feature in features[N_TOP:])),
        calibration=row.apy - last - drift - float(by_feature.sum()),
        apy=row.apy,
        families=_by_family(features),
        days={row.as_of - dt.timedelta(days=WINDOW_DAYS - 1 - n): float(day) for n, day in enumerate(shares.sum(1))},
        gap=float(attribution.gap[place]),
    )


def _named(by_feature: FloatArray, values: FloatArray) -> list[FeatureShare]:
    rows = zip(describe_features(), values.tolist(), by_feature.tolist(), strict=True)
    named = [
        FeatureShare(name, FAMILIES.get(group, group), meaning, value, apy)
        for (name, group, meaning), value, apy in rows
        if group != "category"  # the same at rest: its part is the usual drift
    ]
    return sorted(named, key=lambda feature: -abs(feature.apy))


def _by_family(features: list[FeatureShare]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for feature in features:
        totals[feature.family] = totals.get(feature.family, 0.0) + feature.apy
    return dict(sorted(totals.items(), key=lambda total: -abs(total[1])))


def _plain(explanation: Explanation) -> dict[str, Any]:
    return {
        "ewma": explanation.ewma,
        "today_over_ewma": explanation.today_over_ewma,
        "usual_drift": explanation.usual_drift,
        "features": [vars(feature) for feature in explanation.features],
        "other_features": explanation.other_features,
        "calibration": explanation.calibration,
        "families": explanation.families,
        "days": {day.isoformat(): apy for day, apy in explanation.days.items()},
        "gap": explanation.gap,
    }
