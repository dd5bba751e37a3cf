"""No credit for luck: scenarios whose mean is above the forecast are brought down to it, from above only.

The mean of a wide forecast distribution lies in its upper tail, which is extrapolated and hardest to calibrate. An
optimiser that maximises such means chooses the widest tails, not the best strategies. So what lies above a strategy's
forecast is drawn towards it until the mean of the scenarios is the forecast; what lies below, the risk, stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aegis_yield.risk.scenarios_value import Scenarios
from aegis_yield.utils.typing import FloatArray


def tempered(scenarios: Scenarios, apy: FloatArray) -> Scenarios:
    """Return scenarios whose mean apy is at most the forecast's.

    Parameters
    ----------
    scenarios : Scenarios
        As drawn.
    apy : ndarray of shape (n,)
        Point forecasts.

    Returns
    -------
    Scenarios
        ``apy + k * (drawn - apy)`` above the forecast, with one k in 0 … 1 per strategy; as drawn below it. Means that
        were below the forecast stay there.
    """
    probability = scenarios.probability
    above = np.maximum(scenarios.apy - apy, 0.0)
    gain = probability @ above
    shortfall = probability @ np.maximum(apy - scenarios.apy, 0.0)
    kept = np.clip(np.divide(shortfall, gain, out=np.ones_like(gain), where=gain > 0), 0.0, 1.0)
    return replace(scenarios, apy=np.minimum(scenarios.apy, apy) + kept * above)
