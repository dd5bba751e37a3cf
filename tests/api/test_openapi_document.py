"""The OpenAPI document: every operation has examples, bounds and units, and the examples are true to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from api import schemas
from api.ml_service import create_app
from api.settings import ServiceSettings

DOCUMENT: dict[str, Any] = create_app(ServiceSettings()).openapi()
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]
NAMES = [name for name, _ in OPERATIONS]
UNIT = re.compile(
    r"fraction|share|US dollars|_usd|days|UTC|level|ratio|seconds|probability|lower is better|errors over|unit|horizon",
    re.IGNORECASE,
)
NAMED = re.compile(r"_usd$|_days$|apy|seconds$|probability$|share$|^n_|^count$|^total$")
"""Fields whose names say what they are measured in, or that count."""
PURE = {"Certificate.primal_residual", "Certificate.gap", "FrontierPoint.risk_aversion", "LimitUse.allowed",
        "FrontierRequest.risk_aversion", "OptimizeRequest.risk_aversion"}  # fmt: skip
"""Numbers without a unit, or with that of what they stand beside."""


def schema_of(reference: dict[str, Any]) -> dict[str, Any]:
    name = reference.get("$ref", "").rpartition("/")[2]
    return DOCUMENT["components"]["schemas"][name] if name else reference


def kinds(schema: dict[str, Any]) -> set[str]:
    parts = [schema, *schema.get("anyOf", [])]
    parts += [schema_of(part.get("items", {})) for part in parts]
    return {kind for part in parts for kind in [part.get("type")] if isinstance(kind, str)}


def has_example(content: dict[str, Any]) -> bool:
    schema = schema_of(content.get("schema", {}))
    return bool(content.get("example") or content.get("examples") or schema.get("examples"))


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=NAMES)
def test_every_operation_is_explained(name: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert "200" in operation["responses"]


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=NAMES)
def test_requests_and_answers_have_examples(name: str, operation: dict[str, Any]) -> None:
    contents = [operation.get("requestBody", {}).get("content", {}).get("application/json")]
    contents.append(operation["responses"]["200"].get("content", {}).get("application/json"))
    assert [content for content in contents if content is not None and not has_example(content)] == []


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=NAMES)
def test_parameters_are_explained_and_bounded(name: str, operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", []):
        assert parameter.get("description"), parameter["name"]
        schema = parameter["schema"]
        parts = [part for part in (schema, *schema.get("anyOf", [])) if part.get("type") in ("integer", "number")]
        for part in parts:
            assert {"minimum", "maximum"} <= set(part), parameter["name"]
        texts = [part for part in (schema, *schema.get("anyOf", [])) if part.get("type") == "string"]
        for part in texts:
            assert {"maxLength", "enum", "format"} & {*part, *schema}, parameter["name"]


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=NAMES)
def test_errors_are_problem_documents(name: str, operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            assert list(response["content"]) == ["application/problem+json"], status


def numbers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for field, content in schema.get("properties", {}).items():
            if "number" in kinds(content):
                yield f"{name}.{field}", content


def test_every_number_has_a_unit() -> None:
    without = [
        name
        for name, content in numbers()
        if not UNIT.search(content.get("description", "")) and not NAMED.search(name.rpartition(".")[2])
    ]
    assert sorted(set(without) - PURE) == []


@pytest.mark.parametrize("name", [name for name in schemas.__all__ if name[0].isupper() and name[1].islower()])
def test_examples_are_true_to_their_schemas(name: str) -> None:
    model = getattr(schemas, name)
    examples = getattr(model, "model_config", {}).get("json_schema_extra", {}).get("examples", [])
    for example in examples:
        TypeAdapter(model).validate_python(example, strict=False)


def test_answers_are_true_to_the_document(client: TestClient) -> None:
    """What routes write as bytes is held to the models that the document names."""
    paths = {
        "/strategies?spark_days=5": schemas.StrategyPage,
        "/strategies/aave": schemas.StrategyDetail,
        "/strategies/aave/history?drawdown=true": schemas.History,
        "/strategies/aave/fan?horizon_days=2": schemas.Fan,
        "/models": schemas.ModelPage,
        "/models/lstm_v1-test": schemas.ModelDetail,
    }
    for path, model in paths.items():
        answer = client.get(path).json()
        parsed = model.model_validate(answer)
        assert set(answer) <= set(parsed.model_dump()), path
    answer = client.post("/predict", json={"strategies": ["aave"], "explain": True}).json()
    assert schemas.PredictResponse.model_validate(answer).model_dump(mode="json", exclude_unset=True) == answer


def test_every_route_of_the_api_is_in_the_document() -> None:
    expected = {
        "POST /predict", "GET /forecasts/{forecast_id}", "POST /risk", "POST /optimize", "POST /frontier",
        "GET /strategies", "GET /strategies/{strategy_id}", "GET /strategies/{strategy_id}/history",
        "GET /strategies/{strategy_id}/fan", "GET /models", "GET /models/{version}", "GET /health/live",
        "GET /health/ready", "GET /metrics",
    }  # fmt: skip
    assert set(NAMES) == expected
