"""Measuring: what the service does, counted for Prometheus; routes are named by their templates, never by paths."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, Final

from fastapi import FastAPI
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aegis_yield import __version__
from api.freshness import Keeper, Served
from api.recording import Recorder
from api.workers.pool import WorkerPool

PREFIX: Final = "aegis_service"
UNROUTED: Final = "other"
"""Label of requests that no route of this service's API took: what they asked for may be anything."""

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CUT: Final = 499
"""Counted as this status: the answer was not begun when the request ended."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # half of all lines, and nobody asks when a counter began


class Meter:
    """The figures of one app.

    Attributes
    ----------
    forecasts : Counter
        Forecasts given out.
    under_way : Gauge
        Requests.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._plain: frozenset[str] = frozenset()
        ProcessCollector(registry=self.registry)
        self.forecasts = Counter(f"{PREFIX}_forecasts", "Forecasts given out.", registry=self.registry)
        self.under_way = Gauge(f"{PREFIX}_requests_under_way", "Requests being answered.", registry=self.registry)
        self._requests = Counter(
            f"{PREFIX}_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            f"{PREFIX}_request_seconds",
            "From a request's head to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )

    def watch(self, app: FastAPI, templates: Iterable[str]) -> None:
        """Tell of an app's state too, whenever somebody asks.

        Parameters
        ----------
        app : FastAPI
            Whose state.
        templates : iterable of str
            Its routes: what is refused before it is routed is counted under them where the path is one of them.
        """
        self.registry.register(_State(app))
        self._plain = frozenset(template for template in templates if "{" not in template)

    def route_of(self, scope: Scope) -> str:
        """Return the template of the route that took a request."""
        route = scope.get("route")
        if route is not None:
            return str(route.path_format)
        return scope["path"] if scope["path"] in self._plain else UNROUTED

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)


class Measured:
    """Counts and times every request."""

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self.app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count how it went."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, began = _CUT, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._meter.under_way.inc()
        try:
            await self.app(scope, receive, noted)
        finally:
            self._meter.under_way.dec()
            self._meter.answered(self._meter.route_of(scope), status, time.perf_counter() - began)


class _State(Collector):
    """What an app serves and how its parts do, read when asked."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def collect(self) -> Iterator[Any]:
        """Yield the metrics."""
        state = self._app.state
        served: Served | None = getattr(state, "served", None)
        yield _gauge("ready", "1 if model and tables are loaded.", float(served is not None))
        if served is not None:
            yield from _served(served)
        keeper: Keeper | None = getattr(state, "keeper", None)
        if keeper is not None:
            yield _counter("reload_failures", "Models or tables that could not be loaded.", keeper.failures)
        recorder: Recorder | None = getattr(state, "recorder", None)
        if recorder is not None:
            yield _counter("unrecorded_forecasts", "Forecasts given out that could not be recorded.", recorder.dropped)
        pool: WorkerPool | None = getattr(state, "workers", None)
        if pool is not None:
            yield from _pool(asdict(pool.status))

    def describe(self) -> Iterable[Any]:
        """Yield nothing: what there is depends on the state."""
        return []


def _served(served: Served) -> Iterator[Any]:
    about = {"version": __version__, "model_version": served.forecaster.model_version}
    simulated = {"simulated": str(served.simulated).lower()}
    yield InfoMetricFamily(PREFIX, "What is served.", value={**about, **simulated})
    today = dt.datetime.now(dt.UTC).date()
    yield _gauge("data_age_days", "Days from the newest row to today, UTC.", (today - served.last_date).days)
    yield _gauge("strategies", "Strategies with rows.", len(served.forecaster.known_strategies))
    yield _gauge("loaded_timestamp_seconds", "Since when this is served.", served.loaded_at.timestamp())


def _pool(status: dict[str, int]) -> Iterator[Any]:
    now = GaugeMetricFamily(f"{PREFIX}_workers", "Worker processes for risk and optimisation.", labels=["state"])
    for name in ("workers", "running", "busy"):
        now.add_metric([{"workers": "allowed"}.get(name, name)], status[name])
    yield now
    yield _gauge("decisions_waiting", "Requests that wait for a worker.", status["waiting"])
    ended = CounterMetricFamily(f"{PREFIX}_decisions", "Requests for a decision, by how they ended.", labels=["end"])
    for name in ("answered", "refused", "late", "died", "cancelled"):
        ended.add_metric([name], status[name])
    yield ended


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", meaning, value=value)


def _counter(name: str, meaning: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}_{name}", meaning, value=value)
