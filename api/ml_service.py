"""The REST service: ``uvicorn api.ml_service:app --port 5000`` or ``python api/ml_service.py``."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.middleware import Middleware
from fastapi_offline import FastAPIOffline

from aegis_yield import __version__
from aegis_yield.domain.errors import AegisError
from aegis_yield.pipelines.predict import Forecaster
from api import caching, documentation, guards, problems
from api.freshness import Keeper, Served, Source
from api.guards.logs import configure_logs
from api.guards.server import serve
from api.measuring import Measured, Meter
from api.recording import recorder_for
from api.routes import decisions, forecasting, health, metrics, pages, strategies, versions
from api.settings import ServiceSettings, read_settings
from api.workers.pool import WorkerPool

Loader = Callable[[], Forecaster]


def create_app(settings: ServiceSettings | None = None, load: Loader | None = None) -> FastAPI:
    """Build the service.

    Parameters
    ----------
    settings : ServiceSettings, optional
        By default from the environment.
    load : callable, optional
        Makes the forecaster, once, at start. By default it comes from the settings' paths, and again whenever the
        files there change.
    """
    chosen = settings or read_settings()
    source = Source(chosen.data, chosen.model)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        def publish(served: Served) -> None:
            app.state.served = served  # one assignment: a request sees the old one or the new one

        app.state.served = None
        app.state.settings = chosen
        app.state.recorder = recorder_for(chosen.service.record) if load is None else None
        app.state.keeper = Keeper(load, None, publish) if load else Keeper(source.open, source, publish)
        app.state.keeper.start(chosen.service.watch_s)
        try:
            async with WorkerPool(chosen.service, None if load else source) as app.state.workers:
                yield
        finally:
            app.state.keeper.stop()
            if app.state.recorder is not None:
                app.state.recorder.stop()

    meter = Meter()
    app = FastAPIOffline(  # its /docs page loads nothing from a foreign host
        title="Aegis Yield",
        version=__version__,
        summary="What DeFi yield strategies will pay, and how sure that is.",
        lifespan=lifespan,
        middleware=[Middleware(Measured, meter=meter), *guards.middleware(chosen)],
    )
    app.state.meter = meter
    meter.watch(app, (getattr(route, "path", "") for router in _routers() for route in router.routes))
    problems.install(app)
    caching.install(app)
    for router in _routers():
        app.include_router(router)
    documentation.install(app)
    return app


def _routers() -> Iterator[APIRouter]:
    yield from (module.router for module in (forecasting, decisions, strategies, versions, health, metrics, pages))


def main(host: str | None = None, port: int | None = None) -> None:
    """Serve until stopped."""
    settings = read_settings()
    chosen = settings.model_copy(update={"host": host or settings.host, "port": port or settings.port})
    serve(_settled(create_app(chosen)), chosen)


def _settled(app: FastAPI) -> FastAPI:
    """Tell the garbage collector that what is imported stays: looking through all of torch takes 0.1 s each time."""
    gc.freeze()
    return app


def __getattr__(name: str) -> Any:
    # `app` is made when a server asks for it: importing this module reads no environment and no file.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        settings = read_settings()
        configure_logs(settings.service)
        globals()["app"] = _settled(create_app(settings))
    except AegisError as error:
        raise SystemExit(f"error: {error}") from error
    return globals()["app"]


if __name__ == "__main__":
    try:
        main()
    except AegisError as fault:
        raise SystemExit(f"error: {fault}") from None
