r"""Quadrature along a line for integrands that units switch on and off.

A network that ends in ramps (ReLU) has a gradient that jumps wherever a unit crosses zero, and every rule made
for smooth functions crawls there: bisecting down to each jump took thousands of gradients for one forecast.
But between the jumps all is smooth, and *where* they lie is known from the units' own values. So each unit
gets weights of its own: with :math:`\ell_k` the Lagrange polynomials of the Gauss-Legendre nodes,

.. math:: w_{jk} = \int_0^1 [z_j(\alpha) > 0] \; \ell_k(\alpha) \, d\alpha

integrates any polynomial through the nodes over exactly that part of the line on which unit *j* is on
(product integration; Davis & Rabinowitz 1984, section 2.5.6). A few dozen nodes then reach rounding error.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.polynomial import legendre

from aegis_yield.utils.typing import FloatArray, IntArray

_CELLS_PER_NODE: Final = 8
"""Sign changes are looked for on a grid so much finer than the nodes. A unit that comes and goes within one cell
(0.8 % of the line with 24 nodes) is missed: near zero all the while, it hardly counts."""

_MOST_STEPS: Final = 60
_ROUNDING: Final = 1e-14


@dataclass(frozen=True)
class GaussRule:
    """Gauss-Legendre nodes on [0, 1], and the way from values at them to Legendre coefficients.

    Attributes
    ----------
    points : ndarray of shape (n,)
        Nodes, rising, inside (0, 1).
    weights : ndarray of shape (n,)
        Sum to 1.
    projection : ndarray of shape (n, n)
        Values at the nodes (k) to coefficients (m) of the polynomial through them, on [-1, 1].
    """

    points: FloatArray
    weights: FloatArray
    projection: FloatArray

    @classmethod
    @functools.lru_cache(maxsize=16)
    def of(cls, n_nodes: int) -> GaussRule:
        """Return the rule with so many nodes."""
        t, weight = legendre.leggauss(n_nodes)
        projection = legendre.legvander(t, n_nodes - 1) * weight[:, None] * (np.arange(n_nodes) + 0.5)
        return cls((t + 1.0) / 2.0, weight / 2.0, projection)

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class _Crossings:
    """Where units cross zero: which line, which unit, where on [-1, 1], and +1 upwards or -1 downwards."""

    line: IntArray
    unit: IntArray
    place: FloatArray
    direction: FloatArray


def gated_weights(rule: GaussRule, values: FloatArray) -> FloatArray:
    """Return quadrature weights over the part of each line on which each unit is positive.

    Parameters
    ----------
    rule : GaussRule
        n nodes.
    values : ndarray of shape (n_lines, n, n_units)
        Units at the nodes: smooth functions that the polynomial through the nodes follows closely.

    Returns
    -------
    ndarray of shape (n_lines, n, n_units)
        The rule's own weights for a unit that is always on, 0 for one that is always off.
    """
    coefficients = np.einsum("km,lku->lum", rule.projection, values)
    crossings, ends_on = _crossings(coefficients)
    # The integral of a step function against dL is its last value times L(1), less L at every jump times the jump.
    weights = ends_on[:, :, None] * rule.weights
    until = _integrals_until(crossings.place, len(rule)) @ rule.projection.T / 2.0  # (n_crossings, n)
    np.subtract.at(weights, (crossings.line, crossings.unit), crossings.direction[:, None] * until)
    return np.asarray(weights.transpose(0, 2, 1))


def _integrals_until(t: FloatArray, n: int) -> FloatArray:
    """Return the integrals of the first n Legendre polynomials from -1 to each t, shape (len(t), n)."""
    polynomials = legendre.legvander(t, n)
    degree = np.arange(1, n)
    higher = (polynomials[:, 2 : n + 1] - polynomials[:, : n - 1]) / (2 * degree + 1)
    return np.concatenate([t[:, None] + 1.0, higher], axis=1)


def _crossings(coefficients: FloatArray) -> tuple[_Crossings, FloatArray]:
    """Find every sign change of polynomials of shape (n_lines, n_units, n), and which end positive."""
    n = coefficients.shape[2]
    grid = np.cos(np.linspace(np.pi, 0.0, _CELLS_PER_NODE * n + 1))  # dense at the ends, as the nodes are
    value = coefficients @ legendre.legvander(grid, n - 1).T
    positive = value > 0
    line, unit, cell = np.nonzero(positive[:, :, 1:] != positive[:, :, :-1])
    direction = np.where(positive[line, unit, cell + 1], 1.0, -1.0)
    bracket = grid[cell], grid[cell + 1]
    place = _roots(coefficients[line, unit].T * direction, *bracket)
    return _Crossings(line, unit, place, direction), positive[:, :, -1].astype(float)


def _roots(coefficients: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the root of each rising polynomial (n, n_roots) in its bracket, by Newton steps kept inside it."""
    slope = legendre.legder(coefficients, axis=0)
    place = (low + high) / 2.0
    for _ in range(_MOST_STEPS):
        value = legendre.legval(place, coefficients, tensor=False)
        low, high = np.where(value > 0, low, place), np.where(value > 0, place, high)
        rise = legendre.legval(place, slope, tensor=False)
        step = place - value / np.where(rise > 0, rise, np.inf)
        # A root on the bracket's edge may be stepped over by a rounding error: that is no reason to halve.
        inside = (rise > 0) & (step >= low - _ROUNDING) & (step <= high + _ROUNDING)
        last, place = place, np.where(inside, step, (low + high) / 2.0)
        if np.abs(place - last).max(initial=0.0) <= _ROUNDING:
            break
    return place
