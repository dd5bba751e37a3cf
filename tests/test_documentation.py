"""What the documentation names exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from aegis_yield.cli.app import app
from aegis_yield.preprocessing.features import FEATURE_NAMES

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
COMMANDS = {command.name for command in (*app.registered_commands, *app.registered_groups)}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)", text_of(page))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_and_commands_exist(page: Path) -> None:
    text = text_of(page)
    scripts = re.findall(r"python ((?:scripts|benchmarks|api)/\w+\.py)", text)
    assert [script for script in scripts if not (ROOT / script).is_file()] == []
    assert set(re.findall(r"`aegis ([a-z]+)", text)) <= COMMANDS


def test_make_targets_in_the_documentation_exist() -> None:
    listing = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^([a-z-]+) ", listing, flags=re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)`", text_of(page))}
    assert {"demo", "test", "check", "train", "serve", "bench"} <= targets
    assert named <= targets


def test_decisions_fit_on_a_page_and_are_numbered_without_gaps() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in decisions] == list(range(1, len(decisions) + 1))
    assert all(len(text_of(page).splitlines()) <= 60 for page in decisions)


def test_the_architecture_page_counts_the_channels_right() -> None:
    assert f"{len(FEATURE_NAMES)} channels" in text_of(ROOT / "docs" / "architecture.md")


def test_dependencies_are_pinned_and_the_project_comes_last() -> None:
    lines = [line for line in text_of(ROOT / "requirements.txt").splitlines() if line and not line.startswith("#")]
    assert lines[-1] == "-e ."
    assert "torch==2.13.0" in lines
    assert all(re.fullmatch(r"[\w.\[\]-]+==[\w.]+", line) for line in lines[:-1])
