"""The key file: what it holds, who is recognised, and that no change is lost."""

from __future__ import annotations

import datetime as dt
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.domain.errors import AegisError, RequestError
from aegis_yield.pipelines.keys import (
    SCOPES,
    Key,
    KeyRing,
    create_key,
    default_key_file,
    read_keys,
    revoke_key,
    rotate_key,
)

NOW = dt.datetime.now(dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "keys.json"


def test_a_key_is_recognised_and_nowhere_kept(path: Path) -> None:
    key, text = create_key(path, "bot", "read")
    assert read_keys(path).find(text) == key
    content = path.read_text()
    assert text not in content
    assert text.rpartition("_")[2] not in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [one for one in path.parent.iterdir() if one.name not in (path.name, f".{path.name}.lock")]


def test_what_is_nearly_a_key_is_none(path: Path) -> None:
    _, text = create_key(path, "bot", "read")
    _, other = create_key(path, "desk", "admin")
    ring = read_keys(path)
    prefix, key_id, secret = text.split("_")
    swapped = "_".join((prefix, other.split("_")[1], secret))
    cut, longer, upper = text[:-1], f"{text}0", f"{prefix}_{key_id}_{secret.upper()}"
    for wrong in (
        swapped,
        cut,
        longer,
        upper,
        f"x_{key_id}_{secret}",
        f"{prefix}_{key_id}_",
        f"{prefix}__{secret}",
        "",
    ):
        assert ring.find(wrong) is None
    assert KeyRing().find(text) is None


@given(st.text())
def test_no_other_text_is_a_key(text: str) -> None:
    assert KeyRing([Key("ab", "bot", "read", "00", "11", NOW)]).find(f"aegis_ab_{text}") is None


def test_two_keys_share_nothing(path: Path) -> None:
    first, second = (create_key(path, name, "read")[0] for name in ("a", "b"))
    assert first.salt != second.salt
    assert first.digest != second.digest


@pytest.mark.parametrize(("given_scope", "may"), [("read", 1), ("optimize", 2), ("admin", 3)])
def test_a_scope_includes_those_before_it(given_scope: str, may: int) -> None:
    key = Key("ab", "bot", given_scope, "00", "11", NOW)
    assert [key.may(scope) for scope in SCOPES] == [True] * may + [False] * (3 - may)


def test_a_key_ends_when_it_was_told_to() -> None:
    key = Key("ab", "bot", "read", "00", "11", NOW)
    assert key.state(NOW + 1_000 * HOUR) == "active"
    ends = replace(key, expires_at=NOW + HOUR)
    assert [ends.state(NOW), ends.state(NOW + HOUR)] == ["active", "expired"]
    revoked = replace(ends, revoked_at=NOW)
    assert revoked.state(NOW) == revoked.state(NOW + 2 * HOUR) == "revoked"
    assert not KeyRing([ends, revoked]).any_usable(NOW + HOUR)
    assert KeyRing([ends, revoked]).any_usable(NOW)


def test_rotation_overlaps(path: Path) -> None:
    old, old_text = create_key(path, "bot", "optimize", expires_days=10)
    new, new_text = rotate_key(path, "bot", grace_hours=2)
    ring = read_keys(path)
    ending = ring.find(old_text)
    assert ending is not None
    assert ending.expires_at == new.created_at + 2 * HOUR
    assert ring.find(new_text) == new
    assert (new.name, new.scope) == ("bot", "optimize")
    assert old.expires_at is not None
    assert new.expires_at is not None
    assert new.expires_at - new.created_at == old.expires_at - old.created_at
    _, last_text = rotate_key(path, "bot", grace_hours=0)
    assert [key.state(new.created_at + HOUR) for key in read_keys(path).keys] == ["expired", "expired", "active"]
    assert read_keys(path).find(last_text) is not None


def test_revoking_ends_every_key_of_a_name(path: Path) -> None:
    create_key(path, "bot", "read")
    create_key(path, "desk", "read")
    rotate_key(path, "bot")
    assert len(revoke_key(path, "bot")) == 2
    now = dt.datetime.now(dt.UTC)
    assert [(key.name, key.state(now)) for key in read_keys(path).keys] == [
        ("bot", "revoked"), ("desk", "active"), ("bot", "revoked"),
    ]  # fmt: skip
    for change in (revoke_key, rotate_key):
        with pytest.raises(RequestError, match="allowed is the name of an active key: desk"):
            change(path, "bot")
    create_key(path, "bot", "read")  # the name is free again


@pytest.mark.parametrize(
    ("name", "scope", "days", "said"),
    [
        ("", "read", None, "name: received ''"),
        ("a b", "read", None, "name: received 'a b'"),
        ("bot\n", "read", None, "name: received"),
        ("x" * 65, "read", None, "name: received"),
        ("bot", "write", None, "scope: received 'write', allowed is read, optimize, admin"),
        ("bot", "read", 0, "expires_days: received 0"),
        ("bot", "read", float("nan"), "expires_days: received nan"),
        ("bot", "read", 1e9, "expires_days: received"),
    ],
)
def test_a_wrong_order_changes_nothing(path: Path, name: str, scope: str, days: float | None, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        create_key(path, name, scope, days)
    assert not path.exists()


def test_a_taken_name_is_refused(path: Path) -> None:
    create_key(path, "bot", "read")
    before = path.read_bytes()
    with pytest.raises(RequestError, match="aegis keys rotate"):
        create_key(path, "bot", "admin")
    with pytest.raises(RequestError, match="grace_hours: received -1"):
        rotate_key(path, "bot", -1)
    assert path.read_bytes() == before


def test_no_change_is_lost_when_many_change_at_once(path: Path) -> None:
    names = [f"bot{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda name: create_key(path, name, "read")[1], names))
    ring = read_keys(path)
    assert sorted(key.name for key in ring.keys) == sorted(names)
    assert all(ring.find(text) for text in texts)


def good_row() -> dict[str, object]:
    return {"id": "ab", "name": "bot", "scope": "read", "salt": "00", "digest": "11", "created_at": NOW.isoformat()}


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", '{"format": 2, "keys": []}', '{"format": 1}',
        json.dumps({"format": 1, "keys": [{**good_row(), "scope": "root"}]}),
        json.dumps({"format": 1, "keys": [{**good_row(), "created_at": "2026-01-01T00:00:00"}]}),
        json.dumps({"format": 1, "keys": [{**good_row(), "more": "x"}]}),
        json.dumps({"format": 1, "keys": [{**good_row(), "digest": 7}]}),
        json.dumps({"format": 1, "keys": [good_row(), good_row()]}),
    ],
)  # fmt: skip
def test_what_is_no_key_file_is_refused(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(AegisError, match=r"keys\.json: no key file"):
        read_keys(path)
    with pytest.raises(AegisError, match="no key file"):
        create_key(path, "bot", "read")
    assert path.read_text() == content  # somebody's damaged file is not written over


def test_a_good_row_is_good(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"format": 1, "keys": [good_row()]}))
    assert [key.name for key in read_keys(path).keys] == ["bot"]


def test_a_missing_file_and_one_that_anyone_may_write_are_refused(path: Path) -> None:
    with pytest.raises(AegisError, match="No such file"):
        read_keys(path)
    create_key(path, "bot", "read")
    path.chmod(0o640)
    create_key(path, "desk", "read")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640  # a group that was let in stays
    path.chmod(0o666)
    with pytest.raises(AegisError, match="anyone on this machine may write it"):
        read_keys(path)


def test_the_place_is_one_for_command_and_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    assert default_key_file() == tmp_path / "data" / "service" / "keys.json"
    monkeypatch.setenv("AEGIS_SERVICE__KEYS", str(tmp_path / "k"))
    assert default_key_file() == tmp_path / "k"
