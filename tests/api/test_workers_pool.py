"""The parts of the worker pool: who is next, how long it may take, what goes over the pipe, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from desks import SMALL, is_alive

from aegis_yield.domain.errors import (
    AegisError,
    BundleError,
    HistoryError,
    InfeasibleError,
    RequestError,
    UnknownStrategyError,
)
from aegis_yield.pipelines.option_names import option_of
from aegis_yield.pipelines.predict import Forecaster
from api.schemas.decisions import OptimizeRequest
from api.settings import WorkerSettings
from api.workers.failures import (
    DeadlineError,
    QueueFullError,
    StoppingError,
    WorkerError,
    WorkerFailedError,
)
from api.workers.messages import Job, error_from, error_message, line
from api.workers.pool import WorkerPool
from api.workers.queueing import Busyness, Counter, Durations, queue_full
from api.workers.worker import EndedError, Worker

JOB = Job("optimize", OptimizeRequest(**SMALL).options(), 60.0)


def played(scene: Callable[[], Awaitable[None]]) -> None:
    async def timed() -> None:
        async with asyncio.timeout(120):
            await scene()

    asyncio.run(timed())


@pytest.mark.parametrize(
    "error",
    [
        UnknownStrategyError("aav", ["aave", "lido"]),
        RequestError("max_share", 1.5, "a share"),
        RequestError("strategies", ("a", "b"), "each once"),
        InfeasibleError(["max_share", "min_invested_share"], [("max_share", 0.25)]),
        HistoryError("aave: too little history"),
    ],
)
def test_a_clients_error_comes_through_the_pipe_whole(error: AegisError) -> None:
    sent = line(error_message(error))
    assert sent.count(b"\n") == 1
    found = error_from(json.loads(sent))
    assert type(found) is type(error)
    if isinstance(error, InfeasibleError):
        assert found.__reduce__()[1] == error.__reduce__()[1]
    assert str(found).replace("[", "(").replace("]", ")") == str(error)


def test_an_error_of_this_machine_is_no_clients_error() -> None:
    found = error_from(json.loads(line(error_message(BundleError("a file is gone")))))
    assert type(found) is AegisError
    assert str(found) == "a file is gone"


@pytest.mark.parametrize("received", [float("nan"), float("inf"), {"a": object()}, None, [float("nan")]])
def test_whatever_was_received_can_be_sent(received: object) -> None:
    assert b"\n" not in line(error_message(RequestError("x", received, "y")))[:-1]


@pytest.mark.parametrize(
    ("limit", "option"),
    [
        ("max_protocol_share of aave-v3", "max_protocol"),
        ("min_invested_share", "min_invested"),
        ("max_turnover", "max_turnover"),
        ("position of aave", "current"),
        ("capacity", None),
        ("goal", "goal"),
    ],
)
def test_a_limit_is_known_by_the_option_that_sets_it(limit: str, option: str | None) -> None:
    assert option_of(limit) == option


def test_every_name_of_a_limit_is_that_of_a_field() -> None:
    fields = set(OptimizeRequest.model_fields)
    shares = ("max_protocol_share", "max_chain_share", "max_category_share", "max_issuer_share", "min_instant_share")
    amounts = ("min_ticket_usd", "min_tvl_usd", "capital", "position")
    others = ("risk_free_apy", "n_scenarios", "max_cvar", "seed")
    assert {option_of(name) for name in (*shares, *amounts, *others)} <= fields


def test_those_who_wait_are_served_in_the_order_they_came() -> None:
    async def scene() -> None:
        worker = Worker()
        counter, served = Counter([worker], 3), list[int]()

        async def wait(number: int) -> None:
            taken = await counter.take(asyncio.get_running_loop().time() + 60, 60)
            served.append(number)
            counter.give(taken)

        taken = await counter.take(0.0, 60)  # one is free: no deadline matters
        tasks = [asyncio.create_task(wait(number)) for number in range(3)]
        await asyncio.sleep(0)
        assert counter.is_full
        assert counter.n_waiting == 3
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        assert not counter.is_full
        counter.give(taken)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert served == [0, 2]
        assert counter.n_waiting == 0

    played(scene)


def test_a_worker_handed_to_one_who_leaves_goes_to_the_next() -> None:
    async def scene() -> None:
        worker = Worker()
        counter = Counter([worker], 3)
        taken = await counter.take(0.0, 60)
        far = asyncio.get_running_loop().time() + 60
        first, second = (asyncio.create_task(counter.take(far, 60)) for _ in range(2))
        await asyncio.sleep(0)
        counter.give(taken)
        first.cancel()  # in the moment in which it was served
        assert await second is worker
        assert first.cancelled()

    played(scene)


def test_who_waits_too_long_leaves_the_line() -> None:
    async def scene() -> None:
        counter = Counter([], 1)
        with pytest.raises(DeadlineError, match=r"no answer within 0\.01 s: no worker became free"):
            await counter.take(asyncio.get_running_loop().time() + 0.01, 0.01)
        assert counter.n_waiting == 0

    played(scene)


def test_the_estimate_follows_what_was_seen_and_never_passes_the_deadline() -> None:
    durations = Durations()
    for _ in range(20):
        durations.saw("optimize", 8.0)
    assert durations.usual("optimize") == pytest.approx(8.0)
    assert Busyness("optimize", 100.0, 130.0).remaining_s(102.0, durations) == pytest.approx(6.0)
    assert Busyness("optimize", 100.0, 105.0).remaining_s(102.0, durations) == pytest.approx(3.0)
    assert Busyness("optimize", 100.0, 130.0).remaining_s(120.0, durations) == pytest.approx(5.0)
    durations.saw("optimize", 18.0)
    assert 8.0 < durations.usual("optimize") < 18.0


def test_the_estimate_is_that_of_the_first_to_be_free() -> None:
    async def scene() -> None:
        durations = Durations()
        durations.saw("optimize", 20.0)
        durations.saw("risk", 4.0)
        now = asyncio.get_running_loop().time()
        works = [Busyness("optimize", now, now + 30), Busyness("risk", now, now + 30)]
        assert queue_full(Counter([], 0), works, durations).retry_after_s == 4

    played(scene)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_worker_that_is_gone_before_it_is_asked_has_ended(
    loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On either loop: one breaks the pipe, the other says that it is closed."""

    async def scene() -> None:
        worker = Worker()
        await worker.start()
        async with asyncio.timeout(30):
            while worker.is_alive:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # until the loop has seen that the pipe is closed, too
            with pytest.raises(EndedError):
                await worker.ask({"kind": "load"})
            await worker.end()

    monkeypatch.setattr(sys, "executable", "/bin/false")
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scene())


def pool_of(**settings: Any) -> WorkerPool:
    return WorkerPool(WorkerSettings(**settings), None)


def test_a_pool_that_stops_sends_everybody_away_and_leaves_no_process(forecaster: Forecaster) -> None:
    async def scene() -> None:
        async with pool_of(waiting=2) as pool:
            await pool.decide(JOB, lambda: forecaster)
            (pid,) = pool.pids
            os.kill(pid, signal.SIGSTOP)
            asked = [asyncio.create_task(pool.decide(JOB, lambda: forecaster)) for _ in range(3)]
            await asyncio.sleep(0.05)
            assert (pool.status.busy, pool.status.waiting) == (1, 2)
            with pytest.raises(QueueFullError):
                await pool.decide(JOB, lambda: forecaster)
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(end) for end in ends] == [StoppingError] * 3
        assert not is_alive(pid)
        with pytest.raises(StoppingError):
            await pool.decide(JOB, lambda: forecaster)

    played(scene)


def test_a_pool_can_stop_while_a_worker_is_starting(forecaster: Forecaster) -> None:
    async def scene() -> None:
        async with pool_of() as pool:
            asked = asyncio.create_task(pool.decide(JOB, lambda: forecaster))
            while not pool.pids:
                await asyncio.sleep(0.01)
            (pid,) = pool.pids
        with pytest.raises(WorkerError):
            await asked
        assert not is_alive(pid)

    played(scene)


def test_a_deadline_does_not_interrupt_a_start(forecaster: Forecaster) -> None:
    """Else a client that never waits long would never find a worker that is ready."""

    async def scene() -> None:
        async with pool_of() as pool:
            hasty = Job(JOB.kind, JOB.options, 0.2)
            with pytest.raises(DeadlineError, match="still loading model and tables, which goes on"):
                await pool.decide(hasty, lambda: forecaster)
            (pid,) = pool.pids
            answer = await pool.decide(JOB, lambda: forecaster)
            assert pool.pids == [pid]
            assert json.loads(answer.body)["model_version"] == forecaster.model_version
            assert pool.status.started == 1

    played(scene)


def test_what_nobody_foresaw_is_said_and_the_worker_goes_on(
    forecaster: Forecaster, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with pool_of() as pool:
            with pytest.raises(WorkerFailedError, match="logged at the service"):
                await pool.decide(Job("nonsense", {}, 60.0), lambda: forecaster)
            (pid,) = pool.pids
            await pool.decide(JOB, lambda: forecaster)
            assert pool.pids == [pid]

    played(scene)
    assert "KeyError: 'nonsense'" in caplog.text


def test_two_workers_decide_at_once(forecaster: Forecaster) -> None:
    async def scene() -> None:
        async with pool_of(workers=2) as pool:
            answers = await asyncio.gather(*(pool.decide(JOB, lambda: forecaster) for _ in range(4)))
            assert len(set(pool.pids)) == 2
        bodies = [json.loads(answer.body) for answer in answers]
        assert all(body["weights"] == bodies[0]["weights"] for body in bodies)

    played(scene)


def test_what_the_service_cannot_serve_any_more_is_its_own_error(forecaster: Forecaster) -> None:
    async def scene() -> None:
        def gone() -> Forecaster:
            raise AegisError("the data is too old")

        async with pool_of() as pool:
            with pytest.raises(AegisError, match="too old"):
                await pool.decide(JOB, gone)
            assert pool.status.started == 0

    played(scene)
