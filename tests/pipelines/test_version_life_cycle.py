"""Versions of a models folder: which one serves, how that changes, how they travel."""

from __future__ import annotations

import datetime as dt
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from bundles import market
from stores import Ledger, cluster, new_postgres, new_sqlite, sqlite_template

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import BundleError, RegistryError
from aegis_yield.models.bundle import Bundle, bundle_bytes, load_bundle
from aegis_yield.pipelines.bookkeeping import record_evaluation, record_scores, sync
from aegis_yield.pipelines.evaluate import EvaluationOrder, evaluate
from aegis_yield.pipelines.gate import load_decision
from aegis_yield.pipelines.models import choose_model
from aegis_yield.pipelines.names import load_names
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.pipelines.shelf import Shelf, figures_of, list_versions, show_version
from aegis_yield.pipelines.versions import (
    Trial,
    challenge,
    delete_version,
    export_version,
    fetch_version,
    import_version,
    promote,
    rollback,
    try_promotion,
)
from aegis_yield.registry import read_registry
from aegis_yield.registry.aliases import Why
from aegis_yield.registry.settings import TrackingSettings
from aegis_yield.registry.transfer import Parcel, packed

__all__ = ["cluster", "new_postgres", "new_sqlite", "sqlite_template"]

WHY = Why("a test")
OFF = {"AEGIS_TRACKING__ENABLED": "0"}
Put = Callable[..., Path]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    return (tmp_path / "models").resolve()


@pytest.fixture
def shelf(models: Path) -> Shelf:
    """A shelf that is not recorded anywhere."""
    return Shelf(models, TrackingSettings.of(models, OFF))


@pytest.fixture
def recorded(models: Path, request: pytest.FixtureRequest) -> Shelf:
    """A shelf with a store that was set up: SQLite's unless another is asked for."""
    make: Callable[[Path], TrackingSettings] = request.getfixturevalue(getattr(request, "param", "new_sqlite"))
    return Shelf(models, make(models))


@pytest.fixture
def put(tiny_bundle: Bundle, models: Path) -> Put:
    """Write a variation of the tiny bundle as a version."""

    def write(number: int, too_high: float = 0.0, **data: Any) -> Path:
        known = {**tiny_bundle.provenance["data"], **data}
        members = tuple(lifted(one, too_high) for one in tiny_bundle.model.members)
        changed = replace(
            tiny_bundle,
            model=replace(tiny_bundle.model, members=members),
            calibrator=replace(tiny_bundle.calibrator, halflife_days=5000.0),
            provenance={**tiny_bundle.provenance, "data": known, "number": number},
        )
        path = models / f"lstm_v{number}.pth"
        path.write_bytes(bundle_bytes(changed))
        return path

    return write


def lifted(weights: Any, by: float) -> dict[str, torch.Tensor]:
    """Add to the bias of the first output, so that forecasts lie too high."""
    last = next(name for name, values in weights.items() if tuple(values.shape) == (2,))
    return {**weights, last: weights[last] + torch.tensor([by, 0.0], dtype=weights[last].dtype)}


def real(dataset: Dataset) -> Dataset:
    return replace(dataset, yields=dataset.yields.with_columns(pl.lit("collected").alias("source")))


def forecasts_of(path: Path) -> pl.DataFrame:
    return Forecaster(market(), load_bundle(path), "x", load_names()).ask(Question(None, 14)).forecasts


# ── which one serves ──────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_champion_the_newest_serves_and_with_one_the_champion(shelf: Shelf, put: Put) -> None:
    first, second = put(1), put(2)
    assert choose_model(market())[0] == second
    promote(shelf, "lstm_v1", WHY)
    assert choose_model(market())[0] == first
    assert choose_model(market(), "lstm_v2")[0] == second
    assert choose_model(market(), Path("2"))[0] == second
    challenge(shelf, "2", WHY)
    assert choose_model(market(), "challenger")[0] == second
    assert Forecaster.open(None, Path("challenger")).model_version.startswith("lstm_v2-")
    assert Forecaster.open().model_version.startswith("lstm_v1-")


def test_a_simulated_champion_never_forecasts_real_data(shelf: Shelf, put: Put) -> None:
    put(1, simulated=True)
    put(2, simulated=False)
    promote(shelf, "1", WHY)
    with pytest.raises(BundleError, match="the champion lstm_v1 was trained on simulated data"):
        choose_model(real(market()))
    promote(shelf, "2", WHY)
    assert choose_model(real(market()))[0].stem == "lstm_v2"


def test_a_champion_that_is_gone_is_not_replaced_in_silence(shelf: Shelf, put: Put) -> None:
    put(2)
    promote(shelf, str(put(1).stem), WHY)
    (shelf.folder / "lstm_v1.pth").unlink()
    with pytest.raises(BundleError, match=r"champion is lstm_v1, but .* is gone"):
        choose_model(market())


def test_what_cannot_be_read_is_not_promoted(shelf: Shelf, put: Put) -> None:
    promote(shelf, put(1).stem, WHY)
    (shelf.folder / "lstm_v2.pth").write_bytes(b"no bundle")
    for change in (promote, challenge):
        with pytest.raises(BundleError, match="not a model bundle"):
            change(shelf, "2", WHY)
    with pytest.raises(BundleError, match="no such version"):
        promote(shelf, "3", WHY)
    with pytest.raises(BundleError, match="not a version in"):
        promote(shelf, str(put(4).rename(shelf.folder / "mine.pth")), WHY)
    assert read_registry(shelf.folder).champion == "lstm_v1"


def test_a_rollback_to_what_cannot_be_read_changes_nothing(shelf: Shelf, put: Put) -> None:
    for number in (1, 2):
        promote(shelf, put(number).stem, WHY)
    (shelf.folder / "lstm_v1.pth").write_bytes(b"no bundle")
    with pytest.raises(BundleError, match="not a model bundle"):
        rollback(shelf, WHY)
    assert read_registry(shelf.folder).champion == "lstm_v2"
    put(1)
    assert rollback(shelf, WHY).champion == "lstm_v1"


def test_the_gate_decides_and_its_decision_is_kept(shelf: Shelf, put: Put) -> None:
    put(1, too_high=6.0), put(2), put(3, too_high=6.0)
    promote(shelf, "1", WHY)
    better = try_promotion(shelf, "2", Trial(market()))
    assert better is not None
    assert better.allows
    registry = read_registry(shelf.folder)
    assert registry.champion == "lstm_v2"
    assert registry.history[-1].why == Why(better.reason, better.id)
    assert load_decision(better.id, shelf.folder).verdict == "promote"
    worse = try_promotion(shelf, "3", Trial(market()))
    assert worse is not None
    assert not worse.allows
    assert load_decision(worse.id, shelf.folder).verdict == "keep"
    assert read_registry(shelf.folder).champion == "lstm_v2"
    with pytest.raises(RegistryError, match="already the champion"):
        try_promotion(shelf, "2", Trial(market()))


def test_a_champion_that_changes_while_the_gate_judges_stays(shelf: Shelf, put: Put) -> None:
    put(1, too_high=6.0), put(2), put(3)
    promote(shelf, "1", WHY)

    def meanwhile(n_origins: int) -> None:
        if n_origins == 1:
            promote(shelf, "3", WHY)

    with pytest.raises(RegistryError, match="was compared with lstm_v1, but meanwhile lstm_v3 became champion"):
        try_promotion(shelf, "2", Trial(market(), meanwhile))
    assert read_registry(shelf.folder).champion == "lstm_v3"


def test_the_list_shows_every_version_and_says_what_cannot_be_read(shelf: Shelf, put: Put) -> None:
    put(1), put(10)
    (shelf.folder / "lstm_v2.pth").write_bytes(b"no bundle")
    promote(shelf, "1", WHY)
    versions = {one.name: one for one in list_versions(shelf)}
    assert list(versions) == ["lstm_v10", "lstm_v2", "lstm_v1"]
    assert versions["lstm_v1"].aliases == ("champion",)
    assert "not a model bundle" in versions["lstm_v2"].fault
    assert versions["lstm_v10"].provenance["number"] == 10
    assert versions["lstm_v10"].n_members == len(load_bundle(shelf.folder / "lstm_v10.pth").model.members)
    json.dumps([one.to_json() for one in versions.values()], allow_nan=False)
    with pytest.raises(BundleError, match="not a model bundle"):
        show_version(shelf, "2")


def test_deletion_spares_what_aliases_name(shelf: Shelf, put: Put) -> None:
    put(1), put(2)
    promote(shelf, "1", WHY)
    with pytest.raises(RegistryError, match="lstm_v1: is the champion"):
        delete_version(shelf, "champion", WHY)
    assert delete_version(shelf, "2", WHY) == "lstm_v2"
    assert not (shelf.folder / "lstm_v2.pth").exists()
    imported = import_version(shelf, export_version(shelf, "1", shelf.folder))
    assert not imported.is_new


# ── how they travel ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def elsewhere(tmp_path: Path) -> Shelf:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return Shelf(folder, TrackingSettings.of(folder, OFF))


def test_exported_here_and_imported_there_it_forecasts_the_same_bits(
    shelf: Shelf, elsewhere: Shelf, put: Put, tmp_path: Path
) -> None:
    path = put(4)
    file = export_version(shelf, "lstm_v4", tmp_path)
    assert file == tmp_path / "lstm_v4.aegis.zip"
    imported = import_version(elsewhere, file)
    assert (imported.path, imported.version, imported.is_new) == (elsewhere.folder / "lstm_v1.pth", "lstm_v4", True)
    assert imported.path.read_bytes() == path.read_bytes()
    here, there = forecasts_of(path), forecasts_of(imported.path)
    assert here.height > 0
    for name in here.columns:
        assert here[name].to_numpy().tobytes() == there[name].to_numpy().tobytes() or here[name].equals(there[name])
    again = import_version(elsewhere, file)
    assert (again.path, again.is_new) == (imported.path, False)


def test_a_bare_bundle_is_imported_too(elsewhere: Shelf, put: Put) -> None:
    path = put(7)
    assert import_version(elsewhere, path).path.read_bytes() == path.read_bytes()


def of_format(path: Path, version: object) -> bytes:
    content = torch.load(path, weights_only=True)
    content["format_version"] = version
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.mark.parametrize("version", [0, 99, "1", None])
@pytest.mark.parametrize("is_bare", [True, False])
def test_a_bundle_of_another_format_is_refused_with_what_to_do(
    elsewhere: Shelf, put: Put, tmp_path: Path, version: object, is_bare: bool
) -> None:
    content = of_format(put(1), version)
    file = tmp_path / "old.pth"
    file.write_bytes(content if is_bare else packed(Parcel("lstm_v1", content, {})))
    with pytest.raises(BundleError, match=r"format version .*train a new one with"):
        import_version(elsewhere, file)
    assert list(elsewhere.folder.glob("*.pth")) == []


def test_a_tampered_file_is_refused(shelf: Shelf, elsewhere: Shelf, put: Put, tmp_path: Path) -> None:
    path = put(1)
    file = export_version(shelf, "1", tmp_path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match="damaged"):
        import_version(elsewhere, file)
    # Somebody who can make a proper export of a bundle with other weights cannot make it a proper bundle by that.
    forged = torch.load(path, weights_only=True)
    forged["members"][0] = lifted(forged["members"][0], 1.0)
    stream = io.BytesIO()
    torch.save(forged, stream)
    file.write_bytes(packed(Parcel("lstm_v1", stream.getvalue(), {})))
    with pytest.raises(BundleError, match="does not match its digest"):
        import_version(elsewhere, file)
    file.write_bytes(b"cos\nsystem\n(S'echo gone'\ntR.")
    with pytest.raises(BundleError, match="not a model bundle"):
        import_version(elsewhere, file)
    assert list(elsewhere.folder.glob("*.pth")) == []


# ── what the store is told ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "recorded", ["new_sqlite", pytest.param("new_postgres", marks=pytest.mark.slow)], indirect=True
)
def test_sync_records_what_nobody_recorded_and_mirrors_the_aliases(recorded: Shelf, put: Put) -> None:
    for number in (1, 2, 3):
        put(number)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        promote(recorded, "2", WHY)  # nothing was ever recorded: the store is not asked
    done = sync(recorded)
    assert (done.n_records, done.problem, done.refused) == (3, "", ())
    assert sorted(done.adopted) == ["lstm_v1", "lstm_v2", "lstm_v3"]
    ledger = Ledger(recorded.tracking)
    assert {one.tags["aegis.bundle"] for one in ledger.versions()} == {"lstm_v1", "lstm_v2", "lstm_v3"}
    assert ledger.aliases() == {"champion": "lstm_v2"}
    provenance = load_bundle(recorded.folder / "lstm_v1.pth").provenance
    run = next(run for run in ledger.runs() if run.data.tags["aegis.bundle"] == "lstm_v1")
    assert run.data.params["data.sha256"] == provenance["data"]["sha256"]
    assert run.data.params["data.last_date"] == provenance["data"]["last_date"]
    assert run.data.params["batch_size"] == str(provenance["plan"]["batch_size"])
    assert run.data.tags["commit"] == provenance["commit"]
    assert run.data.metrics["validation_score"] == provenance["metrics"]["validation_score"]
    for name, values in provenance["curves"].items():
        curve = f"validation/{name.removesuffix(' validation')}" if name.endswith("validation") else f"loss/{name}"
        assert [value for _, value in ledger.curve(run.info.run_id, curve)] == values
    assert {one.recorded for one in list_versions(recorded)} == {"recorded"}
    assert sync(recorded).n_records == 0
    promote(recorded, "3", WHY)
    challenge(recorded, "1", WHY)
    assert ledger.aliases() == {"champion": "lstm_v3", "challenger": "lstm_v1"}
    rollback(recorded, WHY)
    assert ledger.aliases() == {"champion": "lstm_v2", "challenger": "lstm_v1"}
    delete_version(recorded, "3", Why("too wide"))
    assert {one.tags["aegis.bundle"] for one in ledger.versions()} == {"lstm_v1", "lstm_v2"}
    assert len(ledger.runs()) == 3


def test_a_version_is_fetched_from_the_store_to_the_bit(recorded: Shelf, elsewhere: Shelf, put: Put) -> None:
    path = put(5)
    sync(recorded)
    there = replace(elsewhere, tracking=replace(elsewhere.tracking, uri=recorded.tracking.uri))
    assert fetch_version(there, "lstm_v5").path.read_bytes() == path.read_bytes()
    assert not fetch_version(there, "1").is_new


def scores_of(path: Path, **options: Any) -> dict[str, Any]:
    return evaluate(EvaluationOrder(market(), load_bundle(path), **options)).scores


def test_scores_by_horizon_and_category_join_the_record(recorded: Shelf, put: Put, tmp_path: Path) -> None:
    path = put(1)
    start = dt.date.fromisoformat(load_bundle(path).data_end) + dt.timedelta(days=1)
    week, day = scores_of(path, start=start), scores_of(path, start=start, horizon_days=1)
    assert record_scores(recorded, path, [week, day], {"evaluation.html": b"<p>scores</p>"})
    assert not record_scores(recorded, tmp_path / "elsewhere.pth", [week], {})
    waiting = figures_of(recorded, show_version(recorded, "1"))
    assert sync(recorded).problem == ""
    ledger = Ledger(recorded.tracking)
    [run] = ledger.runs()
    card = next(iter(week["scores"].values()))
    assert run.data.metrics["h07/rel_mae"] == pytest.approx(card["rel_mae"])
    assert run.data.metrics["h01/rel_mae"] == pytest.approx(next(iter(day["scores"].values()))["rel_mae"])
    assert run.data.metrics["h07/coverage_90"] == pytest.approx(card["intervals"]["0.90"]["coverage"])
    assert run.data.tags["scores.h07"] == f"{market().name}, origins {week['start']} to {week['end']}"
    by_category = card["rel_mae_by_category"]
    assert by_category
    for category, one in by_category.items():
        assert run.data.metrics[f"h07/rel_mae/{category}"] == pytest.approx(one["score"])
        coverage = card["coverage_90_by_category"][category]["coverage"]
        assert run.data.metrics[f"h07/coverage_90/{category}"] == pytest.approx(coverage)
    place = f"scores/{week['start']}_{week['end']}_h07"
    assert ledger.artifact(run.info.run_id, f"{place}/evaluation.html", tmp_path).read_bytes() == b"<p>scores</p>"
    assert "<svg" in ledger.artifact(run.info.run_id, f"{place}/rel_mae.svg", tmp_path).read_text()
    kept = json.loads(ledger.artifact(run.info.run_id, f"{place}/scores.json", tmp_path).read_text())
    assert kept["scores"].keys() == week["scores"].keys()
    figures = figures_of(recorded, show_version(recorded, "1"))
    assert figures["h07/rel_mae"] == waiting["h07/rel_mae"] == pytest.approx(card["rel_mae"])
    assert figures["validation_score"] == run.data.metrics["validation_score"]


def test_scores_that_prove_nothing_are_named_so(recorded: Shelf, put: Put) -> None:
    seen, of_real_data = put(1), put(2, simulated=False)
    scores = scores_of(seen, start=market().first_date + dt.timedelta(days=150))
    for path in (seen, of_real_data):
        record_scores(recorded, path, [scores], {})
    found = {
        one.bundle.name: set(one.metrics) for one in recorded.outbox.waiting() if one.kind == "scores" and one.bundle
    }
    assert "seen/h07/rel_mae" in found["lstm_v1"]
    assert "simulated/h07/rel_mae" in found["lstm_v2"]
    assert all(name.partition("/")[0] in ("seen", "simulated") for names in found.values() for name in names)


def test_an_evaluation_is_recorded_at_once_or_waits_with_one_warning(recorded: Shelf, put: Put) -> None:
    path = put(1)
    scores = scores_of(path)
    said = record_evaluation(recorded, path, [scores], {})
    assert said.startswith("scores recorded with lstm_v1 in sqlite:")
    assert [name for name in Ledger(recorded.tracking).runs()[0].data.metrics if name.endswith("h07/rel_mae")]
    (recorded.folder / "FILE").touch()
    away = replace(recorded, tracking=replace(recorded.tracking, uri=f"sqlite:///{recorded.folder}/FILE/x.db"))
    with pytest.warns(UserWarning, match="scores are not recorded yet: .* aegis models sync") as caught:
        assert record_evaluation(away, path, [scores], {}) == ""
    assert len(caught) == 1
    assert any(one.kind == "scores" for one in away.outbox.waiting())
    off = replace(recorded, tracking=replace(recorded.tracking, enabled=False))
    assert record_evaluation(off, path, [scores], {}) == ""


def test_an_evaluation_does_not_fail_for_a_folder_that_cannot_be_written(recorded: Shelf, put: Put) -> None:
    path = put(1)
    scores = scores_of(path)
    recorded.outbox.folder.parent.mkdir(exist_ok=True)
    recorded.outbox.folder.touch()  # a file where the outbox should be
    with pytest.warns(UserWarning, match="scores are not recorded") as caught:
        assert record_evaluation(recorded, path, [scores], {}) == ""
    assert len(caught) == 1


def test_another_store_is_told_all_of_a_version_that_the_first_one_knows(
    recorded: Shelf, put: Put, new_sqlite: Callable[[Path], TrackingSettings], tmp_path: Path
) -> None:
    put(1)
    assert sync(recorded).n_records == 1
    moved = replace(recorded, tracking=replace(recorded.tracking, uri=new_sqlite(tmp_path / "second").uri))
    assert [one.recorded for one in list_versions(moved)] == ["not recorded"]
    assert sync(moved).n_records == 1
    assert [one.tags["aegis.bundle"] for one in Ledger(moved.tracking).versions()] == ["lstm_v1"]
    assert sync(moved).n_records == 0
    assert sync(recorded).n_records == 1  # its receipt is of the other store, so it is asked again
    assert len(Ledger(recorded.tracking).runs()) == 1


def test_a_store_that_is_gone_stops_nothing(models: Path, put: Put) -> None:
    (models / "FILE").touch()
    named = {"AEGIS_TRACKING__URI": f"sqlite:///{models}/FILE/x.db"}
    shelf = Shelf(models, TrackingSettings.of(models, named))
    put(1), put(2)
    done = sync(shelf)
    assert done.problem
    assert [one.recorded for one in list_versions(shelf)] == ["waiting", "waiting"]
    with pytest.warns(UserWarning, match="the store was not told") as caught:
        promote(shelf, "1", WHY)
    assert len(caught) == 1
    assert read_registry(models).champion == "lstm_v1"
    with pytest.raises(RegistryError, match="switched off"):
        sync(Shelf(models, TrackingSettings.of(models, OFF)))
