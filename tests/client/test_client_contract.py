"""The client against the service's own document: what it reads is promised, what is promised it can ask for."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import pytest

from aegis_yield.client import calls, options
from aegis_yield.client.calls import Call, Order
from aegis_yield.client.decisions import Allocation, Frontier, RiskReport
from aegis_yield.client.forecasts import Fan, ForecastLineage, History, Predictions, StrategyDetail, StrategyPage
from aegis_yield.client.versions import ModelDetail, ModelPage, Readiness
from api.ml_service import create_app
from api.settings import ServiceSettings

DOCUMENT: dict[str, Any] = create_app(ServiceSettings()).openapi()
ANSWERS: dict[str, tuple[Call[Any], Any]] = {
    "POST /predict": (calls.predict(Order(["x"])), Predictions),
    "GET /strategies": (calls.strategies({}), StrategyPage),
    "GET /strategies/{strategy_id}": (calls.strategy("x", 7, 0.9), StrategyDetail),
    "GET /strategies/{strategy_id}/history": (calls.history("x", {}), History),
    "GET /strategies/{strategy_id}/fan": (calls.fan("x"), Fan),
    "POST /risk": (calls.risk({}), RiskReport),
    "POST /optimize": (calls.optimize({}), Allocation),
    "POST /frontier": (calls.frontier({}), Frontier),
    "GET /models": (calls.models(), ModelPage),
    "GET /models/{version}": (calls.model("x"), ModelDetail),
    "GET /forecasts/{forecast_id}": (calls.forecast("x"), ForecastLineage),
    "GET /health/ready": (calls.ready(), Readiness),
}
LEFT_OUT = {"GET /health/live", "GET /metrics"}
"""For supervisors and Prometheus, not for programs that want forecasts."""

TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", dt.date: "string", dt.datetime: "string"}


def schema_of(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return DOCUMENT["components"]["schemas"][name] if name else schema


def answer_schema(route: str) -> dict[str, Any]:
    method, path = route.split()
    content = DOCUMENT["paths"][path][method.lower()]["responses"]["200"]["content"]
    return schema_of(content["application/json"]["schema"])


def differences(kind: Any, schema: dict[str, Any], place: str) -> Iterator[str]:
    """Compare a type of the client's with what the document promises; name every place where they differ."""
    schema = schema_of(schema)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (kind,) = (argument for argument in arguments if argument is not types.NoneType)
        parts = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
        yield from differences(kind, parts[0], place)
    elif is_nullable(schema):
        yield f"{place}: may be null"
    elif is_dataclass(kind):
        yield from member_differences(kind, schema, place)
    elif origin is tuple:
        items = schema.get("items") or {}
        yield from differences(arguments[0], items, f"{place}[]") if schema.get("type") == "array" else [place]
    elif origin is Mapping:
        yield from entry_differences(arguments, schema, place)
    elif kind is not Any and schema.get("type") != TYPES[kind]:
        yield f"{place}: {kind} is no {schema.get('type')}"
    elif kind in (dt.date, dt.datetime) and schema.get("format") != {dt.date: "date"}.get(kind, "date-time"):
        yield f"{place}: {kind} is no {schema.get('format')}"


def is_nullable(schema: dict[str, Any]) -> bool:
    return any(part.get("type") == "null" for part in schema.get("anyOf", []))


def member_differences(kind: Any, schema: dict[str, Any], place: str) -> Iterator[str]:
    hints, promised = typing.get_type_hints(kind), schema.get("properties", {})
    for field in fields(kind):
        if field.name not in promised:
            yield f"{place}.{field.name}: not promised"
            continue
        if field.default is MISSING and field.name not in schema.get("required", ()):
            yield f"{place}.{field.name}: may be absent"
        yield from differences(hints[field.name], promised[field.name], f"{place}.{field.name}")
    for name in set(promised) - {field.name for field in fields(kind)}:
        yield f"{place}.{name}: never read"


def entry_differences(arguments: tuple[Any, ...], schema: dict[str, Any], place: str) -> Iterator[str]:
    further = schema.get("additionalProperties")
    if schema.get("type") != "object" or not further:
        yield f"{place}: no mapping"
    elif isinstance(further, dict):
        yield from differences(arguments[1], further, f"{place}{{}}")


@pytest.mark.parametrize("route", ANSWERS)
def test_answers_are_read_as_promised(route: str) -> None:
    call, kind = ANSWERS[route]
    method, path = route.split()
    assert re.fullmatch(re.sub(r"{\w+}", "x", path), call.path)
    assert call.method == method
    assert list(differences(kind, answer_schema(route), "answer")) == []


def test_every_route_has_a_method_or_is_left_out() -> None:
    routes = {f"{method.upper()} {path}" for path, item in DOCUMENT["paths"].items() for method in item}
    assert set(ANSWERS) | LEFT_OUT == routes
    assert not set(ANSWERS) & LEFT_OUT


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        ("GET /strategies", options.StrategyOptions),
        ("GET /strategies/{strategy_id}/history", options.HistoryOptions),
        ("POST /risk", options.RiskOptions),
        ("POST /optimize", options.OptimizeOptions),
        ("POST /frontier", options.OptimizeOptions),
    ],
)
def test_everything_that_may_be_asked_has_an_option(route: str, kind: Any) -> None:
    method, path = route.split()
    operation = DOCUMENT["paths"][path][method.lower()]
    asked = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"}
    if "requestBody" in operation:
        asked |= set(schema_of(operation["requestBody"]["content"]["application/json"]["schema"])["properties"])
    assert set(typing.get_type_hints(kind)) == asked


def test_the_comparison_sees_what_differs() -> None:
    promised = {"type": "object", "properties": {"status": {"type": "integer"}, "new": {"type": "string"}}}
    found = list(differences(Readiness, promised, "answer"))
    assert "answer.status: <class 'str'> is no integer" in found
    assert "answer.status: may be absent" in found
    assert "answer.new: never read" in found
    assert "answer.data: not promised" in found


def test_the_client_is_light() -> None:
    heavy = ("torch", "polars", "numpy", "fastapi", "pydantic", "scipy")
    code = f"import sys, aegis_yield.client; print(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == []
