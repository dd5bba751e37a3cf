"""``aegis strategies | check | simulate | features``: looking at data, and making some."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from aegis_yield.cli.options import DataOption, JsonFlag, parse_date
from aegis_yield.cli.shared import notes, out


def strategies(
    data: DataOption = None,
    category: Annotated[str | None, typer.Option(help="Only this category, e.g. lending.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the strategies of a dataset: id, category, first and last day, rows.

    Examples:

      aegis strategies --category staking
    """
    from aegis_yield.pipelines.datasets import open_dataset, strategy_listing

    dataset = open_dataset(data)
    listing = strategy_listing(dataset, category)
    if as_json:
        typer.echo(json.dumps(listing, indent=2, default=str))
        return
    simulated = " (SIMULATED data)" if dataset.is_simulated else ""
    table = Table(title=f"{len(listing)} strategies{simulated}", title_justify="left")
    for name in ("strategy_id", "category", "first day", "last day", "rows", "last apy"):
        table.add_column(name, overflow="fold")
    for row in listing:
        cells = (row["category"], row["first_date"], row["last_date"], row["n_rows"])
        table.add_row(Text(row["strategy_id"]), *map(str, cells), f"{100 * row['last_apy']:.2f} %")
    out.print(table)


def check(
    data: Annotated[Path, typer.Argument(help="Dataset folder to check.")],
) -> None:
    """Check a dataset against the data contract and say what is imperfect in it.

    Examples:

      aegis check data/processed
    """
    from aegis_yield.preprocessing.cleaning import quality_report
    from aegis_yield.preprocessing.tables import read_dataset

    dataset = read_dataset(data)
    simulated = " (SIMULATED)" if dataset.is_simulated else ""
    out.print(f"{data}{simulated}: valid, {dataset.first_date} … {dataset.last_date}", soft_wrap=True, markup=False)
    out.print(str(quality_report(dataset)), soft_wrap=True)


def simulate(
    output: Annotated[Path, typer.Option(help="Folder to write the three tables to.")] = Path("data/simulated"),
    strategies_wanted: Annotated[int, typer.Option("--strategies-count", help="Strategies, 3 to 20,000.")] = 60,
    days: Annotated[int, typer.Option(help="Days of history.")] = 1200,
    end: Annotated[str | None, typer.Option(help="Last day. Default: a fixed one.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same market.")] = 7,
) -> None:
    """Write a simulated market as a dataset; every row says that it is simulated.

    Examples:

      aegis simulate --strategies-count 1000 --days 730 --output data/simulated
    """
    from aegis_yield.pipelines.datasets import simulated_dataset
    from aegis_yield.preprocessing.tables import write_dataset
    from aegis_yield.simulation import MarketSpec

    last: dt.date = parse_date("end", end) or MarketSpec().end
    dataset = simulated_dataset(MarketSpec(n_strategies=strategies_wanted, n_days=days, end=last, seed=seed))
    write_dataset(dataset, output)
    notes.print("[yellow]SIMULATED data[/]: not for decisions")
    out.print(
        f"{output}: {dataset.yields.height:,} rows of {strategies_wanted:,} strategies to {last}",
        soft_wrap=True,
    )


def features() -> None:
    """List every input feature of the network with its group and meaning.

    Examples:

      aegis features
    """
    from aegis_yield.preprocessing.features import describe_features

    table = Table(title="Input features, in channel order (the horizon comes on top)", title_justify="left")
    for name in ("feature", "group", "meaning"):
        table.add_column(name)
    for row in describe_features():
        table.add_row(*row)
    out.print(table)
