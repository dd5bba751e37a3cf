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
from aegis_yield.domain.errors import AegisError, BundleError, DataError
from aegis_yield.pipelines.datasets import strategy_listing
from aegis_yield.pipelines.explain import ask_why, to_json_with
from aegis_yield.pipelines.predict import Forecaster, Question
from api import problems
from api.limits import BodyLimit
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

logger = logging.getLogger("aegis_yield.service")

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
        Makes the forecaster; by default from the settings' paths. Called once, at start.
    """
    chosen = settings or read_settings()
    loader = load or (lambda: Forecaster.open(chosen.data, chosen.model))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.forecaster, app.state.failure = _load(loader)
        yield

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


def _load(loader: Loader) -> tuple[Forecaster | None, AegisError | None]:
    """Load model and tables; without them the service lives, says why it is not ready, and answers 503."""
    try:
        forecaster = loader()
    except AegisError as error:
        logger.error("not ready: %s", error)
        return None, error
    logger.info("serving %s on %s", forecaster.model_version, forecaster.dataset.name)
    return forecaster, None


def _forecaster(request: Request) -> Forecaster:
    failure = request.app.state.failure
    if failure is not None:
        raise AegisError(f"not ready: {_public_reason(failure)}") from failure
    forecaster: Forecaster = request.app.state.forecaster
    return forecaster


def _public_reason(failure: AegisError) -> str:
    """Say what is missing without the machine's paths: those are in the log."""
    kinds: tuple[tuple[type[AegisError], str], ...] = ((BundleError, "the model"), (DataError, "the data"))
    part = next((name for kind, name in kinds if isinstance(failure, kind)), "a part")
    return f"{part} of this service could not be loaded; its log says why"


Ready = Annotated[Forecaster, Depends(_forecaster)]


def _add_routes(app: FastAPI) -> None:
    # What was not asked for is left out of the answer, not null in it.
    @app.post("/predict", responses=FAULTS, summary="Forecast strategies", response_model_exclude_unset=True)
    def predict(order: PredictRequest, forecaster: Ready) -> PredictResponse:
        question = Question(order.strategies, order.horizon_days, order.level)
        answer, explanations = ask_why(forecaster, question) if order.explain else (forecaster.ask(question), [])
        return PredictResponse.model_validate(to_json_with(answer, explanations))

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

    @app.get("/health/ready", responses=FAULTS, summary="Model and tables are loaded")
    def ready(forecaster: Ready) -> Readiness:
        last = forecaster.dataset.last_date
        return Readiness(
            status="ready",
            model_version=forecaster.model_version,
            data=Path(forecaster.dataset.name).name,
            simulated=forecaster.dataset.is_simulated,
            n_strategies=len(forecaster.known_strategies),
            last_date=last,
            data_age_days=(dt.datetime.now(dt.UTC).date() - last).days,
        )


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
