"""Running a plan: what is done stays done, what failed comes back, and no unit stands in another's way."""

from __future__ import annotations

import datetime as dt
import errno
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from harness import Bench
from pytest_httpserver import HTTPServer
from toy_source import DAY, TOYS, ToyServer, apy_of, months, whole
from werkzeug import Response

from aegis_yield.collection import runner as module
from aegis_yield.collection import sources
from aegis_yield.collection.datasets import DatasetSpec, Session
from aegis_yield.collection.journal import Status
from aegis_yield.collection.raw import RawZone
from aegis_yield.collection.reader import Reader
from aegis_yield.collection.runner import Moment, units_to_do
from aegis_yield.collection.units import Demand, Request, WorkUnit, daily_unit, monthly_units

# Long past: answers are dated by the real clock, and their rows must not lie in its future.
NOW = dt.datetime(2026, 3, 20, 12, tzinfo=dt.UTC)
TODAY = NOW.date()
SINCE = dt.date(2026, 2, 1)
MakeBench = Callable[..., Bench]

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def server(httpserver: HTTPServer) -> ToyServer:
    return ToyServer(httpserver, SINCE, TODAY)


@pytest.fixture
def bench(make_bench: MakeBench, server: ToyServer) -> Bench:
    return make_bench(NOW, SINCE, environment={"AEGIS_SRC__CLIENT__ATTEMPTS": "2"})


def statuses(bench: Bench) -> dict[str, str]:
    """Status by entity and first day of the window."""
    return {f"{row['entity']} {row['start']}": row["status"] for row in bench.journal.units()}


def stored(bench: Bench) -> dict[str, int]:
    """How many days each pool has."""
    return dict(bench.history.latest("pool_days").group_by("pool").len().sort("pool").iter_rows())


def days_between(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + n * DAY for n in range((last - first).days + 1)]


def odd(name: str, fetch: Any, host: str = "binance") -> DatasetSpec:
    return DatasetSpec("toy", name, host, fetch, TOYS["toy", "whole"].parse)


# One bad unit


async def _breaks(unit: WorkUnit, session: Session) -> None:
    reply = await session.ask(Request("binance", f"/whole/{unit.demand.entity}"))
    reply.content["result"]["list"]


async def _asks_elsewhere(unit: WorkUnit, session: Session) -> None:
    await session.ask(Request("elsewhere", "/x"))


@pytest.mark.parametrize(
    ("bad", "verdict", "reason"),
    [
        (Response("no such pool", status=404), "final", "binance: HTTP 404: no such pool"),
        (Response("later", status=503), "transient", "binance: HTTP 503: later"),
        ({"error": "unknown\npool \ud83d"}, "final", "binance: says unknown pool"),
        ({"days": [{"day": "soon", "apy": 1}]}, "final", "unreadable: ValueError: Invalid isoformat string: 'soon'"),
        (_breaks, "final", "unreadable: KeyError: 'result'"),
        (_asks_elsewhere, "final", "received no settings for host 'elsewhere'; add [hosts.elsewhere] to configs/"),
    ],
    ids=["not found", "down", "envelope", "unreadable", "breaks its asker", "no such host"],
)
def test_one_bad_unit_does_not_stop_the_others(
    bench: Bench, server: ToyServer, monkeypatch: pytest.MonkeyPatch, bad: Any, verdict: str, reason: str
) -> None:
    demand = whole("bad")
    if callable(bad) and not isinstance(bad, Response):
        monkeypatch.setitem(sources.DATASETS, ("toy", "odd"), odd("odd", bad))
        demand = Demand("toy", "odd", "bad")
    else:
        server.answers["/whole/bad"] = bad
    bench.collect([whole("a"), demand, whole("b"), months("c")])
    (failure,) = bench.failures
    assert (failure.unit.demand, failure.verdict) == (demand, verdict)
    assert failure.reason.startswith(reason)
    assert len(failure.reason.splitlines()) == 1
    row = next(row for row in bench.journal.units() if row["entity"] == "bad")
    assert (row["status"], row["verdict"], row["reason"]) == ("failed", verdict, failure.reason)
    assert set(stored(bench)) - {"bad"} == {"a", "b", "c"}
    assert [status for name, status in statuses(bench).items() if not name.startswith("bad")].count("failed") == 0


def test_a_host_that_bans_us_fails_its_units_at_once_and_no_other_hosts(bench: Bench, server: ToyServer) -> None:
    server.answers["/whole/0"] = Response("banned", status=418)
    bench.collect([*(whole(str(n)) for n in range(6)), months("c")])
    # There are two workers: the other one may have asked its first question just before.
    assert {failure.verdict for failure in bench.failures} == {"banned"}
    assert {failure.unit.demand.entity for failure in bench.failures} >= {"0", "2", "3", "4", "5"}
    assert sum(server.asked[f"/whole/{n}"] for n in range(6)) <= 2
    assert set(stored(bench)) - {"1"} == {"c"}


def test_offline_a_host_elsewhere_fails_its_units_and_no_others(make_bench: MakeBench, server: ToyServer) -> None:
    bench = make_bench(NOW, SINCE, environment={"AEGIS_SRC__BYBIT__BASE_URL": "http://198.51.100.7"})
    bench.collect([months("a"), whole("b")])
    assert {failure.reason for failure in bench.failures} == {
        "offline mode (AEGIS_OFFLINE) allows this machine only, bybit is at 198.51.100.7"
    }
    assert stored(bench) == {"b": 48}


def test_trouble_of_this_machine_is_no_units_fault(
    bench: Bench, server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.collect([whole("before")])

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(RawZone, "land", full)
        with pytest.raises(OSError, match="No space left"):  # as it is, not in a group
            bench.collect([whole("before"), whole("a"), whole("b"), months("c")])
    bench.close()
    bench.reopen()
    assert not any(status == "failed" for status in statuses(bench).values())
    bench.collect([whole("before"), whole("a"), whole("b"), months("c")])
    assert stored(bench) == {"a": 48, "b": 48, "before": 48, "c": 48}
    assert server.asked["/whole/before"] == 1


# Done, failed, open


def test_what_failed_is_tried_again_by_the_next_run_and_what_is_done_is_not(bench: Bench, server: ToyServer) -> None:
    server.answers["/whole/bad"] = Response("later", status=503)
    demands = [whole("a"), whole("bad")]
    bench.collect(demands)
    assert (server.asked["/whole/a"], server.asked["/whole/bad"]) == (1, 2)  # two tries are allowed
    del server.answers["/whole/bad"]
    bench.reopen()
    assert [unit.demand for unit in bench.collect(demands)] == [whole("bad")]
    assert bench.failures == []
    assert (server.asked["/whole/a"], server.asked["/whole/bad"]) == (1, 3)
    assert stored(bench) == {"a": 48, "bad": 48}
    assert bench.collect(demands) == []
    row = next(row for row in bench.journal.units() if row["entity"] == "bad")
    assert (row["status"], row["attempts"], row["verdict"], row["reason"]) == ("done", 2, "", "")


def test_a_whole_series_is_asked_for_once_a_day(bench: Bench, server: ToyServer) -> None:
    bench.collect([whole("a")])
    assert bench.collect([whole("a")], now=NOW + dt.timedelta(hours=11, minutes=59)) == []
    server.last = TODAY + DAY
    assert bench.collect([whole("a")], now=NOW + dt.timedelta(hours=12)) == [daily_unit(whole("a"), TODAY + DAY)]
    assert server.asked["/whole/a"] == 2
    revisions = bench.history.revisions("pool_days")
    assert revisions.height == 48 + 2  # a new day, and the one before it is final now
    assert revisions.filter(date=TODAY).select("is_final", "revision").rows() == [(False, 1), (True, 2)]


def test_a_month_stays_open_until_a_day_after_its_end(bench: Bench, server: ToyServer) -> None:
    (february, march) = monthly_units(months("a"), SINCE, TODAY)
    assert bench.collect([months("a")]) == [february, march]
    assert (bench.journal.status(february), bench.journal.status(march)) == (Status.DONE, Status.OPEN)
    assert stored(bench) == {"a": 48}
    april = dt.datetime(2026, 4, 1, tzinfo=dt.UTC)
    server.last = april.date()
    assert bench.collect([months("a")], now=april)[0] == march
    assert bench.journal.status(march) == Status.OPEN
    assert march in bench.collect([months("a")], now=april + DAY - dt.timedelta(microseconds=1))
    assert bench.journal.status(march) == Status.OPEN
    assert march in bench.collect([months("a")], now=april + DAY)
    assert bench.journal.status(march) == Status.DONE
    assert march not in bench.collect([months("a")], now=april + 2 * DAY)
    dates = bench.history.latest("pool_days")["date"].to_list()
    assert dates == days_between(SINCE, dt.date(2026, 4, 1))


def test_an_open_month_goes_on_at_its_cursor(bench: Bench, server: ToyServer) -> None:
    bench.collect([months("a")])
    (_, march) = monthly_units(months("a"), SINCE, TODAY)
    assert bench.journal.cursor(march) == str(TODAY)
    before = server.asked["/months/a"]
    server.last = TODAY + 2 * DAY
    bench.reopen()
    bench.collect([months("a")], now=NOW + 2 * DAY)
    assert server.asked["/months/a"] == before + 1
    last_page = list(bench.raw.files())[-1]
    page = bench.raw.page(last_page)
    assert page is not None
    assert page.request["params"]["from"] == str(TODAY)
    assert stored(bench) == {"a": 50}


def test_a_month_that_failed_half_way_keeps_what_it_has_and_goes_on_there(bench: Bench, server: ToyServer) -> None:
    def fails_later(content: Any) -> Any:
        is_late = content["days"][0]["day"] > "2026-02-10"
        return Response("later", status=503) if is_late else content

    server.answers["/months/a"] = fails_later
    (february,) = monthly_units(months("a"), SINCE, dt.date(2026, 2, 28))
    bench.moment = Moment(NOW, SINCE)
    bench.collect([months("a")])
    assert bench.journal.status(february) == Status.FAILED
    assert bench.journal.cursor(february) == "2026-02-10"
    assert bench.history.latest("pool_days")["date"].to_list() == days_between(SINCE, dt.date(2026, 2, 10))
    del server.answers["/months/a"]
    bench.collect([months("a")])
    assert bench.journal.status(february) == Status.DONE
    assert stored(bench) == {"a": 48}
    assert bench.history.revisions("pool_days")["revision"].to_list() == [1] * 48


def test_nothing_is_asked_for_from_before_the_beginning(make_bench: MakeBench, server: ToyServer) -> None:
    bench = make_bench(NOW, dt.date(2026, 3, 9))
    bench.collect([months("a")])
    assert bench.history.latest("pool_days")["date"].to_list() == days_between(dt.date(2026, 3, 9), TODAY)


def test_a_source_that_has_nothing_is_done_and_empty(bench: Bench, server: ToyServer) -> None:
    server.answers["/whole/a"] = server.answers["/months/a"] = {"days": []}
    bench.collect([whole("a"), months("a"), whole("b")])
    assert bench.failures == []
    assert sorted(statuses(bench).items()) == [
        ("a 2026-02-01", "empty"), ("a 2026-03-01", "open"), ("a 2026-03-20", "empty"), ("b 2026-03-20", "done"),
    ]  # fmt: skip
    assert bench.collect([whole("a"), whole("b")]) == []


def test_a_month_that_had_something_once_is_not_empty_because_its_end_brought_nothing(
    bench: Bench, server: ToyServer
) -> None:
    bench.collect([months("a")])
    server.answers["/months/a"] = {"days": []}
    bench.collect([months("a")], now=dt.datetime(2026, 4, 2, tzinfo=dt.UTC))
    assert statuses(bench) == {"a 2026-02-01": "done", "a 2026-03-01": "done", "a 2026-04-01": "open"}


def test_an_unreadable_answer_fails_its_unit_once_and_is_asked_for_by_the_next_run(
    bench: Bench, server: ToyServer
) -> None:
    server.answers["/whole/a"] = {"days": "none"}
    bench.collect([whole("a")])
    assert (server.asked["/whole/a"], len(bench.failures)) == (1, 1)
    assert bench.failures[0].reason.startswith("unreadable: TypeError: ")
    bench.collect([whole("a")])
    assert (server.asked["/whole/a"], len(bench.failures)) == (2, 1)
    del server.answers["/whole/a"]
    bench.collect([whole("a")])
    assert bench.failures == []
    assert statuses(bench) == {"a 2026-03-20": "done"}
    assert stored(bench) == {"a": 48}


def test_a_unit_that_failed_in_two_ways_is_one_failure(bench: Bench, server: ToyServer) -> None:
    def worse_and_worse(content: Any) -> Any:
        first = content["days"][0]["day"] == str(SINCE)
        return (
            {"days": [*content["days"][1:], {"day": "2026-02-05", "apy": "?"}]} if first else Response("", status=404)
        )

    server.answers["/months/a"] = worse_and_worse
    bench.collect([months("a")])
    february = [failure for failure in bench.failures if failure.unit.start == SINCE]
    assert [failure.reason for failure in february] == ["bybit: HTTP 404:"]


def test_failures_are_told_in_the_order_of_the_units(bench: Bench, server: ToyServer) -> None:
    """And not as they come to light: that an answer cannot be read shows last."""
    server.answers["/whole/a"] = {"days": "none"}
    server.answers["/whole/b"] = Response("", status=404)
    for asked in (["a", "b"], ["b", "a"]):
        units = bench.collect([whole(name) for name in asked])
        assert [failure.unit for failure in bench.failures] == units
        assert len(units) == 2


def test_an_answer_that_turns_out_unreadable_after_a_crash_fails_its_unit(
    bench: Bench, server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/whole/a"] = {"days": "none"}

    def killed(_: Reader) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Reader, "read_waiting", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.collect([whole("a")])
    bench.close()
    bench.reopen()
    assert statuses(bench) == {"a 2026-03-20": "done"}  # asked, but not read
    assert bench.collect([whole("a")]) == []
    assert statuses(bench) == {"a 2026-03-20": "failed"}
    del server.answers["/whole/a"]
    assert len(bench.collect([whole("a")])) == 1
    assert (bench.failures, statuses(bench)) == ([], {"a 2026-03-20": "done"})


def test_an_unreadable_answer_of_an_earlier_run_does_not_fail_the_unit_that_was_asked_again(
    bench: Bench, server: ToyServer
) -> None:
    server.answers["/whole/a"] = {"days": "none"}
    bench.collect([whole("a")])
    del server.answers["/whole/a"]
    bench.collect([whole("a")])  # with the same reader, which still knows of the first answer
    assert (bench.failures, statuses(bench)) == ([], {"a 2026-03-20": "done"})
    bench.collect([whole("b")])
    assert statuses(bench) == {"a 2026-03-20": "done", "b 2026-03-20": "done"}


# Planning


def test_units_come_oldest_first_and_each_once(bench: Bench) -> None:
    demands = [months("a"), whole("b"), months("a")]
    units = units_to_do(demands, Moment(NOW, SINCE), bench.journal)
    assert units == [*monthly_units(months("a"), SINCE, TODAY), daily_unit(whole("b"), TODAY)]


@pytest.mark.parametrize(
    ("status", "is_to_do"), [(Status.OPEN, True), (Status.FAILED, True), (Status.DONE, False), (Status.EMPTY, False)]
)
def test_what_is_done_or_empty_is_not_planned(bench: Bench, status: Status, is_to_do: bool) -> None:
    unit = daily_unit(whole("a"), TODAY)
    bench.journal.begin(unit, NOW)
    bench.journal.finish(unit, status, NOW)
    assert units_to_do([whole("a")], Moment(NOW, SINCE), bench.journal) == [unit] * is_to_do


# Side by side


def test_two_hosts_are_worked_side_by_side(make_bench: MakeBench, threaded_server: HTTPServer) -> None:
    """Each host's first answer comes only when the other host is being asked, too."""
    both = threading.Barrier(2, timeout=5.0)

    def meet(content: Any) -> Any:
        both.wait()
        return content

    server = ToyServer(threaded_server, SINCE, TODAY)
    server.answers["/whole/a"] = server.answers["/time"] = meet
    bench = make_bench(NOW, dt.date(2026, 3, 1), environment=both_hosts_at(threaded_server))
    bench.collect([whole("a"), months("b")])
    assert bench.failures == []
    assert stored(bench) == {"a": 48, "b": 20}


def both_hosts_at(server: HTTPServer) -> dict[str, str]:
    url = server.url_for("").rstrip("/")
    return {"AEGIS_SRC__BINANCE__BASE_URL": url, "AEGIS_SRC__BYBIT__BASE_URL": url}


def test_no_host_has_more_units_under_way_than_workers(make_bench: MakeBench, threaded_server: HTTPServer) -> None:
    lock, under_way, seen = threading.Lock(), 0, []

    def slow(content: Any) -> Any:
        nonlocal under_way
        with lock:
            under_way += 1
            seen.append(under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1
        return content

    server = ToyServer(threaded_server, SINCE, TODAY)
    server.answers = {f"/whole/{n}": slow for n in range(8)}
    bench = make_bench(NOW, SINCE, environment=both_hosts_at(threaded_server))
    bench.collect([whole(str(n)) for n in range(8)])
    assert max(seen) == 2
    assert len(seen) == 8


def test_answers_are_read_while_others_are_asked_for(
    bench: Bench, server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_PAGES", 4)
    segments: list[int] = []

    def look(content: Any) -> Any:
        segments.append(len(list((bench.folder / "processed").rglob("*.parquet"))))
        return content

    server.answers = {f"/whole/{n}": look for n in range(12)}
    bench.collect([whole(str(n)) for n in range(12)])
    assert segments[0] == 0
    assert segments[-1] >= 2
    assert stored(bench) == {str(n): 48 for n in range(12)}


def test_probes_are_kept_but_not_read(bench: Bench, server: ToyServer) -> None:
    bench.collect([months("a")])
    assert server.asked["/time"] == 2
    pages = [bench.raw.page(path) for path in bench.raw.files()]
    assert pages.count(None) == 2
    assert bench.journal.waiting() == []
    assert bench.reader.figures.unreadable == {}


def test_progress_is_told_unit_by_unit(bench: Bench, server: ToyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    run = module.Runner.run
    monkeypatch.setattr(
        module.Runner, "run", lambda self, units, hosts, report: run(self, units, hosts, lambda *n: told.append(n))
    )
    server.answers["/whole/b"] = Response("", status=404)
    bench.collect([whole("a"), whole("b"), months("c")])
    assert told == [(n, 4) for n in range(5)]


def test_nothing_to_do_is_no_trouble(bench: Bench) -> None:
    assert bench.collect([]) == []
    assert bench.failures == []


def test_values_arrive_as_they_were_sent(bench: Bench, server: ToyServer) -> None:
    bench.collect([whole("abc"), months("d")])
    rows = bench.history.latest("pool_days").select("pool", "date", "apy", "is_final").rows()
    days = days_between(SINCE, TODAY)
    assert rows == [(pool, day, apy_of(pool, day), day < TODAY) for pool in ("abc", "d") for day in days]
