"""``aegis train``: tables in, one self-contained bundle out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aegis_yield.cli.options import DataOption, parse_date
from aegis_yield.cli.shared import notes, out, say


def train(
    data: DataOption = None,
    epochs: Annotated[int, typer.Option(help="Most passes over the data; early stopping may end sooner.")] = 100,
    batch_size: Annotated[int, typer.Option(help="Windows per step.")] = 32,
    seed: Annotated[int, typer.Option(help="Same seed, same machine: same bundle.")] = 0,
    members: Annotated[int, typer.Option(help="Networks in the bundle; their mean forecasts.")] = 3,
    recipe: Annotated[str, typer.Option(help="anchored, or textbook: level target, global scaler, MSE.")] = "anchored",
    until: Annotated[str | None, typer.Option(help="Use rows dated up to this day only, e.g. 2024-12-31.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of bundles. Default: models/.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished training.")] = False,
) -> None:
    """Train, calibrate and write the next models/lstm_v<N>.pth.

    Ctrl-C keeps the best so far; --resume goes on after the last whole epoch.

    Examples:

      aegis train --epochs 100 --batch-size 32

      aegis train --data data/processed --until 2024-12-31 --batch-size 256
    """
    from aegis_yield.cli.progress import TrainingDisplay
    from aegis_yield.models.plan import TrainingPlan
    from aegis_yield.pipelines.datasets import open_dataset
    from aegis_yield.pipelines.train import TrainingOrder
    from aegis_yield.pipelines.train import train as run
    from aegis_yield.registry import models_folder
    from aegis_yield.registry.settings import TrackingSettings

    plan = TrainingPlan(epochs=epochs, batch_size=batch_size, seed=seed, members=members, recipe=recipe)
    last = parse_date("until", until)
    tracking = TrackingSettings.of(output or models_folder())
    order = TrainingOrder(open_dataset(data), plan, until=last, models=output, resume=resume, tracking=tracking)
    with TrainingDisplay(notes) as display:
        result = run(order, display, say)
    provenance = result.bundle.provenance
    if provenance["interrupted"]:
        notes.print("[yellow]interrupted:[/] kept the best so far; go on with --resume")
    if provenance["data"]["simulated"]:
        notes.print("[yellow]trained on SIMULATED data[/]: do not use it for real money")
    size = result.path.stat().st_size / 1024**2
    out.print(
        f"{result.path}: {len(result.bundle.model.members)} networks, {provenance['epochs']} epochs, {size:.2f} MiB",
        soft_wrap=True,
    )
