"""``aegis run``: everything that is due, once, for cron or any orchestrator."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Annotated, Final

import typer

from aegis_yield.cli.options import DataOption, HorizonOption, JsonFlag
from aegis_yield.cli.shared import notes, out, say

_ON: Final = ("1", "true", "yes", "on")


def run(
    data: DataOption = None,
    collect: Annotated[
        bool | None,
        typer.Option("--collect/--no-collect", help="Default: collect, unless AEGIS_OFFLINE or --data is given."),
    ] = None,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Train when a training is due.")] = True,
    train_every: Annotated[int, typer.Option(help="Days of new data after which a training is due.")] = 30,
    calibrate: Annotated[
        bool, typer.Option("--calibrate/--no-calibrate", help="Let intervals learn from each week of new outcomes.")
    ] = True,
    epochs: Annotated[int, typer.Option(help="Most passes over the data.")] = 100,
    batch_size: Annotated[int, typer.Option(help="Windows per step.")] = 32,
    members: Annotated[int, typer.Option(help="Networks in a bundle.")] = 3,
    seed: Annotated[int, typer.Option(help="Of a training.")] = 0,
    horizon: HorizonOption = 7,
    capital: Annotated[
        float | None, typer.Option(help="US dollars to allocate. Default: that of the options, else do not allocate.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Goal and limits of the allocation. Default: AEGIS_RUN, else configs/run.toml.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Collect, validate, train if due, evaluate, ask the gate, promote, calibrate, forecast, allocate; only if needed.

    Tables are those of --data or data/processed, never the simulated market by itself. Killed at any moment, the
    same command goes on after the last completed step. Exit codes: 0 done or nothing to do (the gate may keep the
    champion), 1 a step failed, 4 another run is at work, 130 interrupted. Logs: data/runs (see docs/operations.md).

    Examples:

      aegis run

      aegis run --data data/processed --capital 250000 --json

      aegis run --config treasury.toml

      aegis run --no-collect --no-train

      aegis run --no-calibrate
    """
    from aegis_yield.cli.progress import TrainingDisplay
    from aegis_yield.models.plan import TrainingPlan
    from aegis_yield.pipelines.run import RunOrder
    from aegis_yield.pipelines.run import run as run_all
    from aegis_yield.pipelines.run_options import load_run_options
    from aegis_yield.reporting.run_summary import run_table

    if collect is None:
        collect = data is None and os.environ.get("AEGIS_OFFLINE", "").strip().lower() not in _ON
    plan = TrainingPlan(epochs=epochs, batch_size=batch_size, seed=seed, members=members)
    options = load_run_options(config)
    capital = options.get("capital") if capital is None else capital
    order = RunOrder(data, collect, train, train_every, plan, horizon, capital, options, calibrate)
    # A service manager's polite stop counts as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with TrainingDisplay(notes) as display:
        summary = run_all(order, display, say)
    if as_json:
        typer.echo(json.dumps(summary.to_json(), indent=2))
    elif summary.steps:
        out.print(run_table(summary))
    if summary.locked_by:
        say(f"another run is at work: {summary.locked_by}; nothing was done")
    raise SystemExit(summary.exit_code)
