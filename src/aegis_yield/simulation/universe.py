"""Who is in the market: the first n strategies, the same for every seed and size."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Literal

from aegis_yield.simulation.names import NAMES, Name

Mechanism = Literal[
    "stable_lending",
    "volatile_lending",
    "staking",
    "perpetual_funding",
    "basis_token",
    "volatile_pair",
    "correlated_pair",
    "vault",
    "savings_rate",
    "fixed_term",
    "real_world_asset",
]

CATEGORY_SHARES = {
    "lending": 0.35,
    "amm_lp": 0.40,
    "delta_neutral": 0.08,
    "vault": 0.05,
    "other": 0.05,
    "staking": 0.03,
    "fixed_yield": 0.02,
    "savings_rate": 0.01,
    "rwa": 0.01,
}
"""Share of each category, in the long run; the flagships come on top."""


@dataclass(frozen=True)
class Strategy:
    """One member of the simulated universe.

    Attributes
    ----------
    index : int
        Place in the universe; names the strategy's random streams.
    strategy_id, project, chain, symbol, category : str
        As in the table of strategies.
    mechanism : str
        Which mechanism makes its yield.
    """

    index: int
    strategy_id: str
    project: str
    chain: str
    symbol: str
    category: str
    mechanism: Mechanism

    @property
    def is_flagship(self) -> bool:
        """Whether it is one of the few that every user meets first."""
        return self.index < len(FLAGSHIPS)


FLAGSHIPS = (
    Strategy(0, "aave-v3:ethereum:usdc", "aave-v3", "Ethereum", "USDC", "lending", "stable_lending"),
    Strategy(1, "lido:ethereum:steth", "lido", "Ethereum", "STETH", "staking", "staking"),
    Strategy(
        2,
        "delta-neutral:binance:eth",
        "delta-neutral-binance",
        "CEX",
        "ETH",
        "delta_neutral",
        "perpetual_funding",
    ),
    Strategy(3, "ethena-usde:ethereum:susde", "ethena-usde", "Ethereum", "SUSDE", "delta_neutral", "basis_token"),
    Strategy(4, "compound-v3:ethereum:usdc", "compound-v3", "Ethereum", "USDC", "lending", "stable_lending"),
)

# Every other kind of yield-bearing token ends up in "other": it earns in one of these ways.
_MECHANISMS_OF_OTHER: tuple[Mechanism, ...] = ("savings_rate", "volatile_lending", "vault", "stable_lending")
_MECHANISM: dict[str, Mechanism] = {
    "staking": "staking",
    "vault": "vault",
    "savings_rate": "savings_rate",
    "fixed_yield": "fixed_term",
    "rwa": "real_world_asset",
}


def build_universe(n_strategies: int) -> list[Strategy]:
    """List the first `n_strategies` members.

    Parameters
    ----------
    n_strategies : int
        How many, at least 1.

    Returns
    -------
    list of Strategy
        Flagships first, then categories in turn by their shares; ids are unique, and a shorter list
        is the beginning of a longer one.
    """
    members = list(FLAGSHIPS[:n_strategies])
    taken = {strategy.strategy_id for strategy in FLAGSHIPS}
    names = {category: cycle(NAMES[category]) for category in CATEGORY_SHARES}
    seats = _seats()
    counts: Counter[str] = Counter()
    for index in range(len(members), n_strategies):
        category = next(seats)
        name = next(names[category])
        mechanism = _mechanism(category, name, counts[category])
        counts[category] += 1
        strategy_id = name.strategy_id
        if strategy_id in taken:
            strategy_id = f"{strategy_id}:{_pool_hash(index)}"
        taken.add(strategy_id)
        members.append(Strategy(index, strategy_id, name.project, name.chain, name.symbol, category, mechanism))
    return members


def _mechanism(category: str, name: Name, nth: int) -> Mechanism:
    """Pick the mechanism that makes the yield of the `nth` member of a category."""
    if category == "lending":
        return "stable_lending" if name.is_stable else "volatile_lending"
    if category == "amm_lp":
        return "correlated_pair" if name.is_stable else "volatile_pair"
    if category == "delta_neutral":
        return "basis_token" if name.is_stable else "perpetual_funding"
    if category == "other":
        return _MECHANISMS_OF_OTHER[nth % len(_MECHANISMS_OF_OTHER)]
    return _MECHANISM[category]


def _seats() -> Iterator[str]:
    """Deal categories by the Sainte-Laguë method: every beginning of the list has about the right mix."""
    dealt: Counter[str] = Counter()
    while True:
        category = max(CATEGORY_SHARES, key=lambda name: CATEGORY_SHARES[name] / (2 * dealt[name] + 1))
        dealt[category] += 1
        yield category


def _pool_hash(index: int) -> str:
    """Eight hexadecimal digits that tell one pool of a name from the next."""
    return hashlib.sha256(f"simulated pool {index}".encode()).hexdigest()[:8]
