"""What a pool pays after one's own deposit: the room's curves, under one name.

==========================  =========================================================================
``KinkedCurve``             Aave v3, Compound v2 and their kin
``SeparateSupplyCurve``     Compound v3
``AdaptiveCurve``           Morpho
``ProRata``                 emissions and fees, shared by all deposits
``PriceTaker``              staking, up to a capacity
``FundingDepth``            funding of a perpetual, lowered by one's own size
==========================  =========================================================================
"""

from aegis_yield.portfolio.adaptive_curve import AdaptiveCurve
from aegis_yield.portfolio.flow_curves import FundingDepth, PriceTaker, ProRata
from aegis_yield.portfolio.lending_curves import KinkedCurve, SeparateSupplyCurve
from aegis_yield.portfolio.rate_curve import RateCurve, effective_rate, income_usd, simple_rate

__all__ = [
    "AdaptiveCurve",
    "FundingDepth",
    "KinkedCurve",
    "PriceTaker",
    "ProRata",
    "RateCurve",
    "SeparateSupplyCurve",
    "effective_rate",
    "income_usd",
    "simple_rate",
]
