"""The request and answer that DESIGN section 7 promises, word for word; further fields may come, none may go."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

REQUEST = b'{"strategies": ["aave", "lido", "delta"], "horizon_days": 7}'
NUMBER, TEXT = (int, float), str

PREDICTION: dict[str, Any] = {
    "apy": float,
    "volatility": float,
    "confidence_interval": {"level": float, "lower": float, "upper": float},
    "strategy_id": TEXT,
    "category": TEXT,
    "last_apy": float,
    "as_of": TEXT,
    "data_age_days": int,
    "horizon_days": int,
}
ANSWER: dict[str, Any] = {
    "predictions": {"aave": PREDICTION, "lido": PREDICTION, "delta": PREDICTION},
    "horizon_days": int,
    "model_version": TEXT,
    "simulated": bool,
    "notes": list,
}


@pytest.fixture
def answer(client: TestClient) -> dict[str, Any]:
    response = client.post("/predict", content=REQUEST, headers={"content-type": "application/json"})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    return dict(response.json())


def holds(found: Any, promised: Any) -> bool:
    if isinstance(promised, dict):
        return isinstance(found, dict) and all(holds(found.get(name), promised[name]) for name in promised)
    return type(found) is promised


def test_the_answer_has_every_promised_field_of_its_type(answer: dict[str, Any]) -> None:
    assert holds(answer, ANSWER)


def test_only_what_was_asked_for_is_answered_in_its_order(answer: dict[str, Any]) -> None:
    assert list(answer["predictions"]) == ["aave", "lido", "delta"]
    assert set(answer) == set(ANSWER)
    for prediction in answer["predictions"].values():
        assert set(prediction) == set(PREDICTION)


def test_the_check_sees_a_field_that_is_gone_or_of_another_type() -> None:
    assert not holds({"aave": {"apy": 0.05}}, {"aave": {"apy": float, "volatility": float}})
    assert not holds({"apy": 1}, {"apy": float})
    assert not holds({"simulated": 1}, {"simulated": bool})
