"""Schemathesis over the OpenAPI document, against a running service: every check there is, on every operation.

Decisions that fit the schema take long; ``test_decisions_schema.py`` has those.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from services import Service, running
from test_predict_endpoint import IDS

from aegis_yield.pipelines.predict import Forecaster
from api.settings import LifeSettings, ServiceSettings

load_all_checks()
(ACCEPTS_WHAT_FITS,) = CHECKS.get_by_names(["positive_data_acceptance"])

QUESTIONS = (
    "POST /predict", "GET /forecasts/{forecast_id}", "GET /strategies", "GET /strategies/{strategy_id}",
    "GET /strategies/{strategy_id}/history", "GET /strategies/{strategy_id}/fan", "GET /models/{version}",
)  # fmt: skip
DECISIONS = ("POST /risk", "POST /optimize", "POST /frontier")
WITHOUT_INPUT = ("GET /models", "GET /health/live", "GET /health/ready", "GET /metrics")
KINDS = [(name, GenerationMode.POSITIVE) for name in (*QUESTIONS, *WITHOUT_INPUT)]
KINDS += [(name, GenerationMode.NEGATIVE) for name in (*QUESTIONS, *DECISIONS)]
MORE_THAN_A_SCHEMA_SAYS = ("GET /strategies/{strategy_id}/history", *DECISIONS)
"""Fields that must fit each other, such as a start before an end: a schema cannot say so."""
FEW = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
NAMES = st.sampled_from(sorted({*IDS, *IDS.values()}))


@pytest.fixture(scope="module")
def unlimited(forecaster: Forecaster) -> Iterator[Service]:
    """A service that answers however often it is asked."""
    life = LifeSettings(read_per_s=0, optimize_per_s=0)
    with running(forecaster, ServiceSettings(service=life)) as service:
        yield service


@pytest.fixture(scope="module")
def operations(unlimited: Service) -> dict[str, schemathesis.APIOperation]:
    schema = schemathesis.openapi.from_url(f"{unlimited.url}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


@pytest.mark.parametrize(("name", "mode"), KINDS)
def test_the_service_keeps_its_schema(
    operations: dict[str, schemathesis.APIOperation], name: str, mode: GenerationMode
) -> None:
    """On requests that fit the schema and on requests that do not."""

    @FEW
    @given(case=operations[name].as_strategy(generation_mode=mode))
    def keeps(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=excluded(name))

    keeps()


def excluded(name: str) -> list[object]:
    return [ACCEPTS_WHAT_FITS] if name in MORE_THAN_A_SCHEMA_SAYS else []


def test_forecasts_of_known_strategies_keep_the_schema(operations: dict[str, schemathesis.APIOperation]) -> None:
    """Names made up from the schema are unknown: here the answers are forecasts."""

    @FEW
    @given(case=operations["POST /predict"].as_strategy(), names=st.lists(NAMES, min_size=1, max_size=4))
    def keeps(case: schemathesis.Case, names: list[str]) -> None:
        case.body["strategies"] = names
        assert case.call_and_validate().status_code == 200

    keeps()


@pytest.mark.parametrize("suffix", ["", "/history", "/fan"])
def test_reads_of_known_strategies_keep_the_schema(
    operations: dict[str, schemathesis.APIOperation], suffix: str
) -> None:
    @FEW
    @given(case=operations[f"GET /strategies/{{strategy_id}}{suffix}"].as_strategy(), name=NAMES)
    def keeps(case: schemathesis.Case, name: str) -> None:
        case.path_parameters["strategy_id"] = name
        answer = case.call_and_validate(excluded_checks=excluded("GET /strategies/{strategy_id}/history"))
        assert answer.status_code in (200, 422)

    keeps()


def test_every_operation_was_checked(operations: dict[str, schemathesis.APIOperation]) -> None:
    assert set(operations) == {name for name, _ in KINDS} | {*DECISIONS}
