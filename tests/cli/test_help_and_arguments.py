"""What the parser is given, and what it says about itself."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.cli.app import main
from aegis_yield.cli.options import parse_date
from aegis_yield.cli.shared import spread_lists
from aegis_yield.domain.errors import RequestError

COMMANDS = (
    "collect", "train", "evaluate", "predict", "risk", "optimize", "demo", "strategies", "check", "simulate",
    "features", "serve", "calibrate", "monitor", "trace", "run",
)  # fmt: skip


def shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown([command, "--help"], capsys)
    assert "Examples" in text
    assert f"aegis {command}" in text.split("Examples", 1)[1]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(["--help"], capsys)
    assert all(f" {command} " in text for command in COMMANDS)


@pytest.mark.parametrize(
    ("given_words", "wanted"),
    [
        ("--strategies a b --horizon 7", "--strategies a --strategies b --horizon 7"),
        ("--horizon 7 --strategies a", "--horizon 7 --strategies a"),
        ("--strategies a --strategies b c", "--strategies a --strategies b --strategies c"),
        ("--strategies=a --horizon 7", "--strategies=a --horizon 7"),
        ("predict --all", "predict --all"),
        ("--against x y -h", "--against x --against y -h"),
        ("--strategies", "--strategies"),
        ("", ""),
    ],
)
def test_a_list_option_is_repeated_before_each_value(given_words: str, wanted: str) -> None:
    assert spread_lists(given_words.split()) == wanted.split()


@given(st.lists(st.sampled_from(["a", "b", "-x", "--y=1"])))
def test_arguments_without_a_list_option_are_left_alone(words: list[str]) -> None:
    assert spread_lists(words) == words


@given(st.lists(st.text(min_size=1).filter(lambda word: not word.startswith("-")), min_size=1))
def test_every_value_of_a_list_reaches_the_parser_in_order(values: list[str]) -> None:
    spread = spread_lists(["--strategies", *values])
    assert spread[0::2] == ["--strategies"] * len(values)
    assert spread[1::2] == values


def test_dates_are_read_or_refused_by_name() -> None:
    assert parse_date("start", None) is None
    assert parse_date("start", "2025-09-30") == dt.date(2025, 9, 30)
    with pytest.raises(RequestError, match=r"start: received '30\.9\.2025', allowed is a date such as"):
        parse_date("start", "30.9.2025")
