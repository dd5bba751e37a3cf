"""The server: uvicorn with this service's limits, and an end within seconds when it is told to stop."""

from __future__ import annotations

import logging
import os
import resource
import threading
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from api.guards.connections import protocol
from api.guards.logs import configure_logs
from api.settings import ServiceSettings

logger = logging.getLogger("aegis_yield.service")

LAST_RESORT_S: Final = 3.5
"""So long after draining the process ends, whatever still holds it."""

_SPARE_FILES: Final = 256
_EXIT_STUCK: Final = 1


class Server(uvicorn.Server):
    """Ends within its time even if a part of it does not."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop, and see to it that it comes to an end."""
        if not self.should_exit:
            limit_s = (self.config.timeout_graceful_shutdown or 0) + LAST_RESORT_S
            timer = threading.Timer(limit_s, _leave)
            timer.daemon = True
            timer.start()
        super().handle_exit(sig, frame)


def serve(app: ASGIApp, settings: ServiceSettings) -> None:
    """Serve until stopped; requests under way may end in ``drain_s``."""
    life = settings.service
    configure_logs(life)
    _allow_files(life.max_connections + _SPARE_FILES)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        http=protocol(life),
        ws="none",
        lifespan="on",
        server_header=False,
        timeout_keep_alive=life.keep_alive_s,
        timeout_graceful_shutdown=life.drain_s,
        h11_max_incomplete_event_size=life.max_header_bytes,
    )
    server = Server(config)
    server.run()
    if not server.started:
        raise SystemExit(3)


def _allow_files(wanted: int) -> None:
    """Every connection is an open file: ask for enough of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))


def _leave() -> None:
    logger.error("not stopped in time; leaving now")
    os._exit(_EXIT_STUCK)
