"""The server as a process: it ends in time even if a part of it does not, and has files enough for its connections."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from bundles import CHECKOUT, clean_environment
from processes import eventually
from services import free_port

from api.guards.server import LAST_RESORT_S

PROGRAM = """
import contextlib, sys, time
sys.path.insert(0, {checkout!r})
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from api.guards.server import serve
from api.settings import LifeSettings, ServiceSettings
import resource

@contextlib.asynccontextmanager
async def life(app):
    yield
    time.sleep({stuck_s})

async def files(request):
    return PlainTextResponse(str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))

app = Starlette(routes=[Route("/", files)], lifespan=life)
serve(app, ServiceSettings(port={port}, service=LifeSettings(drain_s=1, max_connections=3_000)))
"""


@pytest.mark.parametrize(("stuck_s", "code"), [(0, -signal.SIGTERM), (60, 1)])
def test_it_ends_in_time_whatever_holds_it(tmp_path: Path, stuck_s: int, code: int) -> None:
    port = free_port()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(checkout=str(CHECKOUT), stuck_s=stuck_s, port=port)],
        env=clean_environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)),
    )
    try:
        assert eventually(lambda: _files(port) is not None, 60)
        assert _files(port) == 3_256
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert time.monotonic() - began < 1 + LAST_RESORT_S + 3
    assert ("not stopped in time" in log) == bool(stuck_s)


def _files(port: int) -> int | None:
    try:
        return int(httpx2.get(f"http://127.0.0.1:{port}/").text)
    except httpx2.TransportError:
        return None
