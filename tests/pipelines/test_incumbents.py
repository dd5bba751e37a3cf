"""The first champion is found by the gate, too: against the version that was in use before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bundles import CHECKOUT, NOT_RECORDED, TINY_PLAN, market
from lifted_models import lifted

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import RegistryError
from aegis_yield.models.bundle import Bundle, bundle_bytes
from aegis_yield.pipelines.gate import load_decision
from aegis_yield.pipelines.incumbents import REASON, name_incumbent
from aegis_yield.pipelines.models import choose_model
from aegis_yield.pipelines.run import RunOrder, run
from aegis_yield.pipelines.shelf import Shelf
from aegis_yield.pipelines.versions import Trial, promote, rollback, try_promotion
from aegis_yield.preprocessing.tables import write_dataset
from aegis_yield.registry import publish, read_registry
from aegis_yield.registry.aliases import Why
from aegis_yield.utils import project

WHY = Why("a test")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """The models folder of an installed project: the package lies elsewhere and ships no model."""
    for name, value in {"AEGIS_HOME": str(tmp_path / "home"), "AEGIS_OFFLINE": "1", **NOT_RECORDED}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(project, "_PACKAGE", tmp_path / "package")
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "configs").symlink_to(CHECKOUT / "configs")
    return Shelf.open()


def content(bundle: Bundle, too_high: float = 0.0, **facts: Any) -> bytes:
    data = {**bundle.provenance["data"], "simulated": facts.pop("simulated", True)}
    return bundle_bytes(replace(lifted(bundle, too_high), provenance={**bundle.provenance, "data": data, **facts}))


def put(shelf: Shelf, number: int, held: bytes) -> None:
    (shelf.folder / f"lstm_v{number}.pth").write_bytes(held)


@pytest.fixture
def shipped(tmp_path: Path, tiny_bundle: Bundle) -> bytes:
    """The model that ships with the project: of real data, and far too high."""
    path = tmp_path / "package" / "shipped" / "lstm_v1.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(content(tiny_bundle, 6.0, simulated=False))
    return path.read_bytes()


def real() -> Dataset:
    return replace(market(), yields=market().yields.with_columns(pl.lit("collected").alias("source")))


def test_a_better_first_challenger_is_promoted_by_a_decision_and_can_be_rolled_back(
    shelf: Shelf, tiny_bundle: Bundle
) -> None:
    put(shelf, 1, content(tiny_bundle, 6.0)), put(shelf, 2, content(tiny_bundle))
    decision = try_promotion(shelf, "2", Trial(market()))
    assert decision is not None
    assert (decision.verdict, decision.champion["file"]) == ("promote", "lstm_v1.pth")
    first, second = (change for change in read_registry(shelf.folder).history if change.alias == "champion")
    assert (first.before, first.after, first.why.reason) == (None, "lstm_v1", REASON)
    assert (second.before, second.after, second.why.decision) == ("lstm_v1", "lstm_v2", decision.id)
    assert rollback(shelf, WHY).champion == "lstm_v1"


def test_a_worse_first_challenger_does_not_serve_though_it_is_the_newest(shelf: Shelf, tiny_bundle: Bundle) -> None:
    put(shelf, 1, content(tiny_bundle)), put(shelf, 2, content(tiny_bundle, 6.0))
    assert choose_model(market())[0].stem == "lstm_v2"
    decision = try_promotion(shelf, "2", Trial(market()))
    assert decision is not None
    assert not decision.allows
    assert choose_model(market())[0].stem == "lstm_v1"


def test_the_newest_of_the_others_is_the_one_in_use(shelf: Shelf, tiny_bundle: Bundle) -> None:
    for number in (1, 2, 3):
        put(shelf, number, content(tiny_bundle, number=number))
    decision = try_promotion(shelf, "1", Trial(market()))
    assert decision is not None
    assert decision.champion["file"] == "lstm_v3.pth"
    assert read_registry(shelf.folder).champion == "lstm_v3"


def test_what_cannot_be_read_or_is_of_another_kind_of_data_is_not_in_use(shelf: Shelf, tiny_bundle: Bundle) -> None:
    put(shelf, 1, content(tiny_bundle)), put(shelf, 2, content(tiny_bundle, simulated=False)), put(shelf, 3, b"damaged")
    put(shelf, 4, content(tiny_bundle, interrupted=True))
    assert name_incumbent(shelf, simulated=True) == "lstm_v1"


def test_where_nothing_was_in_use_the_first_is_champion_at_once(shelf: Shelf, tiny_bundle: Bundle) -> None:
    put(shelf, 1, content(tiny_bundle))
    assert try_promotion(shelf, "1", Trial(market())) is None
    assert read_registry(shelf.folder).champion == "lstm_v1"


def test_an_existing_champion_is_the_incumbent(shelf: Shelf, tiny_bundle: Bundle) -> None:
    put(shelf, 1, content(tiny_bundle)), put(shelf, 2, content(tiny_bundle, number=2))
    promote(shelf, "1", WHY)
    assert name_incumbent(shelf, simulated=True) == "lstm_v1"
    assert len(read_registry(shelf.folder).history) == 1


def test_the_shipped_model_is_taken_over_and_has_to_be_beaten(
    shelf: Shelf, tiny_bundle: Bundle, shipped: bytes
) -> None:
    assert publish(content(tiny_bundle, simulated=False), shelf.folder).stem == "lstm_v1"
    decision = try_promotion(shelf, "1", Trial(real()))
    assert decision is not None
    assert decision.champion["file"] == "lstm_v0.pth"
    assert (shelf.folder / "lstm_v0.pth").read_bytes() == shipped
    assert (decision.verdict, read_registry(shelf.folder).champion) == ("promote", "lstm_v1")
    assert publish(b"another", shelf.folder).stem == "lstm_v2"
    assert rollback(shelf, WHY).champion == "lstm_v0"
    assert choose_model(real())[0].read_bytes() == shipped


def test_a_model_of_simulated_data_is_not_promoted_beside_a_real_one(shelf: Shelf, tiny_bundle: Bundle) -> None:
    put(shelf, 1, content(tiny_bundle, simulated=False)), put(shelf, 2, content(tiny_bundle))
    with pytest.raises(RegistryError, match=r"never takes the place of a model of real data \(lstm_v1\)"):
        try_promotion(shelf, "2", Trial(market()))
    assert read_registry(shelf.folder).champion is None


def test_a_first_run_trains_against_the_shipped_model(shelf: Shelf, shipped: bytes, tmp_path: Path) -> None:
    write_dataset(real(), tmp_path / "tables")
    order = RunOrder(tmp_path / "tables", plan=TINY_PLAN)
    summary = run(order)
    said = {step.name: step.said for step in summary.steps}
    assert summary.exit_code == 0, said
    assert said["gate"].startswith("lstm_v1 against lstm_v0: ")
    registry = read_registry(shelf.folder)
    assert registry.history[0].after == "lstm_v0"
    champion = registry.champion
    assert said["forecast"].split(" by ")[1].startswith(f"{champion}-")
    if champion == "lstm_v1":
        identifier = registry.history[-1].why.decision
        assert identifier is not None
        assert load_decision(identifier, shelf.folder).verdict == "promote"
    assert {str(step.status) for step in run(order).steps} == {"unchanged"}


def test_until_the_gate_has_enough_to_judge_by_the_shipped_model_stays(
    shelf: Shelf, tiny_bundle: Bundle, shipped: bytes, tmp_path: Path
) -> None:
    last = market().last_date.isoformat()
    knows_all = {**tiny_bundle.provenance["data"], "simulated": False, "last_date": last}
    path = tmp_path / "package" / "shipped" / "lstm_v1.pth"
    path.write_bytes(bundle_bytes(replace(tiny_bundle, provenance={**tiny_bundle.provenance, "data": knows_all})))
    write_dataset(real(), tmp_path / "tables")
    summary = run(RunOrder(tmp_path / "tables", plan=TINY_PLAN))
    said = {step.name: step.said for step in summary.steps}
    assert "not enough evidence" in said["gate"]
    assert read_registry(shelf.folder).champion == "lstm_v0"
    assert " by lstm_v0-" in said["forecast"]
    assert {str(step.status) for step in run(RunOrder(tmp_path / "tables", plan=TINY_PLAN)).steps} == {"unchanged"}


def test_where_only_the_shipped_model_is_in_use_it_learns_as_a_version_of_the_folder(
    shelf: Shelf, shipped: bytes, tmp_path: Path
) -> None:
    write_dataset(real(), tmp_path / "tables")
    order = RunOrder(tmp_path / "tables", train=False)
    summary = run(order)
    said = {step.name: step.said for step in summary.steps}
    assert said["gate"] == "no model to judge"
    assert said["calibrate"].startswith("champion: lstm_v0 → lstm_v1, same networks as lstm_v0; ")
    assert " by lstm_v1-" in said["forecast"]
    assert (shelf.folder / "lstm_v0.pth").read_bytes() == shipped
    first, second = read_registry(shelf.folder).history
    assert (first.after, first.why.reason, second.after) == ("lstm_v0", REASON, "lstm_v1")
    # From now on it is the newest training here, and its networks serve.
    said = {step.name: step.said for step in run(order).steps}
    assert said["train"] == "not asked for; the newest model is lstm_v0"
    assert said["gate"].startswith("nothing to judge: lstm_v0 serves")
    assert {str(step.status) for step in run(order).steps} == {"unchanged"}
    assert read_registry(shelf.folder).champion == "lstm_v1"
