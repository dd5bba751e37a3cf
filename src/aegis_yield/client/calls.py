"""Requests as values: one function for each route, no network."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from aegis_yield.client.decisions import Allocation, Frontier, RiskReport
from aegis_yield.client.forecasts import Fan, ForecastLineage, History, Predictions, StrategyDetail, StrategyPage
from aegis_yield.client.lines import gathered
from aegis_yield.client.options import HistoryOptions, OptimizeOptions, RiskOptions, StrategyOptions
from aegis_yield.client.parsing import decode, read
from aegis_yield.client.versions import ModelDetail, ModelPage, Readiness
from aegis_yield.domain.errors import RequestError
from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS, DEFAULT_LEVEL, MAX_HORIZON_DAYS

T = TypeVar("T")

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
MAX_IN_ONE: Final = 1_000
"""The service answers more strategies than these line by line."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read.

    Attributes
    ----------
    method, path : str
        The path begins with a slash and is quoted.
    parse : callable
        Makes the answer from a good response's body.
    query : dict of str to str
        Of the address.
    body : bytes or None
        JSON.
    accept : str
        Media type that is wanted.
    seconds : float or None
        How long the service may work on it; None: as long as the client waits anyway.
    """

    method: str
    path: str
    parse: Callable[[bytes], T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    accept: str = JSON
    seconds: float | None = None


@dataclass(frozen=True)
class Order:
    """What to forecast: strategies by alias or id, days ahead, level of the interval, with reasons or without."""

    strategies: Sequence[str]
    horizon_days: int = DEFAULT_HORIZON_DAYS
    level: float = DEFAULT_LEVEL
    explain: bool = False


def predict(order: Order) -> Call[Predictions]:
    """Return the request for forecasts in one answer."""
    if len(order.strategies) > MAX_IN_ONE:
        return predict_lines(order)
    return Call("POST", "/predict", _one(Predictions), body=_order(order))


def predict_lines(order: Order) -> Call[Predictions]:
    """Return the request for forecasts line by line."""
    return Call("POST", "/predict", gathered, body=_order(order), accept=NDJSON)


def strategies(options: StrategyOptions) -> Call[StrategyPage]:
    """Return the request for a page of strategies."""
    return Call("GET", "/strategies", _one(StrategyPage), _query(options))


def strategy(strategy_id: str, horizon_days: int, level: float) -> Call[StrategyDetail]:
    """Return the request for one strategy."""
    query = _query({"horizon_days": horizon_days, "level": level})
    return Call("GET", f"/strategies/{_part('strategy_id', strategy_id)}", _one(StrategyDetail), query)


def history(strategy_id: str, options: HistoryOptions) -> Call[History]:
    """Return the request for a strategy's days."""
    path = f"/strategies/{_part('strategy_id', strategy_id)}/history"
    return Call("GET", path, _one(History), _query(options))


def fan(strategy_id: str, horizon_days: int = MAX_HORIZON_DAYS) -> Call[Fan]:
    """Return the request for a strategy's forecast at all horizons."""
    path = f"/strategies/{_part('strategy_id', strategy_id)}/fan"
    return Call("GET", path, _one(Fan), _query({"horizon_days": horizon_days}))


def risk(options: RiskOptions) -> Call[RiskReport]:
    """Return the request for risks."""
    return Call("POST", "/risk", _one(RiskReport), body=_json(options), seconds=options.get("seconds"))


def optimize(options: OptimizeOptions) -> Call[Allocation]:
    """Return the request for an allocation."""
    return Call("POST", "/optimize", _one(Allocation), body=_json(options), seconds=options.get("seconds"))


def frontier(options: OptimizeOptions) -> Call[Frontier]:
    """Return the request for a frontier."""
    return Call("POST", "/frontier", _one(Frontier), body=_json(options), seconds=options.get("seconds"))


def models() -> Call[ModelPage]:
    """Return the request for all versions of the model."""
    return Call("GET", "/models", _one(ModelPage))


def model(version: str) -> Call[ModelDetail]:
    """Return the request for one version of the model."""
    return Call("GET", f"/models/{_part('version', version)}", _one(ModelDetail))


def forecast(forecast_id: str) -> Call[ForecastLineage]:
    """Return the request for a recorded forecast."""
    return Call("GET", f"/forecasts/{_part('forecast_id', forecast_id)}", _one(ForecastLineage))


def ready() -> Call[Readiness]:
    """Return the request for what is served."""
    return Call("GET", "/health/ready", _one(Readiness))


def _one(kind: type[T]) -> Callable[[bytes], T]:
    return lambda body: read(kind, decode(body))


def _order(order: Order) -> bytes:
    if isinstance(order.strategies, str):  # a sequence of letters
        raise RequestError("strategies", order.strategies, "a list of names")
    wanted = {"strategies": list(order.strategies), "horizon_days": order.horizon_days, "level": order.level}
    return _json({**wanted, "explain": True} if order.explain else wanted)


def _json(content: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(content, default=_plain, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise RequestError("request", str(error), "what JSON can say: texts, finite numbers, lists") from error


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | set | frozenset):
        return list(value)
    item = getattr(value, "item", None)  # a number of NumPy
    if callable(item):
        return item()
    raise TypeError(f"{type(value).__name__} {value!r}"[:100])


def _query(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in options.items() if value is not None}


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case dt.datetime():
            return value.date().isoformat()
        case dt.date():
            return value.isoformat()
        case str():
            return value
        case Sequence():
            return ",".join(map(str, value))
    return str(value)


def _part(name: str, value: str) -> str:
    """Quote one part of a path; what would lead to another route is refused."""
    if not value or value.strip(".") == "":
        raise RequestError(name, value, "a name")
    return quote(value, safe=":")
