"""Rates: buckets fill and empty, for each key or address its own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from guarded import make_doors, opened
from httpx2 import Response
from test_predict_endpoint import problem_of

from aegis_yield.pipelines.predict import Forecaster
from api.guards.addresses import client_of
from api.guards.rate_limits import MAX_REMEMBERED, Rate, Rates

SLOW = 0.01
"""Requests a second: a bucket that fills again after the test."""


@pytest.fixture(autouse=True)
def no_keys_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    rates = Rates(Rate("read", per_s=20.0, burst=3))
    assert [rates.take("a").wait_s for _ in range(3)] == [0.0] * 3
    late = rates.take("a")
    assert 0 < late.wait_s <= 1 / 20
    assert rates.take("b").wait_s == 0.0
    time.sleep(late.wait_s)
    assert rates.take("a").wait_s == 0.0
    assert rates.take("a").wait_s > 0


def test_what_is_left_is_said() -> None:
    rates = Rates(Rate("read", per_s=SLOW, burst=3))
    assert [rates.take("a").left for _ in range(4)] == [2, 1, 0, 0]


def test_refused_requests_do_not_make_the_wait_longer() -> None:
    rates = Rates(Rate("read", per_s=SLOW, burst=1))
    rates.take("a")
    assert rates.take("a").wait_s >= max(rates.take("a").wait_s for _ in range(100))


def test_memory_is_bounded_and_empty_buckets_are_remembered() -> None:
    rates = Rates(Rate("read", per_s=1e5, burst=1))
    for number in range(MAX_REMEMBERED + 10):
        rates.take(str(number))
    assert len(rates._full_at) < 10_000  # those are full again
    slow = Rates(Rate("read", per_s=SLOW, burst=1))
    for number in range(5_000):
        slow.take(str(number))
    assert all(slow.take(str(number)).wait_s > 0 for number in range(5_000))
    for number in range(2 * MAX_REMEMBERED + 10):
        slow.take(f"more {number}")
    assert len(slow._full_at) <= 2 * MAX_REMEMBERED


def limited(response: Response) -> None:
    assert "too many requests: allowed are 0.01 a second, 2 at once" in problem_of(response, 429)["detail"]
    assert 1 <= int(response.headers["retry-after"]) <= 100
    assert response.headers["ratelimit"].startswith('"read";r=0;t=')


def test_one_address_has_one_bucket_and_health_none(forecaster: Forecaster) -> None:
    with opened(forecaster, {"read_per_s": SLOW, "read_burst": 2}) as client:
        first = client.get("/strategies")
        assert first.headers["ratelimit-policy"] == '"read";q=2;w=200'
        assert first.headers["ratelimit"].startswith('"read";r=1;t=')
        assert client.get("/nothing").status_code == 404
        limited(client.get("/strategies"))
        assert [client.get("/health/live").status_code for _ in range(5)] == [200] * 5


def test_expensive_requests_have_a_bucket_of_their_own(forecaster: Forecaster) -> None:
    with opened(forecaster, {"optimize_per_s": SLOW, "optimize_burst": 1}) as client:
        assert client.post("/optimize", json={"nonsense": 1}).status_code != 429
        for path in ("/optimize", "/risk", "/frontier"):
            problem_of(client.post(path, json={}), 429)
        assert client.get("/strategies").status_code == 200


def test_keys_do_not_share(forecaster: Forecaster, tmp_path: Path) -> None:
    doors = make_doors(tmp_path / "keys.json")
    with opened(forecaster, {"keys": doors.path, "read_per_s": SLOW, "read_burst": 2}) as client:
        for scope in ("read", "admin"):
            answers = [client.get("/strategies", headers=doors.bearer(scope)) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert client.get("/docs").status_code == 200  # open pages count by address


def test_no_limit_is_possible(forecaster: Forecaster) -> None:
    with opened(forecaster, {"read_per_s": 0, "read_burst": 1}) as client:
        answers = [client.get("/strategies") for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        assert "ratelimit" not in answers[0].headers


@pytest.mark.parametrize(
    ("client", "name"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("2001:db8:1:2:3::4", 1), "2001:db8:1:2::"),
        (("2001:db8:1:2:ffff::", 1), "2001:db8:1:2::"),
        (("fe80::1%eth0", 1), "fe80::"),
        (("testclient", 1), "testclient"),
        (None, "local"),
    ],
)
def test_a_site_is_one_client(client: tuple[str, int] | None, name: str) -> None:
    assert client_of({"client": client}) == name
