from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from aegis_yield.domain.errors import RequestError
from aegis_yield.models.plan import TrainingPlan


def test_the_learning_rate_is_that_of_batch_size_512() -> None:
    plan = TrainingPlan(batch_size=512, learning_rate=3e-3)
    assert plan.learning_rate_at(0) == pytest.approx(3e-3)


@pytest.mark.parametrize(("batch_size", "factor"), [(32, 0.25), (128, 0.5), (2_048, 2.0)])
def test_other_batch_sizes_scale_it_by_the_square_root(batch_size: int, factor: float) -> None:
    plan = TrainingPlan(batch_size=batch_size, learning_rate=3e-3)
    assert plan.learning_rate_at(0) == pytest.approx(factor * 3e-3)


def test_the_learning_rate_falls_by_the_decay_every_epoch() -> None:
    plan = TrainingPlan(learning_rate_decay=0.7)
    rates = [plan.learning_rate_at(epoch) for epoch in range(5)]
    assert [b / a for a, b in pairwise(rates)] == pytest.approx([0.7] * 4)


@pytest.mark.parametrize(
    "choice",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"seed": -1},
        {"members": 0},
        {"members": 9},
        {"volatility_members": -1},
        {"shape_members": 9},
        {"recipe": "secret"},
    ],
)
def test_a_plan_that_cannot_train_is_refused_by_name(choice: dict[str, Any]) -> None:
    (name,) = choice
    with pytest.raises(RequestError, match=f"^{name}: received"):
        TrainingPlan(**choice)


def test_a_plan_can_be_made_again_from_its_plain_values() -> None:
    plan = TrainingPlan(epochs=4, members=1, recipe="textbook")
    assert TrainingPlan(**plan.to_dict()) == plan
