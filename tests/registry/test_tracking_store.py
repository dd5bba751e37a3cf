"""The record, in real stores of both kinds: complete, once, and nothing but what was recorded."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from stores import Ledger, bundle_file, settings_for, training_record

from aegis_yield.domain.errors import RegistryError, TrackingError
from aegis_yield.registry.delivery import deliver_all, mirror_aliases
from aegis_yield.registry.outbox import Outbox, Receipt, receipt_of
from aegis_yield.registry.records import PUBLISHING, RUNNING, BundleFact, Record
from aegis_yield.registry.settings import TrackingSettings
from aegis_yield.registry.tracking import CorruptArtifactError, TrackingStore

pytestmark = pytest.mark.slow  # real stores are set up and left in the middle

KILLED_BEFORE = """
import os, signal, sys
from pathlib import Path
from mlflow.tracking import MlflowClient
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
setattr(MlflowClient, sys.argv[3], die)
from aegis_yield.registry.delivery import deliver_all
from aegis_yield.registry.settings import TrackingSettings
deliver_all(TrackingSettings.of(Path(sys.argv[1]), {"AEGIS_TRACKING__URI": sys.argv[2]}))
"""
DELIVER = """
import sys
from pathlib import Path
from aegis_yield.registry.delivery import deliver_all
from aegis_yield.registry.settings import TrackingSettings
done = deliver_all(TrackingSettings.of(Path(sys.argv[1]), {"AEGIS_TRACKING__URI": sys.argv[2]}))
sys.exit(done.problem or done.n_records != 1)
"""


def waits(settings: TrackingSettings, record: Record) -> Record:
    Outbox.of(settings.folder).put(record)
    return record


def waiting(settings: TrackingSettings) -> list[Record]:
    return list(Outbox.of(settings.folder).waiting())


def process(settings: TrackingSettings, program: str, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "ignore", "-c", program, str(settings.models), settings.uri, *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def test_a_training_is_recorded_whole(settings: TrackingSettings, tmp_path: Path) -> None:
    path = bundle_file(settings.models)
    page = tmp_path / "curves.svg"
    page.write_text("<svg/>")
    record = waits(settings, training_record(path, files={"pictures/curves.svg": str(page)}))
    done = deliver_all(settings)
    assert (done.problem, done.refused, done.n_records) == ("", [], 1)
    assert waiting(settings) == []
    ledger = Ledger(settings)
    [run], [version] = ledger.runs(), ledger.versions()
    assert run.info.status == "FINISHED"
    assert run.info.start_time == record.started_ms
    assert run.data.params == {"seed": "7", "data.sha256": "ab" * 32, "batch_size": "32"}
    assert run.data.metrics == {"validation_score": 0.93, "loss/scout 1": 0.25}
    assert run.data.tags["commit"] == "0123456789ab"
    assert ledger.curve(run.info.run_id, "loss/scout 1") == [(1, 0.5), (2, 0.25)]
    assert ledger.artifact(run.info.run_id, "bundle/lstm_v1.pth", tmp_path).read_bytes() == b"a bundle"
    assert ledger.artifact(run.info.run_id, "pictures/curves.svg", tmp_path).read_text() == "<svg/>"
    assert version.run_id == run.info.run_id
    assert record.bundle is not None
    assert version.tags == {"aegis.bundle": "lstm_v1", "aegis.sha256": record.bundle.sha256}
    receipt = receipt_of(settings.folder, "lstm_v1")
    assert receipt is not None
    assert (receipt.run_id, receipt.version) == (run.info.run_id, str(version.version))


def test_what_was_delivered_is_not_delivered_twice(settings: TrackingSettings) -> None:
    record = training_record(bundle_file(settings.models))
    for _ in range(3):  # as after a crash before the outbox was emptied
        waits(settings, record)
        assert deliver_all(settings).problem == ""
    ledger = Ledger(settings)
    assert (len(ledger.runs()), len(ledger.versions())) == (1, 1)
    assert ledger.curve(ledger.runs()[0].info.run_id, "loss/scout 1") == [(1, 0.5), (2, 0.25)]


STEPS = [("sqlite", step) for step in ("create_run", "log_batch", "log_artifact", "set_terminated")]
BETWEEN = "create_model_version"
"""The artefact is stored, its version is not registered."""


@pytest.mark.parametrize(
    ("settings", "step"), [*STEPS, ("sqlite", BETWEEN), ("postgresql", BETWEEN)], indirect=["settings"]
)
def test_killed_at_any_step_a_delivery_is_finished_by_the_next(settings: TrackingSettings, step: str) -> None:
    waits(settings, training_record(bundle_file(settings.models)))
    killed = process(settings, KILLED_BEFORE, step)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    before = Ledger(settings)
    assert len(before.runs()) == (0 if step == "create_run" else 1)
    assert len(before.versions()) == (1 if step == "set_terminated" else 0)
    assert len(waiting(settings)) == 1
    assert deliver_all(settings).problem == ""
    after = Ledger(settings)
    assert [run.info.status for run in after.runs()] == ["FINISHED"]
    assert [version.tags["aegis.bundle"] for version in after.versions()] == ["lstm_v1"]
    assert waiting(settings) == []


def test_two_models_folders_deliver_into_one_store_at_once(settings: TrackingSettings, tmp_path: Path) -> None:
    other = settings_for(tmp_path / "other", settings.uri)
    other.models.mkdir()
    for number, one in enumerate((settings, other)):
        waits(one, training_record(bundle_file(one.models, content=bytes([number]))))
    both = [process(one, DELIVER) for one in (settings, other)]
    errors = [one.communicate(timeout=120)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], errors
    versions = Ledger(settings).versions()
    assert sorted(int(one.version) for one in versions) == [1, 2]
    assert len({one.tags["aegis.sha256"] for one in versions}) == 2
    assert len({one.run_id for one in versions}) == 2


def deliver_at_once(start: Barrier, models: Path, uri: str) -> None:
    settings = settings_for(models, uri)
    start.wait()
    done = deliver_all(settings)
    assert not done.problem, done.problem


def test_two_deliveries_of_one_folder_deliver_each_record_once(settings: TrackingSettings) -> None:
    for number in range(4):
        waits(settings, training_record(bundle_file(settings.models, f"lstm_v{number}", bytes([number]))))
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    workers = [spawn.Process(target=deliver_at_once, args=(start, settings.models, settings.uri)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    ledger = Ledger(settings)
    assert sorted(run.data.tags["aegis.bundle"] for run in ledger.runs()) == [f"lstm_v{n}" for n in range(4)]
    assert sorted(one.tags["aegis.bundle"] for one in ledger.versions()) == [f"lstm_v{n}" for n in range(4)]


def test_a_bundle_that_changed_since_is_refused_and_set_aside(settings: TrackingSettings) -> None:
    path = bundle_file(settings.models)
    record = waits(settings, training_record(path))
    path.write_bytes(b"another bundle")
    done = deliver_all(settings)
    assert done.problem == ""
    assert len(done.refused) == 1
    assert "the bytes of lstm_v1 are not those that were recorded" in done.refused[0]
    assert Ledger(settings).versions() == []
    assert waiting(settings) == []
    aside = settings.folder / "outbox" / "refused" / f"{record.id}.json"
    assert Record.from_text(aside.read_text()).id == record.id
    assert receipt_of(settings.folder, "lstm_v1") is None


def test_a_damaged_artefact_is_refused(settings: TrackingSettings, tmp_path: Path) -> None:
    record = waits(settings, training_record(bundle_file(settings.models)))
    deliver_all(settings)
    store = TrackingStore.open(settings)
    assert store.fetch("1") == store.fetch("lstm_v1") == ("lstm_v1", b"a bundle")
    run = Ledger(settings).runs()[0]
    stored = Path(run.info.artifact_uri.removeprefix("file://")) / "bundle" / "lstm_v1.pth"
    stored.write_bytes(b"A bundle")
    with pytest.raises(CorruptArtifactError, match="is not the one that was recorded"):
        store.fetch("1")
    stored.unlink()
    with pytest.raises(TrackingError):
        store.fetch("1")
    # The run can be recorded anew from the bundle.
    waits(settings, record)
    assert deliver_all(settings).problem == ""
    assert store.fetch("1") == ("lstm_v1", b"a bundle")


def test_versions_that_the_store_does_not_have_are_named(settings: TrackingSettings) -> None:
    waits(settings, training_record(bundle_file(settings.models)))
    deliver_all(settings)
    with pytest.raises(RegistryError, match=r"no version '7'; there are: 1 \(lstm_v1\)"):
        TrackingStore.open(settings).fetch("7")


def test_aliases_follow_the_bundles_whatever_mlflow_numbers_them(settings: TrackingSettings) -> None:
    for name in ("lstm_v5", "lstm_v3"):
        waits(settings, training_record(bundle_file(settings.models, name, name.encode())))
        deliver_all(settings)
    ledger = Ledger(settings)
    assert {one.tags["aegis.bundle"]: int(one.version) for one in ledger.versions()} == {"lstm_v5": 1, "lstm_v3": 2}
    store = TrackingStore.open(settings)
    mirror_aliases(settings, store, {"champion": "lstm_v3", "challenger": "lstm_v5"})
    assert ledger.aliases() == {"champion": "lstm_v3", "challenger": "lstm_v5"}
    mirror_aliases(settings, store, {"champion": "lstm_v5", "challenger": None})
    assert ledger.aliases() == {"champion": "lstm_v5"}
    mirror_aliases(settings, store, {"champion": "lstm_v9", "challenger": None})  # one that is not recorded
    assert ledger.aliases() == {}


def test_a_killed_training_is_told_to_its_end(settings: TrackingSettings) -> None:
    outbox = Outbox.of(settings.folder)
    record = Record(kind="training", title="a training", parameters={"seed": 1})
    alive = outbox.claim(record.id)
    assert alive is not None
    outbox.put(record)
    assert deliver_all(settings).n_records == 0  # it lives
    alive.close()  # as when the process is gone
    assert deliver_all(settings).n_records == 1
    ledger = Ledger(settings)
    assert [run.info.status for run in ledger.runs()] == ["KILLED"]
    assert ledger.versions() == []


class Busy(TrackingStore):
    """A store during whose first delivery something happens."""

    def deliver(self, record: Record, bundle: Path | None) -> Receipt | None:
        if meanwhile:
            meanwhile.pop()()
        return super().deliver(record, bundle)


meanwhile: list[Callable[[], None]] = []


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_training_that_ends_while_another_is_delivered_is_not_taken_for_killed(settings: TrackingSettings) -> None:
    outbox = Outbox.of(settings.folder)
    waits(settings, training_record(bundle_file(settings.models, "lstm_v1", b"one"), started_ms=1))
    ended = training_record(bundle_file(settings.models, "lstm_v2", b"two"), started_ms=2)
    alive = outbox.claim(ended.id)
    assert alive is not None
    waits(settings, replace(ended, state=RUNNING, bundle=None))

    def end() -> None:
        outbox.put(ended)
        alive.close()

    meanwhile.append(end)
    store = TrackingStore.open(settings)
    done = deliver_all(settings, Busy(store.settings, store.client, store.experiment_id))
    assert (done.problem, done.n_records) == ("", 2)
    ledger = Ledger(settings)
    assert [run.info.status for run in ledger.runs()] == ["FINISHED", "FINISHED"]
    assert [version.tags["aegis.bundle"] for version in ledger.versions()] == ["lstm_v1", "lstm_v2"]


def test_killed_between_the_bundle_and_its_record_nothing_is_lost(settings: TrackingSettings) -> None:
    bundle_file(settings.models, "lstm_v1", b"older")
    path = bundle_file(settings.models, "lstm_v2", b"the one")
    complete = training_record(path)
    assert complete.bundle is not None
    waits(settings, replace(complete, state=PUBLISHING, bundle=BundleFact("", complete.bundle.sha256)))
    assert deliver_all(settings).n_records == 1
    ledger = Ledger(settings)
    assert [run.info.status for run in ledger.runs()] == ["FINISHED"]
    assert [version.tags["aegis.bundle"] for version in ledger.versions()] == ["lstm_v2"]


def test_killed_before_the_bundle_there_is_no_version(settings: TrackingSettings) -> None:
    complete = training_record(bundle_file(settings.models))
    waits(settings, replace(complete, state=PUBLISHING, bundle=BundleFact("", "0" * 64)))
    deliver_all(settings)
    ledger = Ledger(settings)
    assert ([run.info.status for run in ledger.runs()], ledger.versions()) == (["KILLED"], [])


def test_a_deletion_takes_the_version_and_leaves_the_run(settings: TrackingSettings) -> None:
    record = waits(settings, training_record(bundle_file(settings.models)))
    deliver_all(settings)
    waits(settings, Record(kind="deletion", title="x", bundle=record.bundle, tags={"reason": "too old"}).completed())
    assert deliver_all(settings).problem == ""
    ledger = Ledger(settings)
    assert ledger.versions() == []
    assert [run.data.tags["aegis.deleted"] for run in ledger.runs()] == ["too old"]


def test_scores_join_the_run_of_their_bundle(settings: TrackingSettings, tmp_path: Path) -> None:
    record = waits(settings, training_record(bundle_file(settings.models)))
    deliver_all(settings)
    page = tmp_path / "page.html"
    page.write_text("<p>scores</p>")
    gone = str(tmp_path / "gone.html")
    scores = Record(
        kind="scores", title="scores", bundle=record.bundle, metrics={"h07/rel_mae/lending": 0.9},
        files={"scores/page.html": str(page), "scores/gone.html": gone},
    )  # fmt: skip
    waits(settings, scores.completed())
    assert deliver_all(settings).problem == ""
    ledger = Ledger(settings)
    [run] = ledger.runs()
    assert run.data.metrics["h07/rel_mae/lending"] == 0.9
    assert run.data.metrics["validation_score"] == 0.93
    assert ledger.artifact(run.info.run_id, "scores/page.html", tmp_path / "").read_text() == "<p>scores</p>"


def test_a_store_that_cannot_be_reached_keeps_the_outbox(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "models", "postgresql://aegis:secret@127.0.0.1:9/none")
    settings.models.mkdir()
    record = waits(settings, training_record(bundle_file(settings.models)))
    done = deliver_all(settings)
    assert done.problem.startswith("postgresql://aegis:***@127.0.0.1:9/none: ")
    assert "secret" not in done.problem
    assert "\n" not in done.problem
    assert [one.id for one in waiting(settings)] == [record.id]


def test_a_store_file_that_cannot_be_made_keeps_the_outbox(tmp_path: Path) -> None:
    (tmp_path / "FILE").touch()
    settings = settings_for(tmp_path / "models", f"sqlite:///{tmp_path}/FILE/mlflow.db")
    settings.models.mkdir()
    record = waits(settings, training_record(bundle_file(settings.models)))
    assert str(tmp_path / "FILE") in deliver_all(settings).problem
    assert [one.id for one in waiting(settings)] == [record.id]
