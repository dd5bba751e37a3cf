"""``aegis evaluate``: rolling-origin forecasts of a bundle and its baselines, scored."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aegis_yield.cli.options import DataOption, HorizonOption, ModelOption, parse_date
from aegis_yield.cli.shared import notes, out, say

if TYPE_CHECKING:
    from aegis_yield.pipelines.evaluate import Evaluation, EvaluationOrder
    from aegis_yield.pipelines.shelf import Shelf

REPORT_HORIZONS: Final = (1, 7, 14, 30)


def evaluate(
    model: ModelOption = None,
    data: DataOption = None,
    start: Annotated[str | None, typer.Option(help="First origin, e.g. 2025-01-01.")] = None,
    end: Annotated[str | None, typer.Option(help="Last origin. Default: the last whose outcome is known.")] = None,
    every: Annotated[int, typer.Option(help="Days between origins.")] = 7,
    horizon: HorizonOption = 7,
    against: Annotated[
        list[Path] | None, typer.Option(help="Other models to race on the same origins: paths, versions or aliases.")
    ] = None,
    forecasts: Annotated[Path | None, typer.Option(help="Write all forecasts to this Parquet file.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all scores to this JSON file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Report with pictures.")] = Path("reports/evaluation.html"),
) -> None:
    """Score a model against baselines on the same origins, with a table and an HTML report.

    Scores, pictures and report of a version in models/ join its record (see aegis models show).

    Examples:

      aegis evaluate --model models/lstm_v1.pth

      aegis evaluate --model models/lstm_v1.pth --data data/processed --start 2025-01-01 --end 2025-09-20
      --every 7 --horizon 7 --forecasts forecasts.parquet --json scores.json

      aegis evaluate --model models/lstm_v2.pth --against models/lstm_v1.pth
    """
    from aegis_yield.cli.progress import StepDisplay
    from aegis_yield.models.bundle import load_bundle
    from aegis_yield.pipelines.datasets import open_dataset
    from aegis_yield.pipelines.evaluate import EvaluationOrder
    from aegis_yield.pipelines.evaluate import evaluate as run
    from aegis_yield.pipelines.models import choose_model
    from aegis_yield.pipelines.shelf import Shelf
    from aegis_yield.registry import find_version
    from aegis_yield.reporting.console import category_table, score_table

    shelf, dataset = Shelf.open(), open_dataset(data)
    path, bundle = choose_model(dataset, model)
    order = EvaluationOrder(
        dataset=dataset,
        bundle=bundle,
        start=parse_date("start", start),
        end=parse_date("end", end),
        every_days=every,
        horizon_days=horizon,
        rivals={label: load_bundle(find_version(path)) for label, path in _labelled(against or ())},
    )
    with StepDisplay(notes, "origins") as display:
        result = run(order, display)
    out.print(score_table(result.scores))
    out.print(category_table(result.scores))
    _say_caveats(result.scores)
    _write_files(result, forecasts, json_path)
    others: list[Evaluation] = []
    if html is not None:
        with StepDisplay(notes, "other horizons") as display:
            others = _write_page(result, order, html, lambda other: run(other, display))
    _record(shelf, path, [result, *others], html)


def _labelled(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Name bundles briefly, or by their whole paths where that would not tell them apart."""
    short = [f"{path.parent.name}/{path.stem}" if path.parent.name else path.stem for path in paths]
    unique = len(set(short)) == len(short)
    return [(label if unique else str(path), path) for label, path in zip(short, paths, strict=True)]


def _say_caveats(scores: dict[str, Any]) -> None:
    if scores["data"]["simulated"]:
        notes.print("[yellow]SIMULATED data[/]: these scores say nothing about real strategies")
    if scores["seen_in_training"]:
        notes.print("[yellow]note:[/] the model has learned from some of these days: no proof of skill")


def _write_files(result: Evaluation, forecasts: Path | None, json_path: Path | None) -> None:
    from aegis_yield.utils.files import write_atomically, write_text_atomically
    from aegis_yield.utils.plain import plain

    if forecasts is not None:
        write_atomically(forecasts, result.forecasts.write_parquet)
        say(f"forecasts: {forecasts}")
    if json_path is not None:
        write_text_atomically(json_path, json.dumps(plain(result.scores), indent=2, allow_nan=False) + "\n")
        say(f"scores: {json_path}")


def _write_page(
    result: Evaluation, order: EvaluationOrder, path: Path, run: Callable[[EvaluationOrder], Evaluation]
) -> list[Evaluation]:
    from aegis_yield.pipelines.names import load_names
    from aegis_yield.reporting.evaluation_page import write_evaluation_page

    names = load_names()
    known = result.panel.strategy_ids.tolist()
    held = names.held(known)
    shown = {name: held.get(name, name) for name in names.defaults}
    shown = {name: strategy for name, strategy in shown.items() if strategy in known}
    start, end = order.span
    others = [
        run(dataclasses.replace(order, horizon_days=horizon, start=start, end=end))
        for horizon in REPORT_HORIZONS
        if horizon != order.horizon_days
    ]
    write_evaluation_page(result, others, shown, path)
    say(f"report: {path}")
    return others


def _record(shelf: Shelf, model: Path, evaluations: Sequence[Evaluation], html: Path | None) -> None:
    """Add what was found to the record of the model; what goes wrong with that is a warning, not a failure."""
    from aegis_yield.pipelines.bookkeeping import record_evaluation

    pages = {"evaluation.html": html.read_bytes()} if html is not None else {}
    said = record_evaluation(shelf, model, [one.scores for one in evaluations], pages)
    if said:
        say(said)
