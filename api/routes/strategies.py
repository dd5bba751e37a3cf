"""Strategies: what the service holds data for, what it forecasts of them, and their past."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic_core import to_json as as_bytes
from starlette.concurrency import run_in_threadpool

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import DataError, RequestError
from api.caching import UNCHANGED, CachedRead
from api.forecast_tables import ForecastTable
from api.freshness import Served
from api.history import Span, columns_in, history_of
from api.listing import Row, in_order, matching, with_forecasts
from api.problems import FAULTS
from api.schemas import Fan, History, StrategyDetail, StrategyPage
from api.schemas.strategies import FanQuery, ForecastQuery, HistoryQuery, StrategyPath, StrategyQuery
from api.state import AgeRule, Current, Settings

RESPONSES = {**FAULTS, **UNCHANGED}

router = APIRouter(prefix="/strategies", tags=["strategies"])


@router.get("", response_model=StrategyPage, responses=RESPONSES, summary="List strategies with their forecasts")
async def strategies(
    query: Annotated[StrategyQuery, Query()], served: Current, settings: Settings, cached: CachedRead
) -> Response:
    """List strategies, filtered, sorted, page by page, each with its forecast where there is one."""
    if query.category is not None and query.category not in CATEGORIES:
        raise RequestError("category", query.category, f"one of {', '.join(CATEGORIES)}")
    rule = AgeRule.of(settings)
    table, warnings = await _forecasts(served, rule, query)
    content = await run_in_threadpool(_page, query, served, table, rule)
    return cached.json(as_bytes({**content, **_about(served, warnings)}))


@router.get(
    "/{strategy_id:path}/history", response_model=History, responses=RESPONSES, summary="The past of a strategy"
)
async def history(
    strategy_id: StrategyPath, query: Annotated[HistoryQuery, Query()], served: Current, cached: CachedRead
) -> Response:
    """Return a strategy's rates and other columns day by day, at most 5,000 days."""
    span = Span(query.start, query.end, columns_in(query.columns), query.drawdown)
    strategy = await run_in_threadpool(served.names.meaning, strategy_id)
    content = await run_in_threadpool(history_of, served.forecaster.dataset.yields, strategy, span)
    return cached.json(as_bytes({**content, "simulated": served.simulated}))


@router.get(
    "/{strategy_id:path}/fan", response_model=Fan, responses=RESPONSES, summary="A strategy's forecast at all horizons"
)
async def fan(
    strategy_id: StrategyPath,
    query: Annotated[FanQuery, Query()],
    served: Current,
    settings: Settings,
    cached: CachedRead,
) -> Response:
    """Return the quantiles of a strategy's forecast for every horizon up to the one asked for."""
    strategy = await run_in_threadpool(served.names.meaning, strategy_id)
    listing = await run_in_threadpool(lambda: served.listing)
    warnings = AgeRule.of(settings).warnings(served, [(strategy, listing.by_id[strategy]["last_date"])])
    content = await served.fans.at(strategy, query.horizon_days)
    return cached.json(as_bytes({**_about(served, warnings), **content}))


@router.get(
    "/{strategy_id:path}", response_model=StrategyDetail, responses=RESPONSES, summary="One strategy with its forecast"
)
async def strategy(
    strategy_id: StrategyPath,
    query: Annotated[ForecastQuery, Query()],
    served: Current,
    settings: Settings,
    cached: CachedRead,
) -> Response:
    """Return what is held of one strategy, and its forecast where there is one."""
    meant = await run_in_threadpool(served.names.meaning, strategy_id)
    rule = AgeRule.of(settings)
    table, warnings = await _forecasts(served, rule, query)
    listing = await run_in_threadpool(lambda: served.listing)
    (row,) = with_forecasts([listing.by_id[meant]], table, rule.today)
    asked = {"horizon_days": query.horizon_days, "level": query.level}
    return cached.json(as_bytes({**row, **asked, **_about(served, warnings)}))


async def _forecasts(served: Served, rule: AgeRule, query: ForecastQuery) -> tuple[ForecastTable | None, list[str]]:
    """Return the forecasts to show, and what to say of the data's age; too old data is shown without forecasts."""
    try:
        warnings = rule.warnings(served, ())
    except DataError as error:
        return None, [str(error)]
    return await served.tables.at(query.horizon_days, query.level), warnings


def _page(query: StrategyQuery, served: Served, table: ForecastTable | None, rule: AgeRule) -> dict[str, Any]:
    equal = {"category": query.category, "project": query.project, "chain": query.chain}
    found = with_forecasts(matching(served.listing.rows, equal, query.search), table, rule.today)
    page: list[Row] = in_order(found, query.sort)[query.offset : query.offset + query.limit]
    if query.spark_days is not None:
        sparks = served.listing.sparks([row["strategy_id"] for row in page], query.spark_days)
        page = [{**row, "spark": sparks[row["strategy_id"]]} for row in page]
    return {
        "strategies": page,
        "total": len(found),
        "horizon_days": query.horizon_days,
        "level": query.level,
    }


def _about(served: Served, warnings: list[str]) -> dict[str, Any]:
    return {
        "as_of": served.last_date,
        "model_version": served.forecaster.model_version,
        "simulated": served.simulated,
        **({"warnings": warnings} if warnings else {}),
    }
