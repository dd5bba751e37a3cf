"""Scenarios: what may happen to every strategy over the horizon, together, each with its probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.utils.typing import FloatArray

_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Scenarios:
    """Joint outcomes of a horizon.

    Attributes
    ----------
    strategy_ids : tuple of str
        n strategies.
    horizon_days : int
        Length of the horizon.
    apy : ndarray of shape (n_scenarios, n)
        Realised apy of the horizon, before one's own deposit moves the rate; above -1.
    price_return : ndarray of shape (n_scenarios, n)
        Change of the principal's value over the horizon by price or peg; 0 where it is unknown.
    loss : ndarray of shape (n_scenarios, n)
        Share of the principal lost to events, 0 … 1.
    probability : ndarray of shape (n_scenarios,)
        Sums to 1.
    label : tuple of str
        Empty for an ordinary scenario, else what happened in it.

    Raises
    ------
    RequestError
        If shapes or values are not these.
    """

    strategy_ids: tuple[str, ...]
    horizon_days: int
    apy: FloatArray
    price_return: FloatArray
    loss: FloatArray
    probability: FloatArray
    label: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = (len(self.probability), len(self.strategy_ids))
        for name in ("apy", "price_return", "loss"):
            values = getattr(self, name)
            if values.shape != shape or not np.isfinite(values).all():
                raise RequestError(name, values.shape, f"finite numbers of shape {shape} (scenarios, strategies)")
        total = float(np.sum(self.probability))
        if (np.asarray(self.probability) < 0).any() or abs(total - 1.0) > _SUM_TOLERANCE:
            raise RequestError("probability", total, "numbers, at least 0, that sum to 1")
        if (self.loss < 0).any() or (self.loss > 1).any():
            raise RequestError("loss", float(np.max(np.abs(self.loss))), "shares from 0 to 1")

    def principal_returns(self) -> FloatArray:
        """Return what becomes of the principal without its yield, shape (n_scenarios, n)."""
        changed: FloatArray = (1.0 + self.price_return) * (1.0 - self.loss) - 1.0
        return changed

    def returns(self) -> FloatArray:
        """Return what becomes of a small deposit over the horizon, yield included, shape (n_scenarios, n)."""
        grown = np.power(np.maximum(1.0 + self.apy, 1e-6), self.horizon_days / 365.0)
        whole: FloatArray = grown * (1.0 + self.principal_returns()) - 1.0
        return whole
