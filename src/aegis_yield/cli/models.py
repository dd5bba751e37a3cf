"""``aegis models``: which versions there are, which one serves, and how that changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_yield.cli.options import DataOption, JsonFlag
from aegis_yield.cli.shared import notes, out, say
from aegis_yield.domain.errors import RegistryError

if TYPE_CHECKING:
    from aegis_yield.pipelines.shelf import Shelf
    from aegis_yield.registry.aliases import Registry

EXIT_NOT_PROMOTED = 3
"""The gate has spoken against a promotion: no failure, but nothing changed."""

app = typer.Typer(
    help="""List, compare, promote and move versions of the model; MLflow keeps the record (docs/models.md).

Examples:

  aegis models list

  aegis models compare lstm_v1 lstm_v2

  aegis models promote lstm_v2 --data data/processed

  aegis models rollback --reason "intervals too narrow since Monday"
""",
    no_args_is_help=True,
)

Version = Annotated[str, typer.Argument(help="champion, challenger, 4, lstm_v4 or lstm_v4-1a2b3c4d.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]
Folder = Annotated[Path | None, typer.Option("--models", help="Folder of bundles. Default: models/.")]


@app.command("list")
def list_(models: Folder = None, as_json: JsonFlag = False) -> None:
    """List versions, the newest first: aliases, data, validation score, digest, place in MLflow.

    Examples:

      aegis models list
    """
    from aegis_yield.pipelines.shelf import list_versions
    from aegis_yield.reporting.version_tables import versions_table

    shelf = _shelf(models)
    versions = list_versions(shelf)
    if as_json:
        typer.echo(json.dumps([one.to_json() for one in versions], indent=2))
        return
    out.print(versions_table(versions))
    waiting = sum(1 for _ in shelf.outbox.waiting())
    if waiting:
        say(f"{waiting} records wait for the tracking store; deliver them with: aegis models sync")


@app.command()
def show(version: Version, models: Folder = None, as_json: JsonFlag = False) -> None:
    """Show all that is known of a version: parameters, data, code, scores, history.

    Examples:

      aegis models show champion
    """
    from aegis_yield.pipelines.shelf import figures_of, show_version
    from aegis_yield.registry import read_registry
    from aegis_yield.reporting.version_tables import version_table

    shelf = _shelf(models)
    info = show_version(shelf, version)
    figures = figures_of(shelf, info)
    history = read_registry(shelf.folder).history
    if as_json:
        own = [one.to_json() for one in history if info.name in (one.before, one.after)]
        typer.echo(json.dumps({**info.to_json(), "figures": figures, "history": own}, indent=2))
    else:
        out.print(version_table(info, figures, history))


@app.command()
def compare(first: Version, second: Version, models: Folder = None, as_json: JsonFlag = False) -> None:
    """Show what differs between two versions, and the figures of both.

    A race on the same origins: aegis evaluate --model SECOND --against FIRST.

    Examples:

      aegis models compare champion challenger
    """
    from aegis_yield.pipelines.shelf import figures_of, show_version
    from aegis_yield.reporting.version_tables import comparison_table

    shelf = _shelf(models)
    pair = show_version(shelf, first), show_version(shelf, second)
    figures = [figures_of(shelf, one) for one in pair]
    if as_json:
        both = [{**one.to_json(), "figures": found} for one, found in zip(pair, figures, strict=True)]
        typer.echo(json.dumps(both, indent=2))
        return
    out.print(comparison_table(pair, figures))
    say(f"a race on the same origins: aegis evaluate --model {pair[1].name} --against {pair[0].name}")


@app.command()
def promote(
    version: Version,
    data: DataOption = None,
    force: Annotated[bool, typer.Option("--force", help="Promote without the gate; needs --reason.")] = False,
    reason: Reason = "",
    challenger: Annotated[bool, typer.Option("--challenger", help="Make it the challenger; no gate.")] = False,
    models: Folder = None,
) -> None:
    """Make a version the champion, if the gate finds it better on origins that neither model has seen.

    Where there is no champion yet, the model in use (the newest other version, or the one that ships with the
    project) is the one to beat, and stays if it is not beaten.

    The decision is kept in models/decisions. Exit code 3: the gate said no.

    Examples:

      aegis models promote lstm_v4 --data data/processed

      aegis models promote lstm_v4 --force --reason "the champion was trained on a wrong price"
    """
    from aegis_yield.pipelines import versions
    from aegis_yield.registry.aliases import Why

    shelf = _shelf(models)
    if challenger:
        _say_aliases(versions.challenge(shelf, version, Why(reason or "named as challenger")))
    elif force:
        if not reason.strip():
            raise RegistryError("--force: received no reason; say with --reason why the gate is passed over")
        _say_aliases(versions.promote(shelf, version, Why(reason, forced=True)))
    else:
        _promote_by_gate(shelf, version, data)


@app.command()
def rollback(reason: Reason, models: Folder = None) -> None:
    """Make the latest champion with other networks champion again: recalibrations of this one are passed over.

    Examples:

      aegis models rollback --reason "coverage of lending fell to 70 %"
    """
    from aegis_yield.pipelines import versions
    from aegis_yield.registry.aliases import Why

    _say_aliases(versions.rollback(_shelf(models), Why(reason)))


@app.command()
def export(
    version: Version,
    output: Annotated[Path, typer.Option("--output", help="Folder or file.")] = Path(),
    models: Folder = None,
) -> None:
    """Write a version as one file for another machine.

    Examples:

      aegis models export champion --output /mnt/exchange
    """
    from aegis_yield.pipelines.versions import export_version

    path = export_version(_shelf(models), version, output)
    out.print(f"{path}: {path.stat().st_size / 1024**2:.2f} MiB", soft_wrap=True, markup=False)


@app.command("import")
def import_(
    file: Annotated[Path | None, typer.Argument(help="An exported version, or a bare bundle (.pth).")] = None,
    from_store: Annotated[
        str | None, typer.Option("--from-store", help="Instead: MLflow's version number, alias or name.")
    ] = None,
    models: Folder = None,
) -> None:
    """Take over a version from a file, or from the tracking store, as the next lstm_v<N>.

    Examples:

      aegis models import lstm_v4.aegis.zip

      aegis models import --from-store champion
    """
    from aegis_yield.pipelines.versions import fetch_version, import_version

    shelf = _shelf(models)
    if (file is None) == (from_store is None):
        raise RegistryError("import: received neither or both of a file and --from-store; give one of them")
    found = import_version(shelf, file) if file is not None else fetch_version(shelf, str(from_store))
    became = f"{found.path.stem} (was {found.version})" if found.is_new else f"was here already, as {found.path.stem}"
    out.print(f"{found.path}: {became}", soft_wrap=True, markup=False)


@app.command()
def delete(
    version: Version,
    reason: Reason = "no longer needed",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    models: Folder = None,
) -> None:
    """Delete a version's file; its run stays on record, its number is never used again.

    Examples:

      aegis models delete lstm_v2 --yes
    """
    from aegis_yield.pipelines.versions import delete_version
    from aegis_yield.registry.aliases import Why

    shelf = _shelf(models)
    path = shelf.path_of(version)
    if not yes:
        typer.confirm(f"delete {path}?", abort=True)
    out.print(f"deleted {delete_version(shelf, version, Why(reason))}")


@app.command()
def sync(models: Folder = None) -> None:
    """Deliver to the tracking store what it missed: trainings, imports, scores, aliases.

    Examples:

      aegis models sync
    """
    from aegis_yield.pipelines.bookkeeping import sync as run

    shelf = _shelf(models)
    done = run(shelf)
    for reason in done.refused:
        notes.print(f"[yellow]warning:[/] {reason}", markup=True)
    if done.problem:
        raise RegistryError(f"not everything was delivered: {done.problem}")
    out.print(f"{shelf.tracking.address}: {done.n_records} records delivered", soft_wrap=True, markup=False)


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.", min=1, max=65_535)] = 5001,
    models: Folder = None,
) -> None:
    """Serve MLflow's pages over the tracking store, until Ctrl-C.

    Examples:

      aegis models ui --port 5001
    """
    from aegis_yield.registry.pages import pages_command

    command, environment = pages_command(_shelf(models).tracking, host, port)
    say(f"MLflow's pages: http://{host}:{port}")
    os.execve(command[0], command, dict(environment))  # in this process's place: a signal reaches the right one


def _shelf(models: Path | None) -> Shelf:
    from aegis_yield.pipelines.shelf import Shelf

    return Shelf.open(models)


def _promote_by_gate(shelf: Shelf, version: str, data: Path | None) -> None:
    from aegis_yield.pipelines.datasets import open_dataset
    from aegis_yield.pipelines.versions import Trial, try_promotion
    from aegis_yield.registry import read_registry

    before = read_registry(shelf.folder).champion
    decision = try_promotion(shelf, version, Trial(open_dataset(data)))
    if decision is None:
        say("nothing was in use before, so there was nothing to beat: the gate was not asked")
    else:
        if before is None:
            say(f"no champion was set: {Path(decision.champion['file']).stem}, in use so far, became the one to beat")
        say(f"decision {decision.id}: {decision.said}")
        if not decision.allows:
            say(f"{'nothing changed' if before else 'it stays'}; to pass the gate over: --force --reason WHY")
            raise SystemExit(EXIT_NOT_PROMOTED)
    _say_aliases(read_registry(shelf.folder))


def _say_aliases(registry: Registry) -> None:
    for alias, version in registry.aliases.items():
        out.print(f"{alias}: {version}")
