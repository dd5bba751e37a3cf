"""``aegis collect``: bring yields from the sources into the tables, keep them current, say how that stands."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegis_yield.cli.options import JsonFlag, parse_date
from aegis_yield.cli.shared import EXIT_FAILURE, EXIT_INTERRUPTED, notes, out, say
from aegis_yield.domain.errors import RequestError

if TYPE_CHECKING:
    from aegis_yield.collection.plan import Plan, Wish
    from aegis_yield.pipelines.collect import Collected, CollectionFolder

ACTIONS = ("run", "status")


def collect(
    action: Annotated[str, typer.Argument(help="run, or status: how the collection stands.")] = "run",
    since: Annotated[str | None, typer.Option(help="First day of windowed sources. Default: a year back.")] = None,
    sources: Annotated[list[str] | None, typer.Option("--sources", help="Only these, e.g. binance aave.")] = None,
    strategies: Annotated[
        list[str] | None, typer.Option("--strategies", help="Only these of the catalogue: aliases or ids.")
    ] = None,
    universe: Annotated[
        str | None, typer.Option(help='Follow more pools, e.g. "category=lending chain=Ethereum tvl>10e6".')
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan: requests and minutes.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the tables again from data/raw, offline.")] = False,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Write the tables as known then (UTC), offline.")] = None,
    into: Annotated[Path | None, typer.Option(help="Folder for raw/ and processed/. Default: data.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Collect what strategies paid from DefiLlama, Ethereum, Lido and exchanges into data/processed.

    The first run brings history, later ones what is new; what failed is tried again. Killed at any moment it goes on
    where it was. Addresses, keys and limits: configs/sources.toml and AEGIS_SRC__… (see docs/sources.md).

    Examples:

      aegis collect

      aegis collect --universe "category=lending chain=Ethereum tvl>10e6" --dry-run

      aegis collect --strategies aave lido --since 2023-02-01

      aegis collect status

      aegis collect --as-of 2026-11-01T00:00 --into data
    """
    from aegis_yield.collection.plan import Wish
    from aegis_yield.pipelines.collect import CollectionFolder

    if action not in ACTIONS:
        raise RequestError("action", action, " or ".join(ACTIONS))
    meant = {"status": action == "status", "--as-of": as_of is not None, "--rebuild": rebuild, "--dry-run": dry_run}
    if sum(meant.values()) > 1:
        raise RequestError(
            "options", " ".join(name for name, is_on in meant.items() if is_on), "one of these at a time"
        )
    folder = CollectionFolder(into) if into else CollectionFolder()
    wish = Wish(parse_date("since", since), _texts(sources), _strategies(strategies), universe)
    if action == "status":
        _status(folder, as_json)
    elif as_of is not None:
        _as_of(folder, as_of)
    elif rebuild:
        _rebuild(folder)
    elif dry_run:
        _dry_run(folder, wish, as_json)
    else:
        _run(folder, wish, as_json)


def _texts(values: list[str] | None) -> tuple[str, ...] | None:
    return tuple(part for value in values for part in value.split(",") if part) if values else None


def _strategies(names: list[str] | None) -> tuple[str, ...] | None:
    from aegis_yield.collection.catalogue import load_catalogue
    from aegis_yield.pipelines.names import load_names

    wanted = _texts(names)
    if wanted is None:
        return None
    known = list(load_catalogue().by_id)
    return tuple(load_names().resolve(name, known) for name in wanted)


def _run(folder: CollectionFolder, wish: Wish, as_json: bool) -> None:
    from aegis_yield.cli.progress import StepDisplay
    from aegis_yield.pipelines.collect import collect as run
    from aegis_yield.reporting.collection_tables import collected_table, host_table

    try:
        with StepDisplay(notes, "collecting") as display:
            result = run(folder, wish, display)
    except KeyboardInterrupt:
        say("interrupted; what was received is kept, the same command goes on there")
        raise SystemExit(EXIT_INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(_plain(result), indent=2, default=str))
    else:
        out.print(collected_table(result))
        out.print(host_table(result))
    if result.tables is None:
        say("no tables yet: no strategy has a final day")
    else:
        rows = result.tables["rows"]
        say(f"{folder.processed}: {rows['yields']:,} rows of {rows['strategies']:,} strategies")
    _say_what_failed([failure.verdict for failure in result.failures])


def _say_what_failed(verdicts: list[str]) -> None:
    """End with a failure, unless all that is missing is a node that keeps old state or logs."""
    from aegis_yield.collection.verdicts import Verdict

    lacking = verdicts.count(Verdict.PROVIDER)
    if lacking:
        noun = "unit needs" if lacking == 1 else "units need"
        say(f"{lacking} {noun} a node that keeps old state or logs: see ethereum in docs/sources.md")
    if len(verdicts) > lacking:
        noun = "unit" if len(verdicts) - lacking == 1 else "units"
        say(f"{len(verdicts) - lacking} {noun} failed; run the same command again to try again")
        raise SystemExit(EXIT_FAILURE)


def _plain(result: Collected) -> dict[str, Any]:
    return {
        "units": len(result.plan.units),
        "left_out": result.plan.left_out,
        "appended": {"/".join(name): asdict(rows) for name, rows in result.appended.items()},
        "failures": [
            {"unit": str(failure.unit), "verdict": failure.verdict, "reason": failure.reason}
            for failure in result.failures
        ],
        "hosts": {name: asdict(figures) for name, figures in result.figures.items()},
        "tables": result.tables,
    }


def _dry_run(folder: CollectionFolder, wish: Wish, as_json: bool) -> None:
    from aegis_yield.pipelines.collect import plan_collection
    from aegis_yield.reporting.collection_tables import plan_table

    plan: Plan = plan_collection(folder, wish)
    if as_json:
        plain = {"minutes": plan.minutes, "left_out": plan.left_out, "sources": [asdict(one) for one in plan.sources]}
        typer.echo(json.dumps(plain, indent=2))
    else:
        out.print(plan_table(plan))


def _rebuild(folder: CollectionFolder) -> None:
    from aegis_yield.cli.progress import StepDisplay
    from aegis_yield.pipelines.collect import rebuild

    with StepDisplay(notes, "reading raw answers") as display:
        tables = rebuild(folder, display)
    rows = tables["rows"] if tables else {"yields": 0, "strategies": 0}
    say(f"{folder.processed}: {rows['yields']:,} rows of {rows['strategies']:,} strategies, from {folder.raw}")


def _as_of(folder: CollectionFolder, text: str) -> None:
    from aegis_yield.pipelines.collect import write_tables_as_of

    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestError("as-of", text, "a moment in UTC such as 2026-11-01T00:00") from error
    moment = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    into = folder.root / "as-of" / f"{moment:%Y%m%dT%H%M%S}"
    tables = write_tables_as_of(folder, moment, into)
    if tables is None:
        raise RequestError("as-of", text, "a moment by which something had been collected")
    rows = tables["rows"]
    say(f"{into}: {rows['yields']:,} rows of {rows['strategies']:,} strategies as known at {moment:%Y-%m-%d %H:%M} UTC")


def _status(folder: CollectionFolder, as_json: bool) -> None:
    from aegis_yield.pipelines.collect import collection_status
    from aegis_yield.reporting.collection_tables import status_tables

    status = collection_status(folder)
    if as_json:
        typer.echo(json.dumps(asdict(status), indent=2, default=str))
        return
    for table in status_tables(status):
        out.print(table)
