from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundles import market, trained_until
from lifted_models import lifted

from aegis_yield.domain.errors import DataError, RequestError
from aegis_yield.models.bundle import Bundle, bundle_bytes
from aegis_yield.monitoring.gate import GateRule
from aegis_yield.pipelines.gate import Decision, GateOrder, decide, load_decision, store_decision

Maker = Callable[..., Path]


@pytest.fixture
def made(tiny_bundle: Bundle, tmp_path: Path) -> Maker:
    """Write a variation of the tiny bundle: other provenance, or forecasts that lie too high."""

    def write(name: str, too_high: float = 0.0, **data: Any) -> Path:
        known = {**tiny_bundle.provenance["data"], **data}
        # Scores that fade slowly: what the walk adds does not mend a planted fault at once.
        changed = replace(
            lifted(tiny_bundle, too_high),
            calibrator=replace(tiny_bundle.calibrator, halflife_days=5000.0),
            provenance={**tiny_bundle.provenance, "data": known, "name": name},
        )
        path = tmp_path / f"{name}.pth"
        path.write_bytes(bundle_bytes(changed))
        return path

    return write


def order(champion: Path, challenger: Path, **changes: Any) -> GateOrder:
    return GateOrder(market(), champion, challenger, **changes)


def test_a_better_bundle_is_promoted_and_a_worse_one_is_not(made: Maker) -> None:
    sound, high = made("lstm_v2"), made("lstm_v1", too_high=6.0)
    better, worse = decide(order(high, sound)), decide(order(sound, high))
    assert (better.verdict, worse.verdict) == ("promote", "keep")
    assert better.allows
    assert not worse.allows
    assert better.judgement is not None
    assert better.judgement["n_weeks"] >= 12


def test_equal_bundles_stay(made: Maker) -> None:
    found = decide(order(made("lstm_v1"), made("lstm_v2")))
    assert found.verdict == "keep"


def test_origins_lie_after_what_either_model_has_seen(made: Maker) -> None:
    later = trained_until() + dt.timedelta(days=10)
    decision = decide(order(made("lstm_v1"), made("lstm_v2", last_date=later.isoformat())))
    assert decision.data["origins"][0] > later.isoformat()
    assert decision.data["origins"][1] <= (market().last_date - dt.timedelta(days=7)).isoformat()


def test_the_same_content_is_refused(made: Maker) -> None:
    path = made("lstm_v1")
    decision = decide(order(path, path))
    assert decision.verdict == "refused"
    assert "same file content" in decision.reason


@pytest.mark.parametrize(
    ("data", "changes", "says"),
    [
        ({"last_date": "unknown"}, {}, "does not say to which day"),
        ({}, {"start": dt.date(2025, 1, 1)}, "a model has seen days to"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_reason(
    made: Maker, data: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    decision = decide(order(made("lstm_v1"), made("lstm_v2", **data), **changes))
    assert decision.verdict == "refused"
    assert says in decision.reason
    assert decision.judgement is None
    assert not decision.allows


def test_a_model_of_simulated_data_is_not_judged_on_real_data(made: Maker) -> None:
    tables = market()
    real = replace(tables, yields=tables.yields.drop("source"))
    decision = decide(replace(order(made("lstm_v1"), made("lstm_v2")), dataset=real))
    assert decision.verdict == "refused"
    assert "simulated" in decision.reason


@pytest.mark.parametrize("days_known", [0, 30])
def test_too_few_weeks_are_not_enough_evidence(made: Maker, days_known: int) -> None:
    end = (market().last_date - dt.timedelta(days=days_known)).isoformat()
    decision = decide(order(made("lstm_v1"), made("lstm_v2", last_date=end)))
    assert decision.verdict == "not enough evidence"
    assert not decision.allows


def test_decisions_are_kept_and_read_back(made: Maker, tmp_path: Path) -> None:
    decision = decide(order(made("lstm_v1", too_high=6.0), made("lstm_v2"), rule=GateRule(min_weeks=10)))
    path = store_decision(decision, tmp_path / "models")
    assert path == tmp_path / "models" / "decisions" / f"{decision.id}.json"
    again = load_decision(decision.id, tmp_path / "models")
    assert again.id == decision.id
    assert again.allows == decision.allows
    assert json.loads(path.read_text())["judgement"]["categories"][0]["category"]


def test_the_same_question_has_the_same_decision(made: Maker) -> None:
    first = decide(order(made("lstm_v1"), made("lstm_v2")))
    later = replace(first, made_at="2030-01-01T00:00:00+00:00")
    assert first.id == later.id == decide(order(made("lstm_v1"), made("lstm_v2"))).id


def test_a_decision_changed_by_hand_is_not_believed(made: Maker, tmp_path: Path) -> None:
    decision = decide(order(made("lstm_v2"), made("lstm_v1", too_high=6.0)))
    path = store_decision(decision, tmp_path)
    path.write_text(path.read_text().replace('"keep"', '"promote"'))
    with pytest.raises(DataError, match="changed by hand"):
        load_decision(decision.id, tmp_path)
    with pytest.raises(DataError, match="no decision can be read"):
        load_decision("0" * 12, tmp_path)


def test_forcing_needs_a_reason_and_leaves_a_trace(made: Maker, tmp_path: Path) -> None:
    decision = decide(order(made("lstm_v2"), made("lstm_v1", too_high=6.0)))
    with pytest.raises(RequestError, match="reason"):
        decision.overruled("  ")
    forced = decision.overruled("the champion's file is lost")
    assert forced.allows
    assert forced.id != decision.id
    store_decision(forced, tmp_path)
    assert load_decision(forced.id, tmp_path).forced == "the champion's file is lost"
    assert isinstance(forced, Decision)
