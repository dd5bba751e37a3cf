"""What service and worker processes say to each other: JSON, a line each, no pickles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

from aegis_yield.domain.errors import (
    AegisError,
    HistoryError,
    InfeasibleError,
    RequestError,
    UnknownStrategyError,
)

Message: TypeAlias = Mapping[str, Any]

BEHIND: Final = "behind"
"""The files that a worker found are not those that the service serves."""


@dataclass(frozen=True)
class State:
    """Model and tables, exactly: what the service serves and a worker has to answer from.

    Attributes
    ----------
    model_version : str
        Name and digest of the bundle.
    data_sha256 : str
        Of the tables' content.
    names : str
        Aliases and default strategies, as JSON.
    """

    model_version: str
    data_sha256: str
    names: str


@dataclass(frozen=True)
class Files:
    """Where a state is loaded from.

    Attributes
    ----------
    data : str or None
        Dataset folder; None for the project's default.
    model : str
        The bundle.
    are_copies : bool
        Whether they were written for the worker: then the bundle's own name and digest say nothing.
    """

    data: str | None
    model: str
    are_copies: bool = False


@dataclass(frozen=True)
class Job:
    """What a worker is to decide.

    Attributes
    ----------
    kind : str
        One of :data:`aegis_yield.pipelines.decisions.DECISIONS`.
    options : mapping
        Plain values.
    seconds : float
        How long to wait for the answer.
    """

    kind: str
    options: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Answer:
    """What a worker decided.

    Attributes
    ----------
    body : bytes
        JSON, as it goes to the client.
    state : State
        From which it was made.
    waited_s, loaded_s, worked_s : float
        For a free worker, for the state to be loaded, for the decision itself.
    """

    body: bytes
    state: State
    waited_s: float
    loaded_s: float
    worked_s: float


def line(message: Message) -> bytes:
    """Return a message as a line."""
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def load_message(state: State, files: Files) -> Message:
    """Ask a worker to load a state."""
    return {"do": "load", "state": asdict(state), "files": asdict(files)}


def job_message(job: Job, state: State) -> Message:
    """Ask a worker to decide something from a state."""
    return {"do": job.kind, "state": asdict(state), "options": dict(job.options)}


def error_message(error: AegisError) -> Message:
    """Return one of this project's errors as plain values."""
    content: dict[str, Any] = {"error": type(error).__name__, "text": str(error)}
    if isinstance(error, UnknownStrategyError):
        content |= {"received": error.received, "closest": list(error.closest)}
    elif isinstance(error, RequestError):
        content |= {"name": error.name, "received": _plain(error.received), "allowed": error.allowed}
    elif isinstance(error, InfeasibleError):
        content |= {"limits": list(error.limits), "relaxation": [list(pair) for pair in error.relaxation]}
    return content


def error_from(content: Message) -> AegisError:
    """Return the error that plain values stand for; one that no client can mend is an ``AegisError``."""
    makers: Mapping[str, Callable[[], AegisError]] = {
        "UnknownStrategyError": lambda: UnknownStrategyError(content["received"], content["closest"]),
        "RequestError": lambda: RequestError(content["name"], content["received"], content["allowed"]),
        "InfeasibleError": lambda: InfeasibleError(
            content["limits"], [(name, amount) for name, amount in content["relaxation"]]
        ),
        "HistoryError": lambda: HistoryError(content["text"]),
    }
    return makers.get(content["error"], lambda: AegisError(content["text"]))()


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    finite = not isinstance(value, float) or value - value == 0.0
    return value if finite and (value is None or isinstance(value, str | int | float)) else str(value)
