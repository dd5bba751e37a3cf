from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.simulation.rates import KinkedCurve


def curve(kink: float = 0.9, reserve: float = 0.1) -> KinkedCurve:
    base, below, above, at, kept = (np.array([value]) for value in (0.01, 0.05, 0.6, kink, reserve))
    return KinkedCurve(base=base, slope_below=below, slope_above=above, kink=at, reserve=kept)


def test_closed_form_at_nothing_the_kink_and_everything_lent_out() -> None:
    rates = curve().borrow_rate(np.array([0.0, 0.9, 1.0]))
    assert rates == pytest.approx([0.01, 0.01 + 0.05, 0.01 + 0.05 + 0.6])


def test_halfway_on_either_side_of_the_kink() -> None:
    rates = curve().borrow_rate(np.array([0.45, 0.95]))
    assert rates == pytest.approx([0.01 + 0.025, 0.06 + 0.3])


def test_lenders_earn_what_borrowers_pay_less_the_reserve() -> None:
    lent = np.array([0.0, 0.45, 0.9, 1.0])
    assert curve().supply_rate(lent) == pytest.approx(lent * curve().borrow_rate(lent) * 0.9)


@given(kink=st.floats(0.05, 0.95), low=st.floats(0, 1), high=st.floats(0, 1))
def test_both_rates_rise_with_utilisation(kink: float, low: float, high: float) -> None:
    ordered = np.array(sorted((low, high)))
    assert np.diff(curve(kink).borrow_rate(ordered))[0] >= -1e-15
    assert np.diff(curve(kink).supply_rate(ordered))[0] >= -1e-15
