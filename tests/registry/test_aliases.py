"""Aliases: one file that is the truth, changed in one step, by one writer at a time."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import threading
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.domain.errors import RegistryError
from aegis_yield.registry.aliases import Registry, Why, challenge, promote, read_registry, rollback, stamp, strike
from aegis_yield.registry.lock import held
from aegis_yield.registry.versions import publish

WHY = Why("a test")
VERSIONS = [f"lstm_v{number}" for number in range(1, 5)]
PER_WRITER = 25


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for version in VERSIONS:
        (tmp_path / f"{version}.pth").write_text(version)
    return tmp_path


def content(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "registry.json").read_text())
    return found


def test_without_a_file_nothing_is_champion(tmp_path: Path) -> None:
    assert read_registry(tmp_path) == Registry()
    assert read_registry(tmp_path / "absent") == Registry()
    assert read_registry(tmp_path).champion is None
    assert stamp(tmp_path) is None


def test_a_promotion_is_written_with_its_grounds(folder: Path) -> None:
    challenge(folder, "lstm_v2", Why("newly trained"))
    promote(folder, "lstm_v1", WHY)
    promote(folder, "lstm_v2", Why("better by 4 %", decision="ab12"))
    written = content(folder)
    assert (written["format"], written["aliases"]) == (1, {"champion": "lstm_v2"})
    last = written["history"][-1]  # type: ignore[index]
    assert last.pop("at").endswith("+00:00")
    assert last == {
        "action": "promote", "alias": "champion", "from": "lstm_v1", "to": "lstm_v2", "reason": "better by 4 %",
        "decision": "ab12", "forced": False,
    }  # fmt: skip
    assert read_registry(folder).history[-1].why.decision == "ab12"


def test_a_challenger_that_wins_challenges_no_longer(folder: Path) -> None:
    promote(folder, "lstm_v1", WHY)
    challenge(folder, "lstm_v2", WHY)
    assert read_registry(folder).aliases == {"champion": "lstm_v1", "challenger": "lstm_v2"}
    promote(folder, "lstm_v3", WHY)
    assert read_registry(folder).aliases == {"champion": "lstm_v3", "challenger": "lstm_v2"}
    promote(folder, "lstm_v2", WHY)
    assert read_registry(folder).aliases == {"champion": "lstm_v2"}
    challenge(folder, "lstm_v4", WHY)
    challenge(folder, None, WHY)
    assert read_registry(folder).aliases == {"champion": "lstm_v2"}


def test_rolling_back_again_goes_further_back(folder: Path) -> None:
    for version in VERSIONS[:3]:
        promote(folder, version, WHY)
    assert rollback(folder, WHY).champion == "lstm_v2"
    assert rollback(folder, WHY).champion == "lstm_v1"
    with pytest.raises(RegistryError, match=r"no earlier champion to return to \(now: lstm_v1\)"):
        rollback(folder, WHY)
    promote(folder, "lstm_v4", WHY)
    assert rollback(folder, WHY).champion == "lstm_v1"
    assert [change.action for change in read_registry(folder).history] == [
        "promote", "promote", "promote", "rollback", "rollback", "promote", "rollback",
    ]  # fmt: skip


def test_a_rollback_passes_over_versions_that_are_gone(folder: Path) -> None:
    for version in VERSIONS[:3]:
        promote(folder, version, WHY)
    (folder / "lstm_v2.pth").unlink()
    assert rollback(folder, WHY).champion == "lstm_v1"


@given(st.lists(st.sampled_from([*VERSIONS, None])))
def test_former_champions_are_a_stack(moves: list[str | None]) -> None:
    registry, stack = Registry(), []
    for move in moves:
        if move is None:
            if len(stack) < 2:
                continue
            stack.pop()
            registry = registry.moved("rollback", "champion", registry.former_champions[0], WHY)
        elif registry.champion != move:
            stack = [version for version in stack if version != move] + [move]
            registry = registry.moved("promote", "champion", move, WHY)
        assert registry.champion == (stack[-1] if stack else None)
        assert registry.former_champions == stack[:-1][::-1]


def test_what_changes_nothing_is_refused(folder: Path) -> None:
    promote(folder, "lstm_v1", WHY)
    before = (folder / "registry.json").read_bytes()
    for change in (lambda: promote(folder, "lstm_v1", WHY), lambda: challenge(folder, "lstm_v1", WHY)):
        with pytest.raises(RegistryError, match="lstm_v1"):
            change()
    assert (folder / "registry.json").read_bytes() == before


@pytest.mark.parametrize("reason", ["", "   "])
def test_nobody_changes_a_version_without_a_reason(reason: str) -> None:
    with pytest.raises(RegistryError, match="reason"):
        Why(reason)


def test_a_comparison_that_is_overtaken_promotes_nothing(folder: Path) -> None:
    promote(folder, "lstm_v1", WHY)
    promote(folder, "lstm_v3", WHY)
    with pytest.raises(RegistryError, match="was compared with lstm_v1, but meanwhile lstm_v3 became champion"):
        promote(folder, "lstm_v2", WHY, instead_of="lstm_v1")
    assert promote(folder, "lstm_v2", WHY, instead_of="lstm_v3").champion == "lstm_v2"


def test_a_version_that_an_alias_names_is_not_deleted(folder: Path) -> None:
    promote(folder, "lstm_v1", WHY)
    challenge(folder, "lstm_v2", WHY)
    for version, alias in (("lstm_v1", "champion"), ("lstm_v2", "challenger")):
        with pytest.raises(RegistryError, match=f"{version}: is the {alias}"):
            strike(folder, version, WHY, (folder / f"{version}.pth").unlink)
        assert (folder / f"{version}.pth").exists()


def test_the_number_of_a_deleted_version_is_never_used_again(folder: Path) -> None:
    strike(folder, "lstm_v4", WHY, (folder / "lstm_v4.pth").unlink)
    assert not (folder / "lstm_v4.pth").exists()
    assert publish(b"next", folder).name == "lstm_v5.pth"


def test_a_damaged_list_does_not_cost_a_trained_model(folder: Path) -> None:
    (folder / "registry.json").write_text("{")
    assert publish(b"next", folder).name == "lstm_v5.pth"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": 1}', "damaged"),
        ('{"format": 1, "aliases": [], "history": []}', "damaged"),
        ('{"format": 1, "aliases": {}, "history": [{}]}', "damaged"),
        ('{"format": 2, "aliases": {}, "history": []}', "received format 2, this release reads 1"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_left_as_it_is(folder: Path, text: str, said: str) -> None:
    (folder / "registry.json").write_text(text)
    with pytest.raises(RegistryError, match=said):
        promote(folder, "lstm_v1", WHY)
    assert (folder / "registry.json").read_text() == text


def test_every_change_changes_the_stamp(folder: Path) -> None:
    seen = {stamp(folder)}
    for version in VERSIONS:
        promote(folder, version, WHY)
        seen.add(stamp(folder))
    rollback(folder, WHY)
    seen.add(stamp(folder))
    assert len(seen) == 6


def alternate(start: Barrier, folder: Path, versions: tuple[str, str]) -> None:
    start.wait()
    for number in range(PER_WRITER):
        promote(folder, versions[number % 2], WHY)


def test_two_writers_lose_no_change_and_a_reader_sees_only_whole_states(folder: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    pairs = [("lstm_v1", "lstm_v2"), ("lstm_v3", "lstm_v4")]
    writers = [spawn.Process(target=alternate, args=(start, folder, pair)) for pair in pairs]
    for writer in writers:
        writer.start()
    seen = []
    while any(writer.is_alive() for writer in writers):
        registry = read_registry(folder)
        champions = [change.after for change in registry.history if change.alias == "champion"]
        assert registry.champion == (champions[-1] if champions else None)
        seen.append(len(champions))
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert seen == sorted(seen)
    history = read_registry(folder).history
    assert len(history) == 2 * PER_WRITER
    assert all(earlier.after == later.before for earlier, later in itertools.pairwise(history))


def keep(path: Path, has: Event) -> None:
    with held(path):
        has.set()
        threading.Event().wait()


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    has = spawn.Event()
    holder = spawn.Process(target=keep, args=(tmp_path / ".lock", has))
    holder.start()
    assert has.wait(60)
    with (
        pytest.raises(RegistryError, match="another process has been changing this folder"),
        held(tmp_path / ".lock", 0.1),
    ):
        pass
    holder.kill()
    holder.join()
    with held(tmp_path / ".lock", 5.0):
        pass
