"""The document of ``/risk``, ``/optimize`` and ``/frontier`` is kept, by requests that fit it and by others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from desks import desk
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

pytestmark = pytest.mark.slow

load_all_checks()

PATHS = ("/risk", "/optimize", "/frontier")
FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
ALWAYS_ACCEPTED = [CHECKS.get_one("positive_data_acceptance")]
"""Limits that fit the schema may still contradict each other, and are refused with 422 then."""


@pytest.fixture(scope="module")
def operations(tables: Path, tiny_model: Path) -> Iterator[dict[str, schemathesis.APIOperation]]:
    with desk(tables, tiny_model) as opened:
        schema = schemathesis.openapi.from_url(f"{opened.client.base_url}/openapi.json")
        found = [result.ok() for result in schema.get_all_operations()]
        yield {operation.path: operation for operation in found if operation.path in PATHS}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_decisions_keep_their_schema(
    path: str, mode: GenerationMode, operations: dict[str, schemathesis.APIOperation]
) -> None:
    @FEW
    @given(case=operations[path].as_strategy(generation_mode=mode))
    def keeps(case: schemathesis.Case) -> None:
        if mode == GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body["scenarios"] = 20  # enough for an answer of the right form
        case.call_and_validate(excluded_checks=ALWAYS_ACCEPTED, timeout=60)

    keeps()


@pytest.mark.parametrize("path", PATHS)
def test_decisions_on_known_strategies_keep_their_schema(
    path: str, operations: dict[str, schemathesis.APIOperation]
) -> None:
    """Names made up from the schema are unknown: here the answers are decisions, or limits that contradict."""
    statuses = set()

    @FEW
    @given(case=operations[path].as_strategy())
    def keeps(case: schemathesis.Case) -> None:
        case.body = {name: value for name, value in case.body.items() if name not in ("weights", "current", "seconds")}
        case.body |= {"strategies": ["aave", "lido", "compound"], "scenarios": 20}
        if "never" in case.body:
            case.body["never"] = ["aave"]
        statuses.add(case.call_and_validate(excluded_checks=ALWAYS_ACCEPTED, timeout=60).status_code)

    keeps()
    assert 200 in statuses
    assert statuses <= {200, 422}
