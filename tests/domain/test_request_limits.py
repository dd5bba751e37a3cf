from __future__ import annotations

import pytest

from aegis_yield.domain.errors import RequestError
from aegis_yield.domain.limits import check_horizon, check_level


@pytest.mark.parametrize("days", [1, 7, 30])
def test_horizons_from_1_to_30_are_allowed(days: int) -> None:
    assert check_horizon(days) == days


@pytest.mark.parametrize("days", [0, 31, -7, True, False, 7.0, 7.5, "7", None, float("nan")])
def test_other_horizons_are_refused_by_name(days: object) -> None:
    with pytest.raises(RequestError, match="a whole number from 1 to 30") as caught:
        check_horizon(days)  # type: ignore[arg-type]
    assert caught.value.name == "horizon_days"
    assert caught.value.received is days


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.98])
def test_levels_from_50_to_98_percent_are_allowed(level: float) -> None:
    assert check_level(level) == level


@pytest.mark.parametrize(
    "level", [0.49, 0.981, 0.0, 1.0, 90, -0.9, True, float("nan"), float("inf"), "0.9", None, [0.9]]
)
def test_other_levels_are_refused_by_name(level: object) -> None:
    with pytest.raises(RequestError, match=r"a fraction from 0\.5 to 0\.98") as caught:
        check_level(level)  # type: ignore[arg-type]
    assert caught.value.name == "level"
