r"""Integrated gradients: how much each input of a function has to do with its change between two points.

The attribution of input *i* on the way from a baseline *x'* to *x* is

.. math:: (x_i - x'_i) \int_0^1 \partial_i F(x' + \alpha (x - x')) \, d\alpha

(Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks"). It is the one way along the straight
path that is complete (attributions add up to ``F(x) - F(x')``), gives nothing to an input that ``F`` ignores,
treats alike inputs that play the same part, and depends on what ``F`` computes, not on how.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.models.gated_quadrature import GaussRule, gated_weights
from aegis_yield.models.torch_runtime import torch
from aegis_yield.utils.typing import FloatArray, IntArray

Tensor = torch.Tensor

TOLERANCE: Final = 1e-7
"""Attributions add up to the change within this share of it; more nodes are taken until they do."""

LEAST_CHANGE: Final = 1e-4
"""A smaller change counts as this one: rounding must not ask for nodes without end."""

N_NODES: Final = (24, 48, 96, 192, 384)

_POINTS_AT_ONCE: Final = 512


@dataclass(frozen=True)
class RampFunction:
    """A scalar function that ends in ramps: ``bias + sum_j weights_j · max(units_j(x), 0)``.

    Attributes
    ----------
    units : callable
        From points of shape (batch, ...) to smooth values of shape (batch, n_units), differentiable, float64.
    weights : ndarray of shape (n_units,)
        Of each ramp.
    bias : float
        Value when every unit is off.
    """

    units: Callable[[Tensor], Tensor]
    weights: FloatArray
    bias: float

    def __call__(self, points: FloatArray) -> FloatArray:
        """Return the function at points of shape (batch, ...), shape (batch,)."""
        with torch.no_grad():
            ramps = torch.relu(self.units(torch.from_numpy(points))).numpy()
        return np.asarray(self.bias + ramps @ self.weights)


@dataclass(frozen=True)
class PathIntegrals:
    """What moved a function between pairs of points.

    Attributes
    ----------
    attributions : ndarray of shape (n, ...)
        One number for each input of each pair, in the unit of the function.
    start_value, end_value : ndarray of shape (n,)
        The function at both points.
    n_nodes : ndarray of int, shape (n,)
        Gradients that each pair took.
    """

    attributions: FloatArray
    start_value: FloatArray
    end_value: FloatArray
    n_nodes: IntArray

    @property
    def gap(self) -> FloatArray:
        """How far attributions are from adding up to the change, shape (n,); 0 if the integral were exact."""
        return np.asarray(_totals(self.attributions) - (self.end_value - self.start_value))


def integrate_gradients(function: RampFunction, start: FloatArray, end: FloatArray) -> PathIntegrals:
    """Attribute the change of a function between pairs of points to its inputs.

    Parameters
    ----------
    function : RampFunction
        Evaluated in double precision.
    start, end : ndarray of float64, shape (n, ...)
        Finite baselines and points.

    Returns
    -------
    PathIntegrals
        With a ``gap`` within :data:`TOLERANCE` of the change, unless the units bend so sharply that 384 nodes
        cannot follow them: then the gap says how far off the sum is.
    """
    before, after = function(start), function(end)
    allowed = TOLERANCE * np.maximum(np.abs(after - before), LEAST_CHANGE)
    attributions, taken = np.zeros(start.shape), np.zeros(len(start), dtype=np.int64)
    open_pairs = np.arange(len(start))
    for n_nodes in N_NODES:
        at_once = max(1, _POINTS_AT_ONCE // n_nodes)
        for first in range(0, len(open_pairs), at_once):
            pairs = open_pairs[first : first + at_once]
            attributions[pairs] = _with_nodes(function, start[pairs], end[pairs], n_nodes)
        taken[open_pairs] = n_nodes
        gap = np.abs(_totals(attributions) - (after - before))
        open_pairs = open_pairs[gap[open_pairs] > allowed[open_pairs]]
    return PathIntegrals(attributions, before, after, taken)


def _with_nodes(function: RampFunction, start: FloatArray, end: FloatArray, n_nodes: int) -> FloatArray:
    rule = GaussRule.of(n_nodes)
    change = end - start
    share = rule.points.reshape(-1, *(1 for _ in start.shape[1:]))
    points = start[:, None] + share * change[:, None]  # (n, n_nodes, ...)
    leaf = torch.from_numpy(points.reshape(-1, *start.shape[1:])).requires_grad_(True)
    units = function.units(leaf)
    weights = gated_weights(rule, units.detach().numpy().reshape(len(start), n_nodes, -1))
    # One pass back per node does for all units: each unit's gradient enters with its own quadrature weight.
    pull = torch.from_numpy((weights * function.weights).reshape(units.shape))
    (gradient,) = torch.autograd.grad(units, leaf, pull)
    return np.asarray(gradient.numpy().reshape(points.shape).sum(axis=1) * change)


def _totals(attributions: FloatArray) -> FloatArray:
    return np.asarray(attributions.sum(axis=tuple(range(1, attributions.ndim))))
