"""The examples of docs/api.md: each is run against the live service, each answer has the members that are shown."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bundles import CHECKOUT
from processes import Running

from api.ml_service import create_app
from api.settings import ServiceSettings

PAGE = CHECKOUT / "docs" / "api.md"
WRITTEN = "http://127.0.0.1:5000"
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (command, shown)
    for (kind, command), (following, shown) in itertools.pairwise(BLOCKS)
    if kind == "bash" and following == "json"
]
PROGRAMS = [text for kind, text in BLOCKS if kind == "python"]


def documents(text: str) -> list[Any]:
    """One JSON value, or one on each line."""
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


def misfits(shown: Any, real: Any, place: str = "answer") -> list[str]:
    """Where an answer lacks what is shown of it; values may differ, members and kinds may not."""
    if isinstance(shown, Mapping) and isinstance(real, Mapping):
        # Strategies are data: another market holds others.
        names = [name for name in shown if name in real or ":" not in name]
        absent = [f"{place}.{name}: not in the answer" for name in names if name not in real]
        return absent + [
            fault for name in names if name in real for fault in misfits(shown[name], real[name], f"{place}.{name}")
        ]
    if isinstance(shown, list) and isinstance(real, list):
        return misfits(shown[0], real[0], f"{place}[]") if shown and real else []
    if real is None or {type(shown), type(real)} <= {int, float}:
        return []
    return [] if type(shown) is type(real) else [f"{place}: {shown!r} is shown, {real!r} received"]


def test_there_are_examples() -> None:
    assert len([kind for kind, _ in BLOCKS if kind == "bash"]) == len(EXAMPLES) >= 14
    assert len(PROGRAMS) == 2


@pytest.mark.parametrize(
    ("command", "shown"), EXAMPLES, ids=[re.findall(r":5000(/[^ '?]*)", c)[0] for c, _ in EXAMPLES]
)
def test_commands_answer_as_shown(live: Running, command: str, shown: str) -> None:
    assert WRITTEN in command
    done = subprocess.run(
        ["bash", "-c", command.replace(WRITTEN, live.url)], capture_output=True, text=True, timeout=120, check=True
    )
    received = documents(done.stdout)
    expected = documents(shown)
    assert [fault for one, two in zip(expected, received, strict=True) for fault in misfits(one, two)] == []
    for one, two in zip(expected, received, strict=True):
        assert one.get("status") == two.get("status")


@pytest.mark.parametrize("program", PROGRAMS, ids=["blocking", "asynchronous"])
def test_programs_run(live: Running, program: str, tmp_path: Path) -> None:
    path = tmp_path / "example.py"
    path.write_text(program.replace(WRITTEN, live.url))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120, env=kept, check=False)
    assert done.returncode == 0, done.stderr
    assert "aave" in done.stdout


def test_the_program_in_go_compiles(tmp_path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed")
    (program,) = [text for kind, text in BLOCKS if kind == "go"]
    (tmp_path / "main.go").write_text(program)
    (tmp_path / "go.mod").write_text("module keeper\n\ngo 1.19\n")
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    done = subprocess.run(
        [go, "vet", "./..."], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_route_is_on_the_page() -> None:
    text = PAGE.read_text()
    assert [path for path in create_app(ServiceSettings()).openapi()["paths"] if path not in text] == []


def test_the_check_sees_what_is_wrong() -> None:
    shown = {"a": 1, "weights": {"x:y:z": 1.0}, "rows": [{"b": "text"}], "c": 1}
    assert misfits(shown, {"a": "1", "weights": {}, "rows": [{"b": 2}]}) == [
        "answer.c: not in the answer",
        "answer.a: 1 is shown, '1' received",
        "answer.rows[].b: 'text' is shown, 2 received",
    ]
