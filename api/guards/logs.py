"""The log's form: one JSON document a line, or text where a person watches."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from typing import Any, Final

from api.request_context import REQUEST_ID
from api.settings import PatienceSettings

_OURS: Final = ("aegis_yield", "uvicorn")
_encode: Final = json.JSONEncoder(default=str).encode


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON; whatever is in it cannot begin another line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        content: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields: dict[str, Any] | None = getattr(record, "fields", None)
        if fields is not None:
            content |= fields
        elif (request_id := REQUEST_ID.get()) is not None:
            content["request_id"] = request_id
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return _encode(content)


class TextLines(logging.Formatter):
    """Writes a record for a person."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line without its trace."""
        text = super().formatMessage(record)
        fields: dict[str, Any] | None = getattr(record, "fields", None)
        return text if fields is None else f"{text} " + " ".join(f"{name}={value}" for name, value in fields.items())


def configure_logs(settings: PatienceSettings) -> None:
    """Write this process's log to standard error, in the form that is set; the server's own access log is off.

    Who embeds the service and has set up logging keeps what was set up.
    """
    form = settings.log_format or ("text" if sys.stderr.isatty() else "json")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(handler)
        root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error"):
        one = logging.getLogger(name)
        one.handlers.clear()
        one.propagate = True
    silenced = logging.getLogger("uvicorn.access")
    silenced.handlers.clear()
    silenced.propagate = False
    logging.getLogger("aegis_yield.access").setLevel(logging.INFO if settings.access_log else logging.WARNING)
