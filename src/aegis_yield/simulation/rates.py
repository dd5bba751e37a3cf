r"""What borrowers pay and lenders earn at a given utilisation: the kinked curve of money markets.

.. math:: r_b(u) = r_0 + s_1 \min(u/u^*, 1) + s_2 \max(u - u^*, 0) / (1 - u^*)

.. math:: r_s(u) = u\,r_b(u)\,(1 - f)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aegis_yield.utils.typing import FloatArray


@dataclass(frozen=True)
class KinkedCurve:
    """An interest-rate curve with one kink; every parameter broadcasts against the utilisation.

    Attributes
    ----------
    base : ndarray
        Borrow rate at utilisation 0, decimal fraction per year.
    slope_below : ndarray
        What the borrow rate gains from 0 to the kink.
    slope_above : ndarray
        What it gains from the kink to utilisation 1.
    kink : ndarray
        Utilisation at which the curve turns steep, in (0, 1).
    reserve : ndarray
        Share of the interest that the protocol keeps, in [0, 1).
    """

    base: FloatArray
    slope_below: FloatArray
    slope_above: FloatArray
    kink: FloatArray
    reserve: FloatArray

    def borrow_rate(self, utilization: FloatArray) -> FloatArray:
        """Return what borrowers pay, decimal fraction per year, at `utilization` in [0, 1]."""
        below = np.minimum(utilization / self.kink, 1.0)
        above = np.maximum(utilization - self.kink, 0.0) / (1.0 - self.kink)
        return np.asarray(self.base + self.slope_below * below + self.slope_above * above, dtype=np.float64)

    def supply_rate(self, utilization: FloatArray) -> FloatArray:
        """Return what lenders earn, decimal fraction per year, at `utilization` in [0, 1]."""
        return np.asarray(utilization * self.borrow_rate(utilization) * (1.0 - self.reserve), dtype=np.float64)
