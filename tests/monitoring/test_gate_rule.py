from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from paired_losses import World, simulated_pair

from aegis_yield.monitoring.gate import GateRule, PairedLosses, Verdict, judge

QUIET = World(weeks=30, noise=0.1)


def pair(seed: int = 1, **changes: object) -> PairedLosses:
    return simulated_pair(np.random.default_rng(seed), replace(QUIET, **changes))  # type: ignore[arg-type]


def swapped(evidence: PairedLosses) -> PairedLosses:
    return replace(
        evidence,
        champion=evidence.challenger,
        challenger=evidence.champion,
        champion_inside=evidence.challenger_inside,
        challenger_inside=evidence.champion_inside,
    )


def test_better_challengers_are_promoted() -> None:
    verdicts = [judge(pair(seed, improvement=0.25)).verdict for seed in range(60)]
    assert verdicts.count(Verdict.PROMOTE) >= 0.95 * 60  # sound coverage looks broken by chance once in a while


def test_the_improvement_is_measured_right() -> None:
    found = judge(pair(improvement=0.25))
    assert found.verdict is Verdict.PROMOTE
    assert found.improvement == pytest.approx(2 * 0.25 / 1.75, abs=0.08)
    assert found.lower_bound is not None
    assert 0 < found.lower_bound < (found.improvement or 0)


@pytest.mark.parametrize("seed", range(8))
def test_a_worse_challenger_is_not(seed: int) -> None:
    found = judge(pair(seed, improvement=-0.25))
    assert found.verdict is Verdict.KEEP
    assert "worse" in found.reason


@pytest.mark.parametrize("seed", range(8))
def test_equals_stay_as_they_are(seed: int) -> None:
    assert judge(pair(seed)).verdict is Verdict.KEEP


def test_a_small_gain_within_the_noise_is_said_to_be_so() -> None:
    reasons = [judge(pair(seed, improvement=0.02, noise=0.4)).reason for seed in range(6)]
    assert any(reason.startswith("within noise") for reason in reasons)


def test_a_sure_but_tiny_gain_is_too_little() -> None:
    found = judge(pair(improvement=0.004, noise=0.0))
    assert found.verdict is Verdict.KEEP
    assert found.reason.startswith("too little")


@pytest.mark.parametrize("coverage", [0.68, 1.0])
def test_better_overall_with_broken_coverage_in_one_category_is_kept_out(coverage: float) -> None:
    for seed in range(30):
        found = judge(pair(seed, improvement=0.25, broken=(1, coverage)))
        assert found.verdict is Verdict.KEEP
        assert found.reason.startswith("coverage breaks: ")
        assert "staking" in [line.category for line in found.categories if line.broken]


def test_coverage_that_the_champion_breaks_more_is_no_obstacle() -> None:
    found = judge(pair(improvement=0.25, coverage=(0.6, 0.9), broken=(1, 0.75)))
    assert found.verdict is Verdict.PROMOTE


def test_few_outcomes_do_not_judge_a_category() -> None:
    found = judge(pair(improvement=0.25, strategies=9, broken=(1, 0.6)))
    assert {line.n_outcomes for line in found.categories} == {90}
    assert {line.p_value for line in found.categories} == {None}
    assert found.verdict is Verdict.PROMOTE


@pytest.mark.parametrize(("weeks", "strategies"), [(0, 24), (11, 24), (30, 2)])
def test_too_little_evidence_decides_nothing(weeks: int, strategies: int) -> None:
    evidence = pair(weeks=max(weeks, 1), strategies=strategies, improvement=0.5)
    if not weeks:
        empty = {name: getattr(evidence, name)[:0] for name in vars(evidence) if name != "horizon_days"}
        evidence = PairedLosses(**empty)
    found = judge(evidence)
    assert found.verdict is Verdict.NOT_ENOUGH
    assert "needed are 12 weeks of 3" in found.reason
    assert found.improvement is None


def test_swapping_the_models_turns_the_sign_and_nothing_else() -> None:
    evidence = pair(improvement=0.1)
    there, back = judge(evidence), judge(swapped(evidence))
    assert there.improvement == pytest.approx(-(back.improvement or 0))
    assert there.p_value == pytest.approx(1 - (back.p_value or 0))


def test_every_strategy_counts_the_same_whatever_the_size_of_its_rate() -> None:
    evidence = pair(improvement=0.1)
    factor = np.where(evidence.strategy == 3, 1000.0, 1.0)
    scaled = replace(evidence, champion=evidence.champion * factor, challenger=evidence.challenger * factor)
    assert judge(scaled).improvement == pytest.approx(judge(evidence).improvement)
    repeated = np.concatenate([np.flatnonzero(evidence.strategy == 3)] * 4 + [np.flatnonzero(evidence.strategy != 3)])
    more = PairedLosses(**{n: getattr(evidence, n)[repeated] for n in vars(evidence) if n != "horizon_days"})
    assert judge(more).improvement == pytest.approx(judge(evidence).improvement)


def test_long_horizons_allow_for_their_overlap() -> None:
    evidence = pair(improvement=0.1)
    week, month = judge(evidence), judge(replace(evidence, horizon_days=30))
    assert (month.p_value or 0) > (week.p_value or 1)


def test_one_lucky_strategy_carries_nothing() -> None:
    evidence = pair(strategies=8)
    lucky = replace(evidence, challenger=np.where(evidence.strategy == 0, 0.0, evidence.champion))
    found = judge(lucky)
    assert found.improvement == pytest.approx(2 / 8)  # bounded by 2 for any one strategy


@pytest.mark.parametrize("autocorrelation", [0.0, 0.5])
@pytest.mark.parametrize("weeks", [12, 26])
def test_of_500_pairs_of_equals_at_most_the_nominal_share_is_promoted(weeks: int, autocorrelation: float) -> None:
    rng = np.random.default_rng(11)
    world = World(weeks=weeks, autocorrelation=autocorrelation)
    # The statistics alone must hold the level: no help from the least improvement or the coverage rule.
    rule = GateRule(least_improvement=0.0, min_outcomes=10**9)
    verdicts = [judge(simulated_pair(rng, world), rule).verdict for _ in range(500)]
    assert verdicts.count(Verdict.PROMOTE) <= 0.05 * 500


def test_sound_coverage_is_seldom_called_broken() -> None:
    rng = np.random.default_rng(5)
    found = [judge(simulated_pair(rng, World())) for _ in range(200)]
    assert np.mean([any(line.broken for line in one.categories) for one in found]) < 0.05


def test_a_judgement_is_plain_values() -> None:
    content = json.loads(json.dumps(dict(judge(pair(improvement=0.25)).to_dict()), allow_nan=False))
    assert content["verdict"] == "promote"
    assert {line["category"] for line in content["categories"]} == {"lending", "staking", "delta_neutral"}
