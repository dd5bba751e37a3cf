"""Steps of a run up to a trained model: collect, validate, train if due; and the bench that all steps work at."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from aegis_yield import __version__
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import AegisError, DataError, HistoryError, RequestError, TrainingError
from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS, check_horizon
from aegis_yield.models.checkpoint import load_checkpoint
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.training import EpochReport, Observer
from aegis_yield.monitoring.gate import DAYS_PER_WEEK, GateRule
from aegis_yield.pipelines.datasets import content_hash, default_data_folder
from aegis_yield.pipelines.incumbents import name_incumbent, real_version
from aegis_yield.pipelines.kin import Kin, newest_training, read_kin
from aegis_yield.pipelines.run_engine import Outcome, Results
from aegis_yield.pipelines.run_journal import Journal
from aegis_yield.pipelines.run_options import allocation_order
from aegis_yield.pipelines.shelf import Shelf
from aegis_yield.pipelines.train import TrainingOrder, train
from aegis_yield.preprocessing.cleaning import quality_report
from aegis_yield.preprocessing.tables import TABLES, find_table, read_dataset
from aegis_yield.registry import CHAMPION, candidate_models, find_version, read_registry
from aegis_yield.utils.files import sha256_of
from aegis_yield.utils.project import project_root

DEFAULT_TRAIN_EVERY_DAYS: Final = 30
_TRAINING_UNTIL: Final = "training until"


class Quiet:
    """Watches a training and says nothing."""

    def started(self, label: str, max_epochs: int, windows_per_epoch: int) -> None:
        """Say nothing."""

    def advanced(self, n_windows: int, loss: float) -> None:
        """Say nothing."""

    def epoch_ended(self, report: EpochReport) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class RunOrder:
    """What a run is to do.

    Attributes
    ----------
    data : Path, optional
        Folder of tables; by default ``data/processed``. The simulated market is never taken unless named.
    collect, train : bool
        Whether to ask the sources, and whether to train when a training is due.
    train_every_days : int
        A model is due when this many days of data have come since the last day of the newest training.
    plan : TrainingPlan
        How to train.
    horizon_days : int
        Of forecasts, of the evaluation and of the gate.
    capital_usd : float, optional
        To allocate; without it nothing is allocated.
    allocation : mapping
        Options of the allocation that are set, as ``run_options.load_run_options`` returns them.
    calibrate : bool
        Whether the intervals of the version that serves learn from new outcomes.
    """

    data: Path | None = None
    collect: bool = False
    train: bool = True
    train_every_days: int = DEFAULT_TRAIN_EVERY_DAYS
    plan: TrainingPlan = field(default_factory=TrainingPlan)
    horizon_days: int = DEFAULT_HORIZON_DAYS
    capital_usd: float | None = None
    allocation: Mapping[str, Any] = field(default_factory=dict)
    calibrate: bool = True

    def __post_init__(self) -> None:
        """Refuse what is out of bounds."""
        check_horizon(self.horizon_days)
        if not 1 <= self.train_every_days <= 3650:
            raise RequestError("train-every", self.train_every_days, "a whole number of days from 1 to 3650")
        if self.capital_usd is not None and not 0 < self.capital_usd < float("inf"):
            raise RequestError("capital", self.capital_usd, "a number of US dollars above 0")
        if self.capital_usd is not None:
            allocation_order(self.allocation, self.capital_usd, {})  # now, not after hours of training
        if self.collect and self.data is not None:
            raise RequestError("data", str(self.data), "left out when collecting, which fills data/processed")

    @property
    def folder(self) -> Path:
        """Where the tables lie."""
        return self.data or default_data_folder()

    @property
    def held_back_days(self) -> int:
        """Newest days that no training sees: on them the gate judges."""
        return GateRule().min_weeks * DAYS_PER_WEEK + self.horizon_days


@dataclass
class Bench:
    """What the steps of one run share.

    Attributes
    ----------
    order : RunOrder
        What to do.
    journal : Journal
        Of this run.
    observer : Observer
        Watches trainings.
    say : callable
        Receives lines of text.
    """

    order: RunOrder
    journal: Journal
    observer: Observer = field(default_factory=Quiet)
    say: Callable[[str], None] = lambda _: None

    @cached_property
    def shelf(self) -> Shelf:
        """The project's models folder."""
        return Shelf.open()

    @cached_property
    def _tables(self) -> tuple[Dataset, str]:
        dataset = read_dataset(self.order.folder)
        return dataset, content_hash(dataset)

    def dataset(self, results: Results) -> Dataset:
        """Return the tables that were validated.

        Raises
        ------
        DataError
            If they changed since.
        """
        dataset, sha256 = self._tables
        if sha256 != results["validate"]["dataset_sha256"]:
            raise DataError(f"{self.order.folder}: the tables changed while the run was at work; run again")
        return dataset

    def read(self) -> tuple[Dataset, str]:
        """Read the tables, with a hash of their content."""
        return self._tables

    def may_serve(self) -> list[tuple[str, str]]:
        """Return the champion, or without one every version that may serve, with a hash of each.

        Raises
        ------
        BundleError
            If there is none.
        """
        champion = read_registry(self.shelf.folder).champion
        paths = [find_version(CHAMPION)] if champion else candidate_models()
        return [(path.name, sha256_of(path)) for path in paths]


def hashed(*parts: object) -> str:
    """Return a hash of plain values, and of the release: another one may come to other results."""
    return hashlib.sha256(json.dumps([__version__, *parts], sort_keys=True, default=str).encode()).hexdigest()


@dataclass
class Collect:
    """Bring the tables up to date, once a UTC day."""

    bench: Bench
    name: str = "collect"
    needs: tuple[str, ...] = ()

    def fingerprint(self, results: Results) -> str:  # noqa: ARG002 - every step is asked alike
        """What the sources offer changes once a day."""
        return hashed(self.bench.order.collect and dt.datetime.now(dt.UTC).date())

    def run(self, results: Results) -> Outcome:  # noqa: ARG002
        """Collect; sources that fail do not keep the others' rows from being used."""
        if not self.bench.order.collect:
            return Outcome("not asked for")
        from aegis_yield.collection.plan import Wish
        from aegis_yield.collection.verdicts import Verdict
        from aegis_yield.pipelines.collect import CollectionFolder, collect

        polite_stop = signal.getsignal(signal.SIGTERM)
        try:
            found = collect(CollectionFolder(), Wish(None, None, None, None))
        except (AegisError, OSError) as error:
            return Outcome("", fault=f"{error}; the run goes on with the tables that are there")
        finally:
            with suppress(ValueError):  # in another thread than the main one nothing was changed
                signal.signal(signal.SIGTERM, polite_stop)  # the collection's event loop has taken it for itself
        failed = [one for one in found.failures if one.verdict != Verdict.PROVIDER]
        said = f"{len(found.plan.units)} units asked"
        if failed:
            reason = f"{failed[0].unit}: {failed[0].reason}"
            return Outcome(said, fault=f"{len(failed)} of {len(found.plan.units)} units failed, first {reason}")
        written = [kept(default_data_folder() / "yields.parquet")] if found.tables is not None else []
        return Outcome(said, {"files": written})


@dataclass
class Validate:
    """Check the tables against the data contract."""

    bench: Bench
    name: str = "validate"
    needs: tuple[str, ...] = ()

    def fingerprint(self, results: Results) -> str:  # noqa: ARG002
        """Hash the files of the tables, unread."""
        folder = self.bench.order.folder
        if find_table(folder, "yields") is None:
            raise DataError(f"{folder}: holds no tables; collect some with: aegis collect, or name others with --data")
        files = [path for table in TABLES if (path := find_table(folder, table)) is not None]
        return hashed(str(folder.resolve()), [(path.name, sha256_of(path)) for path in files])

    def run(self, results: Results) -> Outcome:  # noqa: ARG002
        """Read and check."""
        dataset, sha256 = self.bench.read()
        result = {
            "dataset_sha256": sha256,
            "first_date": dataset.first_date.isoformat(),
            "last_date": dataset.last_date.isoformat(),
            "simulated": dataset.is_simulated,
        }
        simulated = " (SIMULATED)" if dataset.is_simulated else ""
        return Outcome(f"{dataset.first_date} … {dataset.last_date}{simulated}; {quality_report(dataset)}", result)


@dataclass
class Train:
    """Train a challenger if one is due; in any case find the newest training on this kind of data."""

    bench: Bench
    name: str = "train"
    needs: tuple[str, ...] = ("validate",)

    def fingerprint(self, results: Results) -> str:
        """Hash data, choices, and the newest training that is there."""
        order, newest = self.bench.order, self._newest(results)
        choices = (order.train, order.train_every_days, order.held_back_days, order.plan.to_dict())
        return hashed(results["validate"]["dataset_sha256"], choices, newest and _named(newest))

    def run(self, results: Results) -> Outcome:
        """Train or not; the newest days stay unseen, for the gate."""
        order = self.bench.order
        until = dt.date.fromisoformat(results["validate"]["last_date"]) - dt.timedelta(days=order.held_back_days)
        newest = self._newest(results)
        said = self._why_not(newest, until)
        if not said:
            newest = read_kin(self._trained(results, until, newest))
            said = f"{newest.name} trained on days to {newest.trained_to}"
        return Outcome(said, _named(newest) if newest else {}, fingerprint=self.fingerprint(results))

    def _newest(self, results: Results) -> Kin | None:
        return newest_training(self.bench.shelf.folder, bool(results["validate"]["simulated"]))

    def _why_not(self, newest: Kin | None, until: dt.date) -> str:
        if not self.bench.order.train:
            return "not asked for" + (f"; the newest model is {newest.name}" if newest else "")
        if newest is None or self._due(newest) <= until:
            return ""
        when = self._due(newest) + dt.timedelta(days=self.bench.order.held_back_days)
        return f"not due: {newest.name} was trained on days to {newest.trained_to}; next when the data reaches {when}"

    def _due(self, newest: Kin) -> dt.date:
        return dt.date.fromisoformat(newest.trained_to) + dt.timedelta(days=self.bench.order.train_every_days)

    def _trained(self, results: Results, until: dt.date, newest: Kin | None) -> Path:
        bench = self.bench
        dataset = bench.dataset(results)
        if until <= dataset.first_date:
            raise HistoryError(
                f"{dataset.name}: received days {dataset.first_date} … {dataset.last_date}, the gate alone needs the "
                f"last {bench.order.held_back_days}; collect an earlier past, or leave training out: --no-train"
            )
        if not (dataset.is_simulated and real_version(bench.shelf)):
            # What serves by being the newest would otherwise give way to the challenger before the gate has spoken.
            name_incumbent(bench.shelf, dataset.is_simulated)
        order = _order(bench, dataset, until)
        noted = bench.journal.note(_TRAINING_UNTIL)
        begun = dt.date.fromisoformat(noted) if noted else None
        if begun and begun != until and (newest is None or self._due(newest) <= begun):
            # Killed in mid-training: go on to the same day, if the rows up to it are still the same.
            earlier = _order(bench, dataset, begun)
            order = earlier if earlier.resume else order
        bench.journal.put_note(_TRAINING_UNTIL, str(order.until))
        result = train(order, bench.observer, bench.say)
        if result.bundle.provenance["interrupted"]:
            raise KeyboardInterrupt
        return result.path


def _order(bench: Bench, dataset: Dataset, until: dt.date) -> TrainingOrder:
    """Return the training of a day; it resumes if an unfinished one of the same plan and rows is there."""
    shelf = bench.shelf
    order = TrainingOrder(dataset, bench.order.plan, until, shelf.folder, tracking=shelf.tracking)
    identity = {"plan": order.plan.to_dict(), "data_hash": content_hash(dataset.known_at(until))}
    try:
        resume = order.checkpoint.is_file() and load_checkpoint(order.checkpoint).identity == identity
    except TrainingError:
        resume = False
    return TrainingOrder(dataset, order.plan, until, shelf.folder, resume, shelf.tracking)


def _named(newest: Kin) -> dict[str, str]:
    """Return how the result names the challenger of a run."""
    return {"challenger": newest.name, "sha256": sha256_of(newest.path)}


def reports_folder() -> Path:
    """Return where runs write what people and programs read."""
    return project_root() / "reports"


def kept(path: Path) -> str:
    """Return how a result names a file: from the project's folder, which may move."""
    return str(path.resolve().relative_to(project_root()))
