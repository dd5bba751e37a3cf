"""Loss events: the shipped hazards, what strategies depend on, and exact probabilities."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.errors import DataError, RequestError, UnknownStrategyError
from aegis_yield.risk.events import enumerate_events, exposures
from aegis_yield.risk.hazards import KINDS, Hazards, load_hazards

AAVE, AAVE_BASE, COMPOUND = "aave-v3:ethereum:usdc", "aave-v3:base:weth", "compound-v3:ethereum:usdc"
LIDO, DELTA, POOL = "lido:ethereum:steth", "delta-neutral:binance:eth", "curve-dex:ethereum:dai-usdc-usdt"
SUSDE, CARRY = "ethena-usde:ethereum:susde", "delta-neutral:lido-binance:steth-eth"
ROWS = [
    (AAVE, "aave-v3", "Ethereum", "USDC", "lending"),
    (AAVE_BASE, "aave-v3", "Base", "WETH", "lending"),
    (COMPOUND, "compound-v3", "Ethereum", "USDC", "lending"),
    (LIDO, "lido", "Ethereum", "STETH", "staking"),
    (DELTA, "delta-neutral-binance", "CEX", "ETH", "delta_neutral"),
    (POOL, "curve-dex", "Ethereum", "DAI-USDC-USDT", "amm_lp"),
    (SUSDE, "ethena-usde", "Ethereum", "SUSDE", "delta_neutral"),
    (CARRY, "delta-neutral-lido-binance", "Ethereum", "STETH-ETH", "delta_neutral"),
]


def table(rows: list[tuple[str, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["strategy_id", "project", "chain", "symbol", "category"], orient="row")


@pytest.fixture(scope="module")
def hazards() -> Hazards:
    return load_hazards()


def one_kind(per_year: dict[str, float], losses: str = "[{ loss = 0.5, weight = 1.0 }]") -> str:
    entries = (
        f'[[hazard]]\nkind = "{kind}"\nwhat = "failure"\nper_year = {per_year.get(kind, 0.0)}\nseverities = {losses}\n'
        f'source = "judgement"\nseverity_source = "judgement"\ndate = 2026-01-01\n'
        for kind in KINDS
    )
    return "\n".join(entries)


def written(path: Path, text: str) -> Path:
    file = path / "hazards.toml"
    file.write_text(text)
    return file


def test_every_shipped_hazard_says_where_it_comes_from_and_of_when(hazards: Hazards) -> None:
    for entry in hazards.entries:
        assert entry.source
        assert entry.severity_source
        assert dt.date(2020, 1, 1) < entry.date < dt.date(2030, 1, 1)
        assert 0 < entry.per_year < 0.2
        assert sum(entry.weights) == pytest.approx(1.0)
    assert {entry.kind for entry in hazards.entries} == set(KINDS)


def test_shipped_anchors_are_the_published_ones(hazards: Hazards) -> None:
    assert hazards.of("protocol", "sparklend", "lending").per_year == 0.0018  # PSL of Spark's USDC vault
    assert hazards.of("issuer", "sky").per_year == 0.0076
    assert hazards.of("issuer", "ethena").per_year == 0.0094
    # Mature lending and other lending stand for the two readings of the loss of lending deposits: 0.03 % and 0.30 %.
    mature, other = hazards.of("protocol", "aave-v3", "lending"), hazards.of("protocol", "new", "lending")
    lost = [entry.per_year * np.dot(entry.losses, entry.weights) for entry in (mature, other)]
    assert lost == pytest.approx([0.0003, 0.003], rel=0.25)


def test_a_name_goes_before_a_category_and_a_category_before_neither(hazards: Hazards) -> None:
    named, by_category = hazards.of("protocol", "aave-v3", "vault"), hazards.of("protocol", "new", "vault")
    assert "aave-v3" in named.names
    assert "vault" in by_category.categories
    assert hazards.of("protocol", "new", "other").categories == ()


def test_text_tells_what_strategies_depend_on(hazards: Hazards) -> None:
    found = exposures(table(ROWS), hazards)
    ethereum = {"chain": ("ethereum",)}
    assert found.of(AAVE) == {"protocol": ("aave-v3",), "issuer": ("circle",), **ethereum}
    assert found.of(AAVE_BASE) == {"protocol": ("aave-v3",), "chain": ("base",)}
    assert found.of(LIDO) == {"protocol": ("lido",), "staking_token": ("lido",), **ethereum}
    assert found.of(DELTA) == {"venue": ("binance",)}
    assert found.of(POOL) == {"protocol": ("curve-dex",), "issuer": ("circle", "sky", "tether"), **ethereum}
    assert found.of(SUSDE) == {"protocol": ("ethena-usde",), "issuer": ("ethena",), **ethereum}


def test_the_shipped_file_knows_what_part_of_the_carry_trade_lies_where(hazards: Hazards) -> None:
    found = exposures(table(ROWS), hazards)
    column = found.share[:, found.strategy_ids.index(CARRY)]
    held = {(f.kind, f.name): share for f, share in zip(found.factors, column, strict=True) if share}
    expected = {("venue", "binance"): 0.25, ("staking_token", "lido"): 0.75, ("protocol", "lido"): 0.75}
    assert held == {**expected, ("chain", "ethereum"): 1.0}


@pytest.mark.parametrize(
    ("symbol", "issuers"),
    [
        ("USDC.E", ("circle",)),
        ("AXLUSDC", ("circle",)),
        ("ausdc", ("circle",)),
        ("USDT0", ("tether",)),
        ("SUSDE", ("ethena",)),
        ("USDAI", ("usd.ai",)),  # ends with DAI and has nothing to do with it
        ("WBTC-CBBTC", ("bitgo", "coinbase")),
        ("3CRV", ("circle", "sky", "tether")),
        ("YOUSD", ("yousd",)),  # unknown and pegged: an issuer of its own
        ("WETH-AERO", ()),
    ],
)
def test_symbols_name_their_issuers(hazards: Hazards, symbol: str, issuers: tuple[str, ...]) -> None:
    found = exposures(table([("x", "p", "Ethereum", symbol, "amm_lp")]), hazards)
    assert found.of("x").get("issuer", ()) == issuers


def test_unknown_projects_do_not_fail_together(hazards: Hazards) -> None:
    rows = [("a", "unknown", "unknown", "unknown", "other"), ("b", "unknown", "unknown", "unknown", "other")]
    found = exposures(table(rows), hazards)
    assert [(f.kind, f.name) for f in found.factors] == [("protocol", "a"), ("protocol", "b")]
    np.testing.assert_array_equal(found.share, np.eye(2))
    # Nulls are unknown too.
    assert exposures(table([("a", None, None, None, "other")]), hazards).of("a") == {"protocol": ("a",)}


def test_overrides_replace_a_kind_and_leave_the_others(hazards: Hazards) -> None:
    overrides = {AAVE: {"issuer": {"circle": 0.5, "sky": 0.5}, "venue": ["okx"], "chain": []}}
    found = exposures(table(ROWS), hazards, overrides)
    assert found.of(AAVE) == {"protocol": ("aave-v3",), "issuer": ("circle", "sky"), "venue": ("okx",)}
    row = next(i for i, f in enumerate(found.factors) if f.name == "circle")
    assert found.share[row, 0] == 0.5
    assert found.share[row, 2] == 1.0


def test_wrong_overrides_are_refused(hazards: Hazards) -> None:
    with pytest.raises(UnknownStrategyError, match="nobody"):
        exposures(table(ROWS), hazards, {"nobody": {"issuer": ["circle"]}})
    with pytest.raises(RequestError, match=r"exposures.*kind.*isuer"):
        exposures(table(ROWS), hazards, {AAVE: {"isuer": ["circle"]}})
    with pytest.raises(RequestError, match=r"exposures.*1\.5.*0 to 1"):
        exposures(table(ROWS), hazards, {AAVE: {"issuer": {"circle": 1.5}}})
    with pytest.raises(RequestError, match="list of names"):
        exposures(table(ROWS), hazards, {AAVE: {"issuer": "circle"}})


def test_what_shares_a_factor_is_hit_together(hazards: Hazards) -> None:
    events = enumerate_events(exposures(table(ROWS), hazards), hazards, 30)
    ids = list(events.strategy_ids)
    depegs = [loss for name, loss in zip(events.names, events.loss, strict=True) if "circle" in name]
    assert len(depegs) == 3
    for loss in depegs:
        hit = {ids[column] for column in np.flatnonzero(loss)}
        assert hit == {AAVE, COMPOUND, POOL}
    exploits = [loss for name, loss in zip(events.names, events.loss, strict=True) if "exploit of aave-v3" in name]
    assert all({ids[c] for c in np.flatnonzero(loss)} == {AAVE, AAVE_BASE} for loss in exploits)
    defaults = [loss for name, loss in zip(events.names, events.loss, strict=True) if "binance" in name]
    for loss in defaults:  # all of the funding leg, a quarter of the whole trade
        assert loss[ids.index(CARRY)] == pytest.approx(0.25 * loss[ids.index(DELTA)])


@pytest.mark.parametrize("horizon_days", [1, 7, 30])
def test_probabilities_are_those_of_a_loop(hazards: Hazards, horizon_days: int) -> None:
    exposed = exposures(table(ROWS), hazards)
    events = enumerate_events(exposed, hazards, horizon_days)
    expected = {}
    for factor in exposed.factors:
        entry = hazards.of(factor.kind, factor.name, factor.category)
        for loss, weight in zip(entry.losses, entry.weights, strict=True):
            name = f"{entry.what} of {factor.name}: {100 * loss:.3g} % lost"
            expected[name] = weight * (1 - np.exp(-entry.per_year * horizon_days / 365))
    assert dict(zip(events.names, events.probability, strict=True)) == pytest.approx(expected, abs=1e-15)


@given(st.integers(1, 30), st.integers(1, 30))
@settings(deadline=None)
def test_survival_over_two_horizons_is_the_product(first: int, second: int) -> None:
    entry = load_hazards().of("protocol", "anything", "vault")
    survives = [1 - entry.probability(days) for days in (first, second, first + second)]
    assert survives[0] * survives[1] == pytest.approx(survives[2], abs=1e-14)


@given(st.permutations(range(len(ROWS))), st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_permuting_strategies_permutes_columns(order: list[int], horizon_days: int) -> None:
    hazards = load_hazards()
    plain = enumerate_events(exposures(table(ROWS), hazards), hazards, horizon_days)
    moved = enumerate_events(exposures(table([ROWS[i] for i in order]), hazards), hazards, horizon_days)
    assert moved.names == plain.names
    np.testing.assert_array_equal(moved.probability, plain.probability)
    np.testing.assert_array_equal(moved.loss, plain.loss[:, order])
    assert ((plain.loss >= 0) & (plain.loss <= 1)).all()


def test_the_commonest_category_chooses_the_hazard_of_a_protocol(hazards: Hazards) -> None:
    rows = [("a", "newcomer", "Base", "X", "vault"), ("b", "newcomer", "Base", "Y", "lending")]
    found = exposures(table([*rows, ("c", "newcomer", "Base", "Z", "vault")]), hazards)
    assert next(f for f in found.factors if f.kind == "protocol").category == "vault"


def test_a_hazard_of_zero_makes_no_event(tmp_path: Path) -> None:
    hazards = load_hazards(written(tmp_path, one_kind({"chain": 0.1})))
    events = enumerate_events(exposures(table(ROWS), hazards), hazards, 30)
    assert set(events.names) == {
        "failure of base: 50 % lost",
        "failure of ethereum: 50 % lost",
        "failure of cex: 50 % lost",
    }


def test_without_factors_nothing_happens(hazards: Hazards) -> None:
    nothing = {kind: [] for kind in KINDS}
    found = enumerate_events(exposures(table(ROWS[:1]), hazards, {AAVE: nothing}), hazards, 30)
    assert (found.names, found.probability.shape, found.loss.shape) == ((), (0,), (0, 1))


def test_events_that_are_no_longer_rare_are_refused(tmp_path: Path) -> None:
    hazards = load_hazards(written(tmp_path, one_kind({"chain": 5.0})))
    exposed = exposures(table(ROWS), hazards)
    with pytest.raises(RequestError, match=r"loss events in 30 days that sum to 1\.011.*at most 0\.5"):
        enumerate_events(exposed, hazards, 30)
    with pytest.raises(RequestError, match="horizon_days"):
        enumerate_events(exposed, hazards, 0)


def test_the_environment_names_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_HAZARDS", str(written(tmp_path, one_kind({"chain": 0.25}))))
    assert load_hazards().of("chain", "ethereum").per_year == 0.25


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("per_year = 0.0", "per_year = -1", "hazard 1: per_year: received -1"),
        ("per_year = 0.0", "per_year = nan", "hazard 1: per_year: received nan"),
        ("per_year = 0.0", 'per_year = "often"', "hazard 1: per_year: received 'often'"),
        ("weight = 1.0", "weight = 0.9", "hazard 1: severities.*sum to 1"),
        ("loss = 0.5", "loss = 1.5", "hazard 1: loss: received 1.5"),
        ('source = "judgement"', 'source = ""', "hazard 1: source"),
        ("date = 2026-01-01", 'date = "lately"', "hazard 1: date: received 'lately'"),
        ('kind = "protocol"', 'kind = "weather"', "kind: received 'weather'"),
        ('what = "failure"', 'what = "failure"\ncategories = ["lendin"]', "categories: received.*lendin"),
        ('what = "failure"', 'what = "failure"\nnames = ["a"]', "protocol: exactly one hazard without names"),
        ('what = "failure"\n', "", "no 'what' where one is needed"),
        ("[[hazard]]", "[[hazards]]", "no 'hazard'|hazard"),
        ("[[hazard]]", "[[hazard", "cannot be read as a TOML file"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    count = -1 if new == "[[hazards]]" else 1
    file = written(tmp_path, one_kind({}).replace(old, new, count))
    with pytest.raises(DataError, match=said) as caught:
        load_hazards(file)
    assert str(file) in str(caught.value)


def test_a_name_in_two_hazards_is_refused(tmp_path: Path) -> None:
    named = one_kind({}).split("\n\n")[0].replace('what = "failure"', 'what = "failure"\nnames = ["aave-v3"]')
    with pytest.raises(DataError, match="named in two hazards: aave-v3"):
        load_hazards(written(tmp_path, f"{named}\n{named}\n{one_kind({})}"))
    with pytest.raises(DataError, match="cannot be read"):
        load_hazards(tmp_path / "absent.toml")
