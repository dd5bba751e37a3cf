"""Every error that this project raises on purpose, in one small tree.

::

    AegisError
    ├── DataError (ValueError)             a table or dataset breaks the data contract
    │   ├── TableFaultsError               ... with every fault of the table listed
    │   └── HistoryError                   a strategy has too little history at an origin
    ├── UnknownStrategyError (LookupError) a strategy that the dataset does not hold
    ├── RequestError (ValueError)          an argument outside what is allowed
    ├── BundleError (ValueError)           a model file that is missing, corrupt or foreign
    ├── TrainingError (RuntimeError)       training cannot start or go on
    ├── RegistryError (ValueError)         a version or alias that is not there, or may not be changed so
    ├── TrackingError (RuntimeError)       the store that records trainings cannot be reached or refuses
    ├── InfeasibleError (ValueError)       limits of an allocation that cannot all be met
    └── CollectionError (RuntimeError)     collection cannot start or go on
        ├── SourceError                    ... one source gave no usable answer
        ├── OfflineError                   ... a host beyond this machine while offline mode is on
        └── BusyError                      ... another collection is at work in the same folder

Each says what was received, what is allowed and what to do, in one line fit for a terminal, and
survives pickling (workers send errors between processes).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MAX_VALUE_CHARS: Final = 60


class AegisError(Exception):
    """Base class of every error that this project raises on purpose."""


class DataError(AegisError, ValueError):
    """A table or dataset breaks the data contract."""


@dataclass(frozen=True)
class TableFault:
    """One way in which one table breaks the contract.

    Attributes
    ----------
    column : str
        Column at fault; ``"(table)"`` when the fault is the table's as a whole.
    rule : str
        The rule that was broken, in words.
    rows : tuple of int
        Zero-based rows at fault, at most the first few.
    values : tuple of str
        The values found in those rows, as text.
    n_rows : int
        How many rows break the rule in all (0 for a fault without rows).
    """

    column: str
    rule: str
    rows: tuple[int, ...] = ()
    values: tuple[str, ...] = ()
    n_rows: int = 0

    def __str__(self) -> str:
        text = " ".join(f"{self.column}: {self.rule}".split())
        if not self.n_rows:
            return text
        shown = ", ".join(f"row {r} = {_brief(v)}" for r, v in zip(self.rows, self.values, strict=True))
        more = f" and {self.n_rows - len(self.rows)} more" if self.n_rows > len(self.rows) else ""
        return f"{text} ({shown}{more})"


def _brief(value: str) -> str:
    text = " ".join(value.split())  # a cell may hold line breaks, a message may not
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[:_MAX_VALUE_CHARS]}…"


class TableFaultsError(DataError):
    """A table was refused as a whole; carries every fault found in it."""

    def __init__(self, table: str, faults: Sequence[TableFault]) -> None:
        self.table = table
        self.faults = tuple(faults)
        noun = "fault" if len(self.faults) == 1 else "faults"
        super().__init__(f"{table}: {len(self.faults)} {noun}: " + "; ".join(map(str, self.faults)))

    def __reduce__(self) -> tuple[type[TableFaultsError], tuple[str, tuple[TableFault, ...]]]:
        return type(self), (self.table, self.faults)


class HistoryError(DataError):
    """A strategy has too little history at an origin to be forecast."""


class UnknownStrategyError(AegisError, LookupError):
    """A strategy was asked for that the dataset does not hold."""

    def __init__(self, received: str, closest: Sequence[str] = ()) -> None:
        self.received = received
        self.closest = tuple(closest)
        hint = f"closest names: {', '.join(self.closest)}" if self.closest else "list them with: aegis strategies"
        super().__init__(f"unknown strategy {received!r}; {hint}")

    def __reduce__(self) -> tuple[type[UnknownStrategyError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.received, self.closest)


class RequestError(AegisError, ValueError):
    """An argument is outside what is allowed."""

    def __init__(self, name: str, received: object, allowed: str) -> None:
        self.name = name
        self.received = received
        self.allowed = allowed
        shown = str(received) if isinstance(received, dt.date) else repr(received)
        super().__init__(f"{name}: received {shown}, allowed is {allowed}")

    def __reduce__(self) -> tuple[type[RequestError], tuple[str, object, str]]:
        return type(self), (self.name, self.received, self.allowed)


class BundleError(AegisError, ValueError):
    """A model file is missing, corrupt, foreign or of another format version."""


class TrainingError(AegisError, RuntimeError):
    """Training cannot start or cannot go on."""


class RegistryError(AegisError, ValueError):
    """A version or an alias is not there, or may not be changed as asked."""


class TrackingError(AegisError, RuntimeError):
    """The store that records trainings cannot be reached, or refuses what it is given."""


class InfeasibleError(AegisError, ValueError):
    """Limits of an allocation that cannot all be met.

    Attributes
    ----------
    limits : tuple of str
        The smallest set that conflicts: without any one of them the rest can be met.
    relaxation : tuple of (str, float)
        The least that would do: by how much which limit would have to give.
    """

    def __init__(self, limits: Sequence[str], relaxation: Sequence[tuple[str, float]] = ()) -> None:
        self.limits = tuple(limits)
        self.relaxation = tuple(relaxation)
        enough = " and ".join(f"{name} by {amount:.4g}" for name, amount in self.relaxation)
        advice = f"; enough would be to relax {enough}" if enough else ""
        super().__init__(f"limits that cannot all be met: {', '.join(self.limits)}{advice}")

    def __reduce__(self) -> tuple[type[InfeasibleError], tuple[tuple[str, ...], tuple[tuple[str, float], ...]]]:
        return type(self), (self.limits, self.relaxation)


class CollectionError(AegisError, RuntimeError):
    """Collection cannot start or cannot go on."""


class SourceError(CollectionError):
    """A source gave no usable answer.

    Attributes
    ----------
    verdict : str
        What may be done about it: ``"transient"`` (ask again), ``"banned"`` (leave the host alone),
        ``"too_large"`` (ask for less), ``"provider"`` (ask another node) or ``"final"`` (nothing).
    retry_after_s : float or None
        How long the source asked to be left alone.
    """

    def __init__(self, message: str, verdict: str, retry_after_s: float | None = None) -> None:
        self.verdict = verdict
        self.retry_after_s = retry_after_s
        super().__init__(message)

    def __reduce__(self) -> tuple[type[SourceError], tuple[str, str, float | None]]:
        return type(self), (str(self), self.verdict, self.retry_after_s)


class OfflineError(CollectionError):
    """A host beyond this machine was asked for while offline mode is on."""


class BusyError(CollectionError):
    """Another collection is at work in the same folder."""
