from __future__ import annotations

import builtins
import copy
import pickle
import re

import pytest

from aegis_yield.domain import errors
from aegis_yield.domain.errors import (
    AegisError,
    BundleError,
    BusyError,
    CollectionError,
    DataError,
    HistoryError,
    InfeasibleError,
    OfflineError,
    RegistryError,
    RequestError,
    SourceError,
    TableFault,
    TableFaultsError,
    TrackingError,
    TrainingError,
    UnknownStrategyError,
)

FAULTS = [
    TableFault("apy", "must be finite", rows=(3, 9), values=("nan", "inf"), n_rows=2),
    TableFault("(table)", "column is missing"),
]
EXAMPLES = [
    AegisError("base"),
    DataError("no dataset at /x: received a file"),
    TableFaultsError("yields", FAULTS),
    HistoryError("received 12 days of yields"),
    UnknownStrategyError("aawe", ["aave", "aave-v3:ethereum:usdc"]),
    RequestError("horizon_days", 31, "a whole number from 1 to 30"),
    BundleError("models/x.pth: not a bundle"),
    TrainingError("no rows to learn from"),
    RegistryError("lstm_v9: no such version"),
    TrackingError("postgresql://db: cannot be reached"),
    InfeasibleError(["min_invested_share", "max_cvar"], [("max_cvar", 0.01)]),
    CollectionError("configs/sources.toml: cannot be read"),
    SourceError("binance: HTTP 429: slow down", "transient", 7.0),
    OfflineError("offline mode allows this machine only"),
    BusyError("data/raw: process 7 is collecting into this folder"),
]


def classes() -> dict[str, type[AegisError]]:
    found = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    return {name: value for name, value in found.items() if issubclass(value, AegisError)}


def drawn() -> dict[str, tuple[str | None, str | None]]:
    """Parent and builtin of each class, read off the picture in the docstring."""
    tree: dict[str, tuple[str | None, str | None]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ((?:│   |    )*)(├── |└── )?(\w+Error)\b(?: \((\w+)\))?", line)
        if match:
            depth = len(match[1]) // 4 + bool(match[2])
            above[depth:] = [match[3]]
            tree[match[3]] = (above[depth - 1] if depth else None, match[4])
    return tree


def real() -> dict[str, tuple[str | None, str | None]]:
    tree: dict[str, tuple[str | None, str | None]] = {}
    for name, cls in classes().items():
        own = [base.__name__ for base in cls.__bases__ if issubclass(base, AegisError)]
        builtin = [base.__name__ for base in cls.__bases__ if hasattr(builtins, base.__name__)]
        tree[name] = (own[0], builtin[0] if builtin else None) if own else (None, None)
    return tree


def test_the_tree_in_the_docstring_is_the_real_tree() -> None:
    assert drawn() == real()
    assert len(drawn()) == 15


def test_every_class_has_an_example_here() -> None:
    assert {type(error) for error in EXAMPLES} == set(classes().values())


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_errors_survive_pickling(error: AegisError, protocol: int) -> None:
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_copying(error: AegisError) -> None:
    assert str(copy.deepcopy(error)) == str(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_the_message_is_one_line(error: AegisError) -> None:
    assert str(error).splitlines() == [str(error)]


@pytest.mark.parametrize(
    ("builtin", "n_classes"), [(ValueError, 7), (LookupError, 1), (RuntimeError, 6), (Exception, 15)]
)
def test_callers_may_catch_the_builtin_they_expect(builtin: type[Exception], n_classes: int) -> None:
    assert sum(isinstance(error, builtin) for error in EXAMPLES) == n_classes


@pytest.mark.parametrize(
    "error",
    [
        TableFaultsError("yields", [TableFault("a\nb", "must be a number", (0,), ("x\ny\r\u2028z",), 1)]),
        UnknownStrategyError("aave\nlido", ["aave"]),
        RequestError("strategies", "two\nlines", "one"),
    ],
)
def test_what_was_received_cannot_break_the_line(error: AegisError) -> None:
    assert len(str(error).splitlines()) == 1


def test_a_huge_cell_is_shortened_in_the_message_but_kept_in_the_fault() -> None:
    error = TableFaultsError("yields", [TableFault("apy", "must be a number", (0,), ("x" * 100_000,), 1)])
    assert len(str(error)) < 200
    assert len(error.faults[0].values[0]) == 100_000


def test_all_faults_are_named_with_rows_values_and_rule() -> None:
    assert str(TableFaultsError("yields", FAULTS)) == (
        "yields: 2 faults: apy: must be finite (row 3 = nan, row 9 = inf); (table): column is missing"
    )


def test_many_rows_are_counted() -> None:
    fault = TableFault("apy", "must be finite", rows=(0, 1), values=("nan", "nan"), n_rows=40)
    assert str(fault).endswith("(row 0 = nan, row 1 = nan and 38 more)")


def test_one_fault_is_not_called_faults() -> None:
    assert str(TableFaultsError("market", FAULTS[1:])).startswith("market: 1 fault: ")


def test_a_request_error_says_received_and_allowed() -> None:
    error = RequestError("level", "high", "a fraction")
    assert str(error) == "level: received 'high', allowed is a fraction"
    assert (error.name, error.received, error.allowed) == ("level", "high", "a fraction")


def test_a_source_error_says_what_may_be_done_about_it() -> None:
    assert vars(SourceError("HTTP 429", "transient", 7.0)) == {"verdict": "transient", "retry_after_s": 7.0}
    assert vars(SourceError("HTTP 404", "final")) == {"verdict": "final", "retry_after_s": None}


def test_an_unknown_strategy_names_the_closest_or_says_where_to_look() -> None:
    assert str(UnknownStrategyError("aawe", ["aave", "lido"])) == ("unknown strategy 'aawe'; closest names: aave, lido")
    assert "aegis strategies" in str(UnknownStrategyError("qqq"))
