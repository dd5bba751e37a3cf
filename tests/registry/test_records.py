"""Records in the outbox, receipts, and the settings that say where they go."""

from __future__ import annotations

from pathlib import Path

import pytest
from stores import bundle_file, training_record

from aegis_yield.domain.errors import RegistryError, RequestError
from aegis_yield.registry.outbox import Outbox, Receipt, keep_receipt, receipt_of
from aegis_yield.registry.records import Record
from aegis_yield.registry.settings import TrackingSettings, redacted


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = training_record(bundle_file(tmp_path), files={"a/b.svg": "/x/b.svg"})
    back = Record.from_text(record.to_text())
    assert back.metrics == {"validation_score": 0.93}  # what is no number is left out
    assert Record.from_text(back.to_text()) == back
    assert (back.id, back.curves, back.bundle, back.files) == (record.id, record.curves, record.bundle, record.files)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "curves": 3}'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Record.from_text(text)


def test_what_waits_comes_oldest_first_and_what_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    path = bundle_file(tmp_path)
    for started_ms in (30, 10, 20):
        outbox.put(training_record(path, started_ms=started_ms))
    (tmp_path / "broken.json").write_text("{")
    assert [record.started_ms for record in outbox.waiting()] == [10, 20, 30]
    assert (tmp_path / "refused" / "broken.json").read_text() == "{"
    assert "cannot be read as a record" in (tmp_path / "refused" / "broken.reason.txt").read_text()
    with pytest.raises(RegistryError, match="absent"):
        outbox.get("absent")


def test_files_of_a_record_go_with_it(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    record = training_record(bundle_file(tmp_path))
    kept = Path(outbox.keep_file(record, "page.html", b"<p>"))
    outbox.put(record)
    assert kept.read_bytes() == b"<p>"
    outbox.drop(record.id)
    outbox.drop(record.id)
    assert not kept.exists()
    assert list(outbox.waiting()) == []


def test_a_receipt_is_kept_by_bundle(tmp_path: Path) -> None:
    assert receipt_of(tmp_path, "lstm_v1") is None
    receipt = Receipt("lstm_v1", "ab" * 32, "run", "7", "sqlite:///x")
    keep_receipt(tmp_path, receipt)
    assert receipt_of(tmp_path, "lstm_v1") == receipt
    (tmp_path / "receipts" / "lstm_v1.json").write_text("{}")
    assert receipt_of(tmp_path, "lstm_v1") is None


def test_by_default_the_record_lies_in_the_models_folder(tmp_path: Path) -> None:
    settings = TrackingSettings.of(tmp_path, {})
    assert settings.uri == f"sqlite:///{tmp_path}/tracking/mlflow.db"
    assert settings.artifacts == f"{tmp_path}/tracking/artifacts"
    assert settings.enabled
    assert settings.folder == tmp_path / "tracking"


def test_the_environment_says_otherwise(tmp_path: Path) -> None:
    uri = "postgresql://me:geheim@db.example/aegis"
    named = {"AEGIS_TRACKING__URI": uri, "AEGIS_TRACKING__ARTIFACTS": "s3://here", "AEGIS_TRACKING__ENABLED": "no"}
    settings = TrackingSettings.of(tmp_path, named)
    assert (settings.uri, settings.artifacts, settings.enabled) == (uri, "s3://here", False)
    assert settings.address == "postgresql://me:***@db.example/aegis"
    assert "geheim" not in repr(settings)


def test_a_server_decides_where_artefacts_lie(tmp_path: Path) -> None:
    assert TrackingSettings.of(tmp_path, {"AEGIS_TRACKING__URI": "https://mlflow.example"}).artifacts == ""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AEGIS_TRACKING__URI", "mysql://me:geheim@db/x", "postgresql://"),
        ("AEGIS_TRACKING__URI", "mlruns", "sqlite:"),
        ("AEGIS_TRACKING__ENABLED", "maybe", "1 or 0"),
        ("AEGIS_TRACKING__ADDRESS", "x", "AEGIS_TRACKING__URI, AEGIS_TRACKING__ARTIFACTS"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, name: str, value: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        TrackingSettings.of(tmp_path, {name: value})
    assert name in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://a:b@c/d", "postgresql://a:***@c/d"),
        ("postgresql://a@c/d", "postgresql://a@c/d"),
        ("sqlite:////x/y.db", "sqlite:////x/y.db"),
        ("postgresql+psycopg://a:b/b@c/d", "postgresql+psycopg://a:***@c/d"),
        ("postgresql://a@c/d?password=b&x=1", "postgresql://a@c/d?password=***&x=1"),
        ("https://u:p@host:5000", "https://u:***@host:5000"),
        ("https://host:5000/a@b", "https://host:5000/a@b"),
    ],
)
def test_passwords_are_not_shown(uri: str, shown: str) -> None:
    assert redacted(uri) == shown
