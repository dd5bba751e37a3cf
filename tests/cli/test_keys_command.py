"""``aegis keys`` as users run it: the key on standard output, once, and everything else beside it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import run

from aegis_yield.cli.app import main
from aegis_yield.pipelines.keys import read_keys

AEGIS = ("-c", "from aegis_yield.cli.app import main; main()", "keys")
ACTIONS = ("create", "list", "rotate", "revoke")
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def keys(tmp_path: Path) -> Call:
    def call(*arguments: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
        return run([*AEGIS, *arguments], tmp_path, tmp_path, **extra)

    return call


def refused(done: subprocess.CompletedProcess[str], said: str) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_an_example(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["keys", action, "--help"])
    assert f"aegis keys {action}" in capsys.readouterr().out.split("Examples", 1)[1]


def test_a_key_is_shown_once_and_its_life_in_the_list(keys: Call, tmp_path: Path) -> None:
    path = tmp_path / "data" / "service" / "keys.json"
    made = keys("create", "--name", "bot", "--scope", "optimize", "--expires-days", "30")
    assert made.returncode == 0, made.stderr
    key = made.stdout.removesuffix("\n")
    found = read_keys(path).find(key)
    assert found is not None
    assert (found.name, found.scope) == ("bot", "optimize")
    assert key not in made.stderr
    turned = keys("rotate", "--name", "bot", "--grace-hours", "1").stdout.strip()
    assert read_keys(path).find(turned) is not None
    rows = json.loads(keys("list", "--json").stdout)
    assert [(row["name"], row["scope"], row["state"]) for row in rows] == [("bot", "optimize", "active")] * 2
    listed = keys("list").stdout
    assert listed.count("optimize") == 2
    for secret in (key, turned, found.digest, found.salt):
        assert secret not in listed + json.dumps(rows)
    assert keys("revoke", "--name", "bot").stdout == "bot: 2 keys revoked\n"
    refused(keys("revoke", "--name", "bot"), "the name of an active key: there is none")


def test_what_cannot_be_is_said_in_one_line(keys: Call, tmp_path: Path) -> None:
    refused(keys("create", "--name", "a b"), "name: received 'a b'")
    refused(keys("create", "--name", "bot", "--scope", "root"), "allowed is read, optimize, admin")
    refused(keys("list", "--file", tmp_path / "absent.json"), "absent.json")
    (tmp_path / "x.json").write_text("{")
    refused(keys("create", "--name", "bot", AEGIS_SERVICE__KEYS=str(tmp_path / "x.json")), "no key file")
    assert json.loads(keys("list", "--json").stdout) == []
