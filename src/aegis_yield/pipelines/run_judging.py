"""Steps of a run that decide which model serves: evaluate the challenger, ask the gate, promote."""

from __future__ import annotations

import datetime as dt
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from aegis_yield.domain.errors import HistoryError
from aegis_yield.models.bundle import load_bundle
from aegis_yield.monitoring.gate import GateRule, Verdict
from aegis_yield.pipelines.bookkeeping import record_scores
from aegis_yield.pipelines.evaluate import EvaluationOrder, evaluate
from aegis_yield.pipelines.gate import GateOrder, decide, store_decision
from aegis_yield.pipelines.incumbents import kept_for_real, name_incumbent
from aegis_yield.pipelines.kin import are_kin, kin_in, kin_of
from aegis_yield.pipelines.run_engine import Outcome, Results
from aegis_yield.pipelines.run_steps import Bench, hashed, kept, reports_folder
from aegis_yield.pipelines.shelf import Shelf
from aegis_yield.registry import CHAMPION, aliases, find_version, read_registry
from aegis_yield.registry.aliases import Why
from aegis_yield.utils.files import write_text_atomically
from aegis_yield.utils.plain import plain

FIRST: Final = "first"
"""There is nothing to beat."""

_WON: Final = (FIRST, Verdict.PROMOTE)


@dataclass
class Evaluate:
    """Score the newest model on days that it has not seen."""

    bench: Bench
    name: str = "evaluate"
    needs: tuple[str, ...] = ("validate", "train")

    def fingerprint(self, results: Results) -> str:
        """Hash data, model, horizon."""
        return hashed(
            results["validate"]["dataset_sha256"], results["train"].get("sha256"), self.bench.order.horizon_days
        )

    def run(self, results: Results) -> Outcome:
        """Evaluate it beside its baselines; scores go to ``reports/evaluation.json`` and to the record."""
        name = results["train"].get("challenger")
        if name is None:
            return Outcome("no model to evaluate")
        path = self.bench.shelf.path_of(name)
        bundle = load_bundle(path)
        start = dt.date.fromisoformat(bundle.data_end) + dt.timedelta(days=1)
        dataset, horizon = self.bench.dataset(results), self.bench.order.horizon_days
        if start > dataset.last_date - dt.timedelta(days=horizon):
            return Outcome(f"{name} knows days to {bundle.data_end}: no later origin has a known outcome yet")
        try:
            scores = evaluate(EvaluationOrder(dataset, bundle, start=start, horizon_days=horizon)).scores
        except HistoryError:  # tables that have just begun, say: no failure, and nothing that anybody must mend
            return Outcome(f"no strategy has an origin after {bundle.data_end} from which {name} could be judged yet")
        report = reports_folder() / "evaluation.json"
        write_text_atomically(report, json.dumps(plain(scores), indent=2, default=str, allow_nan=False) + "\n")
        try:
            record_scores(self.bench.shelf, path, [scores], {})  # delivered when the run ends
        except OSError as error:
            warnings.warn(f"scores are not recorded: {error}", stacklevel=2)
        return Outcome(f"{name}: {_in_short(scores)}", {"files": [kept(report)]})


@dataclass
class Gate:
    """Ask whether the newest model is better than the champion; a pair is settled once, not asked until it passes.

    A pair is one of trainings: however often the champion's intervals learned since, its networks stay who they are.
    """

    bench: Bench
    name: str = "gate"
    needs: tuple[str, ...] = ("validate", "train", "evaluate")

    def fingerprint(self, results: Results) -> str:
        """Hash both models and the rule; the data too, until there was enough of it for a verdict."""
        name = results["train"].get("challenger")
        nothing, pair = _nothing_to_judge(self.bench.shelf, name), self._pair(name)
        before = self.bench.journal.done(self.name)
        if before is not None:
            was = before.result
            has_won = was.get("verdict") in _WON and was.get("challenger") == name and _serves(self.bench.shelf, name)
            if has_won or (not nothing and was.get("pair") == pair and was.get("verdict") == Verdict.KEEP):
                return before.fingerprint
        return hashed(pair, nothing, results["validate"]["dataset_sha256"])

    def run(self, results: Results) -> Outcome:
        """Let the gate judge; its decision is kept in ``models/decisions``."""
        shelf, simulated = self.bench.shelf, bool(results["validate"]["simulated"])
        name = results["train"].get("challenger")
        nothing = _nothing_to_judge(shelf, name) or kept_for_real(shelf, simulated)
        if nothing:
            return Outcome(nothing)
        champion = name_incumbent(shelf, simulated, name)
        found: dict[str, Any] = {"challenger": name, "champion": champion}
        if champion is None:
            return Outcome(f"{name}: nothing was in use before, there is nothing to beat", {**found, "verdict": FIRST})
        aliases.challenge(shelf.folder, str(name), Why("newest model of aegis run"))
        pair = find_version(CHAMPION, shelf.folder), shelf.path_of(str(name))
        decision = decide(GateOrder(self.bench.dataset(results), *pair, horizon_days=self._horizon))
        path = store_decision(decision, shelf.folder)
        found |= {
            "verdict": decision.verdict,
            "reason": decision.reason,
            "decision": decision.id,
            "files": [kept(path)],
            "pair": self._pair(name),
        }
        said = f"{name} against {champion}: {decision.said} (decision {decision.id})"
        return Outcome(said, found, fingerprint=self.fingerprint(results))

    @property
    def _horizon(self) -> int:
        return self.bench.order.horizon_days

    def _pair(self, challenger: str | None) -> str:
        """Hash which trainings are compared, and how."""
        folder = self.bench.shelf.folder
        champion = find_version(CHAMPION, folder) if read_registry(folder).champion else None
        both = (kin_of(path) if path else None for path in (champion, _path_of(self.bench.shelf, challenger)))
        return hashed(*(one and one.training_id for one in both), asdict(GateRule()), self._horizon)


@dataclass
class Promote:
    """Make the challenger the champion, as its training left it, if the gate allows it."""

    bench: Bench
    name: str = "promote"
    needs: tuple[str, ...] = ("gate",)

    def fingerprint(self, results: Results) -> str:
        """Hash the gate's answer."""
        return hashed(dict(results["gate"]))

    def run(self, results: Results) -> Outcome:
        """Promote, in one step, unless another became champion since the gate was asked."""
        found = results["gate"]
        verdict, name = found.get("verdict"), found.get("challenger")
        if verdict not in _WON:
            return Outcome("nothing to promote")
        shelf = self.bench.shelf
        if _serves(shelf, name):
            return Outcome(f"{name} serves")
        load_bundle(shelf.path_of(str(name)))  # what cannot be read cannot serve
        if verdict == FIRST:
            name, why = _in_use(shelf, str(name)), Why("the first champion: nothing was in use before")
        else:
            why = Why(str(found["reason"]), str(found["decision"]))
        aliases.promote(shelf.folder, str(name), why, instead_of=found["champion"])
        return Outcome(f"champion: {found['champion'] or 'none'} → {name}")


def _in_short(scores: Mapping[str, Any]) -> str:
    card = next(iter(scores["scores"].values()))
    skill, inside = card["rel_mae"], 100 * card["intervals"]["0.90"]["coverage"]
    known = f"relMAE {skill:.3f}" if math.isfinite(skill) else "no strategy has enough outcomes yet for a relMAE"
    where = f"at {scores['n_origins']} origins from {scores['start']}"
    return f"{known}, {inside:.1f} % in the 90 % interval, {where}"


def _nothing_to_judge(shelf: Shelf, name: str | None) -> str:
    if name is None:
        return "no model to judge"
    if _serves(shelf, name):
        return f"nothing to judge: {name} serves, as it was trained or recalibrated"
    moves = read_registry(shelf.folder).history
    former = {change.after for change in moves if change.alias == CHAMPION and change.after}
    challenger = _path_of(shelf, name)
    if name in former or any(challenger and are_kin(shelf.folder / f"{one}.pth", challenger) for one in former):
        return f"{name} was champion before and was replaced; only a person brings it back: aegis models promote {name}"
    return ""


def _serves(shelf: Shelf, name: str | None) -> bool:
    """Whether the champion is this version, or has its networks."""
    champion, path = read_registry(shelf.folder).champion, _path_of(shelf, name)
    if champion is None or path is None:
        return False
    return champion == name or are_kin(shelf.folder / f"{champion}.pth", path)


def _in_use(shelf: Shelf, name: str) -> str:
    """Return the newest version with the networks of one: without a champion, that is the one in use."""
    path = shelf.path_of(name)
    return next((one.name for one in reversed(kin_in(shelf.folder)) if are_kin(one.path, path)), name)


def _path_of(shelf: Shelf, name: str | None) -> Path | None:
    return shelf.folder / f"{name}.pth" if name else None
