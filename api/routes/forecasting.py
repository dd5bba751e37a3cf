"""Forecasts: ``POST /predict``, and what became of a recorded one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json as as_bytes
from starlette.concurrency import run_in_threadpool

from aegis_yield.domain.errors import RequestError
from aegis_yield.pipelines.explain import MAX_EXPLAINED, explain, to_json_with
from api.caching import UNCHANGED, reading
from api.forecast_tables import Cell, answers_of
from api.freshness import Served
from api.lineage import lineage
from api.measuring import Meter
from api.problems import FAULTS
from api.recording import Recorder
from api.schemas import ForecastLineage, PredictRequest, PredictResponse
from api.state import AgeRule, Current, Settings

NDJSON: Final = "application/x-ndjson"
MAX_IN_ONE: Final = 1_000
"""More strategies than these are answered line by line."""

LINES_A_CHUNK: Final = 200

router = APIRouter(tags=["forecasts"])


@dataclass(frozen=True)
class Outcome:
    """What an answer is written from.

    Attributes
    ----------
    cells : dict of str to Cell
        Forecasts by the names that were asked for.
    explanations : mapping of str to bytes
        By strategy_id; empty where nobody asked for them.
    with_ids : bool
        Whether the forecasts are recorded, and so have names.
    rest : dict
        What holds for all of them.
    """

    cells: dict[str, Cell]
    explanations: Mapping[str, bytes]
    with_ids: bool
    rest: dict[str, Any]

    def prediction(self, name: str) -> bytes:
        """Return one prediction as a JSON object."""
        cell = self.cells[name]
        return cell.json(with_id=self.with_ids, explanation=self.explanations.get(cell.row.strategy_id))


@router.post(
    "/predict",
    response_model=PredictResponse,
    responses={**FAULTS, 200: {"content": {NDJSON: {"schema": {"type": "string"}}}}},
    summary="Forecast strategies",
)
async def predict(order: PredictRequest, served: Current, settings: Settings, request: Request) -> Response:
    """Forecast what strategies will pay, and how sure that is.

    More than 1,000 strategies, or with `Accept: application/x-ndjson`, are answered line by line: one
    `{"name": …, "prediction": {…}}` for each, and a last line with `"end": true` and what holds for all of them. An
    answer without that last line was cut off.
    """
    outcome = await _outcome(order, served, AgeRule.of(settings), request.app.state.recorder)
    meter: Meter = request.app.state.meter
    meter.forecasts.inc(len(outcome.cells))
    if len(order.strategies) > MAX_IN_ONE or NDJSON in request.headers.get("accept", ""):
        return StreamingResponse(_lines(outcome), media_type=NDJSON)
    return Response(_whole(outcome), media_type="application/json")


@router.get(
    "/forecasts/{forecast_id}",
    response_model=ForecastLineage,
    responses={**FAULTS, **UNCHANGED},
    summary="A recorded forecast and what became of it",
)
async def forecast(
    forecast_id: Annotated[
        str,
        Path(
            min_length=6,
            max_length=64,
            pattern="^[0-9A-Za-z]+$",
            description="The forecast_id of a prediction, or at least six characters of its beginning.",
            examples=["9b1c5e0a7d3f4862"],
        ),
    ],
    request: Request,
) -> Response:
    """Return a recorded forecast, what came of it, and which model, tables and raw answers it was made from."""
    body = as_bytes(await run_in_threadpool(lineage, forecast_id))
    return reading(request, body.decode()).json(body)


async def _outcome(order: PredictRequest, served: Served, rule: AgeRule, recorder: Recorder | None) -> Outcome:
    names = dict.fromkeys(order.strategies)
    if order.explain and len(names) > MAX_EXPLAINED:
        allowed = f"at most {MAX_EXPLAINED} strategies at once with an explanation; ask for fewer, or without"
        raise RequestError("explain", f"{len(names):,} strategies", allowed)
    # What is meant by a name nobody knows is searched for long.
    meant = served.names.find(order.strategies)
    if meant is None:
        meant = await run_in_threadpool(served.names.resolve, order.strategies)
    table = await served.tables.at(order.horizon_days, order.level)
    cells = await served.tables.cells(table, list(meant.values()))
    warnings = rule.warnings(served, ((cell.row.strategy_id, cell.row.as_of) for cell in cells))
    explanations = await run_in_threadpool(_explanations, served, cells) if order.explain else {}
    rest = {
        "horizon_days": order.horizon_days,
        "model_version": table.answer.model_version,
        "simulated": table.answer.simulated,
        "notes": list(table.answer.notes),
        **({"warnings": warnings} if warnings else {}),
    }
    return Outcome(dict(zip(meant, cells, strict=True)), explanations, _recorded(recorder, cells), rest)


def _explanations(served: Served, cells: Sequence[Cell]) -> dict[str, bytes]:
    """Say what each forecast is made of: of the very numbers that are given out."""
    found: dict[str, bytes] = {}
    for answer in answers_of(cells):
        content = to_json_with(answer, explain(served.forecaster, answer))["predictions"]
        found |= {strategy: as_bytes(prediction["explanation"]) for strategy, prediction in content.items()}
    return found


def _recorded(recorder: Recorder | None, cells: Sequence[Cell]) -> bool:
    """Hand forecasts over for recording; only what is recorded has an id that can be asked for later."""
    first = cells[0]
    if recorder is None or first.forecast_id is None or not recorder.wants(first.answer.simulated):
        return False
    if recorder.knows((cell.forecast_id for cell in cells), first.answer.simulated):
        return True
    taken = [recorder.take(answer) for answer in answers_of(cells)]  # each is tried, whatever came of the others
    return all(taken)


def _whole(outcome: Outcome) -> bytes:
    predictions = b",".join(as_bytes(name) + b":" + outcome.prediction(name) for name in outcome.cells)
    return b'{"predictions":{' + predictions + b"}," + as_bytes(outcome.rest)[1:]


async def _lines(outcome: Outcome) -> AsyncIterator[bytes]:
    names = list(outcome.cells)
    for start in range(0, len(names), LINES_A_CHUNK):
        yield b"".join(
            b'{"name":' + as_bytes(name) + b',"prediction":' + outcome.prediction(name) + b"}\n"
            for name in names[start : start + LINES_A_CHUNK]
        )
    yield as_bytes({"end": True, "count": len(names), **outcome.rest}) + b"\n"
