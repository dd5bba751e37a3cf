from __future__ import annotations

import pytest

from aegis_yield.domain.errors import UnknownStrategyError
from aegis_yield.domain.naming import StrategyNames

KNOWN = ["aave-v3:ethereum:usdc", "lido:ethereum:steth", "curve:ethereum:3Pool", "pendle:arbitrum:weeth"]
NAMES = StrategyNames(
    aliases={
        "aave": ("aave-v3:ethereum:usdc",),
        "lido": ("lido:ethereum:steth",),
        "delta": ("delta-neutral:lido-binance:steth-eth", "delta-neutral:binance:eth"),
    },
    defaults=("aave", "lido"),
)


@pytest.mark.parametrize("name", ["aave", "AAVE", " Aave\t"])
def test_an_alias_stands_for_its_strategy_in_any_case(name: str) -> None:
    assert NAMES.resolve(name, KNOWN) == "aave-v3:ethereum:usdc"


@pytest.mark.parametrize("name", ["curve:ethereum:3Pool", "curve:ethereum:3pool", " CURVE:ETHEREUM:3POOL "])
def test_an_id_is_found_in_any_case_and_returned_as_the_dataset_spells_it(name: str) -> None:
    assert NAMES.resolve(name, KNOWN) == "curve:ethereum:3Pool"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("aavee", "aave"),
        ("lidoo", "lido"),
        ("aave-v3:ethereum:usdt", "aave-v3:ethereum:usdc"),
        ("pendle", "pendle:arbitrum:weeth"),
        ("CURVE:ethereum:3poool", "curve:ethereum:3Pool"),
    ],
)
def test_a_misspelt_name_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(UnknownStrategyError) as caught:
        NAMES.resolve(name, KNOWN)
    assert meant in caught.value.closest
    assert repr(name) in str(caught.value)
    assert len(caught.value.closest) <= 3


def test_nothing_like_it_gives_no_suggestion() -> None:
    with pytest.raises(UnknownStrategyError) as caught:
        NAMES.resolve("xyzzy-0123456789", KNOWN)
    assert caught.value.closest == ()


def test_an_alias_of_a_strategy_that_is_not_there_is_refused_and_never_suggested() -> None:
    with pytest.raises(UnknownStrategyError, match="'delta'") as caught:
        NAMES.resolve("delta", KNOWN)
    assert set(NAMES.held(KNOWN)) == {"aave", "lido"}
    assert "delta" not in caught.value.closest


@pytest.mark.parametrize("name", ["", "   "])
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownStrategyError):
        NAMES.resolve(name, KNOWN)


def test_every_suggestion_can_be_asked_for() -> None:
    with pytest.raises(UnknownStrategyError) as caught:
        NAMES.resolve("ethereum", KNOWN)
    assert caught.value.closest
    assert all(NAMES.resolve(name, KNOWN) in KNOWN for name in caught.value.closest)


WHOLE, LEG = "delta-neutral:lido-binance:steth-eth", "delta-neutral:binance:eth"


@pytest.mark.parametrize(("held", "meant"), [([LEG, WHOLE], WHOLE), ([LEG], LEG), ([WHOLE], WHOLE)])
def test_of_several_ids_the_first_that_the_data_holds_is_meant(held: list[str], meant: str) -> None:
    assert NAMES.resolve("delta", [*KNOWN, *held]) == meant
    assert NAMES.held([*KNOWN, *held])["delta"] == meant


def test_an_alias_of_nothing_that_is_held_is_unknown() -> None:
    with pytest.raises(UnknownStrategyError):
        NAMES.resolve("delta", KNOWN)
    assert set(NAMES.held(KNOWN)) == {"aave", "lido"}
