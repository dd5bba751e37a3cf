"""Versions: which models there are, which one serves, and how well each is known to do."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic_core import to_json as as_bytes
from starlette.concurrency import run_in_threadpool

from api.caching import UNCHANGED, reading
from api.problems import FAULTS
from api.schemas import ModelDetail, ModelPage
from api.state import Current
from api.versions import find, outcomes, shelved

RESPONSES = {**FAULTS, **UNCHANGED}

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", response_model=ModelPage, responses=RESPONSES, summary="List versions of the model")
async def models(served: Current, request: Request) -> Response:
    """List versions, the newest first, and how the forecasts that were recorded turned out."""
    listed = await run_in_threadpool(shelved, served)
    return _answer(request, {"models": listed, "outcomes": await run_in_threadpool(outcomes, served)})


@router.get("/{version}", response_model=ModelDetail, responses=RESPONSES, summary="One version of the model")
async def model(
    version: Annotated[
        str,
        Path(
            min_length=1,
            max_length=50,
            description="champion, challenger, 4, lstm_v4, or exactly: lstm_v4-1a2b3c4d.",
            examples=["lstm_v1"],
        ),
    ],
    served: Current,
    request: Request,
) -> Response:
    """Return one version, with what it was trained by and how aliases came to it and left it."""
    return _answer(request, await run_in_threadpool(find, served, version))


def _answer(request: Request, content: dict[str, Any]) -> Response:
    body = as_bytes(content)
    return reading(request, body.decode()).json(body)
