"""Gate: walk champion and challenger over origins that neither was trained on, judge, and keep the decision.

Both are compared as their training left them, and learn from outcomes as they walk: what a version has learned since,
in a recalibration, would be known to one of them too early, and counted twice.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import DataError, RequestError
from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS, check_horizon
from aegis_yield.models.bundle import Bundle
from aegis_yield.models.scores import quantile_crps
from aegis_yield.monitoring.gate import DAYS_PER_WEEK, GateRule, Judgement, PairedLosses, Verdict, judge
from aegis_yield.pipelines.datasets import content_hash
from aegis_yield.pipelines.kin import as_trained
from aegis_yield.pipelines.walk import BURN_IN_DAYS, Contender, Course, Walk, walk_forward
from aegis_yield.preprocessing.origins import history_before
from aegis_yield.preprocessing.panel import build_panel, to_date, to_day
from aegis_yield.utils.files import sha256_of, write_text_atomically
from aegis_yield.utils.typing import BoolArray, FloatArray

DECISIONS: Final = "decisions"
"""Folder of decisions inside the models folder."""

INTERVAL: Final = 0.90


@dataclass(frozen=True)
class Candidate:
    """A bundle file and what it holds.

    Attributes
    ----------
    path : Path
        Where it lies.
    sha256 : str
        Of its bytes.
    bundle : Bundle
        Its content, as its training left it.
    """

    path: Path
    sha256: str
    bundle: Bundle

    @classmethod
    def open(cls, path: Path) -> Candidate:
        """Read a bundle."""
        bundle = as_trained(path)  # first: it says what is wrong with a file
        return cls(path, sha256_of(path), bundle)

    @property
    def knows_until(self) -> dt.date | None:
        """Last day that training saw; None if the bundle does not say."""
        try:
            return dt.date.fromisoformat(self.bundle.trained_to)
        except ValueError:
            return None

    def described(self) -> dict[str, Any]:
        """Return what a decision keeps of it."""
        return {
            "file": self.path.name,
            "sha256": self.sha256,
            "training_id": self.bundle.training_id,
            "data_end": self.bundle.trained_to,
            "data_sha256": self.bundle.provenance.get("data", {}).get("sha256"),
        }


@dataclass(frozen=True)
class GateOrder:
    """What to compare.

    Attributes
    ----------
    dataset : Dataset
        Its days after both models' training are the evidence.
    champion, challenger : Path
        Bundle files.
    start : datetime.date, optional
        First origin; by default the day after the later of both models' last day. An earlier one is refused.
    horizon_days : int
        Of the forecasts compared.
    rule : GateRule
        The documented one unless given.
    """

    dataset: Dataset
    champion: Path
    challenger: Path
    start: dt.date | None = None
    horizon_days: int = DEFAULT_HORIZON_DAYS
    rule: GateRule = field(default_factory=GateRule)

    def __post_init__(self) -> None:
        """Refuse an impossible horizon."""
        check_horizon(self.horizon_days)


@dataclass(frozen=True)
class Decision:
    """A judgement, of whom, on what; kept as ``models/decisions/<id>.json``.

    Attributes
    ----------
    verdict, reason : str
        As the judgement has them, or why models cannot be compared.
    champion, challenger, data : mapping
        Files with hashes; name, hash and origins.
    rule : mapping
        Under which it was made.
    judgement : mapping or None
        Figures and the table by category; None if the comparison was refused.
    made_at : str
        UTC.
    forced : str
        Why it is overruled; empty unless it is.
    """

    verdict: str
    reason: str
    champion: Mapping[str, Any]
    challenger: Mapping[str, Any]
    data: Mapping[str, Any]
    rule: Mapping[str, Any]
    judgement: Mapping[str, Any] | None
    made_at: str
    forced: str = ""

    @property
    def id(self) -> str:
        """The same evidence, rule and verdict have the same id, whenever it was asked."""
        whole = {key: value for key, value in asdict(self).items() if key != "made_at"}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def allows(self) -> bool:
        """Whether the challenger may be promoted: by the rule, or because somebody gave a reason to overrule it."""
        return self.verdict == Verdict.PROMOTE or bool(self.forced)

    @property
    def said(self) -> str:
        """Verdict and reason as one line."""
        return self.reason if self.reason.startswith(self.verdict) else f"{self.verdict}: {self.reason}"

    def overruled(self, reason: str) -> Decision:
        """Return the decision with a promotion forced.

        Raises
        ------
        RequestError
            If no reason is given.
        """
        if not reason.strip():
            raise RequestError("reason", reason, "a sentence that says why the gate is overruled")
        return replace(self, forced=" ".join(reason.split()))

    def to_json(self) -> dict[str, Any]:
        """Return plain values with the id."""
        return {"id": self.id, **asdict(self)}


def decide(order: GateOrder, on_origin: Callable[[int], None] = lambda _: None) -> Decision:
    """Compare two bundles on origins that neither was trained on.

    Parameters
    ----------
    order : GateOrder
        What to compare.
    on_origin : callable
        Called with the number of origins passed.

    Returns
    -------
    Decision
        Its ``verdict`` is "refused" where the two cannot be compared, "not enough evidence" where they cannot yet.

    Raises
    ------
    BundleError
        If a bundle cannot be read.
    """
    champion, challenger = Candidate.open(order.champion), Candidate.open(order.challenger)
    refusal = _refusal(order, champion, challenger)
    if refusal:
        return _decision(order, (champion, challenger), (), refusal)
    origins = _origins(order, _both_known_until(champion, challenger))
    evidence = _evidence(order, (champion, challenger), origins, on_origin)
    return _decision(order, (champion, challenger), origins, judge(evidence, order.rule))


def store_decision(decision: Decision, models: Path) -> Path:
    """Write a decision into the models folder, whole or not at all, and return where it lies."""
    path = models / DECISIONS / f"{decision.id}.json"
    write_text_atomically(path, json.dumps(decision.to_json(), indent=2, allow_nan=False) + "\n")
    return path


def load_decision(identifier: str, models: Path) -> Decision:
    """Read a decision back.

    Raises
    ------
    DataError
        If there is none of that id, or it was changed since.
    """
    path = models / DECISIONS / f"{identifier}.json"
    try:
        content = json.loads(path.read_text())
        held = content.pop("id")
        decision = Decision(**content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: no decision can be read here ({error}); judge again") from error
    if held != decision.id or held != identifier:
        raise DataError(f"{path}: the decision was changed by hand: received id {held}, its content has {decision.id}")
    return decision


def _refusal(order: GateOrder, champion: Candidate, challenger: Candidate) -> str:
    """Say why two models cannot be compared; empty if they can."""
    if champion.sha256 == challenger.sha256:
        return "champion and challenger are the same file content; train a challenger first"
    if champion.bundle.training_id == challenger.bundle.training_id:
        return (
            "champion and challenger have the same networks and differ only in what their intervals have learned, "
            "which is not judged; newer outcomes reach the champion by: aegis calibrate --update"
        )
    for role, one in (("champion", champion), ("challenger", challenger)):
        if one.knows_until is None:
            return f"the {role} does not say to which day it was trained ({one.bundle.trained_to}); train it again"
        if one.bundle.is_simulated and not order.dataset.is_simulated:
            return f"the {role} was trained on simulated data, the evidence is real; train it on real data"
    seen = _both_known_until(champion, challenger)
    if order.start is not None and order.start <= seen:
        return f"start: received {order.start}, but a model has seen days to {seen}; choose a later start"
    return ""


def _both_known_until(champion: Candidate, challenger: Candidate) -> dt.date:
    return max(day for day in (champion.knows_until, challenger.knows_until) if day is not None)


def _origins(order: GateOrder, seen: dt.date) -> tuple[int, ...]:
    """Return weekly origins whose outcomes are known, counted back from the data's end, rising."""
    first = to_day(order.start or seen + dt.timedelta(days=1))
    last = to_day(order.dataset.last_date) - order.horizon_days
    return tuple(sorted(range(last, first - 1, -DAYS_PER_WEEK)))


def _evidence(
    order: GateOrder,
    candidates: tuple[Candidate, Candidate],
    origins: tuple[int, ...],
    on_origin: Callable[[int], None],
) -> PairedLosses:
    if not origins:
        none, nothing = np.zeros(0, dtype=int), np.zeros(0)
        return PairedLosses(none, none, none, nothing, nothing, nothing > 0, nothing > 0, order.horizon_days)
    start = to_date(history_before(origins[0]) - BURN_IN_DAYS)
    panel = build_panel(order.dataset, start=start, end=to_date(origins[-1] + order.horizon_days))
    # Each may add scores to its calibration from outcomes known at the origin, as an evaluation lets it.
    contenders = [
        Contender(one.bundle.model, one.bundle.calibrator, to_day(one.knows_until or dt.date.max), role)
        for one, role in zip(candidates, ("champion", "challenger"), strict=True)
    ]
    walks = walk_forward(panel, contenders, Course(origins, order.horizon_days, DAYS_PER_WEEK), on_origin)
    return _paired(walks[0], walks[1], order.horizon_days)


def _paired(champion: Walk, challenger: Walk, horizon_days: int) -> PairedLosses:
    known = np.isfinite(champion.actual_apy)
    keys = champion.forecasts.keys
    _, strategy = np.unique(keys.strategy_id[known].astype(str), return_inverse=True)
    days = keys.origin[known].astype("datetime64[D]").astype(np.int64)
    week = (days - days.min()) // DAYS_PER_WEEK if len(days) else days
    return PairedLosses(
        week=week,
        strategy=strategy,
        category=keys.category[known],
        champion=_crps(champion)[known],
        challenger=_crps(challenger)[known],
        champion_inside=_inside(champion)[known],
        challenger_inside=_inside(challenger)[known],
        horizon_days=horizon_days,
    )


def _crps(walk: Walk) -> FloatArray:
    return quantile_crps(walk.actual_apy, walk.forecasts.quantiles, np.asarray(walk.forecasts.levels))


def _inside(walk: Walk) -> BoolArray:
    low, high = walk.forecasts.interval(INTERVAL)
    return np.asarray((low <= walk.actual_apy) & (walk.actual_apy <= high))


def _decision(
    order: GateOrder, candidates: tuple[Candidate, Candidate], origins: tuple[int, ...], found: Judgement | str
) -> Decision:
    verdict, reason = (str(Verdict.REFUSED), found) if isinstance(found, str) else (str(found.verdict), found.reason)
    span = [to_date(origins[0]).isoformat(), to_date(origins[-1]).isoformat()] if origins else None
    return Decision(
        verdict=verdict,
        reason=reason,
        champion=candidates[0].described(),
        challenger=candidates[1].described(),
        data={
            "name": order.dataset.name,
            "sha256": content_hash(order.dataset),
            "simulated": order.dataset.is_simulated,
            "origins": span,
            "n_origins": len(origins),
            "horizon_days": order.horizon_days,
        },
        rule=asdict(order.rule),
        judgement=None if isinstance(found, str) else found.to_dict(),
        made_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )
