"""The rate curve of a pool, read from its history, with how sure that is.

What is known decides what is returned, and the ``quality`` says which:

- ``"contract"``: the parameters were given (``stated``).
- ``"fitted"``: a kinked line fitted to the borrow rate against utilisation, with the protocol's share beside it. Where
  it tells suppliers' rates clearly better, or borrow rates are unknown, the line is fitted to what suppliers get per
  borrowed dollar, ``apy / U``, or to what they get itself (Compound v3). Parameters are changed by votes, so the
  longest of a few recent windows that still fits well is used. The interval spans resampled weeks and every such
  fit that tells suppliers' rates about as well.
- ``"assumed"``: supply and borrowing are known but the rate does not follow the utilisation (a drifting curve) or never
  moved; then borrowers pay in proportion to utilisation, which dilutes by the *square* of the supply's growth. Where
  only ``tvl_usd`` is known, pro rata on it.

Pro rata on ``tvl_usd`` is the cautious choice for lending too, because there tvl is what is *not* borrowed. Below its
kink a lending rate falls at most as ``1 / (1 + y)²`` for a deposit of y supplies, against ``1 / (1 + y / (1 - U))``:
pro rata is the harsher one up to ``y = 1 / (1 - U) - 2``, three supplies at U = 0.8, none at U = 0.5. Pro rata on the
whole supply would be the milder of all. Never is a pool assumed to pay the same after any deposit.

Histories hold effective rates; curves are fitted in simple ones (``log(1 + apy)``, compounding all the time). The level
is the caller's: scale the curve to a forecast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from aegis_yield.domain.errors import HistoryError
from aegis_yield.portfolio.curve_fit import KinkFit, fit_kinked, rate_at
from aegis_yield.portfolio.flow_curves import ProRata
from aegis_yield.portfolio.lending_curves import KinkedCurve, SeparateSupplyCurve
from aegis_yield.portfolio.pool_history import PoolHistory, latest
from aegis_yield.portfolio.rate_curve import RateCurve
from aegis_yield.utils.typing import FloatArray

Quality: TypeAlias = Literal["contract", "fitted", "assumed"]

__all__ = ["InferredCurve", "PoolHistory", "Quality", "infer_curve", "stated"]

PROBE_SHARE: Final = 0.10
INTERVAL_LEVEL: Final = 0.90
WINDOWS_DAYS: Final = (180, 90, 45)
_HALF_LIFE_DAYS: Final = 60.0
_LEAST_DAYS: Final = 30
_LEAST_RANGE: Final = 0.02
_FITS_WELL: Final = 0.85
_LEAST_EXPLAINED: Final = 0.5
_CLEARLY_BETTER: Final = 0.5
_NO_ERROR: Final = 1e-5
_SEEN_FROM: Final = 0.02
_ASSUMED_OPTIMAL: Final = 0.9
_ASSUMED_STEEPNESS: Final = 4.0
_ASSUMED_RESERVE_FACTOR: Final = 0.10
_ASSUMED_APY: Final = 0.01
_SMALLEST_UTILIZATION: Final = 1e-4
_MOST_OPTIMAL: Final = 0.995


@dataclass(frozen=True)
class InferredCurve:
    """A curve and how far it can be trusted.

    Attributes
    ----------
    curve : RateCurve
        The curve, at the level of the history; scale it to a forecast.
    quality : {"contract", "fitted", "assumed"}
        Where it comes from.
    probe_usd : float
        10 % of what the pool holds (its supply; its tvl where that alone is known).
    kept, kept_low, kept_high : float
        Share of the present rate left after a deposit of ``probe_usd``, and its 90 % interval.
    note : str
        Why this quality, one line.
    """

    curve: RateCurve
    quality: Quality
    probe_usd: float
    kept: float
    kept_low: float
    kept_high: float
    note: str

    def rate_at_probe(self, apy: float) -> tuple[float, float, float]:
        """Return low, middle and high rate after the probe's deposit into a pool that now pays ``apy``.

        A rate at or below zero is not diluted.
        """
        if apy <= 0.0:
            return apy, apy, apy
        return apy * self.kept_low, apy * self.kept, apy * self.kept_high


@dataclass(frozen=True)
class _Candidate:
    """A fitted curve, what it misses of the suppliers' rate, and what each replicate keeps after the probe."""

    curve: RateCurve
    error: float
    kept: FloatArray
    note: str


def stated(curve: RateCurve, size_usd: float, note: str = "parameters were given") -> InferredCurve:
    """Return a curve whose parameters are known: its interval is a point."""
    probe_usd = PROBE_SHARE * size_usd
    kept = _kept(curve, probe_usd)
    return InferredCurve(curve, "contract", probe_usd, kept, kept, kept, note)


def infer_curve(history: PoolHistory, *, seed: int = 0) -> InferredCurve:
    """Infer what a pool pays after a further deposit from what it paid in the past.

    Parameters
    ----------
    history : PoolHistory
        The pool's past up to now; nothing later is used or known.
    seed : int
        Seeds the resampling behind the interval: the same history gives the same answer.

    Returns
    -------
    InferredCurve
        The curve through the latest supply and borrowing.

    Raises
    ------
    HistoryError
        If neither supply nor tvl was ever known, so that not even sharing pro rata can be assumed.
    """
    size = history.latest_size()
    if size is None or size[1] <= 0.0:
        return _pro_rata(history, size)
    candidates, reason = _candidates(history, size, seed)
    if not candidates:
        return _assumed(history, size, reason)
    best = candidates[0]
    for candidate in candidates[1:]:
        if candidate.error < _CLEARLY_BETTER * best.error - _NO_ERROR:
            best = candidate
    probe_usd = PROBE_SHARE * size[0]
    kept = _kept(best.curve, probe_usd)
    tail = 0.5 * (1.0 - INTERVAL_LEVEL)
    rivals = [candidate for candidate in candidates if candidate.error * _CLEARLY_BETTER <= best.error + _NO_ERROR]
    edges = np.array([np.quantile(rival.kept, [tail, 1.0 - tail]) for rival in rivals])
    low, high = min(float(edges.min()), kept, _if_it_fell_on(history, best.curve, size)), max(float(edges.max()), kept)
    return InferredCurve(best.curve, "fitted", probe_usd, kept, low, high, best.note)


def _candidates(history: PoolHistory, size: tuple[float, float], seed: int) -> tuple[list[_Candidate], str]:
    """Return every curve that fits, simplest knowledge first, and why the first one does not where none does."""
    factor = history.reserve_factor(WINDOWS_DAYS[-1])
    factor = _ASSUMED_RESERVE_FACTOR if np.isnan(factor) else factor
    with np.errstate(divide="ignore", invalid="ignore"):
        paid, earned = np.log1p(history.borrow_apy), np.log1p(history.apy)
        per_borrowed = earned / history.utilization
    found: list[_Candidate] = []
    by_borrowers, by_suppliers, itself = (_fit(history, rate, seed) for rate in (paid, per_borrowed, earned))
    if isinstance(by_borrowers, KinkFit):
        found.append(_kinked(history, by_borrowers, size, factor))
    if isinstance(by_suppliers, KinkFit):
        found.append(_kinked(history, by_suppliers, size, 0.0))
    if isinstance(itself, KinkFit) and (found or itself.explained >= _FITS_WELL):
        found.append(_separate(history, itself, size))
    return found, str(by_borrowers) if not found else ""


def _fit(history: PoolHistory, rate: FloatArray, seed: int) -> KinkFit | str:
    """Fit a simple rate to utilisation on the longest recent window that it explains well, or say why it cannot be."""
    told = np.flatnonzero(history.told(rate))
    best: KinkFit | None = None
    reason = ""
    for window in WINDOWS_DAYS:
        days = told[told >= len(rate) - window]
        used = history.utilization[days]
        spread = float(np.ptp(np.quantile(used, [0.05, 0.95]))) if len(days) else 0.0
        if len(days) < _LEAST_DAYS or spread < _LEAST_RANGE:
            few = f"{len(days)} of the last {window} days known, {_LEAST_DAYS} needed"
            reason = reason or (few if len(days) < _LEAST_DAYS else f"utilisation stayed within {spread:.3f}")
            break
        weight = 0.5 ** ((days[-1] - days) / _HALF_LIFE_DAYS)
        fit = fit_kinked(used, rate[days], weight, seed)
        if best is None or fit.explained > best.explained:
            best = fit
        if best.explained >= _FITS_WELL:
            break
    if best is None or best.explained >= _LEAST_EXPLAINED:
        return best or reason
    return f"utilisation explains {max(best.explained, 0):.0%} of the rate"


def _kinked(history: PoolHistory, fit: KinkFit, size: tuple[float, float], factor: float) -> _Candidate:
    """Turn a fitted borrow rate into a curve."""
    optimal, above, note = _kink_of(fit, history, size[1] / size[0])
    slope1, slope2 = fit.low * optimal, above * (1.0 - optimal)
    curve = KinkedCurve(*size, fit.base, slope1, slope2, optimal, factor)
    kept = _kept_by_replicates(fit, size) / (1.0 + PROBE_SHARE)
    return _Candidate(curve, _miss(history, lambda used: (1.0 - factor) * used * curve.borrow_rate(used)), kept, note)


def _separate(history: PoolHistory, fit: KinkFit, size: tuple[float, float]) -> _Candidate:
    """Turn a fitted supply rate into a curve."""
    optimal, above, note = _kink_of(fit, history, size[1] / size[0])
    curve = SeparateSupplyCurve(*size, base=fit.base, slope_low=fit.low, slope_high=above, kink=optimal)
    line = np.array([fit.kink, fit.base, fit.low, fit.high])
    note = f"suppliers' own line, {note}"
    return _Candidate(curve, _miss(history, lambda used: rate_at(line, used)), _kept_by_replicates(fit, size), note)


def _kink_of(fit: KinkFit, history: PoolHistory, now: float) -> tuple[float, float, str]:
    """Return the kink and the slope above it; an unseen kink lies beyond all that was, where no deposit leads."""
    if not np.isnan(fit.kink):
        return fit.kink, fit.high, f"kink at {fit.kink:.2f}"
    seen = history.utilization[-WINDOWS_DAYS[-1] :]
    most = float(np.nanmax(seen)) if np.isfinite(seen).any() else now
    optimal = min(max(_ASSUMED_OPTIMAL, most, now), _MOST_OPTIMAL)
    rise = (_ASSUMED_STEEPNESS - 1.0) * (fit.base + fit.low * optimal)
    return optimal, rise / (1.0 - optimal), "no kink seen"


def _kept_by_replicates(fit: KinkFit, size: tuple[float, float]) -> FloatArray:
    """Return the share of the fitted rate that each replicate leaves after the probe, shape (n_replicates,)."""
    now = size[1] / size[0]
    before = rate_at(fit.replicates, np.full(1, now))
    after = rate_at(fit.replicates, np.full(1, now / (1.0 + PROBE_SHARE)))
    kept: FloatArray = after / np.maximum(before, 1e-12)
    return kept


def _if_it_fell_on(history: PoolHistory, curve: RateCurve, size: tuple[float, float]) -> float:
    """Return the share kept if the rate fell on at its present slope, where the probe leads to utilisations never seen.

    Where they were seen the fit knows better: infinity.
    """
    seen = history.utilization[-WINDOWS_DAYS[0] :]
    seen = seen[np.isfinite(seen)]
    if size[1] / size[0] / (1.0 + PROBE_SHARE) >= np.quantile(seen, _SEEN_FROM):
        return float("inf")
    now = float(curve.rate(np.zeros(1))[0])
    step = 1e-6 * size[0]
    slope = float(curve.rate(np.full(1, step))[0] - now) / step
    return max(1.0 + slope * PROBE_SHARE * size[0] / (1.0 + PROBE_SHARE) / now, 0.0) if now > 0.0 else 1.0


def _miss(history: PoolHistory, rate_of: Callable[[FloatArray], FloatArray]) -> float:
    """Return the median error of the suppliers' rate over the last days; infinite where that is unknown."""
    days = np.flatnonzero(history.told(history.apy))
    days = days[days >= len(history.apy) - WINDOWS_DAYS[-1]]
    if not len(days):
        return float("inf")
    return float(np.median(np.abs(rate_of(history.utilization[days]) - np.log1p(history.apy[days]))))


def _assumed(history: PoolHistory, size: tuple[float, float], note: str) -> InferredCurve:
    """Assume that borrowers pay in proportion to utilisation, and beyond a kink at 90 % up to 4 times as much."""
    used = size[1] / size[0]
    paid, earned = latest(np.log1p(history.borrow_apy)), latest(np.log1p(history.apy))
    if not paid > 0.0:
        paid = earned / ((1.0 - _ASSUMED_RESERVE_FACTOR) * used) if earned > 0.0 else _ASSUMED_APY
    over = max(used - _ASSUMED_OPTIMAL, 0.0) / (1.0 - _ASSUMED_OPTIMAL)
    steep = _ASSUMED_STEEPNESS - 1.0
    at_most = min(max(used, _SMALLEST_UTILIZATION), _ASSUMED_OPTIMAL)
    slope1 = paid / (1.0 + steep * over) * _ASSUMED_OPTIMAL / at_most
    factor = history.reserve_factor(WINDOWS_DAYS[-1])
    factor = _ASSUMED_RESERVE_FACTOR if np.isnan(factor) else factor
    curve = KinkedCurve(*size, 0.0, slope1, steep * slope1, _ASSUMED_OPTIMAL, factor)
    kept = _kept(curve, PROBE_SHARE * size[0])
    idle = 1.0 - used
    harsh = idle / (idle + PROBE_SHARE)  # pro rata on what is not borrowed
    mild = 1.0 / (1.0 + PROBE_SHARE)  # pro rata on the supply
    return InferredCurve(curve, "assumed", PROBE_SHARE * size[0], kept, min(harsh, kept), mild, note)


def _pro_rata(history: PoolHistory, size: tuple[float, float] | None) -> InferredCurve:
    """Share what is paid among all deposits: nothing is borrowed, or nothing but the size is known."""
    held = size[0] if size is not None else latest(history.tvl_usd)
    if not held > 0.0:
        raise HistoryError("the pool's size was never known: neither total_supply_usd nor tvl_usd is ever above 0")
    apy = latest(history.apy)
    curve = ProRata(held, apy if apy > 0.0 else _ASSUMED_APY)
    kept = _kept(curve, PROBE_SHARE * held)
    note = "nothing is borrowed: pro rata" if size is not None else "only tvl_usd is known: pro rata"
    # at best the deposit changes nothing, at worst the rate falls as the square
    return InferredCurve(curve, "assumed", PROBE_SHARE * held, kept, kept**2, 1.0, note)


def _kept(curve: RateCurve, probe_usd: float) -> float:
    now, after = curve.rate(np.array([0.0, probe_usd]))
    return float(after / now) if now > 0.0 else 1.0
