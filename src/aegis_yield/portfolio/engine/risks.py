"""Convex risks of a portfolio, each a plain formula and the cuts from which a solver learns its shape.

A risk here is a worst tail over units (scenarios, moments, paths), Rockafellar and Uryasev 2000 and 2002::

    risk(v) = min over a of  a + sum over units i of w_i max(0, loss_i(v) - a),     w_i = probability_i / (1 - level)

or a square form ``v' Q v`` or its root. ``loss_i`` is linear or the largest of linear functions, so that a **cut**
``risk_i(v) >= row'v + offset`` that touches at one v holds everywhere: what the solvers work with, and what proves a
bound afterwards.

Where many columns move together (the segments of one position), outcomes are those of a few **exposures** ``e = E v``:
units and cuts then speak of exposures, and solvers carry them as columns of their own, so that a cut has as many
entries as there are exposures, not columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from scipy import linalg, sparse

from aegis_yield.domain.errors import RequestError
from aegis_yield.utils.typing import FloatArray, IntArray

_SUM_TOLERANCE = 1e-9
_DEFINITE_TOLERANCE = 1e-9
_RIDGE = 1e-12
_EMPTY_TAIL = 1e-12


@runtime_checkable
class Risk(Protocol):
    """What a solver must know of a risk of m columns."""

    @property
    def n_columns(self) -> int:
        """Return m."""

    @property
    def exposure(self) -> sparse.csr_array | None:
        """Return E of shape (n_exposures, m); None where every column is an exposure of its own."""

    @property
    def weight(self) -> FloatArray:
        """Return what one unit of loss above the level costs, shape (n_units,); sums to 1 / (1 - level)."""

    @property
    def has_level(self) -> bool:
        """Return whether losses count above a free level a only (a tail) or from zero (a square form)."""

    def size(self, capital: float) -> float:
        """Return the order of magnitude of the risk of that much capital, above 0."""

    def losses(self, values: FloatArray) -> FloatArray:
        """Return the loss of every unit at values of shape (m,), shape (n_units,)."""

    def cuts(self, units: IntArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return rows (k, n_exposures) and offsets (k,): ``loss_unit(v) >= row'E v + offset``, equal at ``values``."""

    def of(self, values: FloatArray) -> float:
        """Return the risk of values of shape (m,)."""


def tail_mean(losses: FloatArray, probability: FloatArray, level: float) -> float:
    """Return the mean of the worst ``1 - level`` of the losses, the unit at the border counted in part.

    Parameters
    ----------
    losses, probability : ndarray of shape (n_units,)
        Finite; probabilities sum to 1.
    level : float
        In [0, 1); 0.95 is the worst 5 %.

    Returns
    -------
    float
        In the losses' unit. Rockafellar and Uryasev 2002, proposition 8.
    """
    worst_first = np.argsort(-losses, kind="stable")
    mass = probability[worst_first]
    before = np.cumsum(mass) - mass
    share = np.clip(1.0 - level - before, 0.0, mass)
    return float(share @ losses[worst_first] / share.sum())


@dataclass(frozen=True, eq=False)
class CVaR:
    """Mean loss of the worst scenarios, ``CVaR_level(-(R v))``.

    Attributes
    ----------
    returns : ndarray of shape (n_scenarios, n_exposures)
        What one unit of each exposure (of each column, if none are given) gains in each scenario; finite.
    probability : ndarray of shape (n_scenarios,)
        Sums to 1.
    level : float
        0.95 is the worst 5 %.
    exposure : sparse array of shape (n_exposures, m), optional
        What of each exposure a unit of each column is.
    """

    returns: FloatArray
    probability: FloatArray
    level: float = 0.95
    exposure: sparse.csr_array | None = None

    def __post_init__(self) -> None:
        _check_units(self.returns, self.probability, self.level, dimensions=2)
        _check_exposure(self.exposure, self.returns.shape[1])

    @property
    def n_columns(self) -> int:
        """Return m."""
        return int(self.returns.shape[1] if self.exposure is None else self.exposure.shape[1])

    @property
    def weight(self) -> FloatArray:
        """Return the cost of each scenario's loss above the level, shape (n_scenarios,)."""
        weight: FloatArray = self.probability / (1.0 - self.level)
        return weight

    @property
    def has_level(self) -> bool:
        """Return True: losses count above a free level."""
        return True

    def size(self, capital: float) -> float:
        """Return the largest gain or loss of that capital in one column."""
        return capital * (float(np.abs(self.returns).max(initial=0.0)) or 1.0)

    def losses(self, values: FloatArray) -> FloatArray:
        """Return ``-(R v)``, shape (n_scenarios,)."""
        losses: FloatArray = -(self.returns @ exposures_of(self, values))
        return losses

    def cuts(self, units: IntArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002
        """Return the scenarios' rows themselves: their losses are linear."""
        return -self.returns[units], np.zeros(len(units))

    def of(self, values: FloatArray) -> float:
        """Return the mean of the worst losses."""
        return tail_mean(self.losses(values), self.probability, self.level)


@dataclass(frozen=True, eq=False)
class Drawdown:
    """Mean of the worst drawdowns: of all moments (CDaR), or of each path's deepest one.

    Gains add up along a path (uncompounded, Chekhlov, Uryasev and Zabarankin 2005), which keeps the risk convex; a
    path starts at zero, its first peak.

    Attributes
    ----------
    paths : ndarray of shape (n_paths, n_steps, n_exposures)
        Gain of one unit of each exposure (column, if none are given) since the start, at each step; finite.
    probability : ndarray of shape (n_paths,)
        Sums to 1.
    level : float
        0.95 is the worst 5 %; 0 is the plain mean.
    per : {"moment", "path"}
        Whether the tail is over all moments of all paths (CDaR) or over the paths' maximum drawdowns.
    exposure : sparse array of shape (n_exposures, m), optional
        What of each exposure a unit of each column is.
    """

    paths: FloatArray
    probability: FloatArray
    level: float = 0.95
    per: Literal["moment", "path"] = "moment"
    exposure: sparse.csr_array | None = None

    def __post_init__(self) -> None:
        _check_units(self.paths, self.probability, self.level, dimensions=3)
        _check_exposure(self.exposure, self.paths.shape[2])
        if self.per not in ("moment", "path"):
            raise RequestError("per", self.per, "'moment' or 'path'")

    @property
    def n_columns(self) -> int:
        """Return m."""
        return int(self.paths.shape[2] if self.exposure is None else self.exposure.shape[1])

    @property
    def unit_probability(self) -> FloatArray:
        """Return the probability of each unit, shape (n_paths,) or (n_paths * n_steps,)."""
        steps = self.paths.shape[1]
        return self.probability if self.per == "path" else np.repeat(self.probability / steps, steps)

    @property
    def weight(self) -> FloatArray:
        """Return the cost of each unit's drawdown above the level, shape (n_units,)."""
        weight: FloatArray = self.unit_probability / (1.0 - self.level)
        return weight

    @property
    def has_level(self) -> bool:
        """Return True: drawdowns count above a free level."""
        return True

    def size(self, capital: float) -> float:
        """Return the largest gain or loss of that capital in one column on any path."""
        return capital * (float(np.abs(self.paths).max(initial=0.0)) or 1.0)

    def losses(self, values: FloatArray) -> FloatArray:
        """Return the drawdowns, shape (n_units,)."""
        drawdown, _ = self._walk(values)
        return drawdown.max(axis=1) if self.per == "path" else drawdown.ravel()

    def cuts(self, units: IntArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return, for each unit, gain at the peak less gain at the moment: the pair that is worst at ``values``."""
        drawdown, peak = self._walk(values)
        if self.per == "path":
            path, moment = units, drawdown[units].argmax(axis=1)
        else:
            path, moment = np.divmod(units, self.paths.shape[1])
        at = peak[path, moment]
        top = np.where(at[:, None] >= 0, self.paths[path, np.maximum(at, 0)], 0.0)
        return top - self.paths[path, moment], np.zeros(len(units))

    def of(self, values: FloatArray) -> float:
        """Return the mean of the worst drawdowns."""
        return tail_mean(self.losses(values), self.unit_probability, self.level)

    def _walk(self, values: FloatArray) -> tuple[FloatArray, IntArray]:
        """Return drawdowns (n_paths, n_steps) and the step of the peak before each, -1 for the start."""
        gain = self.paths @ exposures_of(self, values)
        top = np.maximum(np.maximum.accumulate(gain, axis=1), 0.0)
        rises = gain == top
        steps = np.where(rises & (gain > 0), np.arange(gain.shape[1]), -1)
        return top - gain, np.maximum.accumulate(steps, axis=1)


@dataclass(frozen=True, eq=False)
class Variance:
    """A square form ``v' Q v``, or its root, the standard deviation.

    Attributes
    ----------
    covariance : ndarray of shape (m, m)
        Symmetric, positive semi-definite.
    root : bool
        Whether the risk is the root of the form.

    Raises
    ------
    RequestError
        If the matrix is not finite, square, symmetric and positive semi-definite.
    """

    covariance: FloatArray
    root: bool = False

    def __post_init__(self) -> None:
        matrix = self.covariance
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
            raise RequestError("covariance", matrix.shape, "a finite square matrix")
        if np.abs(matrix - matrix.T).max(initial=0.0) > _DEFINITE_TOLERANCE * self._widest():
            raise RequestError("covariance", "a matrix that is not symmetric", "a symmetric matrix")
        _ = self.factor  # refuses what has no root

    @classmethod
    def of_factor(cls, factor: FloatArray, root: bool = False) -> Variance:
        """Return the variance ``|F v|^2`` of a factor F of shape (k, m)."""
        return cls(factor.T @ factor, root)

    @cached_property
    def factor(self) -> FloatArray:
        """U of shape (m, m) with ``U'U = Q``, but for a share of 1e-12 on the diagonal."""
        ridge = _RIDGE * self._widest()
        try:
            upper: FloatArray = linalg.cholesky(self.covariance + ridge * np.eye(self.n_columns), lower=False)
        except linalg.LinAlgError:
            values, vectors = np.linalg.eigh(self.covariance)
            if values[0] < -_DEFINITE_TOLERANCE * self._widest():
                received = f"a matrix with eigenvalue {values[0]:.3g}"
                raise RequestError("covariance", received, "a positive semi-definite matrix") from None
            upper = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        return upper

    def supporting(self, direction: FloatArray) -> tuple[FloatArray, float]:
        """Return slope (m,) and offset of a cut ``risk(v) >= slope'v + offset``; it touches where U v = direction.

        Parameters
        ----------
        direction : ndarray of shape (m,)
            Any; for the root only its direction counts, as long as it is not shorter than 1.
        """
        if self.root:
            return self.factor.T @ (direction / max(float(np.linalg.norm(direction)), 1.0)), 0.0
        return 2.0 * self.factor.T @ direction, -float(direction @ direction)

    @property
    def n_columns(self) -> int:
        """Return m."""
        return int(self.covariance.shape[0])

    @property
    def exposure(self) -> sparse.csr_array | None:
        """Return None: the form is over the columns."""
        return None

    @property
    def weight(self) -> FloatArray:
        """Return 1 for the only unit."""
        return np.ones(1)

    @property
    def has_level(self) -> bool:
        """Return False: the form counts from zero."""
        return False

    def size(self, capital: float) -> float:
        """Return the largest risk of that capital in one column."""
        deviation = capital * (float(np.sqrt(np.abs(np.diag(self.covariance)).max(initial=0.0))) or 1.0)
        return deviation if self.root else deviation**2

    def _widest(self) -> float:
        return float(np.abs(np.diag(self.covariance)).max(initial=0.0)) or 1.0

    def losses(self, values: FloatArray) -> FloatArray:
        """Return the risk as the loss of the only unit, shape (1,)."""
        return np.array([self.of(values)])

    def cuts(self, units: IntArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the tangent at ``values``: no row for the root at zero, which has no tangent there."""
        slope, square = self.covariance @ values, max(float(values @ self.covariance @ values), 0.0)
        if self.root:
            deviation = np.sqrt(square)
            row = slope / deviation if deviation > _EMPTY_TAIL * self.size(float(np.abs(values).sum())) else 0.0 * slope
            return np.tile(row, (len(units), 1)), np.zeros(len(units))
        return np.tile(2.0 * slope, (len(units), 1)), np.full(len(units), -square)

    def of(self, values: FloatArray) -> float:
        """Return ``v' Q v`` or its root."""
        square = max(float(values @ self.covariance @ values), 0.0)
        return float(np.sqrt(square)) if self.root else square


def exposures_of(risk: Risk, values: FloatArray) -> FloatArray:
    """Return ``E v`` for values of shape (m,), shape (n_exposures,)."""
    return values if risk.exposure is None else np.asarray(risk.exposure @ values)


def _check_exposure(exposure: sparse.csr_array | None, n_exposures: int) -> None:
    if exposure is not None and exposure.shape[0] != n_exposures:
        raise RequestError("exposure", exposure.shape, f"{n_exposures} rows, one for each exposure")


def _check_units(outcomes: FloatArray, probability: FloatArray, level: float, *, dimensions: int) -> None:
    """Refuse outcomes that are not finite or not one per probability, and levels outside [0, 1)."""
    if outcomes.ndim != dimensions or len(outcomes) != len(probability) or not np.isfinite(outcomes).all():
        allowed = f"finite numbers in {dimensions} dimensions, the first of length {len(probability)}"
        raise RequestError("returns", outcomes.shape, allowed)
    total = float(np.sum(probability))
    if not abs(total - 1.0) <= _SUM_TOLERANCE or (probability < 0).any():
        raise RequestError("probability", total, "numbers, at least 0, that sum to 1")
    if not 0.0 <= level < 1.0:
        raise RequestError("level", level, "a share from 0 up to, not including, 1")
