"""MLflow's own pages over the tracking store: the command that serves them, without a password in it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping

from aegis_yield.domain.errors import TrackingError
from aegis_yield.registry.settings import TrackingSettings


def pages_command(settings: TrackingSettings, host: str, port: int) -> tuple[list[str], Mapping[str, str]]:
    """Return the command and environment that serve MLflow's pages.

    Raises
    ------
    TrackingError
        If the pages are not installed, or the store is a server that has its own.
    """
    if settings.uri.startswith("http"):
        raise TrackingError(f"the store is a server with its own pages: open {settings.address}")
    if any(importlib.util.find_spec(name) is None for name in ("mlflow", "flask")):
        raise TrackingError("MLflow's pages are not installed; install them with: pip install -r requirements-ui.txt")
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
    quiet |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # eight processes for language models, which nobody asked
    # Arguments can be read by everybody on the machine, an address with its password must not be one.
    store = {"MLFLOW_BACKEND_STORE_URI": settings.uri, "MLFLOW_REGISTRY_STORE_URI": settings.uri}
    return command, {**os.environ, **quiet, **store}
