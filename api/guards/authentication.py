"""Authentication: a key is asked for wherever the service has keys, and must be allowed to do what is asked."""

from __future__ import annotations

import datetime as dt
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from aegis_yield.pipelines.keys import Key, KeyRing
from api.guards.addresses import client_of
from api.guards.keys import KeysInForce
from api.guards.rate_limits import Rate, Rates, refusal
from api.guards.routes import is_open, path_of, scope_needed
from api.problems import problem

CHALLENGE: Final = 'Bearer realm="aegis-yield"'
HOW: Final = "send a key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
WRONG_KEYS: Final = Rate("keys", per_s=10.0, burst=50)
"""Nobody guesses a key; but who tries shall not have this service's time, nor fill its log."""


class Authentication:
    """Lets requests pass that carry a good key, or need none.

    Checking costs one SHA-256 of a short text, some two microseconds, so nothing is remembered: a key that is revoked
    is refused from the next look at the file on.
    """

    def __init__(self, app: ASGIApp, keys: KeysInForce) -> None:
        self.app = app
        self.keys = keys
        self.wrong = Rates(WRONG_KEYS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401 or 403."""
        ring = self.keys.ring() if scope["type"] == "http" else None
        path = path_of(scope) if ring is not None else ""
        if ring is None or is_open(path):
            await self.app(scope, receive, send)
            return
        presented = _presented(scope)
        key, fault = _recognise(ring, presented)
        if key is None:
            await self._refuse(fault, presented is not None)(scope, receive, send)
            return
        scope["state"]["key_name"] = key.name
        needed = scope_needed(path)
        if not key.may(needed):
            await _forbid(key, needed)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refuse(self, fault: str, was_presented: bool) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            wait_s = self.wrong.take(client_of(scope)).wait_s if was_presented else 0.0
            if wait_s:
                await refusal(WRONG_KEYS, wait_s)(scope, receive, send)
                return
            challenge = f'{CHALLENGE}, error="invalid_token"' if was_presented else CHALLENGE
            response = problem(HTTPStatus.UNAUTHORIZED, fault, headers={"www-authenticate": challenge})
            await response(scope, receive, send)

        return answer


def _presented(scope: Scope) -> str | None:
    headers = dict(scope["headers"])
    scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
    found = credentials.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key")
    return found.decode("latin-1") if found is not None else None


def _recognise(ring: KeyRing, presented: str | None) -> tuple[Key | None, str]:
    """Return the key, or None and what is wrong; why a key has ended is told only to who has it."""
    if presented is None:
        return None, f"key: received none; {HOW}"
    key = ring.find(presented)
    if key is None:
        return None, f"key: received one that is not known here; {HOW}"
    state = key.state(dt.datetime.now(dt.UTC))
    return (key, "") if state == "active" else (None, f"key: received one that is {state}; ask for a new one")


def _forbid(key: Key, needed: str) -> ASGIApp:
    detail = f"key: received one of scope {key.scope!r}, allowed here is scope {needed!r}"
    challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{needed}"'
    return problem(HTTPStatus.FORBIDDEN, detail, headers={"www-authenticate": challenge})
