"""Every feature of a strategy's own history, written again as its definition reads: one strategy, one day, plain loops.

Slow and independent of the vectorised code: no array, no rolling statistic, no shared constant. None means unknown,
which the model sees as 0.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

Number = float | None


class NaiveStrategy:
    """Rows of one strategy by day number."""

    def __init__(self, rows: dict[int, dict[str, Number]]) -> None:
        self.rows = rows
        self.birth = min(rows)
        self._scales: dict[int, Number] = {}

    def filled(self, name: str, day: int) -> Number:
        """The last known value, at most 30 days old."""
        for age in range(31):
            value = self.rows.get(day - age, {}).get(name)
            if value is not None:
                return value
        return None

    def apy(self, day: int) -> Number:
        return self.filled("apy", day)

    def known_apy(self, day: int, window: int) -> list[float]:
        values = (self.apy(day - age) for age in range(window))
        return [value for value in values if value is not None]

    def step(self, day: int) -> Number:
        """Change since the previous row per square root of the days between; None without a row or a recent one."""
        if day not in self.rows:
            return None
        for distance in range(1, 32):
            if day - distance in self.rows:
                change = self.rows[day]["apy"] - self.rows[day - distance]["apy"]
                return change / math.sqrt(distance)
        return None

    def steps(self, day: int, window: int) -> list[tuple[int, float]]:
        pairs = ((age, self.step(day - age)) for age in range(window))
        return [(age, step) for age, step in pairs if step is not None]

    def scale(self, day: int) -> Number:
        """Mean absolute step with a half-life of 14 days over 60, at least 0.2 % of the level and 2e-6."""
        if day not in self._scales:
            self._scales[day] = self._scale(day)
        return self._scales[day]

    def _scale(self, day: int) -> Number:
        level = self.known_apy(day, 28)
        floor = max(0.002 * sum(map(abs, level)) / len(level), 2e-6) if level else None
        steps = [(0.5 ** (age / 14), abs(step)) for age, step in self.steps(day, 60)]
        typical = sum(w * s for w, s in steps) / sum(w for w, _ in steps) if steps else None
        candidates = [x for x in (floor, typical) if x is not None]
        return max(candidates) if candidates else None

    def mean(self, day: int, window: int, halflife: float = math.inf) -> Number:
        pairs = [(0.5 ** (age / halflife), self.apy(day - age)) for age in range(window)]
        pairs = [(w, x) for w, x in pairs if x is not None]
        return sum(w * x for w, x in pairs) / sum(w for w, _ in pairs) if pairs else None

    def mean_move(self, day: int, window: int) -> Number:
        moves = [abs(step) for _, step in self.steps(day, window)]
        return sum(moves) / len(moves) if moves else None

    def change(self, name: str, day: int, days: int) -> Number:
        return minus(self.filled(name, day), self.filled(name, day - days))

    def week(self, day: int) -> Number:
        """Mean of the seven days that end here less the apy before them."""
        values = [self.apy(day - age) for age in range(8)]
        return None if None in values else sum(values[:7]) / 7 - values[7]


def minus(a: Number, b: Number) -> Number:
    return None if a is None or b is None else a - b


def in_scales(s: NaiveStrategy, day: int, gap: Number) -> Number:
    return None if gap is None or s.scale(day) is None else math.asinh(gap / s.scale(day))


def log_over_scale(s: NaiveStrategy, day: int, move: Number) -> Number:
    if move is None or s.scale(day) is None:
        return None
    return math.log((move + 0.05 * s.scale(day)) / s.scale(day))


def clipped(x: Number, low: float, high: float) -> Number:
    return None if x is None else min(max(x, low), high)


def position_28(s: NaiveStrategy, day: int) -> Number:
    values, now = s.known_apy(day, 28), s.apy(day)
    if now is None or max(values) - min(values) <= 1e-12:
        return None
    return (now - min(values)) / (max(values) - min(values)) - 0.5


def zscore_28(s: NaiveStrategy, day: int) -> Number:
    now = s.apy(day)
    if now is None:
        return None
    return (now - s.mean(day, 28)) / max(statistics.pstdev(s.known_apy(day, 28)), s.scale(day))


def rsi(s: NaiveStrategy, day: int) -> Number:
    steps = [(0.5 ** (age / 7), step) for age, step in s.steps(day, 28)]
    total = sum(w * abs(step) for w, step in steps)
    return sum(w * step for w, step in steps if step > 0) / total - 0.5 if total > 0 else None


def tail_weight(s: NaiveStrategy, day: int) -> Number:
    steps = [step for _, step in s.steps(day, 60)]
    if not steps or s.scale(day) is None:
        return None
    rms, floor = math.sqrt(sum(x * x for x in steps) / len(steps)), 0.05 * s.scale(day)
    return math.log((rms + floor) / (s.mean_move(day, 60) + floor))


def autocorrelation_28(s: NaiveStrategy, day: int) -> Number:
    product = square = 0.0
    for age in range(28):
        now, before = s.step(day - age), s.step(day - age - 1)
        if now is not None and before is not None:
            product += now * before
            square += (now * now + before * before) / 2
    return product / square if square > 0 else None


def zero_share_28(s: NaiveStrategy, day: int) -> Number:
    steps = [step for _, step in s.steps(day, 28)]
    return sum(abs(step) <= 1e-12 for step in steps) / len(steps) if steps else None


def persistence(s: NaiveStrategy, day: int) -> Number:
    errors = [s.week(day - age) for age in range(42)]
    errors = [abs(error) for error in errors if error is not None]
    return log_over_scale(s, day, sum(errors) / len(errors)) if errors else None


def gap_to(s: NaiveStrategy, day: int, pick: Callable[[list[float]], float]) -> Number:
    values, now = s.known_apy(day, 28), s.apy(day)
    return in_scales(s, day, None if now is None else now - pick(values))


def reward_share(s: NaiveStrategy, day: int) -> Number:
    reward, now = s.filled("apy_reward", day), s.apy(day)
    return None if reward is None or now is None else clipped(reward / max(abs(now), 1e-6), 0.0, 1.5)


def tvl_change(s: NaiveStrategy, day: int, days: int) -> Number:
    now, before = s.filled("tvl_usd", day), s.filled("tvl_usd", day - days)
    return None if now is None or before is None else math.log(max(now, 1) / max(before, 1))


def kink_steepness(s: NaiveStrategy, day: int) -> Number:
    use = s.change("utilization", day, 7)
    rate = minus(clipped(s.filled("borrow_apy", day), 0, 10), clipped(s.filled("borrow_apy", day - 7), 0, 10))
    if use is None or rate is None:
        return None
    return math.log1p(min(abs(rate) / max(abs(use), 1e-3), 100))


def staleness(s: NaiveStrategy, day: int) -> Number:
    ages = [age for age in range(31) if day - age in s.rows]
    return math.log1p(min(ages, default=31))


def of_level(s: NaiveStrategy, day: int, formula: Callable[[float], float]) -> Number:
    return None if s.apy(day) is None else formula(s.apy(day))


def of_scale(s: NaiveStrategy, day: int, formula: Callable[[float], float]) -> Number:
    return None if s.scale(day) is None else formula(s.scale(day))


def known(s: NaiveStrategy, day: int, name: str) -> Number:
    return float(s.filled(name, day) is not None)


NAIVE: dict[str, Callable[[NaiveStrategy, int], Number]] = {
    "apy_step": lambda s, d: in_scales(s, d, s.step(d)),
    "apy_level": lambda s, d: of_level(s, d, lambda x: math.asinh(x / 0.05)),
    "scale_to_level": lambda s, d: of_level(s, d, lambda x: math.log(s.scale(d) / (abs(x) + s.scale(d)))),
    "log_scale": lambda s, d: of_scale(s, d, lambda x: math.log10(x) + 3),
    "gap_ewma_2": lambda s, d: in_scales(s, d, minus(s.apy(d), s.mean(d, 14, 2.0))),
    "gap_ewma_5": lambda s, d: in_scales(s, d, minus(s.apy(d), s.mean(d, 28, 5.0))),
    "gap_median_7": lambda s, d: in_scales(
        s, d, minus(s.apy(d), statistics.median(s.known_apy(d, 7)) if s.known_apy(d, 7) else None)
    ),
    "gap_mean_7": lambda s, d: in_scales(s, d, minus(s.apy(d), s.mean(d, 7))),
    "gap_mean_28": lambda s, d: in_scales(s, d, minus(s.apy(d), s.mean(d, 28))),
    "gap_mean_90": lambda s, d: in_scales(s, d, minus(s.apy(d), s.mean(d, 90))),
    "gap_min_28": lambda s, d: gap_to(s, d, min),
    "gap_max_28": lambda s, d: None if s.apy(d) is None else -gap_to(s, d, max),
    "position_28": position_28,
    "momentum_3": lambda s, d: in_scales(s, d, s.change("apy", d, 3)),
    "momentum_7": lambda s, d: in_scales(s, d, s.change("apy", d, 7)),
    "momentum_28": lambda s, d: in_scales(s, d, s.change("apy", d, 28)),
    "volatility_ratio_5": lambda s, d: log_over_scale(s, d, s.mean_move(d, 5)),
    "volatility_ratio_90": lambda s, d: log_over_scale(s, d, s.mean_move(d, 90)),
    "tail_weight": tail_weight,
    "zscore_28": zscore_28,
    "rsi": rsi,
    "autocorrelation_28": autocorrelation_28,
    "zero_share_28": zero_share_28,
    "persistence": persistence,
    "week_surprise": lambda s, d: in_scales(s, d, s.week(d)),
    "reward_share": reward_share,
    "reward_known": lambda s, d: known(s, d, "apy_reward"),
    "tvl_log": lambda s, d: None if s.filled("tvl_usd", d) is None else math.log10(max(s.filled("tvl_usd", d), 1)) - 6,
    "tvl_change_1": lambda s, d: tvl_change(s, d, 1),
    "tvl_change_7": lambda s, d: tvl_change(s, d, 7),
    "tvl_known": lambda s, d: known(s, d, "tvl_usd"),
    "utilization": lambda s, d: clipped(s.filled("utilization", d), 0.0, 1.5),
    "utilization_change_7": lambda s, d: s.change("utilization", d, 7),
    "kink_steepness": kink_steepness,
    "utilization_known": lambda s, d: known(s, d, "utilization"),
    "age": lambda s, d: math.log1p(min(max(d - s.birth, 0), 365)) / math.log1p(365),
    "staleness": staleness,
    "outlier": lambda s, d: float(s.rows.get(d, {}).get("is_outlier") or 0.0),
}


def naive_feature(name: str, strategy: NaiveStrategy, day: int) -> float:
    """What the network must see: 0 for unknown, never beyond ten."""
    value = NAIVE[name](strategy, day)
    return 0.0 if value is None else min(max(value, -10.0), 10.0)
