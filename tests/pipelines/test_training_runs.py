"""Training as a use case: reproducible, traceable, resumable, and refusing what cannot be learned from."""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bundles import TINY_PLAN, Silent, bundle_content, market, trained_until

from aegis_yield import __version__
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import AegisError, HistoryError, TrainingError
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.training import EpochReport
from aegis_yield.pipelines.datasets import content_hash
from aegis_yield.pipelines.train import TrainingOrder, train

FIRST = market().first_date


class CtrlC(Silent):
    """Presses Ctrl-C in the first batch after so many epochs."""

    def __init__(self, after_epochs: int) -> None:
        self.left = after_epochs

    def advanced(self, n_windows: int, loss: float) -> None:
        if self.left == 0:
            raise KeyboardInterrupt

    def epoch_ended(self, report: EpochReport) -> None:
        self.left -= 1


@pytest.fixture(scope="session")
def smallest() -> Dataset:
    """Five strategies over 230 days: an epoch in a tenth of a second."""
    few = pl.col("strategy_id").is_in(market().strategies["strategy_id"].head(5).to_list())
    dataset = replace(market(), yields=market().yields.filter(few))
    return dataset.known_at(FIRST + dt.timedelta(days=230))


def order(dataset: Dataset, folder: Path, resume: bool = False, **choices: Any) -> TrainingOrder:
    plan = TrainingPlan(**{"epochs": 2, "batch_size": 256, "members": 2, **choices})
    return TrainingOrder(dataset, plan, models=folder, resume=resume)


@pytest.fixture(scope="session")
def uninterrupted(smallest: Dataset, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return train(order(smallest, tmp_path_factory.mktemp("whole")), Silent()).path.read_bytes()


def test_the_same_seed_gives_the_same_bytes(smallest: Dataset, uninterrupted: bytes, tmp_path: Path) -> None:
    assert train(order(smallest, tmp_path), Silent()).path.read_bytes() == uninterrupted


def test_another_seed_gives_other_weights(smallest: Dataset, tmp_path: Path) -> None:
    bundles = [train(order(smallest, tmp_path, seed=seed), Silent()).bundle for seed in (0, 1)]
    first, second = (bundle.model.members[0] for bundle in bundles)
    assert set(first) == set(second)
    assert all(not first[name].equal(second[name]) for name in first)


def test_the_result_is_what_was_written(smallest: Dataset, tmp_path: Path) -> None:
    result = train(order(smallest, tmp_path), Silent())
    assert result.path == tmp_path / "lstm_v1.pth"
    assert load_bundle(result.path).provenance == json.loads(json.dumps(result.bundle.provenance))


def test_versions_count_up_and_nothing_is_overwritten(smallest: Dataset, tmp_path: Path) -> None:
    (tmp_path / "lstm_v7.pth").write_bytes(b"earlier")
    assert train(order(smallest, tmp_path), Silent()).path.name == "lstm_v8.pth"
    assert (tmp_path / "lstm_v7.pth").read_bytes() == b"earlier"


def test_provenance_names_data_plan_and_code(tiny_bundle: Bundle) -> None:
    seen = market().known_at(trained_until())
    provenance = tiny_bundle.provenance
    assert provenance["plan"] == TINY_PLAN.to_dict()
    assert provenance["data"] == {
        "sha256": content_hash(seen),
        "simulated": True,
        "first_date": FIRST.isoformat(),
        "last_date": trained_until().isoformat(),
        "n_rows": len(seen.yields),
        "n_strategies": len(set(seen.yields["strategy_id"])),
    }
    assert provenance["project_version"] == __version__
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?|unknown", provenance["commit"])
    assert (provenance["epochs"], provenance["interrupted"]) == (1, False)


def test_provenance_orders_the_blocks_in_time(tiny_bundle: Bundle) -> None:
    split = tiny_bundle.provenance["split"]
    assert FIRST.isoformat() < split["train_end"] < split["validation_end"] < split["calibration_end"]
    assert split["calibration_end"] == trained_until().isoformat()


def test_provenance_holds_no_path_and_no_clock(tiny_bundle: Bundle) -> None:
    text = json.dumps(tiny_bundle.provenance)
    assert "/" not in text
    assert not re.search(r"\d\d:\d\d", text)
    assert max(re.findall(r"\d{4}-\d\d-\d\d", text)) <= trained_until().isoformat()


def test_curves_have_an_entry_an_epoch(smallest: Dataset, tmp_path: Path) -> None:
    curves = train(order(smallest, tmp_path), Silent()).bundle.provenance["curves"]
    networks = {"scout 1", "scout 2", "final 1", "final 2", "volatility 1", "volatility 2"}
    assert set(curves) == {*networks, "scout 1 validation", "scout 2 validation"}
    assert 1 <= len(curves["scout 1"]) == len(curves["scout 1 validation"]) <= 2


def test_until_equals_training_on_tables_that_end_there(tmp_path: Path) -> None:
    cut = TrainingOrder(market().known_at(trained_until()), TINY_PLAN, models=tmp_path)
    assert train(cut, Silent()).path.read_bytes() == bundle_content()


def test_rows_after_until_change_nothing(tmp_path: Path) -> None:
    late = pl.col("date") > trained_until()
    noisy = market().yields.with_columns(pl.when(late).then(0.5).otherwise(pl.col("apy")).alias("apy"))
    changed = TrainingOrder(replace(market(), yields=noisy), TINY_PLAN, until=trained_until(), models=tmp_path)
    assert train(changed, Silent()).path.read_bytes() == bundle_content()


def test_the_steps_are_told(smallest: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    train(order(smallest, tmp_path), Silent(), said.append)
    assert f"{smallest.yields.height:,} rows of 5 strategies" in said[0]


@pytest.mark.parametrize(
    ("days", "message"),
    [(199, "received 199 days of yields, training needs at least 200"), (-1, "choose a later --until")],
)
def test_too_few_days_are_refused(tmp_path: Path, days: int, message: str) -> None:
    until = FIRST + dt.timedelta(days=days - 1)
    with pytest.raises(HistoryError, match=message):
        train(TrainingOrder(market(), TINY_PLAN, until=until, models=tmp_path), Silent())
    assert not list(tmp_path.rglob("*.pth"))


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    thin = market().yields.filter(pl.col("date").dt.ordinal_day() % 5 == 0)
    with pytest.raises(TrainingError, match="no training window"):
        train(TrainingOrder(replace(market(), yields=thin), TINY_PLAN, models=tmp_path), Silent())


@pytest.mark.parametrize("after_epochs", [1, 2, 4, 5])
def test_resuming_gives_the_bytes_of_an_uninterrupted_run(
    smallest: Dataset, uninterrupted: bytes, tmp_path: Path, after_epochs: int
) -> None:
    halted = train(order(smallest, tmp_path), CtrlC(after_epochs))
    assert halted.bundle.provenance["interrupted"] is True
    resumed = train(order(smallest, tmp_path, resume=True), Silent())
    assert resumed.path.read_bytes() == uninterrupted
    assert not order(smallest, tmp_path).checkpoint.exists()


def test_an_interrupted_training_leaves_a_bundle_that_loads_and_a_way_on(smallest: Dataset, tmp_path: Path) -> None:
    halted = train(order(smallest, tmp_path), CtrlC(1))
    assert load_bundle(halted.path).provenance["interrupted"] is True
    assert order(smallest, tmp_path).checkpoint.is_file()


def test_interrupted_before_the_first_epoch_nothing_is_written(smallest: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing was learned and nothing written"):
        train(order(smallest, tmp_path), CtrlC(0))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_without_anything_to_resume_training_starts_anew(
    smallest: Dataset, uninterrupted: bytes, tmp_path: Path
) -> None:
    said: list[str] = []
    result = train(order(smallest, tmp_path, resume=True), Silent(), said.append)
    assert "nothing to resume: starting anew" in said
    assert result.path.read_bytes() == uninterrupted


@pytest.fixture(scope="session")
def unfinished(smallest: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unfinished")
    train(order(smallest, folder), CtrlC(1))
    return folder


@pytest.mark.parametrize("choice", [{"seed": 1}, {"epochs": 3}, {"members": 1}, {"recipe": "textbook"}])
def test_another_plan_cannot_resume(smallest: Dataset, unfinished: Path, choice: dict[str, Any]) -> None:
    message = refusal(order(smallest, unfinished, resume=True, **choice))
    assert "another plan" in message
    assert "data_hash" not in message


def test_other_data_cannot_resume(smallest: Dataset, unfinished: Path) -> None:
    raised = smallest.yields.with_columns(pl.col("apy") + 1e-9)
    message = refusal(order(replace(smallest, yields=raised), unfinished, resume=True))
    assert "another data_hash" in message


def test_a_damaged_checkpoint_is_refused(smallest: Dataset, tmp_path: Path) -> None:
    broken = order(smallest, tmp_path, resume=True)
    broken.checkpoint.parent.mkdir(parents=True)
    broken.checkpoint.write_bytes(b"not a checkpoint")
    assert "cannot be resumed from, it is damaged" in refusal(broken)


def refusal(refused: TrainingOrder) -> str:
    """Return the one line with which a training is refused; nothing may have been written."""
    before = sorted(refused.folder.rglob("*"))
    with pytest.raises(AegisError) as error:
        train(refused, Silent())
    assert sorted(refused.folder.rglob("*")) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_that_cannot_be_written_is_found_before_training(smallest: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        train(order(smallest, tmp_path / "file"), CtrlC(0))
