"""The client for ordinary code: each call waits for its answer."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
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


class Client:
    """Asks a service. One client may serve many threads; close it, or use it in a ``with``.

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
        self._http = httpx2.Client(**self._core.options(ssl_context))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._core.address!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(
        self,
        strategies: Sequence[str],
        horizon_days: int = DEFAULT_HORIZON_DAYS,
        level: float = DEFAULT_LEVEL,
        explain: bool = False,
    ) -> Predictions:
        """Forecast strategies, by alias or id, at most 20,000 at once."""
        return self._ask(calls.predict(Order(strategies, horizon_days, level, explain)))

    def stream(
        self,
        strategies: Sequence[str],
        horizon_days: int = DEFAULT_HORIZON_DAYS,
        level: float = DEFAULT_LEVEL,
        explain: bool = False,
    ) -> PredictionStream:
        """Forecast strategies and take each forecast as it comes, without holding all of them."""
        call = calls.predict_lines(Order(strategies, horizon_days, level, explain))
        return PredictionStream(self._core, call, self._opened(call))

    def strategies(self, **options: Unpack[StrategyOptions]) -> StrategyPage:
        """List strategies with their forecasts, a page at a time."""
        return self._ask(calls.strategies(options))

    def strategy(
        self, strategy_id: str, horizon_days: int = DEFAULT_HORIZON_DAYS, level: float = DEFAULT_LEVEL
    ) -> StrategyDetail:
        """Return one strategy with its forecast."""
        return self._ask(calls.strategy(strategy_id, horizon_days, level))

    def history(self, strategy_id: str, **options: Unpack[HistoryOptions]) -> History:
        """Return a strategy's days."""
        return self._ask(calls.history(strategy_id, options))

    def fan(self, strategy_id: str, horizon_days: int = MAX_HORIZON_DAYS) -> Fan:
        """Return a strategy's forecast at every horizon up to one."""
        return self._ask(calls.fan(strategy_id, horizon_days))

    def risk(self, **options: Unpack[RiskOptions]) -> RiskReport:
        """Say what can go wrong with strategies, and with a portfolio of them."""
        return self._ask(calls.risk(options))

    def optimize(self, **options: Unpack[OptimizeOptions]) -> Allocation:
        """Split capital under limits."""
        return self._ask(calls.optimize(options))

    def frontier(self, **options: Unpack[OptimizeOptions]) -> Frontier:
        """Give the best allocations by rising aversion to risk."""
        return self._ask(calls.frontier(options))

    def models(self) -> ModelPage:
        """Return all versions of the model."""
        return self._ask(calls.models())

    def model(self, version: str) -> ModelDetail:
        """Return one version of the model."""
        return self._ask(calls.model(version))

    def forecast(self, forecast_id: str) -> ForecastLineage:
        """Return a recorded forecast and what became of it."""
        return self._ask(calls.forecast(forecast_id))

    def ready(self) -> Readiness:
        """Say what is served."""
        return self._ask(calls.ready())

    def _ask(self, call: Call[T]) -> T:
        attempts = self._core.attempts()
        while True:
            try:
                found = self._core.answer(call, self._http.send(self._request(call)))
            except httpx2.RequestError as error:
                found = self._core.failure(call, error)
            if not isinstance(found, Fault):
                return found
            time.sleep(found.wait_s(attempts))

    def _opened(self, call: Call[Any]) -> httpx2.Response:
        """Return a good response whose body is still to come."""
        attempts = self._core.attempts()
        while True:
            try:
                response = self._http.send(self._request(call), stream=True)
                if response.status_code != httpx2.codes.OK:
                    response.read()
                found = self._core.refusal(call, response)
                if found is None:
                    return response
                response.close()
            except httpx2.RequestError as error:
                found = self._core.failure(call, error)
            time.sleep(found.wait_s(attempts))

    def _request(self, call: Call[Any]) -> httpx2.Request:
        return self._http.build_request(**self._core.request(call))


class PredictionStream:
    """Forecasts as they come: pairs of name and forecast. Use it in a ``with``, or read it to its end.

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[str, Prediction]]:
        reader = LineReader(request_id_of(self._response))
        try:
            for chunk in self._response.iter_bytes():
                yield from reader.feed(chunk)
            self.end = reader.close()
        except httpx2.RequestError as error:
            raise reader.cut(type(error).__name__) from error
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection up; what has not come is not waited for."""
        self._response.close()
