"""Option names: which option of a decision sets a limit that an answer or a refusal speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_BY_LIMIT: Final[Mapping[str, str]] = {
    "max_protocol_share": "max_protocol",
    "max_chain_share": "max_chain",
    "max_category_share": "max_category",
    "max_issuer_share": "max_issuer",
    "min_invested_share": "min_invested",
    "min_instant_share": "min_instant",
    "min_ticket_usd": "min_ticket",
    "min_tvl_usd": "min_tvl",
    "risk_free_apy": "risk_free",
    "n_scenarios": "scenarios",
    "capital": "capital_usd",
    "position": "current",
}
_OWN_NAMES: Final = frozenset(
    {
        "capital_usd", "goal", "horizon_days", "max_cvar", "max_drawdown", "max_exit_days", "max_loss_probability",
        "max_positions", "max_share", "max_turnover", "max_tvl_share", "risk_aversion", "seed", "strategies", "weights",
    }
)  # fmt: skip


def option_of(limit: str) -> str | None:
    """Return the option that sets a limit; None if no single one does.

    Parameters
    ----------
    limit : str
        As answers, conflicts and errors name it, such as ``"max_protocol_share of aave-v3"``.
    """
    name = limit.partition(" of ")[0]
    return _BY_LIMIT.get(name, name if name in _OWN_NAMES else None)
