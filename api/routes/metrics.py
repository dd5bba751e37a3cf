"""Metrics: ``GET /metrics`` for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from api.measuring import Meter
from api.problems import FAULTS

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={**FAULTS, 200: {"description": "Figures.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    summary="Figures for Prometheus",
)
async def metrics(request: Request) -> Response:
    """Return requests by route and status, their times, the data's age, what is served, and how its parts do.

    Each worker process of the server counts for itself.
    """
    meter: Meter = request.app.state.meter
    return Response(meter.text(), headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE_PLAIN_0_0_4)
