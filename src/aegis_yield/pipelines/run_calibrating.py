"""Step of a run that keeps intervals true: the version that serves learns from what came since, a week at a time."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aegis_yield.domain.errors import BundleError, HistoryError
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.pipelines.calibrate import SHOWN_HORIZON_DAYS, learned_version, let_serve
from aegis_yield.pipelines.incumbents import kept_for_real, name_incumbent
from aegis_yield.pipelines.kin import Kin, kin_of
from aegis_yield.pipelines.recalibrate import first_unlearned
from aegis_yield.pipelines.run_engine import Outcome, Results
from aegis_yield.pipelines.run_steps import Bench, hashed
from aegis_yield.preprocessing.panel import to_date
from aegis_yield.registry import CHAMPION, find_version, read_registry, version_of

CALIBRATE_EVERY_DAYS: Final = 7


@dataclass
class Calibrate:
    """Let the intervals of the version that serves learn from a week of new outcomes; the result serves in its place.

    The networks stay the same, so there is nothing for the gate to judge.
    """

    bench: Bench
    name: str = "calibrate"
    needs: tuple[str, ...] = ("validate",)

    def fingerprint(self, results: Results) -> str:
        """Hash data, choice, the models that may serve, and whether a person has brought one of them back."""
        serving: list[tuple[str, str]] = []
        with suppress(BundleError):  # without any the step itself says so
            serving = self.bench.may_serve()
        folder = self.bench.shelf.folder
        choice = self.bench.order.calibrate
        return hashed(results["validate"]["dataset_sha256"], choice, serving, was_brought_back(folder))

    def run(self, results: Results) -> Outcome:
        """Learn if it is due: write the next version and make it the champion."""
        shelf, simulated = self.bench.shelf, bool(results["validate"]["simulated"])
        why_not = "" if self.bench.order.calibrate else "not asked for"
        why_not = why_not or kept_for_real(shelf, simulated)
        if why_not:
            return Outcome(why_not)
        champion = name_incumbent(shelf, simulated)
        if champion is None:
            return Outcome("no model of this kind of data is in use")
        path = find_version(CHAMPION, shelf.folder)
        bundle = load_bundle(path)
        said = self._why_not(bundle, champion, results) or self._learned(path, results)
        return Outcome(said, fingerprint=self.fingerprint(results))

    def _why_not(self, bundle: Bundle, champion: str, results: Results) -> str:
        if bundle.is_simulated != results["validate"]["simulated"]:
            return f"{champion} was trained on {'simulated' if bundle.is_simulated else 'real'} data, these are not"
        if was_brought_back(self.bench.shelf.folder):
            return f"a person brought {champion} back, and it stays as it is until one asks: aegis calibrate --update"
        try:
            due = due_on(bundle)
        except ValueError:
            return f"{champion} does not say to which day it was trained"
        if due > dt.date.fromisoformat(results["validate"]["last_date"]):
            return f"not due: {champion} knows outcomes to {bundle.data_end}; next when the data reaches {due}"
        return ""

    def _learned(self, path: Path, results: Results) -> str:
        # Killed between writing and promoting: what was written for these very outcomes is not written again.
        try:
            learned = learned_version(path, self.bench.dataset(results))
        except HistoryError:  # tables that have just begun, say: no failure, and nothing that anybody must mend
            return f"nothing to learn yet: no strategy has an outcome that {version_of(path)} does not know"
        registry = let_serve(self.bench.shelf, learned, version_of(path))
        return f"champion: {version_of(path)} → {registry.champion}, {registry.history[-1].why.reason}"


def due_on(bundle: Bundle) -> dt.date:
    """Return the day of data on which a bundle has a week of outcomes to learn from.

    Raises
    ------
    ValueError
        If it does not say to which day it was trained.
    """
    known = dt.date.fromisoformat(bundle.data_end)
    first_outcome = to_date(first_unlearned(bundle, SHOWN_HORIZON_DAYS) + SHOWN_HORIZON_DAYS)
    return max(known + dt.timedelta(days=CALIBRATE_EVERY_DAYS), first_outcome)


def was_brought_back(folder: Path) -> bool:
    """Whether a person put the champion back into its place: a run must not lead away from there.

    A rollback does that; so does a forced promotion of a version whose intervals are older, of the same networks.
    """
    moves = [change for change in read_registry(folder).history if change.alias == CHAMPION]
    if not moves or not moves[-1].why.forced:
        return bool(moves) and moves[-1].action == "rollback"
    before, after = (_kin(folder, name) for name in (moves[-1].before, moves[-1].after))
    return bool(before and after and before.training_id == after.training_id and after.data_end < before.data_end)


def _kin(folder: Path, name: str | None) -> Kin | None:
    return kin_of(folder / f"{name}.pth") if name else None
