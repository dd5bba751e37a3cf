"""What simulated strategies are called: plausible projects, chains and symbols, category by category."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_CHAINS = (
    "Base",
    "Ethereum",
    "Arbitrum",
    "Polygon",
    "Optimism",
    "Avalanche",
    "BSC",
    "Gnosis",
    "Scroll",
    "Linea",
)
_STABLES = ("USDC", "USDT", "DAI", "USDS", "USDE", "GHO", "FRAX", "PYUSD", "LUSD", "EURC", "CRVUSD", "RLUSD")
_VOLATILE = (
    "WETH",
    "WSTETH",
    "WBTC",
    "WEETH",
    "LINK",
    "AAVE",
    "CBBTC",
    "RETH",
    "UNI",
    "MKR",
    "CRV",
    "ARB",
    "LDO",
)
_COINS = (
    "BTC", "ETH", "SOL", "XRP", "DOGE", "LTC", "ADA", "BNB",
    "AVAX", "LINK", "ATOM", "TAO", "SUI", "OP", "NEAR",
)  # fmt: skip
_EXCHANGES = (
    "binance",
    "bybit",
    "okx",
    "hyperliquid",
    "drift",
    "dydx-v4",
    "bitmex",
    "gate",
    "kucoin",
    "mexc",
    "htx",
)
_ON_CHAIN_EXCHANGES = ("hyperliquid", "drift", "dydx-v4")


@dataclass(frozen=True)
class Name:
    """Project, chain and symbol of a strategy.

    Attributes
    ----------
    project, chain, symbol : str
        As in the table of strategies.
    strategy_id : str
        The id, if no other strategy has it yet.
    is_stable : bool
        Whether what is deposited keeps its peg (for a pair: whether both sides share one).
    """

    project: str
    chain: str
    symbol: str
    strategy_id: str
    is_stable: bool


def _name(project: str, chain: str, symbol: str, is_stable: bool) -> Name:
    return Name(project, chain, symbol, f"{project}:{chain}:{symbol}".lower(), is_stable)


def _spread(names: Iterable[Name]) -> tuple[Name, ...]:
    """Reorder in golden-section strides, so that neighbours differ in project, chain and symbol."""
    ordered = list(names)
    position = sorted(range(len(ordered)), key=lambda place: (place * 0.6180339887498949) % 1.0)
    return tuple(ordered[place] for place in position)


def _markets(projects: Sequence[str], symbols: Sequence[str], is_stable: bool) -> list[Name]:
    return [_name(p, chain, symbol, is_stable) for p in projects for chain in _CHAINS for symbol in symbols]


def _lending() -> tuple[Name, ...]:
    projects = ("aave-v3", "compound-v3", "sparklend", "morpho-blue", "fluid-lending", "venus-core-pool")
    stable = _spread(_markets(projects, _STABLES, is_stable=True))
    volatile = _spread(_markets(projects, _VOLATILE, is_stable=False))
    return tuple(name for pair in zip(stable, volatile, strict=False) for name in pair)


def _amm() -> tuple[Name, ...]:
    projects = ("uniswap-v3", "aerodrome-slipstream", "pancakeswap-amm-v3", "curve-dex", "fluid-dex")
    volatile = [f"{a}-{b}" for a in _VOLATILE for b in ("USDC", "WETH", "USDT") if a != b]
    stable = [f"{a}-{b}" for i, a in enumerate(_STABLES) for b in _STABLES[i + 1 :]]
    moving = _spread(_markets(projects, volatile, is_stable=False))
    pegged = _spread(_markets(projects, stable, is_stable=True))
    # Three moving pairs for every pegged one.
    threes = zip(moving[0::3], moving[1::3], moving[2::3], pegged, strict=False)
    return tuple(name for four in threes for name in four)


def _delta_neutral() -> tuple[Name, ...]:
    funding = [
        Name(
            project=f"delta-neutral-{exchange}",
            chain=exchange if exchange in _ON_CHAIN_EXCHANGES else "CEX",
            symbol=coin,
            strategy_id=f"delta-neutral:{exchange}:{coin.lower()}",
            is_stable=False,
        )
        for exchange in _EXCHANGES
        for coin in _COINS
        if (exchange, coin) != ("binance", "ETH")  # a flagship
    ]
    tokens = [
        _name("resolv", "Ethereum", "STUSR", is_stable=True),
        _name("falcon-finance", "Ethereum", "SUSDF", is_stable=True),
        _name("avant", "Avalanche", "SAVUSD", is_stable=True),
    ]
    spread = list(_spread(funding))
    for place, token in zip((6, 25, 60), tokens, strict=True):
        spread.insert(place, token)
    return tuple(spread)


_STAKING = tuple(
    _name(project, chain, symbol, is_stable=False)
    for project, chain, symbol in (
        ("rocket-pool", "Ethereum", "RETH"),
        ("jito-liquid-staking", "Solana", "JITOSOL"),
        ("ether.fi-stake", "Ethereum", "WEETH"),
        ("marinade-liquid-staking", "Solana", "MSOL"),
        ("coinbase-wrapped-staked-eth", "Ethereum", "CBETH"),
        ("stader", "Polygon", "MATICX"),
        ("mantle-staked-eth", "Ethereum", "METH"),
        ("benqi-staked-avax", "Avalanche", "SAVAX"),
    )
)
_VAULT_PROJECTS = (
    "yearn-finance",
    "beefy",
    "convex-finance",
    "harvest-finance",
    "fx-protocol",
    "pareto-credit",
)
_TERM_ASSETS = ("SUSDE", "USDE", "WSTETH", "WEETH", "SUSDF", "TUSDE", "USDAI", "WSTUSR")
_OTHER_PROJECTS = ("frax", "reserve-protocol", "infinifi", "stream-finance", "arrakis-v1", "tectonic")

NAMES: dict[str, tuple[Name, ...]] = {
    "lending": _lending(),
    "amm_lp": _amm(),
    "delta_neutral": _delta_neutral(),
    "vault": _spread(_markets(_VAULT_PROJECTS, ("USDC", "DAI", "USDT", "CRVUSD"), is_stable=True)),
    "other": _spread(_markets(_OTHER_PROJECTS, ("USDC", "SFRXUSD", "USD3", "SIUSD"), is_stable=True)),
    "staking": _STAKING,
    "fixed_yield": tuple(
        _name("pendle", chain, asset, is_stable=True)
        for chain in ("Ethereum", "Arbitrum", "Base")
        for asset in _TERM_ASSETS
    ),
    "savings_rate": (
        _name("sky-lending", "Ethereum", "SUSDS", is_stable=True),
        _name("makerdao-dsr", "Ethereum", "DAI", is_stable=True),
        _name("aave-savings", "Ethereum", "SGHO", is_stable=True),
        _name("frax-savings", "Ethereum", "SFRAX", is_stable=True),
    ),
    "rwa": (
        _name("maple", "Ethereum", "USDC", is_stable=True),
        _name("ondo-yield-assets", "Ethereum", "USDY", is_stable=True),
        _name("goldfinch", "Ethereum", "USDC", is_stable=True),
        _name("maple", "Ethereum", "USDT", is_stable=True),
        _name("openeden-tbill", "Ethereum", "TBILL", is_stable=True),
        _name("usual", "Ethereum", "USD0++", is_stable=True),
    ),
}
"""Names of each category, in the order in which they are given out."""
