"""Health: the process answers, and what it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from api.freshness import Keeper, Served
from api.problems import FAULTS
from api.recording import Recorder
from api.schemas import Liveness, Readiness
from api.state import AgeRule, Current, Settings

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="The process answers")
async def live() -> Liveness:
    """Answer."""
    return Liveness(status="alive")


# A loaded_at or warnings that there are none of is left out, not null.
@router.get("/ready", responses=FAULTS, summary="Model and tables are loaded", response_model_exclude_unset=True)
async def ready(served: Current, settings: Settings, request: Request) -> Readiness:
    """Say what is served, since when, and what does not go as it should."""
    rule, last = AgeRule.of(settings), served.last_date
    aged = rule.warnings(served, ())  # too old: not ready
    return Readiness(
        status="ready",
        model_version=served.forecaster.model_version,
        data=Path(served.forecaster.dataset.name).name,
        simulated=served.simulated,
        n_strategies=len(served.forecaster.known_strategies),
        last_date=last,
        data_age_days=(rule.today - last).days,
        **_upkeep(request, served, aged),
    )


def _upkeep(request: Request, served: Served, aged: list[str]) -> dict[str, Any]:
    """Say since when this is served, and what does not go as it should."""
    keeper: Keeper = request.app.state.keeper
    recorder: Recorder | None = request.app.state.recorder
    warnings = [*aged, *([keeper.warning] if keeper.warning else [])]
    if recorder is not None and recorder.dropped:
        warnings.append(f"{recorder.dropped} forecasts given out could not be recorded")
    since: dict[str, Any] = {"loaded_at": served.loaded_at} if served.stamp else {}
    return {**since, **({"warnings": warnings} if warnings else {})}
