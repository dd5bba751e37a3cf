from __future__ import annotations

import datetime as dt
import pickle

import pytest

from aegis_yield.domain.errors import RequestError
from aegis_yield.simulation import MarketSpec, simulate_market


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_strategies", 2),
        ("n_strategies", 20_001),
        ("n_strategies", 60.0),
        ("n_strategies", True),
        ("n_days", 119),
        ("n_days", 5_001),
        ("seed", -1),
        ("seed", "7"),
        ("end", dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)),
        ("end", "2025-09-30"),
        ("end", dt.datetime(2025, 9, 30)),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(RequestError, match=f"^{name}: received") as refused:
        MarketSpec(**{name: value})
    assert refused.value.received == value


def test_today_and_the_limits_are_allowed() -> None:
    today = dt.datetime.now(dt.UTC).date()
    MarketSpec(n_strategies=3, n_days=120, end=today, seed=0)
    MarketSpec(n_strategies=20_000, n_days=5_000)


def test_a_refusal_survives_pickling() -> None:
    with pytest.raises(RequestError) as refused:
        MarketSpec(n_days=1)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_the_span_ends_where_asked() -> None:
    end = dt.date(2024, 2, 29)
    made = simulate_market(MarketSpec(n_strategies=3, n_days=120, end=end))
    assert made.yields["date"].max() == end
    assert made.yields["date"].min() == dt.date(2023, 11, 2)
    assert made.market["date"].min() == dt.date(2023, 11, 2) - dt.timedelta(days=120)
    assert made.market["date"].max() == end
