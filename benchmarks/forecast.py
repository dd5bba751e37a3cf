r"""The race: our forecasts against what a practitioner would use instead, on the same origins, in one run.

    python benchmarks/forecast.py --horizons 1 7 14 30 --start 2024-10-01 --end 2025-09-20 \
        --refits 2024-09-30 2025-01-31 2025-05-31

Every trained method is fitted anew at each cut-off on outcomes known by then; every method forecasts the same
strategies at the same origins. Without reference data the simulated market stands in. A killed run goes on where it
was: forecasts are kept under the hash of data, settings and code. ``--quick`` is a small race on simulated data.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aegis_yield.pipelines.datasets import reference_folder
from aegis_yield.preprocessing.panel import to_day
from aegis_yield.utils.files import write_text_atomically
from aegis_yield.utils.project import project_root
from benchmarks.race.methods import BY_KEY
from benchmarks.race.page import write_race_page
from benchmarks.race.plan import Course, Source, default_refits
from benchmarks.race.race import Order, run_race
from benchmarks.race.store import Store
from benchmarks.race.tables import TextTable, all_tables
from benchmarks.race.verdicts import verdict_table

SPAN_DAYS: Final = 354
LAST_DAYS: Final = 10
"""By default the last origin lies so many days before the end of the data, the first so many before that."""

WIDTH: Final = 150
"""Of the tables in a file or a pipe."""

QUICK_METHODS: Final = ("ours", "last", "ewma", "lgbm-cqr", "vol-har")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the race, print its tables, write its files; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    try:
        order = quick_order() if options.quick else _order(options)
    except ValueError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        results = run_race(order, Store(options.cache), Console(stderr=True))
    except KeyboardInterrupt:
        console.print(f"interrupted: what was finished is kept in {options.cache}; the same command goes on")
        return 130
    tables = [*all_tables(results), verdict_table(results)]
    for table in tables:
        console.print(_rich(table))
    if results["course"]["data"]["simulated"]:
        console.print("SIMULATED market: these scores say nothing about real strategies")
    if options.json:
        write_text_atomically(options.json, json.dumps(_plain(results), indent=1, allow_nan=False) + "\n")
    if options.html:
        write_race_page(results, tables, options.html)
        console.print(f"report: {options.html}")
    for failure in results["failures"]:
        console.print(f"[red]FAILED[/] {failure['job']}\n{failure['reason']}", markup=True)
    return 1 if results["failures"] else 0


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt(f"signal {number} at {frame}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    date = dt.date.fromisoformat
    course = parser.add_argument_group("course")
    course.add_argument("--data", type=Path, help="dataset folder; default: the reference data, else simulated")
    course.add_argument("--start", type=date, help="first origin; default: about a year before the end of the data")
    course.add_argument("--end", type=date, help="last origin; default: ten days before the end of the data")
    course.add_argument("--every", type=int, default=7, help="days between origins")
    course.add_argument("--horizons", type=int, nargs="+", default=[1, 7, 14, 30])
    course.add_argument("--refits", type=date, nargs="+", help="cut-offs; default: every four months")
    course.add_argument("--quick", action="store_true", help="a small race on simulated data")
    racers = parser.add_argument_group("racers")
    racers.add_argument("--methods", nargs="+", default=list(BY_KEY), choices=list(BY_KEY), metavar="METHOD",
                        help=", ".join(BY_KEY))  # fmt: skip
    racers.add_argument("--bundle", type=_bundle, action="append", default=[], metavar="CUTOFF=PATH",
                        help="use this bundle of ours from a cut-off on instead of training one")  # fmt: skip
    for name, what in {"members": "networks of ours", "epochs": "most epochs of ours", "batch_size": "of ours",
                       "seed": "of ours", "trees": "of LightGBM", "steps": "of neuralforecast"}.items():  # fmt: skip
        racers.add_argument(f"--{name.replace('_', '-')}", type=int, help=what)
    racers.add_argument("--thin", type=int, default=4, help="slow methods run every so many origins")
    racers.add_argument("--every-origin", action="store_true", help="slow methods run on all origins")
    racers.add_argument("--few-horizons", type=int, nargs="*", default=[7],
                        help="horizons of neuralforecast and fracast; none: all")  # fmt: skip
    racers.add_argument("--cold", nargs="*", default=["ours", "lgbm-cqr"], choices=list(BY_KEY), metavar="METHOD",
                        help="methods that also run without having seen some strategies")  # fmt: skip
    racers.add_argument("--held-out", type=float, default=0.2, help="share of strategies unseen by those")
    run = parser.add_argument_group("run")
    run.add_argument("--blocks", choices=["month", "week"], default="month", help="blocks of the bootstrap")
    run.add_argument("--workers", type=int, default=1, help="processes at a time; more than one inflates seconds")
    run.add_argument("--cache", type=Path, default=project_root() / "reports" / "race", help="results so far")
    run.add_argument("--json", type=Path, help="write all results here")
    run.add_argument("--html", type=Path, help="write a page with tables and pictures here")
    return parser


def _bundle(text: str) -> tuple[int, Path]:
    cutoff, _, path = text.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"received {text!r}, expected CUTOFF=PATH such as 2024-09-30=models/x.pth")
    return to_day(dt.date.fromisoformat(cutoff)), Path(path).resolve()


def _order(options: argparse.Namespace) -> Order:
    folder = options.data or reference_folder()
    source = Source(str(folder.resolve())) if options.data or (folder / "yields.parquet").is_file() else Source()
    last = source.open().last_date
    end = options.end or last - dt.timedelta(days=LAST_DAYS)
    start = options.start or end - dt.timedelta(days=SPAN_DAYS)
    course = Course(
        source=source,
        start=start,
        end=end,
        horizons=tuple(sorted(set(options.horizons))),
        refits=tuple(options.refits or default_refits(start, end)),
        every_days=options.every,
        thin=options.thin,
        held_out_share=options.held_out,
    )
    names = ("members", "epochs", "batch_size", "seed", "trees", "steps")
    settings: dict[str, Any] = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    unknown = [cutoff for cutoff, _ in options.bundle if cutoff not in [to_day(refit) for refit in course.refits]]
    if unknown:
        raise ValueError(f"--bundle names a cut-off that is not among --refits: {course.refits}")
    return Order(
        course=course,
        methods=tuple(options.methods),
        settings=settings | {"bundles": dict(options.bundle)},
        cold_methods=tuple(options.cold),
        slow_horizons=tuple(options.few_horizons),
        every_origin=options.every_origin,
        blocks=options.blocks,
        workers=options.workers,
    )


def quick_order() -> Order:
    """Return a small race on simulated data that takes about a minute."""
    source = Source(n_strategies=24, n_days=520)
    end = source.open().last_date - dt.timedelta(days=LAST_DAYS)
    start = end - dt.timedelta(days=98)
    course = Course(source, start, end, (7,), (start - dt.timedelta(days=1), start + dt.timedelta(days=48)))
    settings = {"members": 1, "epochs": 1, "batch_size": 256, "trees": 30, "bundles": {}}
    return Order(course, QUICK_METHODS, settings, cold_methods=("lgbm-cqr",), blocks="week")


def _rich(table: TextTable) -> Table:
    shown = Table(title=table.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for at, name in enumerate(table.header):
        shown.add_column(Text(name), justify="right" if at else "left", no_wrap=not at)
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    shown.caption, shown.caption_justify = table.note or None, "left"
    return shown


def _plain(value: Any) -> Any:
    """Return plain values with null for NaN, which JSON does not know, and text for keys."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and value != value else value


if __name__ == "__main__":
    sys.exit(main())
