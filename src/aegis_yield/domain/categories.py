"""The kinds of yield strategy, in the order that arrays and one-hot features use."""

from __future__ import annotations

from typing import Final

CATEGORIES: Final[tuple[str, ...]] = (
    "lending",
    "staking",
    "delta_neutral",
    "amm_lp",
    "vault",
    "savings_rate",
    "fixed_yield",
    "rwa",
    "other",
)
"""Allowed values of ``strategies.category``."""

CATEGORY_CODE: Final[dict[str, int]] = {name: code for code, name in enumerate(CATEGORIES)}
"""Position of each category in :data:`CATEGORIES`."""

NEVER_NEGATIVE: Final[frozenset[str]] = frozenset({"lending", "amm_lp", "savings_rate", "fixed_yield", "rwa"})
"""Categories whose rate cannot fall below zero by construction: depositors are paid, never charged.

Staking can be slashed, funding turns negative and vaults can lose, so they are not among them.
"""
