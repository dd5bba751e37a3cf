"""One worker process as the service sees it: started when it is needed, asked, killed, replaced."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Final

from api.workers.messages import Message, State, line

MOST_BYTES: Final = 64 * 2**20
"""The longest line that a worker may answer with."""

LEAVE_S: Final = 1.0
"""A worker that is given up has so long to end by itself."""

_FOLDER: Final = str(Path(__file__).resolve().parents[2])
_PROGRAM: Final = f"import sys; sys.path.append({_FOLDER!r}); from api.workers.process import main; main()"
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class EndedError(Exception):
    """The process ended, or never answered as it should."""


class Worker:
    """A place for one process.

    Attributes
    ----------
    state : State or None
        What the process has loaded.
    was_killed : bool
        Whether the last process was ended in the middle of something and no new one has been started.
    """

    def __init__(self) -> None:
        self.state: State | None = None
        self.was_killed = False
        self._process: Process | None = None
        self._talking = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process's number while it runs."""
        return self._process.pid if self.is_alive and self._process is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether there is a process that has not ended and is not about to."""
        return self._process is not None and self._process.returncode is None and not self.was_killed

    async def start(self) -> None:
        """Start the process unless it runs."""
        if self.is_alive:
            return
        await self.end()
        environment = {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", _PROGRAM, stdin=PIPE, stdout=PIPE, limit=MOST_BYTES, env=environment
        )
        self.was_killed = False

    async def ask(self, message: Message) -> tuple[Message, bytes]:
        """Send a message; return what the process says to it and the body.

        Raises
        ------
        EndedError
            If it ends instead.
        """
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise EndedError("it was not started")
        try:
            async with self._talking:
                process.stdin.write(line(message))
                await process.stdin.drain()
                header, body = await process.stdout.readline(), await process.stdout.readline()
        except (OSError, ValueError) as error:  # a broken pipe, or a line beyond the limit
            raise EndedError(type(error).__name__) from error
        except RuntimeError as error:  # what uvloop raises for a pipe that is seen to be closed already
            raise EndedError("its pipe is closed") from error
        if not body.endswith(b"\n"):
            raise EndedError(await self._how())
        found = json.loads(header)
        return found, body[:-1]

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        self.state, self.was_killed = None, True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def retire(self) -> None:
        """Let the process end by itself, for a moment; then kill it."""
        if self.is_alive and self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self._process.wait()
        await self.end()

    async def end(self) -> None:
        """Kill the process and wait until it is gone, its pipes too."""
        self.kill()
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        async with self._talking:  # whoever still listens hears the end first
            with contextlib.suppress(OSError):
                while process.stdout is not None and await process.stdout.read(MOST_BYTES):
                    pass
        await process.wait()

    async def _how(self) -> str:
        """Say how the process ended."""
        if self._process is None:
            return "it was stopped"
        code = await self._process.wait()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
