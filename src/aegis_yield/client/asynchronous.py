"""The client for asynchronous code: the same calls, awaited."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from aegis_yield.client import calls
from aegis_yield.client.calls import Call, Order
from aegis_yield.client.core import Core, Fault, request_id_of
from aegis_yield.client.decisions import Allocation, Frontier, RiskReport
from aegis_yield.client.forecasts import (
    Fan,
    ForecastLineage,
    History,
    Prediction,
    Predictions,
    PredictionsEnd,
    StrategyDetail,
    StrategyPage,
)
from aegis_yield.client.lines import LineReader
from aegis_yield.client.options import HistoryOptions, OptimizeOptions, RiskOptions, StrategyOptions
from aegis_yield.client.policy import DEFAULT_URL, Address, Retries
from aegis_yield.client.versions import ModelDetail, ModelPage, Readiness
from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS, DEFAULT_LEVEL, MAX_HORIZON_DAYS

T = TypeVar("T")


class AsyncClient:
    """Asks a service. One client may have many requests under way; close it, or use it in an ``async with``.

    Parameters
    ----------
    base_url : str
        Where the service is; a folder at its end, as behind a proxy, is kept.
    key : str, optional
        As ``aegis keys create`` prints it; by default the environment variable ``AEGIS_API_KEY``, if it is set.
    timeout_s : float
        Seconds to connect, and to wait for the next part of an answer; raised where ``seconds`` is asked for.
    retries : Retries
        How often a request is tried.
    ssl_context : ssl.SSLContext, optional
        Whom to trust, for a private certificate.

    Raises
    ------
    ServiceError
        From every call: :class:`RefusedError`, :class:`UnreachableError` or :class:`DamagedAnswerError`.
    RequestError
        If an address, a key or an argument cannot be used.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout_s: float = 40.0,
        retries: Retries = Retries(),  # noqa: B008  # frozen
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._core = Core(Address.of(base_url, key), timeout_s, retries)
        self._http = httpx2.AsyncClient(**self._core.options(ssl_context))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._core.address!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def predict(
        self,
        strategies: Sequence[str],
        horizon_days: int = DEFAULT_HORIZON_DAYS,
        level: float = DEFAULT_LEVEL,
        explain: bool = False,
    ) -> Predictions:
        """Forecast strategies, by alias or id, at most 20,000 at once."""
        return await self._ask(calls.predict(Order(strategies, horizon_days, level, explain)))

    async def stream(
        self,
        strategies: Sequence[str],
        horizon_days: int = DEFAULT_HORIZON_DAYS,
        level: float = DEFAULT_LEVEL,
        explain: bool = False,
    ) -> AsyncPredictionStream:
        """Forecast strategies and take each forecast as it comes, without holding all of them."""
        call = calls.predict_lines(Order(strategies, horizon_days, level, explain))
        return AsyncPredictionStream(self._core, call, await self._opened(call))

    async def strategies(self, **options: Unpack[StrategyOptions]) -> StrategyPage:
        """List strategies with their forecasts, a page at a time."""
        return await self._ask(calls.strategies(options))

    async def strategy(
        self, strategy_id: str, horizon_days: int = DEFAULT_HORIZON_DAYS, level: float = DEFAULT_LEVEL
    ) -> StrategyDetail:
        """Return one strategy with its forecast."""
        return await self._ask(calls.strategy(strategy_id, horizon_days, level))

    async def history(self, strategy_id: str, **options: Unpack[HistoryOptions]) -> History:
        """Return a strategy's days."""
        return await self._ask(calls.history(strategy_id, options))

    async def fan(self, strategy_id: str, horizon_days: int = MAX_HORIZON_DAYS) -> Fan:
        """Return a strategy's forecast at every horizon up to one."""
        return await self._ask(calls.fan(strategy_id, horizon_days))

    async def risk(self, **options: Unpack[RiskOptions]) -> RiskReport:
        """Say what can go wrong with strategies, and with a portfolio of them."""
        return await self._ask(calls.risk(options))

    async def optimize(self, **options: Unpack[OptimizeOptions]) -> Allocation:
        """Split capital under limits."""
        return await self._ask(calls.optimize(options))

    async def frontier(self, **options: Unpack[OptimizeOptions]) -> Frontier:
        """Give the best allocations by rising aversion to risk."""
        return await self._ask(calls.frontier(options))

    async def models(self) -> ModelPage:
        """Return all versions of the model."""
        return await self._ask(calls.models())

    async def model(self, version: str) -> ModelDetail:
        """Return one version of the model."""
        return await self._ask(calls.model(version))

    async def forecast(self, forecast_id: str) -> ForecastLineage:
        """Return a recorded forecast and what became of it."""
        return await self._ask(calls.forecast(forecast_id))

    async def ready(self) -> Readiness:
        """Say what is served."""
        return await self._ask(calls.ready())

    async def _ask(self, call: Call[T]) -> T:
        attempts = self._core.attempts()
        while True:
            try:
                found = self._core.answer(call, await self._http.send(self._request(call)))
            except httpx2.RequestError as error:
                found = self._core.failure(call, error)
            if not isinstance(found, Fault):
                return found
            await asyncio.sleep(found.wait_s(attempts))

    async def _opened(self, call: Call[Any]) -> httpx2.Response:
        """Return a good response whose body is still to come."""
        attempts = self._core.attempts()
        while True:
            try:
                response = await self._http.send(self._request(call), stream=True)
                if response.status_code != httpx2.codes.OK:
                    await response.aread()
                found = self._core.refusal(call, response)
                if found is None:
                    return response
                await response.aclose()
            except httpx2.RequestError as error:
                found = self._core.failure(call, error)
            await asyncio.sleep(found.wait_s(attempts))

    def _request(self, call: Call[Any]) -> httpx2.Request:
        return self._http.build_request(**self._core.request(call))


class AsyncPredictionStream:
    """Forecasts as they come: pairs of name and forecast. Use it in an ``async with``, or read it to its end.

    Attributes
    ----------
    end : PredictionsEnd or None
        What holds for all forecasts; None until the last one has come.

    Raises
    ------
    DamagedAnswerError
        While it is read, if the answer is cut off or is not what the service promises.
    """

    def __init__(self, core: Core, call: Call[Any], response: httpx2.Response) -> None:
        self.end: PredictionsEnd | None = None
        self._core = core
        self._call = call
        self._response = response

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[tuple[str, Prediction]]:
        reader = LineReader(request_id_of(self._response))
        try:
            async for chunk in self._response.aiter_bytes():
                for found in reader.feed(chunk):
                    yield found
            self.end = reader.close()
        except httpx2.RequestError as error:
            raise reader.cut(type(error).__name__) from error
        finally:
            await self.close()

    async def close(self) -> None:
        """Give the connection up; what has not come is not waited for."""
        await self._response.aclose()
