"""``aegis serve``: the REST service."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from aegis_yield.domain.errors import AegisError


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port. Default: 5000.", min=1, max=65_535)] = None,
) -> None:
    """Serve forecasts over HTTP; the same as: python api/ml_service.py.

    Examples:

      aegis serve --port 5000
    """
    try:
        # By name: the service is a door of its own, which the package never imports.
        service = importlib.import_module("api.ml_service")
    except ModuleNotFoundError as error:
        raise AegisError(
            f"the service needs {error.name}; install it with: pip install 'aegis-yield[serve]'"
        ) from error
    service.main(host, port)
