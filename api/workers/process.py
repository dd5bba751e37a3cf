"""The worker process: loads what the service serves, answers one question at a time, ends with the service.

Questions come in on standard input and answers leave on standard output, a line of JSON each; an answer's body is a
line of its own, so that the service need not read it. Standard input at its end means that the service is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from aegis_yield.domain.errors import AegisError, BundleError, DataError
from api.workers.messages import BEHIND, Files, Message, State, error_message, line

if TYPE_CHECKING:
    from aegis_yield.domain.dataset import Dataset
    from aegis_yield.models.bundle import Bundle
    from aegis_yield.pipelines.predict import Forecaster

NICENESS: Final = 5
"""Forecasts go first where both want the same core."""

SACRIFICE: Final = "300"
"""Where memory runs out, the kernel takes a worker before the service."""


class BehindError(AegisError):
    """The files are not those of the state asked for."""


class Desk:
    """Holds one state and decides from it."""

    def __init__(self) -> None:
        self._state: State | None = None
        self._forecaster: Forecaster | None = None

    def handle(self, message: Message) -> tuple[Message, bytes]:
        """Return the answer to a message and its body."""
        state = State(**message["state"])
        try:
            if message["do"] == "load":
                self._load(state, Files(**message["files"]))
                return {"status": "ok"}, b"{}"
            if self._forecaster is None or self._state != state:
                return {"status": BEHIND}, b"{}"
            return {"status": "ok"}, self._decide(self._forecaster, message["do"], message["options"])
        except BehindError as error:
            return {"status": BEHIND, "text": str(error)}, b"{}"
        except AegisError as error:
            return {"status": "error", **error_message(error)}, b"{}"
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - the service answers 500 and logs it; the next question is a new one
            return {"status": "surprise", "text": type(error).__name__, "trace": traceback.format_exc()}, b"{}"

    @staticmethod
    def _decide(forecaster: Forecaster, kind: str, options: dict[str, Any]) -> bytes:
        from aegis_yield.pipelines.decisions import DECISIONS

        return json.dumps(DECISIONS[kind](forecaster, options), allow_nan=False, separators=(",", ":")).encode()

    def _load(self, state: State, files: Files) -> None:
        """Load a state, whole or not at all; what is the same in the present one is kept."""
        from aegis_yield.domain.naming import StrategyNames
        from aegis_yield.pipelines.predict import Forecaster

        old, before = self._forecaster, self._state
        same_data = old is not None and before is not None and before.data_sha256 == state.data_sha256
        same_model = old is not None and before is not None and before.model_version == state.model_version
        dataset = old.dataset if old is not None and same_data else _tables(state, files)
        bundle = old.bundle if old is not None and same_model else _bundle(state, files)
        names = json.loads(state.names)
        aliases = {alias: tuple(targets) for alias, targets in names["aliases"].items()}
        known = StrategyNames(aliases, tuple(names["defaults"]))
        forecaster = Forecaster(dataset, bundle, state.model_version, known)
        _warm_up(forecaster)
        self._state, self._forecaster = state, forecaster


def _tables(state: State, files: Files) -> Dataset:
    from aegis_yield.pipelines.datasets import content_hash, open_dataset

    try:
        dataset = open_dataset(None if files.data is None else Path(files.data))
    except (DataError, OSError) as error:
        raise BehindError(f"the tables cannot be read: {error}") from error
    if content_hash(dataset) != state.data_sha256:
        raise BehindError("the tables are not those that are served")
    return dataset


def _bundle(state: State, files: Files) -> Bundle:
    from aegis_yield.models.bundle import bundle_digest, load_bundle
    from aegis_yield.registry import version_of

    path = Path(files.model)
    try:
        before = bundle_digest(path)
        bundle = load_bundle(path)
        is_still = bundle_digest(path) == before
    except (BundleError, OSError) as error:
        raise BehindError(f"the model cannot be read: {error}") from error
    if not files.are_copies and (not is_still or f"{version_of(path)}-{before}" != state.model_version):
        raise BehindError("the model is not the one that is served")
    return bundle


def _warm_up(forecaster: Forecaster) -> None:
    """Do once what every question needs: the first must not take longer than the next, or a deadline is never met."""
    from aegis_yield.pipelines import decisions  # noqa: F401 - solvers take a moment to import
    from aegis_yield.pipelines.predict import Question

    forecaster.ask(Question(None))


def main() -> None:
    """Answer questions until the service is gone."""
    questions, answers = _own_pipes()
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the service: it decides when its workers end
        signal.signal(number, signal.SIG_IGN)
    _be_modest()
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(questions, inbox), daemon=True).start()
    desk = Desk()
    while True:
        message = inbox.get()
        began = time.monotonic()
        header, body = desk.handle(message)
        header = {**header, "seconds": round(time.monotonic() - began, 6)}
        try:
            answers.write(line(header) + body + b"\n")
            answers.flush()
        except BrokenPipeError:
            os._exit(0)


def _own_pipes() -> tuple[BinaryIO, BufferedWriter]:
    """Take the pipes for this module alone: what a library prints goes to the log, not into an answer."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    sys.stdout = sys.stderr
    return questions, answers


def _listen(questions: BinaryIO, inbox: queue.SimpleQueue[Message]) -> None:
    for text in questions:
        inbox.put(json.loads(text))
    os._exit(0)  # also in the middle of a decision: nobody waits for it any more


def _be_modest() -> None:
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(SACRIFICE)


if __name__ == "__main__":
    main()
