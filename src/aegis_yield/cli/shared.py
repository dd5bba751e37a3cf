"""What all commands share: errors as one line, warnings as one line, lists of values, paths."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from rich.console import Console
from rich.markup import escape

from aegis_yield.domain.errors import AegisError

EXIT_FAILURE: Final = 1
EXIT_INTERRUPTED: Final = 130

EXTRAS: Final = {
    "plotly": "report", "fastapi": "serve", "pydantic_settings": "serve", "uvicorn": "serve",
    "httpx2": "collect", "stamina": "collect", "aiolimiter": "collect", "eth_abi": "collect",
    "highspy": "allocate", "clarabel": "allocate",
    "mlflow": "track", "sqlalchemy": "track", "alembic": "track",
}  # fmt: skip
"""Packages that only some commands need, and the extra that brings them."""

LIST_OPTIONS: Final = ("--strategies", "--against", "--sources", "--never")
"""Options that take several values after one another: ``--strategies aave lido delta``."""

PIPE_WIDTH: Final = 200
"""Columns of a table that no terminal bounds: a program that reads it gets whole names."""


def _width() -> int | None:
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH


out = Console(soft_wrap=False, width=_width())
notes = Console(stderr=True, soft_wrap=True, highlight=False)


def spread_lists(arguments: Sequence[str]) -> list[str]:
    """Repeat a list option before each of its values, the only way the parser takes them.

    ``--strategies aave lido -h`` becomes ``--strategies aave --strategies lido -h``.
    """
    spread: list[str] = []
    current: str | None = None
    for argument in arguments:
        if argument.startswith("-"):
            current = argument if argument in LIST_OPTIONS else None
            if current is None:
                spread.append(argument)
        elif current is not None:
            spread += [current, argument]
        else:
            spread.append(argument)
    if arguments and arguments[-1] in LIST_OPTIONS:
        spread.append(arguments[-1])  # let the parser say that a value is missing
    return spread


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning as one line on standard error; takes the place of ``warnings.showwarning``."""
    notes.print(f"[yellow]warning:[/] {escape(str(message))}")


def say(text: str) -> None:
    """Say something beside the result, on standard error, exactly as it is."""
    notes.print(text, markup=False)


def fail(error: BaseException) -> NoReturn:
    """Say what went wrong in one line on standard error and leave with a non-zero code."""
    print(f"error: {_one_line(error)}", file=sys.stderr)  # noqa: T201 - the command line's voice
    raise SystemExit(EXIT_FAILURE)


def guarded(command: Any, arguments: Sequence[str]) -> None:
    """Run a command so that no failure of the user's world becomes a traceback."""
    warnings.showwarning = show_warning
    try:
        command(args=spread_lists(arguments), prog_name="aegis")
    except (AegisError, OSError, MemoryError) as error:
        fail(error)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name))
        if extra is None:
            raise
        fail(AegisError(f"this command needs {error.name}; install it with: pip install 'aegis-yield[{extra}]'"))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201 - the command line's voice
        raise SystemExit(EXIT_INTERRUPTED) from None


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
