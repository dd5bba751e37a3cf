"""Decisions: ``POST /risk``, ``POST /optimize`` and ``POST /frontier``, made by worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from aegis_yield.domain.errors import AegisError, InfeasibleError, RequestError
from aegis_yield.pipelines.option_names import option_of
from aegis_yield.pipelines.predict import Forecaster
from api.freshness import Served
from api.problems import FAULTS, MEDIA_TYPE, problem
from api.schemas.decision_answers import (
    FrontierResponse,
    InfeasibleProblem,
    OptimizeResponse,
    Relaxation,
    RiskResponse,
)
from api.schemas.decisions import Budget, FrontierRequest, OptimizeRequest, RiskRequest
from api.schemas.problems import FieldFault, Problem
from api.settings import ServiceSettings
from api.state import AgeRule, Settings, served_of
from api.workers.failures import DeadlineError, QueueFullError, StoppingError, WorkerDiedError, WorkerError
from api.workers.messages import Answer, Job
from api.workers.pool import WorkerPool

T = TypeVar("T")

CLIENT_GONE: Final = 499
"""Nobody reads it: the client closed the connection before its answer."""

RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    **FAULTS,
    422: {"model": InfeasibleProblem | Problem, "content": {MEDIA_TYPE: {}}},
    429: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "All workers are busy; see Retry-After."},
    504: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "No answer within the deadline."},
}

router = APIRouter(tags=["decisions"], dependencies=[Depends(served_of)])


@router.post("/risk", responses=RESPONSES, response_model=RiskResponse, summary="What can go wrong")
async def risk(order: RiskRequest, request: Request, settings: Settings) -> Response:
    """Say what can go wrong with strategies over a horizon, and with a portfolio of them if weights are given."""
    return await _decided("risk", order, request, settings)


@router.post("/optimize", responses=RESPONSES, response_model=OptimizeResponse, summary="Split capital")
async def optimize(order: OptimizeRequest, request: Request, settings: Settings) -> Response:
    """Split capital under limits, and say why each strategy is in or out; what ``aegis optimize --json`` prints."""
    return await _decided("optimize", order, request, settings)


@router.post("/frontier", responses=RESPONSES, response_model=FrontierResponse, summary="Income against risk")
async def frontier(order: FrontierRequest, request: Request, settings: Settings) -> Response:
    """Give the best allocations for rising aversion to risk, and beside them what people do today."""
    return await _decided("frontier", order, request, settings)


class _Asking:
    """One request's view of what is served: the newest when a worker begins, and remembered for the answer."""

    def __init__(self, request: Request, settings: ServiceSettings) -> None:
        self.warnings: list[str] = []
        self._request = request
        self._rule = AgeRule.of(settings)

    def __call__(self) -> Forecaster:
        """Return what is served now, if its data is young enough to act on."""
        served: Served = self._request.app.state.served
        self.warnings = self._rule.warnings(served, [])
        return served.forecaster


async def _decided(kind: str, order: Budget, request: Request, settings: ServiceSettings) -> Response:
    """Let a worker decide, and turn what comes instead of an answer into a problem document."""
    limit_s = settings.service.deadline_s
    if order.seconds is not None and order.seconds > limit_s:
        raise RequestError("seconds", order.seconds, f"at most {limit_s:g}, the service's own limit")
    asking = _Asking(request, settings)
    asking()  # where the data is too old, say so before a worker is started
    pool: WorkerPool = request.app.state.workers
    job = Job(kind, order.options(), order.seconds or limit_s)
    try:
        answer = await _while_connected(request, pool.decide(job, asking))
    except InfeasibleError as error:
        return _infeasible(error)
    except RequestError as error:
        return _bad_value(error)
    except WorkerError as error:
        return _no_answer(error)
    if answer is None:
        return Response(status_code=CLIENT_GONE)
    body = _with_warnings(answer.body, asking.warnings)
    return Response(body, media_type="application/json", headers={"Server-Timing": _timing(answer)})


def _with_warnings(body: bytes, warnings: list[str]) -> bytes:
    """Add warnings to an object, which need not be read for that."""
    return body[:-1] + b',"warnings":' + json.dumps(warnings).encode() + b"}" if warnings else body


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """Do some work; when the client is gone it is cancelled and there is nothing to return."""
    working, gone = asyncio.create_task(work), asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, gone):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, AegisError, WorkerError):
            await working


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _no_answer(error: WorkerError) -> Response:
    text = str(error)
    match error:
        case QueueFullError():
            return problem(HTTPStatus.TOO_MANY_REQUESTS, text, headers=_retry(error.retry_after_s))
        case DeadlineError():
            return problem(HTTPStatus.GATEWAY_TIMEOUT, text)
        case WorkerDiedError():
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, text, headers=_retry(error.retry_after_s))
        case StoppingError():
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, text, headers=_retry(10.0))
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, text)


def _retry(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def _bad_value(error: RequestError) -> Response:
    """Return a problem document that names the field of the request, not the part of the package that refused it."""
    field = option_of(error.name) or error.name
    fault = FieldFault(field=field, received=repr(error.received)[:200], problem=f"allowed is {error.allowed}")
    detail = f"{field}: received {fault.received}, {fault.problem}"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, [fault])


def _infeasible(error: InfeasibleError) -> JSONResponse:
    """Return a problem document with the conflict and the least relaxation as extension members."""
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    plain = json.loads(bytes(problem(status, str(error)).body))
    relaxation = [Relaxation(limit=name, field=option_of(name), by=amount) for name, amount in error.relaxation]
    body = InfeasibleProblem(**plain, conflict=list(error.limits), relaxation=relaxation)
    return JSONResponse(body.model_dump(exclude_none=True), status_code=int(status), media_type=MEDIA_TYPE)


def _timing(answer: Answer) -> str:
    parts = {"wait": answer.waited_s, "load": answer.loaded_s, "work": answer.worked_s}
    return ", ".join(f"{name};dur={1_000 * seconds:.1f}" for name, seconds in parts.items())
