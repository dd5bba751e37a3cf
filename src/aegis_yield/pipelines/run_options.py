"""Options of a run's allocation: those of ``aegis optimize``, from ``configs/run.toml``."""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aegis_yield.domain.errors import DataError, RequestError
from aegis_yield.domain.limits import check_horizon
from aegis_yield.utils.project import project_root, shipped_file

if TYPE_CHECKING:
    from aegis_yield.pipelines.allocate import AllocationOrder

SETTING: Final = "AEGIS_RUN"
SECTION: Final = "allocate"
DEFAULTS: Final[Mapping[str, Any]] = {
    "capital": None, "strategies": None, "horizon": 30, "goal": "mean-cvar", "risk_aversion": 0.05, "risk_free": 0.0,
    "max_share": 0.4, "max_protocol": 0.5, "max_chain": 1.0, "max_category": 1.0, "max_issuer": 1.0, "min_tvl": 0.0,
    "max_tvl_share": 0.1, "min_instant": 0.0, "max_exit_days": None, "min_ticket": 0.0, "max_positions": None,
    "min_invested": 0.0, "max_cvar": None, "max_drawdown": None, "max_loss_probability": None, "max_turnover": None,
    "never": (), "current": None, "scenarios": 1000,
}  # fmt: skip
"""Every option of ``aegis optimize`` that decides, as it has them; its capital has no default here."""

_WHOLE: Final = ("horizon", "max_positions", "scenarios")
_LISTS: Final = ("strategies", "never")


def load_run_options(path: Path | None = None) -> dict[str, Any]:
    """Read what a run allocates by.

    Parameters
    ----------
    path : Path, optional
        A TOML file with an ``[allocate]`` section; by default ``AEGIS_RUN``, else ``configs/run.toml``.

    Returns
    -------
    dict
        The options that are set.

    Raises
    ------
    DataError
        If the file is missing, or not of that form.
    RequestError
        If an option is unknown, or its value not of its kind.
    """
    named = path or os.environ.get(SETTING)
    chosen = Path(named) if named else shipped_file("configs/run.toml", "configs/run.toml")
    try:
        content = tomllib.loads(chosen.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{chosen}: cannot be read as a TOML file of a run's options: {error}") from error
    options = content.pop(SECTION, {})
    if content or not isinstance(options, dict):
        raise DataError(f"{chosen}: received {', '.join(content) or SECTION}; allowed is one section, [{SECTION}]")
    for name, value in options.items():
        _check(f"{chosen}: {name}", name, value)
    return dict(options)


def allocation_order(
    options: Mapping[str, Any], capital_usd: float, positions_usd: Mapping[str, float]
) -> AllocationOrder:
    """Return the allocation that options ask for.

    Parameters
    ----------
    options : mapping
        As :func:`load_run_options` returns them; what is not set has the default of ``aegis optimize``.
    capital_usd : float
        US dollars to allocate.
    positions_usd : mapping of str to float
        Present positions, see :func:`present_positions`.

    Raises
    ------
    RequestError
        If a value is out of bounds.
    """
    # What allocates is heavy: only a run that does needs it.
    from aegis_yield.pipelines.decisions import order_of
    from aegis_yield.portfolio.problem import Goal

    whole = {**DEFAULTS, **options}
    if whole["goal"] not in list(Goal):
        raise RequestError("goal", whole["goal"], ", ".join(Goal))
    check_horizon(whole["horizon"])
    named = {"capital_usd": capital_usd, "horizon_days": whole.pop("horizon"), "current": positions_usd, "seed": 0}
    return order_of({**whole, **named})


def present_positions(options: Mapping[str, Any]) -> dict[str, float]:
    """Return present positions, read from the file that is named if one is.

    Raises
    ------
    DataError
        If the file is missing, or holds anything else than US dollars by strategy.
    """
    current = options.get("current")
    if current is None or isinstance(current, dict):
        return {name: float(amount) for name, amount in (current or {}).items()}
    path = project_root() / Path(current).expanduser()
    allowed = 'an object of strategies and US dollars, such as {"aave": 250000}'
    try:
        content: Any = json.loads(path.read_text(), parse_int=float)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); allowed is {allowed}") from error
    if not isinstance(content, dict) or not all(isinstance(amount, float) for amount in content.values()):
        raise DataError(f"{path}: received {str(content)[:80]}, allowed is {allowed}")
    return {str(name): amount for name, amount in content.items()}


def _check(where: str, name: str, value: Any) -> None:
    if name not in DEFAULTS:
        raise RequestError(where, value, f"the options of aegis optimize: {', '.join(DEFAULTS)}")
    if name in _LISTS:
        kind, is_fine = "a list of text", isinstance(value, list) and all(isinstance(one, str) for one in value)
    elif name == "goal":
        kind, is_fine = "text", isinstance(value, str)
    elif name == "current":
        kind = "the path of a JSON file, or a table of strategies and US dollars"
        is_fine = isinstance(value, str) or (isinstance(value, dict) and all(map(_is_number, value.values())))
    elif name in _WHOLE:
        kind, is_fine = "a whole number", isinstance(value, int) and not isinstance(value, bool)
    else:
        kind, is_fine = "a number", _is_number(value)
    if not is_fine:
        raise RequestError(where, value, kind)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
