"""The command line: ``aegis collect | train | evaluate | predict | …``; the scripts are these commands renamed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from aegis_yield import __version__
from aegis_yield.cli import (
    calibrate,
    collect,
    data,
    evaluate,
    keys,
    models,
    monitor,
    optimize,
    predict,
    risk,
    run,
    serve,
    trace,
    train,
)
from aegis_yield.cli.shared import guarded

app = typer.Typer(
    name="aegis",
    help="What DeFi yield strategies will pay, how sure that is, and what can go wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("collect")(collect.collect)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("predict")(predict.predict)
app.command("risk")(risk.risk)
app.command("optimize")(optimize.optimize)
app.command("demo")(predict.demo)
app.command("strategies")(data.strategies)
app.command("check")(data.check)
app.command("simulate")(data.simulate)
app.command("features")(data.features)
app.command("monitor")(monitor.monitor)
app.command("trace")(trace.trace)
app.command("serve")(serve.serve)
app.command("run")(run.run)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and leave."),
) -> None:
    if version:
        typer.echo(f"aegis-yield {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, by default the process's own."""
    guarded(app, sys.argv[1:] if arguments is None else arguments)


def run_command(name: str) -> None:
    """Run one command with the process's arguments: what a script under ``scripts/`` does."""
    main([name, *sys.argv[1:]])
