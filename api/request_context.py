"""What everything that happens for one request may know of it: its id."""

from __future__ import annotations

from contextvars import ContextVar

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Set where a request comes in; known in threads that work for the request too."""
