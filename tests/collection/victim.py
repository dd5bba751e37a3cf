"""A collection to be killed: opens a folder as a new process does, waits for the word, collects, says that it is done.

``python victim.py FOLDER URL``; each line on standard input is a word.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from contextlib import closing
from pathlib import Path

from toy_source import TOYS, months, whole

from aegis_yield.collection import reader as reading
from aegis_yield.collection import runner as running
from aegis_yield.collection import sources
from aegis_yield.collection.client import Client
from aegis_yield.collection.history import History
from aegis_yield.collection.journal import Journal
from aegis_yield.collection.lock import only_one
from aegis_yield.collection.raw import RawZone
from aegis_yield.collection.reader import Reader
from aegis_yield.collection.runner import Moment, Runner, units_to_do
from aegis_yield.collection.settings import load_settings

MOMENT = Moment(dt.datetime(2026, 3, 20, 12, tzinfo=dt.UTC), dt.date(2026, 1, 1))
DEMANDS = [*(whole(f"pool{n}") for n in range(40)), *(months(f"month{n}") for n in range(4))]


def collect(folder: Path, url: str) -> None:
    """Collect all demands into a folder; small batches, so that reading, too, is cut off in the middle."""
    sources.DATASETS.update(TOYS)
    reading.BATCH_PAGES = running.BATCH_PAGES = 5  # type: ignore[misc]
    environment = {f"AEGIS_SRC__{host}__BASE_URL": url for host in ("BINANCE", "BYBIT")}
    environment |= {f"AEGIS_SRC__{host}__REQUESTS_PER_SECOND": "0" for host in ("BINANCE", "BYBIT")}
    settings = load_settings(environment=environment | {"AEGIS_OFFLINE": "1"})

    async def run() -> None:
        async with Client(settings, raw) as client:
            runner = Runner(client, journal, reader, MOMENT)
            await runner.run(
                units_to_do(DEMANDS, MOMENT, journal), {"binance": 2, "bybit": 2}, lambda done, total: None
            )
            assert not runner.failures, runner.failures

    with only_one(folder / ".lock"), closing(Journal(folder / "journal.sqlite3")) as journal:
        raw, history = RawZone(folder / "raw"), History(folder / "history")
        reader = Reader(raw, journal, history)
        reader.adopt_orphans()
        reader.read_waiting()
        asyncio.run(run())
        history.compact()


def main() -> None:
    """Say when ready, and begin on a word."""
    print("ready", flush=True)
    if sys.stdin.readline():
        collect(Path(sys.argv[1]), sys.argv[2])
        print("done", flush=True)


if __name__ == "__main__":
    main()
