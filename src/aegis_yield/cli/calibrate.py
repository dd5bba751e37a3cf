"""``aegis calibrate``: let intervals learn from what came since a model was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from aegis_yield.cli.options import DataOption, JsonFlag, ModelOption
from aegis_yield.cli.shared import notes, out


def calibrate(
    data: DataOption = None,
    model: ModelOption = None,
    update: Annotated[bool, typer.Option("--update", help="Write the result as the next version.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder of bundles to write to. Default: models/.")] = None,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Let the result of the champion serve in its place.")
    ] = True,
    as_json: JsonFlag = False,
) -> None:
    """Let a model's intervals learn from outcomes since its training. Its networks stay as they are.

    Without --update it only says what would change. The result of the champion becomes the champion: with the same
    networks there is nothing for the gate to judge. That of another version is only written.

    Examples:

      aegis calibrate

      aegis calibrate --model models/lstm_v1.pth --data data/processed --update

      aegis calibrate --update --no-promote
    """
    from aegis_yield.cli.progress import StepDisplay
    from aegis_yield.pipelines.calibrate import calibrate as learn
    from aegis_yield.pipelines.calibrate import check_kind, write
    from aegis_yield.pipelines.datasets import open_dataset
    from aegis_yield.pipelines.models import choose_model
    from aegis_yield.registry import models_folder, version_of

    dataset = open_dataset(data)
    path, bundle = choose_model(dataset, model)
    if update:
        check_kind(bundle, dataset)
    with StepDisplay(notes, "horizons") as display:
        result = learn(bundle, dataset, display)
    champion = None
    if update:
        result = write(result, output or models_folder(), path)
        champion = _served(path, result.path) if promote and output is None else None
    if as_json:
        changes = [
            {"category": x.category, "n_outcomes": x.n_outcomes, "width_factor": x.width_factor, "shift": x.shift}
            for x in result.changes
        ]
        written = str(result.path) if result.path else None
        content = {"n_outcomes": result.n_outcomes, "changes": changes, "written": written, "champion": champion}
        typer.echo(json.dumps(content, indent=2))
        return
    out.print(f"{path}: {result.n_outcomes:,} outcomes since {bundle.data_end}, over all horizons", soft_wrap=True)
    for change in result.changes:
        out.print(str(change), soft_wrap=True)
    out.print(f"written: {result.path}" if result.path else "nothing written: --update writes the next version")
    if champion:
        out.print(f"champion: {version_of(path)} → {champion}")


def _served(source: Path, written: Path | None) -> str | None:
    """Let what the champion learned serve in its place; None where another version was recalibrated."""
    from aegis_yield.pipelines.bookkeeping import told
    from aegis_yield.pipelines.calibrate import let_serve
    from aegis_yield.pipelines.shelf import Shelf
    from aegis_yield.registry import read_registry

    shelf = Shelf.open()
    champion = read_registry(shelf.folder).champion
    if written is None or champion is None or source.resolve() != (shelf.folder / f"{champion}.pth").resolve():
        return None
    return told(shelf, let_serve(shelf, written, champion)).champion
