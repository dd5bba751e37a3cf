"""Freshness: model and tables are watched, loaded anew beside the old ones, and swapped in one step."""

from __future__ import annotations

import datetime as dt
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

from aegis_yield.domain.errors import AegisError, BundleError, DataError, RegistryError
from aegis_yield.pipelines.datasets import default_data_folder
from aegis_yield.pipelines.predict import Forecaster
from aegis_yield.pipelines.record import MANIFEST
from aegis_yield.preprocessing.tables import SUFFIXES, TABLES
from aegis_yield.registry import models_folder
from aegis_yield.registry.aliases import FILE as REGISTRY_FILE
from aegis_yield.registry.versions import numbered_versions
from api.fans import Fans
from api.forecast_tables import ForecastTables
from api.listing import Listing
from api.names import NameIndex
from api.redaction import without_folders

logger = logging.getLogger("aegis_yield.service")

Stamp: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""Name, inode, time of change in ns and size of every watched file that is there."""

SETTLE_S: Final = 0.2
"""Files that changed are left alone until they look the same twice in so long: somebody may still be writing."""

RETRY_S: Final = 60.0
"""After a failure it is tried again without a change: memory is free again, a row of tomorrow becomes one of today."""

STOP_WAIT_S: Final = 5.0


@dataclass(frozen=True)
class Served:
    """What requests are answered from: never changed, only replaced as a whole.

    Attributes
    ----------
    forecaster : Forecaster
        Tables and model.
    stamp : tuple
        What the files looked like from which it was loaded.
    loaded_at : datetime.datetime
        UTC.
    tables : ForecastTables
        Its forecasts.
    fans : Fans
        Its forecasts of single strategies at all horizons.
    names : NameIndex
        What its strategies are called.
    """

    forecaster: Forecaster
    stamp: Stamp
    loaded_at: dt.datetime
    tables: ForecastTables
    fans: Fans
    names: NameIndex

    @classmethod
    def of(cls, forecaster: Forecaster, stamp: Stamp = ()) -> Served:
        """Make ready what was loaded, with a first forecast of everything: the next is fast, and known to work.

        Raises
        ------
        BundleError
            If a forecast is no number.
        """
        tables = ForecastTables(forecaster)
        tables.warm()
        return cls(forecaster, stamp, dt.datetime.now(dt.UTC), tables, Fans(forecaster), NameIndex(forecaster))

    @cached_property
    def listing(self) -> Listing:
        """What the tables hold of each strategy."""
        return Listing(self.forecaster, self.names)

    @cached_property
    def simulated(self) -> bool:
        """Whether the tables are."""
        return self.forecaster.dataset.is_simulated

    @cached_property
    def last_date(self) -> dt.date:
        """Newest day of the tables."""
        return self.forecaster.dataset.last_date

    @cached_property
    def key(self) -> str:
        """Return what is the same wherever the same model serves the same tables."""
        made_from = self.forecaster.lineage
        if made_from is None:
            return f"{self.forecaster.model_version} {self.loaded_at.isoformat()}"
        return f"{made_from.bundle_sha256} {made_from.dataset_sha256} {sorted(self.names.aliases.items())}"


@dataclass(frozen=True)
class Source:
    """Where model and tables come from, each from its default place unless a path is given.

    Attributes
    ----------
    data : Path or None
        Dataset folder.
    model : Path or None
        Path, version or alias of the bundle.
    """

    data: Path | None = None
    model: Path | None = None

    def look(self) -> Stamp:
        """Return what changes whenever another model or other tables would be loaded."""
        return tuple(sorted(filter(None, map(stamp_of, self._files()))))

    def open(self) -> Forecaster:
        """Load model and tables.

        Raises
        ------
        AegisError
            If a part is missing or damaged.
        """
        return Forecaster.open(self.data, self.model)

    def public(self, error: Exception) -> str:
        """Return an error's text without the machine's folders: those are in the log."""
        if not isinstance(error, AegisError):
            return type(error).__name__
        text = str(error)
        folders = {models_folder(), self.data or default_data_folder()} | ({self.model.parent} if self.model else set())
        for folder in sorted(map(str, folders), key=len, reverse=True):
            if len(folder) > 1:
                text = text.replace(f"{folder}/", "").replace(folder, Path(folder).name)
        return without_folders(text)

    def _files(self) -> Iterator[Path]:
        tables = self.data or default_data_folder()
        yield from (tables / f"{table}{suffix}" for table in TABLES for suffix in SUFFIXES)
        yield tables / MANIFEST
        if self.model is not None:
            yield self.model
        if self.model is None or self.model.suffix != ".pth":  # then a version or an alias may be meant
            yield models_folder() / REGISTRY_FILE
            yield from _versions()


def _versions() -> list[Path]:
    try:
        return list(numbered_versions(models_folder()).values())
    except OSError:  # the folder went away, or may not be read
        return []


def stamp_of(path: Path) -> tuple[str, int, int, int] | None:
    """Return what a file looks like; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path), found.st_ino, found.st_mtime_ns, found.st_size


class Keeper:
    """Keeps what is served fresh, from a thread of its own.

    Parameters
    ----------
    load : callable
        Loads model and tables.
    source : Source or None
        The files to watch; None if there are none.
    publish : callable
        Is given what is to be served from now on.
    """

    def __init__(
        self, load: Callable[[], Forecaster], source: Source | None, publish: Callable[[Served], None]
    ) -> None:
        self.served: Served | None = None
        self.failure: Exception | None = None
        """Why what lies there now is not served."""
        self.failures = 0
        """How often loading has failed."""
        self._load = load
        self._source = source
        self._publish = publish
        self._tried: Stamp = ()
        self._retry_at = math.inf
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, watch_s: float) -> None:
        """Load once, now; then look for changes every so many seconds, or never if 0."""
        self._attempt(self._look())
        if self._source is None or not watch_s:
            return
        self._thread = threading.Thread(target=self._watch, args=(watch_s,), name="freshness", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; a load under way is waited for a few seconds, then left."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_WAIT_S)

    @property
    def warning(self) -> str | None:
        """Say that something newer lies there and why it is not served, without the machine's paths."""
        failure, served = self.failure, self.served
        if failure is None or served is None or self._source is None:
            return None
        part = part_of(failure)
        why = self._source.public(failure)
        return f"{part} changed and could not be loaded, {served.forecaster.model_version} goes on: {why}"

    def _look(self) -> Stamp:
        return self._source.look() if self._source is not None else ()

    def _watch(self, watch_s: float) -> None:
        while not self._stop.wait(watch_s):
            try:
                self._refresh(min(SETTLE_S, watch_s))
            except Exception:  # nobody else would notice that the watch has ended
                logger.exception("looking for a newer model or tables failed; looking again in %g s", watch_s)

    def _refresh(self, settle_s: float) -> None:
        seen = self._look()
        if seen == self._tried and time.monotonic() < self._retry_at:
            return
        if self._stop.wait(settle_s) or self._look() != seen:
            return
        self._attempt(seen)

    def _attempt(self, seen: Stamp) -> None:
        """Load; what changed meanwhile may be half old, half new: it is neither served nor blamed."""
        try:
            served = Served.of(self._load(), seen)
        except Exception as error:  # noqa: BLE001 - whatever the files hold, the service lives and says so
            if self.served is not None and self._look() != seen:
                return
            self._fail(error, seen)
            return
        if self._look() != seen and self.served is not None:
            return
        self._tried, self._retry_at = seen, math.inf
        self.served, self.failure = served, None
        self._publish(served)
        logger.info("serving %s on %s", served.forecaster.model_version, served.forecaster.dataset.name)

    def _fail(self, error: Exception, seen: Stamp) -> None:
        self.failures += 1
        is_news = str(error) != str(self.failure) or seen != self._tried
        self._tried, self._retry_at, self.failure = seen, time.monotonic() + RETRY_S, error
        if not is_news:
            return
        surprise = None if isinstance(error, AegisError | OSError) else error
        if self.served is None:
            logger.error("not ready: %s", error, exc_info=surprise)
        else:
            kept = self.served.forecaster.model_version
            logger.error("%s changed and could not be loaded, %s goes on: %s", part_of(error), kept, error,
                         exc_info=surprise)  # fmt: skip


def part_of(failure: Exception | None) -> str:
    """Name what a failure is about."""
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (BundleError, "the model"), (RegistryError, "the model"), (DataError, "the data"),
    )  # fmt: skip
    return next((name for kind, name in kinds if isinstance(failure, kind)), "a part")
