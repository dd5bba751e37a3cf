"""Remembered inputs are those that would be made anew, whatever was asked for before, and stay few."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.dataset import Dataset
from aegis_yield.pipelines import memory
from aegis_yield.pipelines.datasets import simulated_dataset
from aegis_yield.pipelines.memory import InputsMemory
from aegis_yield.preprocessing.origins import OriginBatch, walk_origins
from aegis_yield.preprocessing.panel import build_panel, to_day
from aegis_yield.simulation import MarketSpec

N_DAYS = 90
"""Asked about: the last of the market."""


@cache
def market() -> Dataset:
    return simulated_dataset(MarketSpec(n_strategies=15, n_days=400, seed=3))


@cache
def everything() -> dict[int, OriginBatch]:
    last = to_day(market().last_date)
    days = list(range(last - N_DAYS + 1, last + 1))
    return dict(zip(days, walk_origins(build_panel(market()), days), strict=True))


def some_origins() -> st.SearchStrategy[dict[str, int]]:
    names = sorted(market().strategies["strategy_id"].to_list())
    last = to_day(market().last_date)
    return st.dictionaries(st.sampled_from(names), st.integers(last - N_DAYS + 1, last), min_size=1, max_size=6)


def seen(batches: list[OriginBatch]) -> dict[str, tuple[int, np.ndarray]]:
    return {
        str(name): (batch.day, window)
        for batch in batches
        for name, window in zip(batch.keys.strategy_id, batch.inputs.windows, strict=True)
    }


@settings(max_examples=15, deadline=None)
@given(questions=st.lists(some_origins(), min_size=1, max_size=4), limit=st.sampled_from([10, 20_000]))
def test_answers_do_not_depend_on_what_was_asked_before(questions: list[dict[str, int]], limit: int) -> None:
    remembered = InputsMemory(market())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "REMEMBERED_ROWS", limit)
        for question in [*questions, *questions]:
            found = seen(list(remembered.at(question)))
            for name, day in question.items():
                batch = everything()[day]
                place = np.flatnonzero(batch.keys.strategy_id.astype(str) == name)
                assert (name in found) == bool(len(place))
                if len(place):
                    assert found[name][0] == day
                    np.testing.assert_allclose(found[name][1], batch.inputs.windows[place[0]], rtol=1e-5, atol=1e-6)
            assert not set(found) - set(question)


def test_the_busiest_day_is_remembered_for_everyone_and_others_for_whom_they_were_asked() -> None:
    last = to_day(market().last_date)
    names = everything()[last].keys.strategy_id.astype(str).tolist()
    remembered = InputsMemory(market())
    list(remembered.at({names[0]: last, names[1]: last, names[2]: last - 9}))
    kept = {day: one.batch.keys.strategy_id.astype(str).tolist() for day, one in remembered._kept.items()}
    assert kept[last] == names
    assert kept[last - 9] == [names[2]]


def test_a_day_that_is_remembered_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    last = to_day(market().last_date)
    names = everything()[last].keys.strategy_id.astype(str).tolist()
    remembered = InputsMemory(market())
    list(remembered.at({names[0]: last, names[1]: last - 9}))
    monkeypatch.setattr(memory, "build_panel", None)  # would fail
    assert set(seen(list(remembered.at({names[3]: last, names[1]: last - 9})))) == {names[3], names[1]}
    with pytest.raises(TypeError):
        list(remembered.at({names[2]: last - 9}))


def test_nothing_asked_for_is_nothing_found() -> None:
    assert list(InputsMemory(market()).at({})) == []
