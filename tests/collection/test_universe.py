"""Universes: fields and operators against a plain filter, one line for what cannot be read, categories, names."""

from __future__ import annotations

import datetime as dt
import operator
import tomllib
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.collection.schemas import TABLES
from aegis_yield.collection.universe import categorised, parse_universe, strategy_id
from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import RequestError
from aegis_yield.utils.project import shipped_file

Row = dict[str, Any]
TEXTS = {
    "chain": ["Ethereum", "Base", "OP Mainnet", "Hyperliquid L1"],
    "project": ["aave-v3", "uniswap-v3", "lido", "Some Project"],
    "symbol": ["USDC", "WETH-USDC", "STETH", "PT-sUSDe", "ÉUR"],
    "exposure": ["single", "multi", None],
    "il_risk": ["no", "yes", None],
    "pool": ["aa70268e-4b52-42bf-a116-608b370f9501", "747c1d2a-c668-4682-b9f9-296708a3dd90"],
    "category": list(CATEGORIES),
}
NUMBERS = {"tvl": "tvl_usd", "tvl_usd": "tvl_usd", "apy": "apy"}
COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}
VALUES = [0.0, 0.01, 0.05, 1.0, 1e4, 1e6, 10e6]

pools = st.lists(
    st.fixed_dictionaries(
        {
            **{name: st.sampled_from(values) for name, values in TEXTS.items()},
            "tvl_usd": st.one_of(st.none(), st.sampled_from(VALUES), st.floats(0, 1e9)),
            "apy": st.one_of(st.none(), st.sampled_from(VALUES), st.floats(0, 3)),
            "stablecoin": st.sampled_from([True, False, None]),
            "outlier": st.sampled_from([True, False, None]),
        }
    ),
    min_size=1,
    max_size=12,
)


@st.composite
def terms(draw: st.DrawFn) -> tuple[str, Callable[[Row], bool]]:
    """One term, and what it means in plain words."""
    kind = draw(st.sampled_from(["text", "contains", "number", "truth"]))
    if kind == "number":
        field, sign = draw(st.sampled_from(sorted(NUMBERS))), draw(st.sampled_from(sorted(COMPARE)))
        text, number = draw(st.sampled_from([("10e6", 10e6), ("5%", 0.05), ("0.05", 0.05), ("1", 1.0), ("0", 0.0)]))
        return f"{field}{sign}{text}", lambda row: compares(row[NUMBERS[field]], sign, number)
    if kind == "truth":
        field, value = draw(st.sampled_from(["stablecoin", "outlier"])), draw(st.booleans())
        return f"{field}={str(value).lower()}", lambda row: row[field] is value
    field = draw(st.sampled_from(sorted(TEXTS)))
    known = [value for value in TEXTS[field] if value is not None]
    chosen = draw(st.lists(st.sampled_from(known), min_size=1, max_size=2))
    if kind == "contains" and field != "category":
        parts = [value[1:4] for value in chosen]
        wanted = ",".join(parts)
        quoted = f'"{wanted}"' if " " in wanted else wanted
        return f"{field}~{quoted}", lambda row: any(part.lower() in (row[field] or "").lower() for part in parts)
    sign = draw(st.sampled_from(["=", "!="]))
    listed = [value.lower() for value in chosen]
    wanted = draw(st.sampled_from([str.lower, str.upper, str]))(",".join(chosen))
    return f'{field}{sign}"{wanted}"', lambda row: ((row[field] or "").lower() in listed) is (sign == "=")


def compares(value: float | None, sign: str, number: float) -> bool:
    return sign == "!=" if value is None else COMPARE[sign](value, number)


def table(rows: list[Row]) -> pl.DataFrame:
    kinds = {name: kind for name, kind in TABLES["pools"].columns.items() if name in rows[0]}
    return pl.DataFrame(rows, schema_overrides={**kinds, "category": pl.String})


@settings(max_examples=150, deadline=None)
@given(rows=pools, chosen=st.lists(terms(), min_size=1, max_size=3))
def test_a_universe_is_what_a_plain_filter_leaves(
    rows: list[Row], chosen: list[tuple[str, Callable[[Row], bool]]]
) -> None:
    universe = parse_universe("  ".join(text for text, _ in chosen))
    numbered = table(rows).with_row_index("n")
    found = numbered.filter(universe.condition)["n"].to_list()
    assert found == [n for n, row in enumerate(rows) if all(holds(row) for _, holds in chosen)]


@pytest.mark.parametrize(
    ("text", "left"), [("apy>5%", [0.06, 5.0]), ("apy>0.05", [0.06, 5.0]), ("apy<=5%", [0.01, 0.05])]
)
def test_a_percentage_is_a_hundredth(text: str, left: list[float]) -> None:
    rows = table([{"apy": apy} for apy in (0.01, 0.05, 0.06, 5.0)])
    assert rows.filter(parse_universe(text).condition)["apy"].to_list() == left


def test_the_example_of_the_help_means_what_it_says() -> None:
    rows: list[Row] = [
        {"category": category, "chain": chain, "tvl_usd": tvl}
        for category in ("lending", "vault")
        for chain in ("Ethereum", "Base")
        for tvl in (1e7, 1.1e7)
    ]
    found = table(rows).filter(parse_universe("category=lending chain=Ethereum tvl>10e6").condition)
    assert found.to_dicts() == [{"category": "lending", "chain": "Ethereum", "tvl_usd": 1.1e7}]


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("", ""),
        ("   ", "   "),
        ("lending", "lending"),
        ("category", "category"),
        ("category=", "category="),
        ("category=bonds", "category=bonds"),
        ("category=lending,bonds", "category=lending,bonds"),
        ("categories=lending", "categories=lending"),
        ("TVL>1e6", "TVL>1e6"),
        ("tvl>", "tvl>"),
        ("tvl>much", "tvl>much"),
        ("tvl>nan", "tvl>nan"),
        ("apy>5%%", "apy>5%%"),
        ("tvl~5", "tvl~5"),
        ("chain==Ethereum", "chain==Ethereum"),
        ("chain>Ethereum", "chain>Ethereum"),
        ("chain=,", "chain=,"),
        ("symbol~,", "symbol~,"),
        ("stablecoin=yes", "stablecoin=yes"),
        ("stablecoin!=true", "stablecoin!=true"),
        ("chain=Ethereum tvl>1e6 and", "and"),
        ("chain=OP Mainnet", "Mainnet"),
        ('chain="OP Mainnet', 'chain="OP Mainnet'),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(text: str, term: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_universe(text)
    assert str(caught.value).startswith(f"universe: received {term!r}, allowed is ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@given(text=st.text(st.sampled_from("category tvl=<>!~,%'\"\\einAB19."), max_size=25))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_universe_or_refused(text: str) -> None:
    try:
        universe = parse_universe(text)
    except RequestError:
        return
    rows = [{name: values[0] for name, values in TEXTS.items()}]
    more: Row = {"tvl_usd": 1.0, "apy": 0.1, "stablecoin": True, "outlier": False}
    assert table([rows[0] | more]).filter(universe.condition).height in (0, 1)


# Categories


DAY = dt.date(2024, 6, 1)


def pool_rows(*rows: tuple[str, str | None]) -> pl.DataFrame:
    listed = [{"pool": str(n), "project": project, "exposure": exposure} for n, (project, exposure) in enumerate(rows)]
    return pl.DataFrame(listed, schema={"pool": pl.String, "project": pl.String, "exposure": pl.String})


def protocol_rows(**kinds: str | None) -> pl.DataFrame:
    listed = [{"slug": slug.replace("_", "-"), "date": DAY, "category": kind} for slug, kind in kinds.items()]
    return pl.DataFrame(listed, schema={"slug": pl.String, "date": pl.Date, "category": pl.String})


def categories_of(pools: pl.DataFrame, protocols: pl.DataFrame) -> list[str]:
    found = categorised(pools, protocols)
    assert found.columns == [*pools.columns, "category"]
    return found["category"].to_list()


def test_a_category_comes_from_the_project_then_from_its_kind_then_from_the_pools_shape() -> None:
    rows = pool_rows(("ethena-usde", "single"), ("aave-v3", "multi"), ("nobody", "multi"), ("nobody", "single"))
    kinds = protocol_rows(ethena_usde="Basis Trading", aave_v3="Lending")
    assert categories_of(rows, kinds) == ["delta_neutral", "lending", "amm_lp", "other"]
    # The project is named in the file, whatever kind the list gives it.
    assert categories_of(pool_rows(("pendle", "single")), protocol_rows(pendle="Yield")) == ["fixed_yield"]


def test_a_kind_that_the_file_does_not_know_leaves_it_to_the_shape() -> None:
    rows = pool_rows(("game", "multi"), ("game", "single"), ("game", None))
    assert categories_of(rows, protocol_rows(game="Gaming")) == ["amm_lp", "other", "other"]
    assert categories_of(rows, protocol_rows(game=None)) == ["amm_lp", "other", "other"]


def test_of_a_protocols_several_rows_the_first_counts_and_no_pool_is_doubled() -> None:
    kinds = pl.concat([protocol_rows(lido="Liquid Staking"), protocol_rows(lido="Lending")])
    assert categories_of(pool_rows(("lido", "single"), ("lido", "single")), kinds) == ["staking", "staking"]


def test_without_a_list_of_protocols_projects_and_shapes_are_all_there_is() -> None:
    assert categories_of(pool_rows(("maple", "single"), ("lido", "single")), protocol_rows()) == ["rwa", "other"]


def test_every_category_of_the_file_is_one_of_the_contract() -> None:
    content = tomllib.loads(shipped_file("configs/categories.toml", "configs/categories.toml").read_text())
    assert {*content["project"].values(), *content["protocol"].values()} <= set(CATEGORIES)
    assert set(content) == {"project", "protocol"}


# Names


@pytest.mark.parametrize(
    ("project", "chain", "symbol", "expected"),
    [
        ("aave-v3", "Ethereum", "USDC", "aave-v3:ethereum:usdc:aa70268e"),
        ("uniswap-v3", "OP Mainnet", "WETH-USDC.E", "uniswap-v3:op-mainnet:weth-usdc.e:aa70268e"),
        ("Some Project", "Base", "USDC (Vault #1) / €", "some-project:base:usdc-vault-1-:aa70268e"),
        ("x", "y", "a:b c", "x:y:a-b-c:aa70268e"),
    ],
)
def test_a_name_says_project_chain_symbol_and_tells_pools_apart(
    project: str, chain: str, symbol: str, expected: str
) -> None:
    row = {"project": project, "chain": chain, "symbol": symbol, "pool": "aa70268e-4b52-42bf-a116-608b370f9501"}
    assert pl.DataFrame([row]).select(strategy_id()).item() == expected
