"""Collecting: plan, fetch, read, assemble, write; each step can be killed and taken up again."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from aegis_yield.collection.assemble.flags import counted
from aegis_yield.collection.assemble.market import market_table
from aegis_yield.collection.assemble.view import View
from aegis_yield.collection.assemble.yields import yield_tables
from aegis_yield.collection.catalogue import Catalogue, load_catalogue
from aegis_yield.collection.client import Client
from aegis_yield.collection.history import Appended, History
from aegis_yield.collection.journal import Journal
from aegis_yield.collection.limits import HostFigures
from aegis_yield.collection.lock import only_one
from aegis_yield.collection.plan import POOL_LISTS, Plan, Wish, demands_of, planned, without_keyless
from aegis_yield.collection.raw import RawZone
from aegis_yield.collection.reader import Reader
from aegis_yield.collection.runner import Failure, Moment, Runner, units_to_do
from aegis_yield.collection.settings import CollectionSettings, load_settings
from aegis_yield.collection.status import TableStatus, table_status, unit_status
from aegis_yield.collection.units import WorkUnit
from aegis_yield.collection.universe import categorised, parse_universe
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import CollectionError
from aegis_yield.preprocessing.tables import TABLES, write_dataset
from aegis_yield.utils.files import remove_unfinished, sha256_of, write_text_atomically
from aegis_yield.utils.project import code_version, project_root

Report = Callable[[int, int], None]
"""Told how many of how many steps are behind."""

MANIFEST: Final = "manifest.json"


def nobody(done: int, total: int) -> None:
    """Listen to no report."""


@dataclass(frozen=True)
class CollectionFolder:
    """Where a collection lies: ``raw/`` and ``processed/`` under one root, by default the project's ``data/``."""

    root: Path = field(default_factory=lambda: project_root() / "data")

    @property
    def raw(self) -> Path:
        """Answers as received, and the journal of units."""
        return self.root / "raw"

    @property
    def journal(self) -> Path:
        """The journal of units; without it nothing was collected here yet."""
        return self.raw / "journal.sqlite3"

    @property
    def processed(self) -> Path:
        """The three tables, the manifest, and the history that they are made from."""
        return self.root / "processed"


@dataclass(frozen=True)
class Collected:
    """What a run brought.

    Attributes
    ----------
    plan : Plan
        What was to be done.
    appended : dict
        Rows by (source, dataset): new, revised, unchanged, rejected.
    failures : list of Failure
        Units that failed and why; the next run tries them again.
    figures : dict
        Requests, retries, waits by host.
    tables : dict or None
        Rows of the tables written, and flags counted; None if there is nothing to make tables from yet.
    """

    plan: Plan
    appended: dict[tuple[str, str], Appended]
    failures: list[Failure]
    figures: dict[str, HostFigures]
    tables: dict[str, Any] | None


class _Desk:
    """The open parts of a collection folder."""

    def __init__(self, folder: CollectionFolder, journal: Path) -> None:
        self.raw = RawZone(folder.raw)
        self.journal = Journal(journal)
        self.history = History(folder.processed / "history")
        self.reader = Reader(self.raw, self.journal, self.history)

    def close(self) -> None:
        self.journal.close()


@contextmanager
def _alone(folder: CollectionFolder) -> Iterator[_Desk]:
    with only_one(folder.raw / ".lock"), closing(_Desk(folder, folder.journal)) as desk:
        remove_unfinished(folder.processed, [*(f"{table}.parquet" for table in TABLES), MANIFEST])
        desk.history.sweep()
        desk.raw.sweep()
        yield desk


@contextmanager
def _untouched(folder: CollectionFolder) -> Iterator[_Desk]:
    """Open a folder only to look at it: where nothing was collected yet, nothing is left behind."""
    with tempfile.TemporaryDirectory() as elsewhere:
        journal = folder.journal if folder.journal.is_file() else Path(elsewhere) / folder.journal.name
        with closing(_Desk(folder, journal)) as desk:
            yield desk


def plan_collection(folder: CollectionFolder, wish: Wish) -> Plan:
    """Return what a run would ask, asking nothing.

    Raises
    ------
    RequestError, UnknownStrategyError
        If the wish names what does not exist.
    OfflineError
        If offline mode forbids a host.
    """
    settings, catalogue = load_settings(), load_catalogue()
    moment = wish.moment(catalogue, dt.datetime.now(dt.UTC))
    with _untouched(folder) as desk:
        plan = _plan(desk, (settings, catalogue), wish, moment)
        if wish.universe is not None and not desk.history.latest("pools").height:
            plan.left_out["universe"] = "the list of pools was never collected: what it holds shows in the run itself"
        return plan


def collect(folder: CollectionFolder, wish: Wish, report: Report = nobody) -> Collected:
    """Bring what is wanted up to date and write the tables.

    Parameters
    ----------
    folder : CollectionFolder
        Where; locked meanwhile.
    wish : Wish
        What.
    report : callable
        Told about progress, in units.

    Raises
    ------
    BusyError
        If another collection is at work there.
    RequestError, UnknownStrategyError, OfflineError
        As :func:`plan_collection`.
    """
    settings, catalogue = load_settings(), load_catalogue()
    now = dt.datetime.now(dt.UTC)
    moment = wish.moment(catalogue, now)
    # Before anything is asked: what cannot be read, names that do not exist, hosts that must not be asked.
    if wish.universe is not None:
        parse_universe(wish.universe)
    without_keyless(demands_of(catalogue, wish, []), settings)
    with _alone(folder) as desk:
        desk.reader.adopt_orphans()
        desk.reader.read_waiting()
        run = desk.journal.open_run(now)
        job = _Job(desk, settings, moment, report)
        lists = units_to_do(POOL_LISTS, moment, desk.journal) if wish.universe is not None else []
        job.do(lists)
        plan = _plan(desk, (settings, catalogue), wish, moment)
        rest = [unit for unit in plan.units if unit not in lists]
        job.do(rest)
        plan = replace(plan, units=[*lists, *rest])
        desk.history.compact()
        tables = _write_tables(catalogue, View(desk.history), folder.processed)
        result = Collected(plan, desk.reader.figures.appended, job.failures, job.figures, tables)
        desk.journal.close_run(run, dt.datetime.now(dt.UTC), _summary(result))
        return result


class _Job:
    """Runs lists of units one after another and adds up what came of them."""

    def __init__(self, desk: _Desk, settings: CollectionSettings, moment: Moment, report: Report) -> None:
        self._desk, self._settings, self._moment, self._report = desk, settings, moment, report
        self.failures: list[Failure] = []
        self.figures: dict[str, HostFigures] = {}

    def do(self, units: Sequence[WorkUnit]) -> None:
        """Fetch and read units."""
        if not units:
            return
        try:
            asyncio.run(self._run(units))
        except asyncio.CancelledError as error:
            raise KeyboardInterrupt from error

    async def _run(self, units: Sequence[WorkUnit]) -> None:
        # The service manager's polite stop counts as Ctrl-C: what was landed stays, the rest is taken up next time.
        task = asyncio.current_task()
        with suppress(ValueError, RuntimeError):  # called from another thread than the main one: no signal comes here
            if task is not None:
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        concurrency = {name: host.concurrency for name, host in self._settings.hosts.items()}
        async with Client(self._settings, self._desk.raw) as client:
            runner = Runner(client, self._desk.journal, self._desk.reader, self._moment)
            await runner.run(units, concurrency, self._report)
        self.failures += runner.failures
        for host, figures in client.figures.items():
            self.figures[host] = self.figures.get(host, HostFigures()) + figures


def _chosen_pools(desk: _Desk, wish: Wish) -> list[str]:
    """Return the pools followed already, unless strategies were named, and those that the wish adds."""
    followed = []
    if wish.strategies is None:
        followed = desk.history.latest("pool_days").select("pool").unique().to_series().to_list()
    if wish.universe is None:
        return sorted(followed)
    universe = parse_universe(wish.universe)
    pools = desk.history.latest("pools")
    today = pools.filter(pl.col("date") == pl.col("date").max())
    protocols = desk.history.latest("protocols").sort("slug", "date", descending=[False, True])
    added = categorised(today, protocols).filter(universe.condition)["pool"].to_list()
    if today.height and not added:
        raise CollectionError(f"universe {wish.universe!r}: none of today's {today.height} pools is meant; widen it")
    return sorted({*followed, *added})


def _plan(
    desk: _Desk,
    known: tuple[CollectionSettings, Catalogue],
    wish: Wish,
    moment: Moment,
) -> Plan:
    settings, catalogue = known
    demands, left_out = without_keyless(demands_of(catalogue, wish, _chosen_pools(desk, wish)), settings)
    units = units_to_do(demands, moment, desk.journal)
    return Plan(units, planned(units, settings), left_out)


def rebuild(folder: CollectionFolder, report: Report = nobody) -> dict[str, Any] | None:
    """Make the history and the tables again from the raw zone, with no network; the old ones serve until it is done.

    Raises
    ------
    BusyError
        If a collection is at work there.
    CollectionError
        If there is no raw answer, or a damaged one, naming the file; the old history is kept.
    """
    catalogue = load_catalogue()
    with _alone(folder) as desk:
        if next(desk.raw.files(), None) is None:
            raise CollectionError(f"{folder.raw}: holds no answers to make the tables from; run: aegis collect")
        desk.reader.adopt_orphans()
        history = desk.reader.rebuild(report)
        desk.journal.settle([item.raw_id for item in desk.journal.waiting()], "stored")
        return _write_tables(catalogue, View(history), folder.processed)


def write_tables_as_of(folder: CollectionFolder, as_of: dt.datetime, into: Path) -> dict[str, Any] | None:
    """Write the tables as they were known at a moment, into a folder of their own."""
    if into.resolve() == folder.processed.resolve():
        raise CollectionError(f"{into}: holds the current tables; write an earlier view into another folder")
    return _write_tables(load_catalogue(), View(History(folder.processed / "history"), as_of), into)


def _write_tables(catalogue: Catalogue, view: View, into: Path) -> dict[str, Any] | None:
    """Assemble, check and write; None if no strategy has a final day yet."""
    made = yield_tables(catalogue, view)
    if not made.yields.height:
        return None
    market = market_table(catalogue, view)
    write_dataset(Dataset(made.yields, made.strategies, market, str(into)), into)
    manifest = {
        "made_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "as_of": view.as_of.isoformat() if view.as_of else None,
        "code": code_version(),
        "rows": {"yields": made.yields.height, "strategies": made.strategies.height, "market": market.height},
        "days": [str(made.yields["date"].min()), str(made.yields["date"].max())],
        "flags": counted(made.yields),
        "sha256": {path.name: sha256_of(path) for path in sorted(into.glob("[!.]*.parquet"))},
    }
    write_text_atomically(into / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return manifest


def _summary(result: Collected) -> dict[str, Any]:
    return {
        "units": len(result.plan.units),
        "failed": len(result.failures),
        "hosts": {name: asdict(figures) for name, figures in result.figures.items()},
    }


@dataclass(frozen=True)
class CollectionStatus:
    """How a collection stands: tables, units, the last runs, and the flags of the tables written last."""

    tables: list[TableStatus]
    units: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    manifest: dict[str, Any] | None


def collection_status(folder: CollectionFolder) -> CollectionStatus:
    """Return how a collection stands; reads only."""
    if not folder.journal.is_file():
        raise CollectionError(f"{folder.root}: nothing was collected here yet; run: aegis collect")
    today = dt.datetime.now(dt.UTC).date()
    manifest = folder.processed / MANIFEST
    with closing(Journal(folder.journal)) as journal:
        return CollectionStatus(
            table_status(History(folder.processed / "history"), today),
            unit_status(journal),
            journal.runs()[:_RUNS_SHOWN],
            json.loads(manifest.read_text()) if manifest.is_file() else None,
        )


_RUNS_SHOWN: Final = 10
