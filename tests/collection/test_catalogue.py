"""The catalogue: the shipped one holds together, a broken one names the entry and the reason, demands come once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from aegis_yield.collection.assemble.feeds import _KINDS
from aegis_yield.collection.catalogue import (
    DEFAULT_HISTORY_DAYS,
    MARKET_DATASETS,
    YIELD_DATASETS,
    Carry,
    Catalogue,
    load_catalogue,
    spec_of,
)
from aegis_yield.collection.plan import POOL_LISTS
from aegis_yield.collection.settings import load_settings
from aegis_yield.collection.sources import DATASETS
from aegis_yield.collection.units import Demand
from aegis_yield.domain.errors import CollectionError
from aegis_yield.pipelines.names import load_names

POOL = "aa70268e-4b52-42bf-a116-608b370f9501"
STRATEGY = """
[[strategy]]
id = "{id}"
project = "p"
chain = "c"
symbol = "s"
category = "lending"
sources = [{{ dataset = "defillama/chart", entity = "{pool}" }}]
"""
CARRY = """
[[strategy]]
id = "trade"
project = "p"
chain = "c"
symbol = "s"
category = "delta_neutral"
[strategy.carry]
long = "a"
short = "b"
"""
GOOD = STRATEGY.format(id="a", pool=POOL) + STRATEGY.format(id="b", pool="2") + CARRY
MARKET = """
[[market]]
column = "eth_price"
sources = [{ dataset = "binance/candles", entity = "ETHUSDT" }]
"""


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AEGIS_CATALOGUE", "AEGIS_STRATEGIES", "AEGIS_HOME"):
        monkeypatch.delenv(name, raising=False)


def loaded(folder: Path, text: str) -> Catalogue:
    path = folder / "catalogue.toml"
    path.write_text(text)
    return load_catalogue(path)


# The shipped one


def test_every_source_of_the_shipped_catalogue_is_offered_and_its_host_has_settings() -> None:
    catalogue, settings = load_catalogue(), load_settings(environment={})
    demands = catalogue.demands()
    assert len(demands) > 20
    for demand in [*POOL_LISTS, *demands]:
        assert settings.host(spec_of(demand).host).base_urls


def test_every_alias_of_the_project_is_a_strategy_of_the_shipped_catalogue() -> None:
    known, names = list(load_catalogue().by_id), load_names()
    assert names.resolve("delta", known) == "delta-neutral:lido-binance:steth-eth"
    assert {names.resolve(alias, known) for alias in names.aliases} <= set(known)
    assert set(names.defaults) <= set(names.aliases)


def test_the_three_strategies_that_users_were_promised_are_there() -> None:
    catalogue = load_catalogue()
    assert catalogue.by_id["aave-v3:ethereum:usdc"].feeds[0].demand.source == "aave"
    assert catalogue.by_id["lido:ethereum:steth"].feeds[0].demand.source == "lido"
    carry = catalogue.by_id["delta-neutral:lido-binance:steth-eth"].carry
    assert carry is not None
    assert (carry.long, carry.short) == ("lido:ethereum:steth", "delta-neutral:binance:eth")
    assert carry.round_trip_cost_bps > 0


def test_a_dataset_is_either_a_yield_or_a_market_series_or_a_list() -> None:
    both = set(YIELD_DATASETS) & set(MARKET_DATASETS)
    lists = {"pools", "protocols", "lending"}
    assert both == set()
    assert {*YIELD_DATASETS, *MARKET_DATASETS, *lists} == {name for _, name in DATASETS}
    assert set(YIELD_DATASETS) == set(_KINDS)


# Demands


def test_demands_come_once_whoever_wants_them(tmp_path: Path) -> None:
    text = GOOD + MARKET + MARKET.replace("eth_price", "eth_volatility")
    text = text.replace(f'entity = "{POOL}" }}]', f'entity = "{POOL}" }}]\nprice = {{ of = "usd", over = "eth" }}')
    text = text.replace('entity = "2" }]', 'entity = "2" }]\nprice = { of = "usd" }')
    assert loaded(tmp_path, text).demands() == [
        Demand("defillama", "chart", POOL),
        Demand("defillama", "price", "usd"),
        Demand("defillama", "price", "eth"),
        Demand("defillama", "chart", "2"),
        Demand("binance", "candles", "ETHUSDT"),
    ]


def test_a_trade_brings_its_legs_and_a_strategy_alone_brings_itself(tmp_path: Path) -> None:
    catalogue = loaded(tmp_path, GOOD + STRATEGY.format(id="other", pool="3") + MARKET)
    market = Demand("binance", "candles", "ETHUSDT")
    first, second = Demand("defillama", "chart", POOL), Demand("defillama", "chart", "2")
    assert catalogue.demands(["trade"]) == [first, second, market]
    assert catalogue.demands(["b", "trade"]) == [second, first, market]
    assert catalogue.demands(["other"]) == [Demand("defillama", "chart", "3"), market]
    assert catalogue.demands([]) == [market]


def test_a_vault_over_vaults_asks_for_all_of_them(tmp_path: Path) -> None:
    source = '{ dataset = "erc4626/share_price", entity = "0xa", through = ["0xb", "0xc"] }'
    text = STRATEGY.format(id="v", pool=POOL).replace(f'{{ dataset = "defillama/chart", entity = "{POOL}" }}', source)
    assert [demand.entity for demand in loaded(tmp_path, text).demands()] == ["0xa", "0xb", "0xc"]


def test_a_sources_rate_and_a_trades_costs_are_read(tmp_path: Path) -> None:
    text = GOOD.replace('entity = "2" }', 'entity = "2", rate = "apr" }') + "leverage = 0\nholding_days = 90\n"
    catalogue = loaded(tmp_path, text)
    assert [listed.feeds[0].rate for listed in catalogue.strategies if listed.feeds] == ["apy", "apr"]
    assert catalogue.by_id["trade"].carry == Carry("a", "b", leverage=0, holding_days=90)
    assert catalogue.history_days == DEFAULT_HISTORY_DAYS
    assert loaded(tmp_path, "[defaults]\nhistory_days = 30\n" + GOOD).history_days == 30


def test_the_environment_names_another_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(tmp_path, STRATEGY.format(id="mine", pool=POOL))
    monkeypatch.setenv("AEGIS_CATALOGUE", str(tmp_path / "catalogue.toml"))
    assert list(load_catalogue().by_id) == ["mine"]


# Broken ones

SOURCE = f'{{ dataset = "defillama/chart", entity = "{POOL}" }}'
BROKEN: dict[str, tuple[str, str]] = {
    "no toml": ("[[strategy", "cannot be read as a TOML catalogue"),
    "a missing field": (GOOD.replace('chain = "c"\n', "", 1), "strategy 1 (a): chain is missing"),
    "an unknown category": (
        GOOD.replace('category = "lending"', 'category = "bonds"', 1),
        "strategy 1 (a): category is 'bonds', allowed is one of lending, staking",
    ),
    "an unknown dataset": (
        GOOD.replace("defillama/chart", "defillama/charts", 1),
        "strategy 1 (a): dataset: received 'defillama/charts', allowed is ",
    ),
    "a dataset without a source": (
        GOOD.replace("defillama/chart", "chart", 1),
        "strategy 1 (a): dataset: received 'chart/'",
    ),
    "a dataset that pays no yield": (
        GOOD.replace("defillama/chart", "binance/candles", 1),
        "strategy 1 (a): binance/candles holds nothing for this",
    ),
    "a source without an entity": (
        GOOD.replace(f', entity = "{POOL}"', "", 1),
        "strategy 1 (a): entity is missing",
    ),
    "a source that is text": (
        GOOD.replace(SOURCE, '"defillama/chart"', 1),
        "strategy 1 (a): expected a table of dataset",
    ),
    "an unknown rate": (
        GOOD.replace('entity = "2" }', 'entity = "2", rate = "apx" }'),
        "strategy 2 (b): rate is 'apx', allowed is 'apy' or 'apr'",
    ),
    "a misspelt rate": (
        GOOD.replace('entity = "2" }', 'entity = "2", rates = "apr" }'),
        "strategy 2 (b): rates is unknown, allowed is dataset, entity, rate",
    ),
    "a vault within that is no list": (
        GOOD.replace('entity = "2" }', 'entity = "2", through = "0xb" }'),
        "strategy 2 (b): through is '0xb', allowed is a list of vaults",
    ),
    "neither sources nor legs": (
        GOOD.replace(f"sources = [{SOURCE}]", ""),
        "strategy 1 (a): needs either sources or a",
    ),
    "no sources": (GOOD.replace(f"[{SOURCE}]", "[]"), "strategy 1 (a): needs either sources or a"),
    "sources and legs": (
        GOOD.replace("[strategy.carry]", f"sources = [{SOURCE}]\n[strategy.carry]"),
        "strategy 3 (trade): needs either sources or a",
    ),
    "the same id": (GOOD.replace('id = "b"', 'id = "a"'), "id 'a' is there twice"),
    "an unknown leg": (
        GOOD.replace('short = "b"', 'short = "c"'),
        "trade: leg 'c' must be a strategy of the catalogue",
    ),
    "a leg that is itself a trade": (
        GOOD.replace('short = "b"', 'short = "trade"'),
        "trade: leg 'trade' must be a strategy of the catalogue with sources",
    ),
    "a missing leg": (GOOD.replace('short = "b"\n', ""), "strategy 3 (trade): short is missing"),
    "a misspelt cost": (
        GOOD + "round_trip_bps = 5\n",
        "strategy 3 (trade): round_trip_bps is unknown, allowed is long",
    ),
    "negative leverage": (
        GOOD + "leverage = -1\n",
        "strategy 3 (trade): leverage is -1, allowed is a number, at least 0",
    ),
    "a number as text": (GOOD + 'hedge_ratio = "1"\n', "strategy 3 (trade): hedge_ratio is '1', allowed is a number"),
    "a number that is none": (GOOD + "hedge_ratio = nan\n", "strategy 3 (trade): hedge_ratio is nan, allowed is"),
    "a truth for a number": (GOOD + "leverage = true\n", "strategy 3 (trade): leverage is True, allowed is a number"),
    "held for no time": (
        GOOD + "holding_days = 0\n",
        "strategy 3 (trade): holding_days is 0, allowed is a number above 0",
    ),
    "a price of nothing": (
        GOOD.replace(f"[{SOURCE}]", f'[{SOURCE}]\nprice = {{ over = "eth" }}'),
        "strategy 1 (a): of is missing",
    ),
    "a price that is text": (
        GOOD.replace(f"[{SOURCE}]", f'[{SOURCE}]\nprice = "eth"'),
        "strategy 1 (a): expected a table of of, over",
    ),
    "a market column without a name": (MARKET.replace('column = "eth_price"\n', ""), "market 1 (?): column is missing"),
    "a market column without sources": (MARKET.split("sources")[0], "market 1 (eth_price): sources is missing"),
    "a market column of a pool": (
        MARKET.replace("binance/candles", "defillama/chart"),
        "market 1 (eth_price): defillama/chart holds nothing for this",
    ),
    "the same market column": (MARKET + MARKET, "column 'eth_price' is there twice"),
    "one table instead of a list": (GOOD.replace("[[strategy]]", "[strategy]", 1).split("[[")[0], "[[strategy]]"),
    "strategies that are a number": ("strategy = 3\n", "strategy: expected entries that begin with [[strategy]]"),
    "a misspelt table": ("[[strategies]]\nid = 'a'\n", "['strategies'] is unknown"),
    "days in words": ("[defaults]\nhistory_days = 'two years'\n", "history_days is 'two years', allowed is"),
    "no days": ("[defaults]\nhistory_days = 0\n", "history_days is 0, allowed is a whole number above 0"),
    "defaults that are a list": ("defaults = [1]\n", "history_days is [1]"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_catalogue_names_the_entry_and_the_reason(case: str, tmp_path: Path) -> None:
    text, expected = BROKEN[case]
    with pytest.raises(CollectionError) as caught:
        loaded(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'catalogue.toml'}: ")
    assert expected in message
    assert "\n" not in message


def test_a_catalogue_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match=r"absent\.toml: cannot be read as a TOML catalogue"):
        load_catalogue(tmp_path / "absent.toml")


def test_the_broken_ones_are_broken_by_their_one_fault(tmp_path: Path) -> None:
    catalogue = loaded(tmp_path, GOOD + MARKET)
    assert [listed.id for listed in catalogue.strategies] == ["a", "b", "trade"]
    assert catalogue.by_id["trade"].carry == Carry("a", "b")
    assert {field.name for field in fields(Carry)} == {
        "long", "short", "hedge_ratio", "leverage", "round_trip_cost_bps", "holding_days", "rebalance_cost_bps_a_year",
        "margin_borrow_apy",
    }  # fmt: skip
