"""The gate: whether a challenger beats the champion, beyond noise and without breaking a category's coverage.

Per strategy, the loss difference of a week is taken relative to the mean loss of both models, so that every strategy
counts the same and swapping the models only turns the sign. The weekly means over strategies, whose errors are tied to
one another within a week, form one series; its mean is tested with a variance that allows for autocorrelation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.monitoring.longrun import ASSUMED_AUTOCORRELATION, MeanTest, mean_test
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

DAYS_PER_WEEK: Final = 7

HIT_AUTOCORRELATION: Final = 0.3
"""Of the weekly share of hits. A false alarm costs a wait, a miss costs users: less is allowed for than in losses."""


class Verdict(StrEnum):
    """What the gate says."""

    PROMOTE = "promote"
    KEEP = "keep"
    NOT_ENOUGH = "not enough evidence"
    REFUSED = "refused"


@dataclass(frozen=True)
class GateRule:
    """The documented rule.

    Attributes
    ----------
    level : float
        One-sided chance of promoting a challenger that is not better.
    least_improvement : float
        Of the mean loss, relative: a change must be worth its while.
    min_weeks, min_strategies : int
        Of evidence; with less nothing is decided.
    min_weeks_each : int
        Weeks that a strategy must have to count.
    nominal, tolerance : float
        Coverage that a category's interval must keep.
    min_outcomes : int
        A category with fewer is not judged.
    coverage_level : float
        Two-sided chance of calling a sound category's coverage broken.
    """

    level: float = 0.05
    least_improvement: float = 0.01
    min_weeks: int = 12
    min_strategies: int = 3
    min_weeks_each: int = 4
    nominal: float = 0.90
    tolerance: float = 0.05
    min_outcomes: int = 100
    coverage_level: float = 0.10


@dataclass(frozen=True)
class PairedLosses:
    """What two models said of the same strategies at the same origins, one row per known outcome.

    Attributes
    ----------
    week, strategy, category : ndarray of int, shape (n,)
        Week of the origin, code of the strategy, position in ``CATEGORIES``.
    champion, challenger : ndarray of shape (n,)
        Losses (CRPS).
    champion_inside, challenger_inside : ndarray of bool, shape (n,)
        Whether the outcome lay inside the 90 % interval.
    horizon_days : int
        Of the forecasts: where outcomes of neighbouring weeks overlap, more autocorrelation is allowed for.
    """

    week: IntArray
    strategy: IntArray
    category: IntArray
    champion: FloatArray
    challenger: FloatArray
    champion_inside: BoolArray
    challenger_inside: BoolArray
    horizon_days: int = DAYS_PER_WEEK

    def __len__(self) -> int:
        return len(self.week)

    @property
    def overlap(self) -> float:
        """Share of the horizon that the outcomes of neighbouring weeks have in common."""
        return max(0.0, 1.0 - DAYS_PER_WEEK / self.horizon_days)


@dataclass(frozen=True)
class CategoryLine:
    """One category in the table of a decision.

    Attributes
    ----------
    category : str
        Its name.
    n_outcomes, n_strategies : int
        Evidence.
    improvement : float
        Relative; above zero the challenger is better. NaN where no strategy counts.
    champion_coverage, challenger_coverage : float
        Share of outcomes inside the 90 % interval.
    p_value : float or None
        Chance that the challenger's true coverage is nominal; None where it is not judged.
    broken : bool
        Whether the challenger's coverage breaks here.
    """

    category: str
    n_outcomes: int
    n_strategies: int
    improvement: float
    champion_coverage: float
    challenger_coverage: float
    p_value: float | None
    broken: bool


@dataclass(frozen=True)
class Judgement:
    """The gate's answer with everything that it rests on.

    Attributes
    ----------
    verdict : Verdict
        Promote, keep the champion, or not enough evidence (a pipeline may also refuse to compare).
    reason : str
        Why, in one sentence.
    n_weeks, n_strategies, n_outcomes : int
        Evidence.
    improvement, lower_bound, p_value : float or None
        Relative improvement of the loss, what it exceeds with confidence ``1 - level``, and the chance of such an
        improvement between equals.
    categories : tuple of CategoryLine
        The table.
    """

    verdict: Verdict
    reason: str
    n_weeks: int
    n_strategies: int
    n_outcomes: int
    improvement: float | None
    lower_bound: float | None
    p_value: float | None
    categories: tuple[CategoryLine, ...]

    def to_dict(self) -> Mapping[str, Any]:
        """Return plain values, fit for JSON: what is not known is None."""
        lines = [{name: _plain(value) for name, value in asdict(line).items()} for line in self.categories]
        return {**asdict(self), "verdict": str(self.verdict), "categories": lines}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def judge(evidence: PairedLosses, rule: GateRule | None = None) -> Judgement:
    """Decide whether the challenger may take the champion's place.

    Parameters
    ----------
    evidence : PairedLosses
        On origins that neither model was trained on.
    rule : GateRule, optional
        The documented one unless given.
    """
    rule = rule or GateRule()
    counted = _counted(evidence, rule)
    n_weeks, n_strategies = len(np.unique(evidence.week[counted])), len(np.unique(evidence.strategy[counted]))
    lines = _category_lines(evidence, counted, rule)
    sizes = (n_weeks, n_strategies, len(evidence))
    if n_weeks < rule.min_weeks or n_strategies < rule.min_strategies:
        reason = (
            f"not enough evidence: {n_weeks} weeks of {n_strategies} strategies, needed are {rule.min_weeks} weeks "
            f"of {rule.min_strategies}; wait for more outcomes, or train with an earlier --until"
        )
        return Judgement(Verdict.NOT_ENOUGH, reason, *sizes, None, None, None, lines)
    found = _improvement(evidence, counted)
    bound = found.lower_bound(rule.level)
    verdict, reason = _conclusion(found, bound, lines, rule)
    return Judgement(verdict, reason, *sizes, found.mean, bound, found.p_above, lines)


def _conclusion(found: MeanTest, bound: float, lines: tuple[CategoryLine, ...], rule: GateRule) -> tuple[Verdict, str]:
    confidence = f"with {100 * (1 - rule.level):.0f} % confidence at least {100 * bound:+.1f} %"
    said = f"the challenger's loss is {100 * found.mean:+.1f} % better, {confidence}"
    if found.mean < 0:
        return Verdict.KEEP, f"the challenger's loss is {-100 * found.mean:.1f} % worse"
    if bound <= 0:
        return Verdict.KEEP, f"within noise: {said}"
    if found.mean < rule.least_improvement:
        return Verdict.KEEP, f"too little: {said}, asked for is {100 * rule.least_improvement:g} %"
    broken = [line for line in lines if line.broken]
    if broken:
        cases = ", ".join(f"{line.category} {100 * line.challenger_coverage:.0f} %" for line in broken)
        return Verdict.KEEP, f"coverage breaks: {cases}, nominal {100 * rule.nominal:.0f} %; otherwise {said}"
    return Verdict.PROMOTE, f"{said}, and no category's coverage breaks"


def _counted(evidence: PairedLosses, rule: GateRule) -> BoolArray:
    """Return the rows of strategies with enough weeks and a loss that is not nil."""
    if not len(evidence):
        return np.zeros(0, dtype=bool)
    _, code = np.unique(evidence.strategy, return_inverse=True)
    pairs = np.unique(np.stack([code, evidence.week]), axis=1)
    weeks = np.bincount(pairs[0], minlength=int(code.max()) + 1)
    loss = np.bincount(code, weights=evidence.champion + evidence.challenger)
    return np.asarray(((weeks >= rule.min_weeks_each) & (loss > 0))[code])


def _relative(evidence: PairedLosses, rows: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return each row's relative difference and its weight: every strategy weighs the same."""
    _, code = np.unique(evidence.strategy[rows], return_inverse=True)
    count = np.bincount(code)
    first, second = evidence.champion[rows], evidence.challenger[rows]
    level = np.bincount(code, weights=(first + second) / 2) / count
    return (first - second) / level[code], 1.0 / (len(count) * count[code])


def _improvement(evidence: PairedLosses, rows: BoolArray) -> MeanTest:
    difference, weight = _relative(evidence, rows)
    mean = float(np.sum(weight * difference))
    _, week = np.unique(evidence.week[rows], return_inverse=True)
    # A week that few strategies have weighs less, and adds less to the variance too.
    shares = np.bincount(week, weights=weight * (difference - mean))
    return mean_test(mean + len(shares) * shares, max(ASSUMED_AUTOCORRELATION, evidence.overlap))


def _category_lines(evidence: PairedLosses, counted: BoolArray, rule: GateRule) -> tuple[CategoryLine, ...]:
    codes = np.unique(evidence.category)
    return tuple(_category_line(evidence, evidence.category == code, counted, rule) for code in codes)


def _category_line(evidence: PairedLosses, rows: BoolArray, counted: BoolArray, rule: GateRule) -> CategoryLine:
    judged = rows & counted
    difference, weight = _relative(evidence, judged)
    champion, challenger = (
        float(inside[rows].mean()) for inside in (evidence.champion_inside, evidence.challenger_inside)
    )
    n_outcomes = int(rows.sum())
    _, week = np.unique(evidence.week[rows], return_inverse=True)
    surplus = np.bincount(week, weights=evidence.challenger_inside[rows] - rule.nominal).astype(float)
    p_value, broken = None, False
    if n_outcomes >= rule.min_outcomes and len(surplus) >= rule.min_weeks:
        p_value = mean_test(surplus, max(HIT_AUTOCORRELATION, evidence.overlap)).p_two_sided
        off, champion_off = abs(challenger - rule.nominal), abs(champion - rule.nominal)
        # What the champion breaks more, the challenger mends.
        broken = off > rule.tolerance and p_value < rule.coverage_level and off >= champion_off
    return CategoryLine(
        category=CATEGORIES[int(evidence.category[rows][0])],
        n_outcomes=n_outcomes,
        n_strategies=len(np.unique(evidence.strategy[rows])),
        improvement=float(np.sum(weight * difference)) if len(weight) else float("nan"),
        champion_coverage=champion,
        challenger_coverage=challenger,
        p_value=p_value,
        broken=bool(broken),
    )
