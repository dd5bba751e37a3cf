"""The REST service: ``uvicorn api.ml_service:app --port 5000`` or ``python api/ml_service.py``."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Query, Request
from fastapi.middleware import Middleware
from fastapi_offline import FastAPIOffline

from aegis_yield import __version__
from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import AegisError
from aegis_yield.pipelines.datasets import strategy_listing
from aegis_yield.pipelines.explain import ask_why, to_json_with
from aegis_yield.pipelines.predict import Answer, Forecaster, Question
from api import problems
from api.freshness import Keeper, Served, Source, part_of
from api.limits import BodyLimit
from api.recording import Recorder, recorder_for
from api.schemas import (
    Liveness,
    PredictRequest,
    PredictResponse,
    Problem,
    Readiness,
    StrategyInfo,
    StrategyPage,
)
from api.settings import ServiceSettings, read_settings

Loader = Callable[[], Forecaster]
FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": {problems.MEDIA_TYPE: {}}} for status in (400, 404, 413, 422, 503)
}


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
            app.state.forecaster = served.forecaster  # one assignment: a request sees the old one or the new one

        app.state.forecaster = None
        app.state.recorder = recorder_for(chosen.service.record) if load is None else None
        app.state.keeper = Keeper(load, None, publish) if load else Keeper(source.open, source, publish)
        app.state.keeper.start(chosen.service.watch_s)
        try:
            yield
        finally:
            app.state.keeper.stop()
            if app.state.recorder is not None:
                app.state.recorder.stop()

    app = FastAPIOffline(  # its /docs page loads nothing from a foreign host
        title="Aegis Yield",
        version=__version__,
        summary="What DeFi yield strategies will pay, and how sure that is.",
        lifespan=lifespan,
        middleware=[Middleware(BodyLimit, max_bytes=chosen.max_body_bytes)],
    )
    problems.install(app)
    _add_routes(app)
    return app


def _forecaster(request: Request) -> Forecaster:
    """Read what is served, once for a request: its whole answer comes from one model and one state of the tables."""
    forecaster: Forecaster | None = request.app.state.forecaster
    if forecaster is None:
        failure = request.app.state.keeper.failure
        # What is missing, without the machine's paths: those are in the log.
        reason = f"{part_of(failure)} of this service could not be loaded; its log says why"
        raise AegisError(f"not ready: {reason}") from failure
    return forecaster


def _recorded(request: Request, answer: Answer, content: dict[str, Any]) -> dict[str, Any]:
    """Hand an answer over for recording; only what is recorded has an id that can be asked for later."""
    recorder: Recorder | None = request.app.state.recorder
    if recorder is None or not recorder.take(answer):
        for prediction in content["predictions"].values():
            prediction.pop("forecast_id", None)
    return content


Ready = Annotated[Forecaster, Depends(_forecaster)]


def _add_routes(app: FastAPI) -> None:
    # What was not asked for is left out of the answer, not null in it.
    @app.post("/predict", responses=FAULTS, summary="Forecast strategies", response_model_exclude_unset=True)
    def predict(order: PredictRequest, forecaster: Ready, request: Request) -> PredictResponse:
        question = Question(order.strategies, order.horizon_days, order.level)
        answer, explanations = ask_why(forecaster, question) if order.explain else (forecaster.ask(question), [])
        return PredictResponse.model_validate(_recorded(request, answer, to_json_with(answer, explanations)))

    @app.get("/strategies", responses=FAULTS, summary="List strategies")
    def strategies(
        forecaster: Ready,
        category: Annotated[
            str | None,
            Query(description="Only this category.", max_length=50, json_schema_extra={"enum": [*CATEGORIES, None]}),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1_000, description="Most rows on a page.")] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000, description="Rows to skip.")] = 0,
    ) -> StrategyPage:
        listing = strategy_listing(forecaster.dataset, category)
        page = _described(listing[offset : offset + limit], forecaster)
        return StrategyPage(strategies=page, total=len(listing), simulated=forecaster.dataset.is_simulated)

    @app.get("/health/live", summary="The process answers")
    def live() -> Liveness:
        return Liveness(status="alive")

    # A loaded_at or warnings that there are none of is left out, not null.
    @app.get(
        "/health/ready", responses=FAULTS, summary="Model and tables are loaded", response_model_exclude_unset=True
    )
    def ready(forecaster: Ready, request: Request) -> Readiness:
        last = forecaster.dataset.last_date
        return Readiness(
            status="ready",
            model_version=forecaster.model_version,
            data=Path(forecaster.dataset.name).name,
            simulated=forecaster.dataset.is_simulated,
            n_strategies=len(forecaster.known_strategies),
            last_date=last,
            data_age_days=(dt.datetime.now(dt.UTC).date() - last).days,
            **_upkeep(request, forecaster),
        )


def _upkeep(request: Request, forecaster: Forecaster) -> dict[str, Any]:
    """Say since when this is served, and what does not go as it should."""
    keeper: Keeper = request.app.state.keeper
    recorder: Recorder | None = request.app.state.recorder
    warnings = [keeper.warning] if keeper.warning else []
    if recorder is not None and recorder.dropped:
        warnings.append(f"{recorder.dropped} forecasts given out could not be recorded")
    served, found = keeper.served, {"warnings": warnings} if warnings else {}
    if served is not None and served.stamp and served.forecaster is forecaster:
        return {"loaded_at": served.loaded_at, **found}
    return dict(found)


def _described(rows: Sequence[dict[str, Any]], forecaster: Forecaster) -> list[StrategyInfo]:
    held = forecaster.names.held(forecaster.known_strategies)
    aliases: dict[str, list[str]] = {}
    for alias, strategy in held.items():
        aliases.setdefault(strategy, []).append(alias)
    return [StrategyInfo(aliases=aliases.get(row["strategy_id"], []), **row) for row in rows]


def main(host: str | None = None, port: int | None = None) -> None:
    """Serve until stopped."""
    settings = read_settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    uvicorn.run(create_app(settings), host=host or settings.host, port=port or settings.port, log_config=None)


def __getattr__(name: str) -> Any:
    # `app` is made when a server asks for it: importing this module reads no environment and no file.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        globals()["app"] = create_app()
    except AegisError as error:
        raise SystemExit(f"error: {error}") from error
    return globals()["app"]


if __name__ == "__main__":
    try:
        main()
    except AegisError as fault:
        raise SystemExit(f"error: {fault}") from None
