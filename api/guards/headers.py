"""Headers that tell a browser what a page of this service may do: nothing that it does not need."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.guards.routes import DOCUMENTATION, path_of

_NOWHERE: Final = "frame-ancestors 'none'; base-uri 'none'; object-src 'none'; form-action 'self'"
PAGE_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    f"font-src 'self'; connect-src 'self'; worker-src 'self' blob:; {_NOWHERE}"
)
"""For the dashboard: no script and no style but its own files; charts export pictures as blobs."""

DOCUMENTATION_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    f"img-src 'self' data:; worker-src 'self' blob:; {_NOWHERE}"
)
"""For /docs and /redoc, which start by an inline script; they show nothing that a client sent."""

DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""For everything else: data is no page."""

_PAGE, _DOCUMENTATION, _DATA = PAGE_POLICY.encode(), DOCUMENTATION_POLICY.encode(), DATA_POLICY.encode()

FIXED: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_NO_STORE: Final = (b"cache-control", b"no-store")
_REVALIDATE: Final = (b"cache-control", b"no-cache")
_HTML: Final = b"text/html"


class SecurityHeaders:
    """Adds the headers; what a route sets itself stays."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and add headers to its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_added(scope, dict(message.get("headers", ())))]
            await send(message)

        await self.app(scope, receive, dressed)


def _added(scope: Scope, given: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    added = list(FIXED)
    if b"content-security-policy" not in given:
        added.append((b"content-security-policy", _policy(scope, given)))
    if b"cache-control" not in given:
        added.append(_REVALIDATE if b"etag" in given else _NO_STORE)
    return added


def _policy(scope: Scope, given: dict[bytes, bytes]) -> bytes:
    if not given.get(b"content-type", b"").startswith(_HTML):
        return _DATA
    return _DOCUMENTATION if path_of(scope) in DOCUMENTATION else _PAGE
