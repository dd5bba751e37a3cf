"""Recalibrated versions beside trainings: who is kin of whom, what the gate compares, what a walk may know."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import NOT_RECORDED, market, trained_until
from lifted_models import lifted

from aegis_yield.domain.errors import RegistryError
from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.models.bundle import Bundle, bundle_bytes, load_bundle
from aegis_yield.models.calibration import Calibrator, ScorePool, scores_of
from aegis_yield.pipelines.bookkeeping import record_scores
from aegis_yield.pipelines.calibrate import calibrate, learned_version, let_serve
from aegis_yield.pipelines.evaluate import EvaluationOrder, evaluate
from aegis_yield.pipelines.gate import GateOrder, decide, load_decision
from aegis_yield.pipelines.incumbents import name_incumbent
from aegis_yield.pipelines.kin import are_kin, as_trained, kin_in, kin_of, newest_training
from aegis_yield.pipelines.run_calibrating import due_on, was_brought_back
from aegis_yield.pipelines.shelf import Shelf, list_versions
from aegis_yield.pipelines.versions import Trial, delete_version, promote, rollback, try_promotion
from aegis_yield.preprocessing.origins import outcomes, walk_origins
from aegis_yield.preprocessing.panel import build_panel, to_day
from aegis_yield.registry import read_registry
from aegis_yield.registry.aliases import Why

WHY = Why("a test")
HORIZON = 7
Put = Callable[..., Path]


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    for name, value in {"AEGIS_HOME": str(tmp_path), **NOT_RECORDED}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "models").mkdir()
    return Shelf.open()


@pytest.fixture
def put(shelf: Shelf, tiny_bundle: Bundle) -> Put:
    """Write a training of its own as a version."""

    def write(number: int, too_high: float = 0.0, simulated: bool = True, **facts: Any) -> Path:
        known = {**tiny_bundle.provenance["data"], "simulated": simulated}
        held = replace(
            lifted(tiny_bundle, too_high),
            calibrator=replace(tiny_bundle.calibrator, halflife_days=5000.0),
            provenance={**tiny_bundle.provenance, "data": known, "number": number, **facts},
        )
        path = shelf.folder / f"lstm_v{number}.pth"
        path.write_bytes(bundle_bytes(held))
        return path

    return write


def learned(source: Path, days_ago: int = 0) -> Path:
    return learned_version(source, market().known_at(market().last_date - dt.timedelta(days=days_ago)))


# ── who is kin of whom ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_recalibrated_version_is_no_training(shelf: Shelf, put: Put) -> None:
    first, second = put(1), put(2)
    third = learned(learned(first, 20))
    assert third.name == "lstm_v4.pth"
    assert are_kin(first, third)
    assert not are_kin(second, third)
    newest = newest_training(shelf.folder, simulated=True)
    assert newest is not None
    assert (newest.name, newest.trained_to) == ("lstm_v2", trained_until().isoformat())
    assert newest_training(shelf.folder, simulated=False) is None


def test_where_a_training_left_only_recalibrated_versions_the_earliest_stands_for_it(shelf: Shelf, put: Put) -> None:
    original = put(1)
    early, late = learned(original, 20), learned(original)
    put(4)
    original.unlink()
    (shelf.folder / "lstm_v4.pth").unlink()
    newest = newest_training(shelf.folder, simulated=True)
    assert newest is not None
    assert (newest.path, newest.trained_to) == (early, trained_until().isoformat())
    assert newest.data_end > newest.trained_to
    early.unlink()
    newest = newest_training(shelf.folder, simulated=True)
    assert newest is not None
    assert newest.path == late


def test_what_cannot_be_read_or_was_interrupted_is_no_training(shelf: Shelf, put: Put) -> None:
    put(1), put(2, interrupted=True), put(3, data="unknown")
    (shelf.folder / "lstm_v4.pth").write_bytes(b"damaged")
    assert [one.name for one in kin_in(shelf.folder)] == ["lstm_v1", "lstm_v2", "lstm_v3"]
    assert kin_of(shelf.folder / "lstm_v4.pth") is None
    assert not are_kin(shelf.folder / "lstm_v4.pth", shelf.folder / "lstm_v4.pth")
    newest = newest_training(shelf.folder, simulated=True)
    assert newest is not None
    assert newest.name == "lstm_v1"


def test_a_file_that_is_written_anew_is_read_anew(put: Put) -> None:
    path = put(1)
    before = kin_of(path)
    put(1, 3.0)
    after = kin_of(path)
    assert before is not None
    assert after is not None
    assert before.training_id != after.training_id


def test_as_trained_is_the_original_or_what_is_left_of_it(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    original = put(1)
    later = learned(original)
    assert len(load_bundle(later).calibrator.pool) > len(load_bundle(original).calibrator.pool)
    assert bundle_bytes(as_trained(later)) == original.read_bytes()
    original.unlink()
    assert bundle_bytes(as_trained(later)) == bundle_bytes(load_bundle(later).as_trained())
    assert as_trained(later).data_end == trained_until().isoformat()


# ── the gate ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_original_there", [True, False])
def test_the_gate_compares_models_as_their_training_left_them(put: Put, is_original_there: bool) -> None:
    champion, challenger = put(1, 6.0), put(2)
    plain = decide(GateOrder(market(), champion, challenger))
    versions = learned(champion), learned(challenger)
    if not is_original_there:
        champion.unlink()
        challenger.unlink()
    again = decide(GateOrder(market(), *versions))
    assert plain.verdict == again.verdict == "promote"
    assert again.judgement == plain.judgement  # to the last bit: nothing known too early, nothing counted twice
    assert again.data == plain.data
    assert [again.champion[name] for name in ("file", "data_end")] == ["lstm_v3.pth", trained_until().isoformat()]
    assert again.champion["training_id"] == plain.champion["training_id"]


def test_the_same_networks_are_not_judged_but_told_what_to_do(shelf: Shelf, put: Put) -> None:
    promote(shelf, put(1).stem, WHY)
    later = learned(shelf.folder / "lstm_v1.pth")
    decision = try_promotion(shelf, later.stem, Trial(market()))
    assert decision is not None
    assert decision.verdict == "refused"
    assert "have the same networks" in decision.reason
    assert "aegis calibrate --update" in decision.reason
    assert load_decision(decision.id, shelf.folder).judgement is None
    assert read_registry(shelf.folder).champion == "lstm_v1"


def test_a_version_with_the_challengers_networks_is_not_its_rival(shelf: Shelf, put: Put) -> None:
    put(1, 6.0)
    original = put(2)
    learned(original)
    assert name_incumbent(shelf, simulated=True, challenger="lstm_v2") == "lstm_v1"
    assert name_incumbent(shelf, simulated=True) == "lstm_v1"


def test_without_a_champion_a_recalibrated_version_is_what_was_in_use(shelf: Shelf, put: Put) -> None:
    assert learned(put(1)).stem == name_incumbent(shelf, simulated=True) == "lstm_v2"


# ── serving, going back, deleting ─────────────────────────────────────────────────────────────────────────────────


def test_it_serves_in_place_of_the_version_that_it_was_made_from_and_no_other(shelf: Shelf, put: Put) -> None:
    put(1), put(2)
    promote(shelf, "1", WHY)
    later = learned(shelf.folder / "lstm_v1.pth")
    promote(shelf, "2", WHY)
    with pytest.raises(RegistryError, match="meanwhile lstm_v2 became champion"):
        let_serve(shelf, later, "lstm_v1")
    promote(shelf, "1", WHY)
    registry = let_serve(shelf, later, "lstm_v1")
    n_outcomes = load_bundle(later).calibrated["n_outcomes"]
    assert registry.champion == "lstm_v3"
    assert registry.history[-1].why.reason == (
        f"same networks as lstm_v1; intervals learned from {n_outcomes:,} outcomes to {market().last_date}"
    )


def test_a_rollback_or_a_forced_step_back_is_a_persons_word(shelf: Shelf, put: Put) -> None:
    assert not was_brought_back(shelf.folder)
    put(1), put(2)
    promote(shelf, "1", WHY)
    let_serve(shelf, learned(shelf.folder / "lstm_v1.pth"), "lstm_v1")
    assert not was_brought_back(shelf.folder)
    rollback(shelf, WHY)
    assert was_brought_back(shelf.folder)
    promote(shelf, "3", Why("on with it", forced=True))
    assert not was_brought_back(shelf.folder)
    promote(shelf, "1", Why("back to what it was trained to be", forced=True))
    assert was_brought_back(shelf.folder)
    promote(shelf, "2", Why("other networks", forced=True))
    assert not was_brought_back(shelf.folder)


def test_a_rollback_leads_to_other_networks(shelf: Shelf, put: Put) -> None:
    put(1), put(2)
    promote(shelf, "1", WHY)
    before = let_serve(shelf, learned(shelf.folder / "lstm_v1.pth"), "lstm_v1").champion
    promote(shelf, "2", WHY)
    after = let_serve(shelf, learned(shelf.folder / "lstm_v2.pth"), "lstm_v2").champion
    assert (before, after) == ("lstm_v3", "lstm_v4")
    # Not lstm_v2, which has the networks that somebody wants to leave; and with the intervals that served last.
    assert rollback(shelf, WHY).champion == "lstm_v3"
    # There were no other networks before these: what is left are their earlier intervals.
    assert rollback(shelf, WHY).champion == "lstm_v1"
    with pytest.raises(RegistryError, match="no earlier champion to return to"):
        rollback(shelf, WHY)


def test_a_week_after_what_it_knows_it_is_due(tiny_bundle: Bundle) -> None:
    # A week of outcomes: the first origin after the training, and seven days more.
    assert due_on(tiny_bundle) == trained_until() + dt.timedelta(days=8)
    day = trained_until() + dt.timedelta(days=30)
    assert due_on(calibrate(tiny_bundle, market().known_at(day)).bundle) == day + dt.timedelta(days=7)


def test_the_original_of_the_champion_is_not_deleted(shelf: Shelf, put: Put) -> None:
    promote(shelf, put(1).stem, WHY)
    for days_ago in (20, 10, 0):
        champion = read_registry(shelf.folder).champion
        assert champion is not None
        let_serve(shelf, learned(shelf.folder / f"{champion}.pth", days_ago), champion)
    with pytest.raises(RegistryError, match="the champion lstm_v4 was recalibrated from it"):
        delete_version(shelf, "1", WHY)
    assert delete_version(shelf, "2", WHY) == "lstm_v2"
    promote(shelf, put(5).stem, WHY)
    assert delete_version(shelf, "1", WHY) == "lstm_v1"


def test_the_list_tells_them_from_trainings(shelf: Shelf, put: Put) -> None:
    learned(put(1))
    later, original = list_versions(shelf)
    assert (original.recalibrated, later.recalibrated["until"]) == ({}, market().last_date.isoformat())
    assert later.training_id == original.training_id != ""
    assert later.to_json()["provenance"]["calibrated"]["from"].startswith("lstm_v1-")


# ── what a walk may know ──────────────────────────────────────────────────────────────────────────────────────────


def recalibrated_in_mid_walk(bundle: Bundle) -> tuple[Bundle, int]:
    """Return a bundle that asks records and has learned up to a day in the middle of the market, and that day."""
    until = trained_until() + dt.timedelta(days=45)
    asking = replace(bundle, calibrator=replace(bundle.calibrator, record_prior=2.0))
    return calibrate(asking, market().known_at(until)).bundle, to_day(until)


def outcomes_of(pool: ScorePool) -> set[tuple[int, ...]]:
    return set(zip(pool.strategy.tolist(), pool.known_day.tolist(), pool.horizon_days.tolist(), strict=True))


def walked(bundle: Bundle, first: int) -> Any:
    order = EvaluationOrder(market(), bundle, dt.date(1970, 1, 1) + dt.timedelta(days=first), horizon_days=HORIZON)
    return evaluate(order).walks[0].forecasts


def test_an_evaluation_uses_no_ratio_whose_outcome_lies_after_the_origin(tiny_bundle: Bundle) -> None:
    bundle, until = recalibrated_in_mid_walk(tiny_bundle)
    pool, first, day = bundle.calibrator.pool, until - 28, until - 14
    spoilt = np.where((pool.known_day > day)[:, None], np.float16(1000.0), pool.ratio)
    changed = replace(bundle, calibrator=replace(bundle.calibrator, pool=replace(pool, ratio=spoilt)))
    before, after = walked(bundle, first), walked(changed, first)
    early = before.keys.origin.astype("datetime64[D]").astype(np.int64) <= day
    assert early.any()
    assert np.array_equal(before.quantiles[early], after.quantiles[early])
    assert not np.array_equal(before.quantiles[~early], after.quantiles[~early])


@pytest.mark.parametrize("first_after_calibration", [-21, 0, 3])
def test_what_is_learned_in_a_walk_was_not_learned_before(tiny_bundle: Bundle, first_after_calibration: int) -> None:
    """A naive loop over the walk's own origins, from the training on: the calibration has walked the same ones."""
    bundle, until = recalibrated_in_mid_walk(tiny_bundle)
    first = until + first_after_calibration
    panel, pool = build_panel(market()), bundle.calibrator.pool
    found = walked(bundle, first)
    origins = np.unique(found.keys.origin.astype("datetime64[D]").astype(np.int64)).tolist()
    walk = [*range(first - 7, to_day(trained_until()) - 1, -7)][::-1] + [day for day in origins if day < origins[-1]]
    seen = {
        (*key,) for key in zip(pool.strategy.tolist(), pool.known_day.tolist(), pool.horizon_days.tolist(), strict=True)
    }
    for batch in walk_origins(panel, walk):
        if to_day(trained_until()) < batch.day and until < batch.day + HORIZON <= origins[-1]:
            paid = outcomes(panel, batch.rows, batch.day, HORIZON)[0]
            new = scores_of(bundle.model.locate(batch.inputs, HORIZON), batch.keys, paid, HORIZON)
            keys = {
                (*key,)
                for key in zip(new.strategy.tolist(), new.known_day.tolist(), new.horizon_days.tolist(), strict=True)
            }
            assert not keys & seen
            pool, seen = pool.extended(new), seen | keys
    (last,) = walk_origins(panel, [origins[-1]])
    naive = replace(bundle.calibrator, pool=pool)
    expected = naive.forecasts(bundle.model.locate(last.inputs, HORIZON), last.keys, HORIZON, QUANTILE_LEVELS).quantiles
    today = found.keys.origin.astype("datetime64[D]").astype(np.int64) == origins[-1]
    assert np.array_equal(found.quantiles[today], expected)


def test_days_that_the_intervals_have_learned_from_are_no_proof_of_skill(tiny_bundle: Bundle) -> None:
    bundle, until = recalibrated_in_mid_walk(tiny_bundle)
    for first, is_seen in ((until - 14, True), (until, True), (until + 1, False)):
        start = dt.date(1970, 1, 1) + dt.timedelta(days=first)
        assert (
            evaluate(EvaluationOrder(market(), bundle, start, horizon_days=HORIZON)).scores["seen_in_training"]
            is is_seen
        )


def test_scores_on_days_that_it_has_learned_from_are_recorded_as_seen(shelf: Shelf, put: Put) -> None:
    recorded = replace(shelf, tracking=replace(shelf.tracking, enabled=True))
    original = put(1)
    later, start = learned(original, 60), trained_until() + dt.timedelta(days=1)
    for path in (original, later):
        scores = evaluate(EvaluationOrder(market(), load_bundle(path), start, horizon_days=HORIZON)).scores
        assert record_scores(recorded, path, [scores], {})
    waiting = (one for one in recorded.outbox.waiting() if one.kind == "scores" and one.bundle)
    found = {one.bundle.name: set(one.metrics) for one in waiting if one.bundle}
    assert "h07/rel_mae" in found["lstm_v1"]
    assert "seen/h07/rel_mae" in found["lstm_v2"]


def test_a_calibrator_without_ratios_is_one_too(tiny_bundle: Bundle) -> None:
    empty = replace(tiny_bundle, calibrator=Calibrator(ScorePool.empty()))
    assert len(calibrate(empty, market()).bundle.as_trained().calibrator.pool) == 0
