"""What holds for every exchange: all rows of every page, none twice, whatever happens on the way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from exchange_servers import (
    CANDLES,
    FUNDING,
    HOUR_MS,
    NOW,
    SINCE,
    Binance,
    Exchange,
    Hyperliquid,
    HyperliquidCandles,
    Row,
    candles,
    hours,
    json_answer,
    ms,
    settlements,
    switching_times,
)
from harness import Bench
from pytest_httpserver import HTTPServer
from werkzeug import Response

MakeBench = Callable[..., Bench]


def opened(kind: type[Exchange], server: HTTPServer) -> Exchange:
    """An exchange with a long truth: before SINCE, after NOW, and with funding intervals that change."""
    if kind.dataset == "funding":
        return kind(server, settlements(switching_times(), mark=kind.source == "binance"))
    return kind(server, candles(hours(ms(2023, 12, 20), ms(2024, 3, 21))))


@pytest.fixture(params=FUNDING + CANDLES, ids=lambda kind: kind.__name__)
def exchange(request: pytest.FixtureRequest, httpserver: HTTPServer) -> Exchange:
    return opened(request.param, httpserver)


@pytest.fixture(params=FUNDING, ids=lambda kind: kind.__name__)
def funding(request: pytest.FixtureRequest, httpserver: HTTPServer) -> Exchange:
    return opened(request.param, httpserver)


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench(NOW, SINCE)


def test_everything_from_since_to_now_is_collected(exchange: Exchange, bench: Bench) -> None:
    bench.collect([exchange.demand])
    assert bench.failures == []
    assert exchange.collected(bench) == exchange.expected()
    # Nothing before `since` and nothing after `now` was asked for (OKX can be given no lower bound).
    assert min(first for first, _ in exchange.pages()) == (0 if exchange.source == "okx" else ms(2024, 1, 5))
    assert max(last for _, last in exchange.pages()) == ms(2024, 3, 20, 13, 30)


def test_a_second_run_finds_nothing_new(exchange: Exchange, bench: Bench) -> None:
    bench.collect([exchange.demand])
    n_asked = len(exchange.asked)
    units = bench.collect([exchange.demand])
    assert [unit.start for unit in units] == [dt.date(2024, 3, 1)]  # the others are over and done
    assert len(exchange.asked) == n_asked + 1
    assert bench.history.revisions(exchange.dataset).height == len(exchange.expected())


def test_a_later_run_goes_on_two_intervals_before_the_cursor(exchange: Exchange, bench: Bench) -> None:
    bench.collect([exchange.demand])
    exchange.asked.clear()
    later = NOW + dt.timedelta(hours=5)
    bench.collect([exchange.demand], now=later)
    assert exchange.collected(bench) == exchange.expected(now=later)
    if exchange.source != "okx":
        overlap = 16 if exchange.dataset == "funding" else 2
        assert exchange.pages() == [(ms(2024, 3, 20, 13) - overlap * HOUR_MS, ms(2024, 3, 20, 18, 30))]


def test_a_run_that_was_cut_off_goes_on_where_it_was(funding: Exchange, make_bench: MakeBench) -> None:
    # Small pages, so that February takes several; the second of them fails.
    funding.largest_page = 100
    february = make_bench(dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC), dt.date(2024, 2, 12))
    funding.instead.extend([None, Response("no", 404)])
    february.collect([funding.demand])
    assert [failure.verdict for failure in february.failures] == ["final"]
    assert "HTTP 404" in february.failures[0].reason
    assert 0 < len(funding.collected(february)) <= 100
    piece_end = funding.pages()[0][1]

    funding.asked.clear()
    february.close()
    february.reopen()
    february.collect([funding.demand])
    assert february.failures == []
    expected = funding.expected(february.moment.since, february.moment.now)
    assert funding.collected(february) == expected
    assert february.history.revisions("funding").height == len(expected)
    if funding.source in ("binance", "hyperliquid"):
        cursor = ms(2024, 2, 12) + 99 * HOUR_MS
        assert funding.pages()[0][0] == cursor - 16 * HOUR_MS
    else:  # the piece of the window that lacked its older rows is asked for as a whole
        assert funding.pages()[0][1] == piece_end


def test_a_page_as_long_as_the_limit_is_not_taken_for_the_last(funding: Exchange, make_bench: MakeBench) -> None:
    funding.largest_page = 100
    # 100 settlements and then none for a day; then 200, and one more.
    first = ms(2024, 2, 12)
    times = [*hours(first, first + 100 * HOUR_MS), *hours(first + 124 * HOUR_MS, first + 325 * HOUR_MS)]
    funding.truth = settlements(times)
    bench = make_bench(dt.datetime(2024, 2, 29, tzinfo=dt.UTC), dt.date(2024, 2, 12))
    bench.collect([funding.demand])
    assert bench.failures == []
    assert len(funding.collected(bench)) == 301
    assert funding.collected(bench) == funding.expected(bench.moment.since, bench.moment.now)


def test_a_window_that_holds_exactly_one_full_page_takes_one_request(funding: Exchange, make_bench: MakeBench) -> None:
    funding.truth = settlements(hours(ms(2024, 3, 1), ms(2024, 3, 25)))
    n_rows = {"bybit": 192}.get(funding.source, 384 if funding.source == "okx" else 500)
    now = dt.datetime(2024, 3, 1, tzinfo=dt.UTC) + dt.timedelta(hours=n_rows, milliseconds=-1)
    bench = make_bench(now, dt.date(2024, 3, 1))
    bench.collect([funding.demand])
    assert len(funding.asked) == 1
    assert len(funding.collected(bench)) == n_rows


def test_rows_handed_out_twice_at_the_boundary_of_pages_are_kept_once(funding: Exchange, bench: Bench) -> None:
    funding.largest_page = 100
    funding.repeated = 1
    bench.collect([funding.demand])
    assert bench.failures == []
    assert funding.collected(bench) == funding.expected()
    assert bench.history.revisions("funding").height == len(funding.expected())


def test_a_page_of_nothing_but_the_boundary_is_the_end(funding: Exchange, make_bench: MakeBench) -> None:
    # 100 settlements, then no more: the next page holds the last of them once again.
    funding.truth = settlements(hours(ms(2024, 2, 12), ms(2024, 2, 12) + 100 * HOUR_MS))
    funding.repeated = 1
    bench = make_bench(dt.datetime(2024, 2, 20, tzinfo=dt.UTC), dt.date(2024, 2, 12))
    bench.collect([funding.demand])
    assert bench.failures == []
    assert funding.collected(bench) == funding.expected(bench.moment.since, bench.moment.now)


def test_rows_given_twice_in_a_page_are_kept_once(exchange: Exchange, bench: Bench) -> None:
    exchange.truth = [row for row in exchange.truth for _ in range(2)]
    bench.collect([exchange.demand])
    assert bench.failures == []
    assert exchange.collected(bench) == exchange.expected()[::2]
    assert bench.history.revisions(exchange.dataset).height == len(exchange.expected()) // 2


def test_an_exchange_that_ignores_the_cursor_is_refused(exchange: Exchange, bench: Bench) -> None:
    exchange.heeds_cursor = False
    if exchange.source in ("bybit", "okx"):
        exchange.truth = [row for row in exchange.truth if row[0] >= ms(2024, 3, 1)]  # what is newest is all too new
    bench.collect([exchange.demand])
    assert len(bench.failures) == 3
    assert all("ignores its cursor" in failure.reason for failure in bench.failures)
    assert all(failure.verdict == "final" for failure in bench.failures)
    assert len(exchange.asked) == 3  # refused at once, not asked on and on
    assert exchange.collected(bench) == []


def test_an_exchange_that_shows_its_newest_rows_whatever_it_is_asked_is_refused(
    exchange: Exchange, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = exchange.truth[-150:]
    order = -1 if exchange.source in ("bybit", "okx") else 1
    for name in ("oldest", "newest"):
        monkeypatch.setattr(exchange, name, lambda first, last, limit: newest[::order])
    # Up to the very end of what there is, so that all rows shown lie in the last window.
    bench = make_bench(dt.datetime(2024, 3, 20, 23, 30, tzinfo=dt.UTC), dt.date(2024, 2, 20))
    bench.collect([exchange.demand])
    assert len(bench.failures) == 2
    assert all("ignores its cursor" in failure.reason for failure in bench.failures)


@pytest.mark.parametrize("kind", [Binance, Hyperliquid, HyperliquidCandles])
def test_an_exchange_that_keeps_the_newest_rows_of_a_window_is_refused(
    kind: type[Exchange], httpserver: HTTPServer, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = opened(kind, httpserver)

    def oldest(first: int, last: int, limit: int) -> list[Row]:
        return [row for row in exchange.truth if first <= row[0] <= last][-200:]

    monkeypatch.setattr(exchange, "oldest", oldest)
    bench.collect([exchange.demand])
    refused = {failure.unit.start.month: failure.reason for failure in bench.failures}
    assert set(refused) == ({2, 3} if exchange.dataset == "funding" else {1, 2, 3})
    assert all("newest rows of a window" in reason for reason in refused.values())


def test_an_exchange_that_shows_the_same_page_again_and_again_is_refused(
    funding: Exchange, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    funding.largest_page = 100
    bench = make_bench(dt.datetime(2024, 2, 29, 23, 30, tzinfo=dt.UTC), dt.date(2024, 2, 22))
    # Right at first sight; then the cursor moves on and the page does not.
    funding.truth = settlements(hours(ms(2024, 2, 22), ms(2024, 3, 1)))
    true_answer, pages = funding.answer, []

    def same_answer(asked: dict[str, object]) -> Response:
        pages.append(pages[0] if pages else true_answer(asked).get_data())
        return Response(pages[0], content_type="application/json")

    monkeypatch.setattr(funding, "answer", same_answer)
    bench.collect([funding.demand])
    assert ["ignores its cursor" in failure.reason for failure in bench.failures] == [True]
    assert len(funding.asked) == 2


def test_an_exchange_that_answers_about_another_market_is_refused(exchange: Exchange, bench: Bench) -> None:
    def renamed(row: object) -> object:
        if isinstance(row, dict):
            return {key: "DOGE" if value == exchange.entity else value for key, value in row.items()}
        return row

    exchange.changed = renamed
    bench.collect([exchange.demand])
    if isinstance(exchange.written(exchange.truth[0]), dict):
        assert len(bench.failures) == 3
        assert all("received ['DOGE']" in failure.reason for failure in bench.failures)
        assert exchange.collected(bench) == []
    else:  # these candles do not say whose they are
        assert bench.failures == []


def test_new_fields_change_nothing(exchange: Exchange, bench: Bench) -> None:
    exchange.changed = lambda row: {**row, "rateType": "Regular"} if isinstance(row, dict) else [*row, "new"]
    bench.collect([exchange.demand])
    assert bench.failures == []
    assert exchange.collected(bench) == exchange.expected()


def test_numbers_may_come_as_text_and_text_as_numbers(exchange: Exchange, bench: Bench) -> None:
    def flipped(value: object) -> object:
        if isinstance(value, str) and value.replace(".", "").replace("-", "").isdecimal():
            return int(value) if value.isdecimal() else float(value)
        return str(value) if isinstance(value, int) else value

    exchange.changed = lambda row: (
        {key: flipped(value) for key, value in row.items()} if isinstance(row, dict) else [flipped(v) for v in row]
    )
    bench.collect([exchange.demand])
    assert bench.failures == []
    assert exchange.collected(bench) == exchange.expected()


def test_a_row_that_cannot_be_true_is_set_aside_and_the_others_are_kept(funding: Exchange, bench: Bench) -> None:
    spoiled = {ms(2024, 1, 10): "0.5", ms(2024, 1, 11): "n/a", ms(2024, 1, 12): ""}
    funding.truth = [(row[0], spoiled.get(row[0], row[1]), row[2]) for row in funding.truth]
    bench.collect([funding.demand])
    assert bench.failures == []
    funding.truth = [row for row in funding.truth if row[0] not in spoiled]
    assert funding.collected(bench) == funding.expected()
    aside = bench.history.quarantined("funding").sort("time")
    assert aside["time"].dt.day().to_list() == [10, 11, 12]
    assert [reason.split(" ")[0] for reason in aside["reason"]] == ["|rate|", "rate", "rate"]


def test_a_row_without_a_time_is_set_aside(funding: Exchange, bench: Bench) -> None:
    unreadable = ms(2024, 1, 10)

    def timeless(row: dict[str, object]) -> dict[str, object]:
        return {key: "soon" if str(value) == str(unreadable) else value for key, value in row.items()}

    funding.changed = timeless
    bench.collect([funding.demand])
    assert bench.failures == []
    funding.truth = [row for row in funding.truth if row[0] != unreadable]
    assert funding.collected(bench) == funding.expected()
    reasons = set(bench.history.quarantined("funding")["reason"])
    assert len(reasons) == 1
    assert "time must be known" in reasons.pop()


def test_rows_none_of_which_has_a_time_are_refused(funding: Exchange, bench: Bench) -> None:
    funding.changed = lambda row: {key: value for key, value in row.items() if not str(value).startswith("17")}
    funding.truth = [row for row in funding.truth if row[0] >= ms(2024, 2, 1)]
    bench.collect([funding.demand])
    assert {failure.unit.start.month for failure in bench.failures} == {2, 3}
    assert all("no row has a time" in failure.reason for failure in bench.failures)


def test_an_answer_of_another_shape_is_refused_and_nothing_else_suffers(exchange: Exchange, bench: Bench) -> None:
    for content in (None, {"error": "x"}, [1, 2]):
        exchange.instead.append(json_answer(content))
        bench.collect([exchange.demand])
        assert [failure.verdict for failure in bench.failures] == ["final"], content
        assert "expected" in bench.failures[0].reason
    bench.collect([exchange.demand])
    assert bench.failures == []
    assert exchange.collected(bench) == exchange.expected()


def test_an_unknown_market_fails_with_the_words_of_the_exchange(exchange: Exchange, bench: Bench) -> None:
    words = {"binance": "Invalid symbol", "bybit": "Symbol Invalid", "okx": "51001", "hyperliquid": "HTTP 500: null"}
    exchange.entity = "NOSUCH"
    demand = exchange.demand
    exchange.entity = type(exchange).entity
    bench.collect([demand])
    assert len(bench.failures) == 3
    assert all(words[exchange.source] in failure.reason for failure in bench.failures)


def test_a_region_that_is_not_served_is_final_at_once(exchange: Exchange, bench: Bench) -> None:
    exchange.instead.extend([Response("restricted location", 451)] * 3)
    bench.collect([exchange.demand])
    assert len(exchange.asked) == 3  # once a unit, never again
    assert [failure.verdict for failure in bench.failures] == ["final"] * 3


def test_months_before_the_market_began_are_empty_and_never_asked_for_again(exchange: Exchange, bench: Bench) -> None:
    exchange.truth = [row for row in exchange.truth if row[0] >= ms(2024, 3, 10, 5)]
    bench.collect([exchange.demand])
    assert exchange.collected(bench) == exchange.expected()
    states = sorted((unit["start"], unit["status"]) for unit in bench.journal.units())
    assert states == [("2024-01-01", "empty"), ("2024-02-01", "empty"), ("2024-03-01", "open")]


def test_a_month_that_since_has_passed_asks_nothing(exchange: Exchange, make_bench: MakeBench) -> None:
    bench = make_bench(dt.datetime(2024, 3, 1, tzinfo=dt.UTC), dt.date(2024, 3, 5))
    bench.collect([exchange.demand])
    assert exchange.asked == []
    assert bench.failures == []


def test_a_page_read_again_gives_the_same_rows(exchange: Exchange, bench: Bench) -> None:
    bench.collect([exchange.demand])
    before = exchange.collected(bench)
    rebuilt = bench.reader.rebuild(lambda done, total: None)
    again = rebuilt.latest(exchange.dataset).drop("ingested_at", "raw_id", "row_no", "revision")
    assert again.rows() == before != []
