"""Choosing pools by what they are: ``category=lending chain=Ethereum,Base tvl>10e6``.

The choice is made on DefiLlama's list of today. That list has no dead pools in it, so a universe chosen once is
followed from then on, whatever becomes of its pools: what was chosen stays in the tables.
"""

from __future__ import annotations

import math
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import RequestError
from aegis_yield.utils.project import shipped_file

_TEXT_FIELDS: Final = ("category", "chain", "project", "symbol", "exposure", "il_risk", "pool")
_NUMBER_FIELDS: Final = {"tvl": "tvl_usd", "tvl_usd": "tvl_usd", "apy": "apy"}
_TRUTH_FIELDS: Final = ("stablecoin", "outlier")
_TERM: Final = re.compile(r"^([a-z_]+)(>=|<=|!=|=|>|<|~)([^=<>!~].*)$")
_ALLOWED: Final = (
    f"terms such as category=lending chain=Ethereum,Base symbol~USDC tvl>10e6 apy<50% stablecoin=true; fields "
    f"{', '.join((*_TEXT_FIELDS, 'tvl', 'apy', *_TRUTH_FIELDS))}"
)


@dataclass(frozen=True)
class Universe:
    """A choice of pools.

    Attributes
    ----------
    text : str
        As it was asked.
    condition : polars.Expr
        True for the pools meant, on the columns of the table ``pools`` with ``category`` added.
    """

    text: str
    condition: pl.Expr


def parse_universe(text: str) -> Universe:
    """Read a choice of pools.

    Parameters
    ----------
    text : str
        Terms, all of which must hold: ``field=value`` (several values: ``a,b``), ``!=``, ``~`` (contains), and for
        numbers ``>``, ``>=``, ``<``, ``<=``. ``tvl`` is in US dollars, ``apy`` a fraction or a percentage (``5%``).
        A value with blanks stands in quotes: ``chain="OP Mainnet"``. What a pool does not say satisfies ``!=`` only.

    Raises
    ------
    RequestError
        Naming the term that cannot be read and what is allowed.
    """
    try:
        terms = shlex.split(text)
    except ValueError as error:  # a quotation that does not end
        raise RequestError("universe", text, _ALLOWED) from error
    if not terms:
        raise RequestError("universe", text, _ALLOWED)
    condition = pl.lit(True)
    for term in terms:
        match = _TERM.match(term)
        if match is None:
            raise RequestError("universe", term, _ALLOWED)
        condition &= _condition(term, *match.groups())
    return Universe(text, condition)


def _condition(term: str, field: str, operator: str, value: str) -> pl.Expr:
    if field in _NUMBER_FIELDS and operator in _COMPARE:
        found: pl.Expr = _COMPARE[operator](pl.col(_NUMBER_FIELDS[field]), _number(term, value))
        return found
    if field in _TRUTH_FIELDS and operator == "=" and value.lower() in ("true", "false"):
        return pl.col(field) == (value.lower() == "true")
    if field not in _TEXT_FIELDS or operator not in ("=", "!=", "~"):
        raise RequestError("universe", term, _ALLOWED)
    values = [part.lower() for part in value.split(",") if part]
    if not values:
        raise RequestError("universe", term, _ALLOWED)
    if field == "category" and not set(values) <= set(CATEGORIES):
        raise RequestError("universe", term, f"category=… of {', '.join(CATEGORIES)}")
    column = pl.col(field).str.to_lowercase()
    if operator == "~":
        return pl.any_horizontal(column.str.contains(part, literal=True) for part in values)
    found = column.is_in(values).fill_null(False)
    return found if operator == "=" else ~found


_COMPARE: Final[Mapping[str, Any]] = {
    ">": pl.Expr.gt,
    ">=": pl.Expr.ge,
    "<": pl.Expr.lt,
    "<=": pl.Expr.le,
    "=": pl.Expr.eq,
    "!=": pl.Expr.ne_missing,
}


def _number(term: str, value: str) -> float:
    try:
        number = float(value[:-1]) / 100 if value.endswith("%") else float(value)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise RequestError("universe", term, "a number, such as tvl>10e6 or apy>5%")
    return number


def categorised(pools: pl.DataFrame, protocols: pl.DataFrame) -> pl.DataFrame:
    """Return pools with their ``category``.

    Parameters
    ----------
    pools, protocols : polars.DataFrame
        Rows of the tables of these names; of a protocol's several rows the first counts.
    """
    by_project, by_kind = _categories()
    kinds = protocols.select(pl.col("slug").alias("project"), pl.col("category").alias("_kind")).unique(
        "project", keep="first", maintain_order=True
    )
    by_shape = pl.when(pl.col("exposure") == "multi").then(pl.lit("amm_lp")).otherwise(pl.lit("other"))
    category = pl.coalesce(
        pl.col("project").replace_strict(by_project, default=None, return_dtype=pl.String),
        pl.col("_kind").replace_strict(by_kind, default=None, return_dtype=pl.String),
        by_shape,
    )
    return pools.join(kinds, on="project", how="left").with_columns(category.alias("category")).drop("_kind")


def _categories() -> tuple[dict[str, str], dict[str, str]]:
    content = tomllib.loads(shipped_file("configs/categories.toml", "configs/categories.toml").read_text())
    return content["project"], content["protocol"]


def strategy_id() -> pl.Expr:
    """Return the strategy_id of pools that the catalogue does not name: ``project:chain:symbol:first-of-uuid``.

    To be used on ``project``, ``chain``, ``symbol`` as they were when the pool was first seen: a project that is
    renamed later does not rename its strategies.
    """
    parts = [pl.col(name).str.to_lowercase().str.replace_all(r"[^a-z0-9.+-]+", "-") for name in _NAME_PARTS]
    return pl.concat_str([*parts, pl.col("pool").str.slice(0, 8)], separator=":")


_NAME_PARTS: Final = ("project", "chain", "symbol")
