"""The doorway of a service without keys: only this machine's own programs and pages come in."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.guards.addresses import LOOPBACK_NAMES, is_ip, is_loopback
from api.guards.keys import KeysInForce
from api.guards.routes import HEALTH, path_of
from api.problems import problem

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SHOWN_CHARACTERS: Final = 100
_FORWARDED: Final = (b"forwarded", b"x-forwarded-for")


class Doorway:
    """Refuses what must not reach the service at all.

    - Without keys, what arrives at an address that other machines reach, or through a proxy: 403. The settings may not
      know where a server listens (``uvicorn api.ml_service:app --host 0.0.0.0``); the connection does.
    - A ``Host`` that is not among the allowed: 421. Without keys those are the loopback names: a page on a foreign name
      that was made to point at this machine (DNS rebinding) keeps its own name in ``Host``.
    - Without keys, requests that a foreign page makes a browser send: 403.

    Parameters
    ----------
    keys : KeysInForce
        Whether there are keys.
    allowed_hosts : tuple of str
        Names, ``*.name`` or ``*``; none for the default.
    origins : tuple of str
        Foreign pages that may ask.
    """

    def __init__(
        self, app: ASGIApp, keys: KeysInForce, allowed_hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()
    ) -> None:
        self.app = app
        self.keys = keys
        self.allowed = frozenset(name.lower() for name in allowed_hosts)
        self.origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403 or 421."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        is_keyless = self.keys.ring() is None
        if not is_keyless and not self.allowed:
            return None
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        server = scope.get("server")
        address = server[0] if server else ""
        is_local = is_loopback(address)
        if is_keyless:
            fault = self._keyless_fault(scope, headers, is_local or not is_ip(address))
            if fault is not None:
                return problem(HTTPStatus.FORBIDDEN, fault)
        if not self._is_known(host, is_local):
            detail = f"Host: received {host[:_SHOWN_CHARACTERS]!r}, which this service does not answer to; see "
            return problem(HTTPStatus.MISDIRECTED_REQUEST, f"{detail}AEGIS_SERVICE__ALLOWED_HOSTS")
        if is_keyless and scope["method"] not in READING and self._is_foreign(headers, host):
            return problem(HTTPStatus.FORBIDDEN, "Origin: a foreign page may not ask; see AEGIS_SERVICE__CORS_ORIGINS")
        return None

    def _keyless_fault(self, scope: Scope, headers: dict[bytes, bytes], is_local: bool) -> str | None:
        if is_local and not any(name in headers for name in _FORWARDED):
            return None
        if path_of(scope) in HEALTH:
            return None
        how = "arrived from beyond this machine" if not is_local else "was forwarded by a proxy"
        return f"the request {how}, and the service has no keys; make one there: aegis keys create --name NAME"

    def _is_known(self, host: str, is_local: bool) -> bool:
        if not self.allowed and not is_local:
            return True  # nobody limits names, and a test's own transport or a Unix socket is no browser's way
        name = _without_port(host)
        if is_local and (name in LOOPBACK_NAMES or not host):
            return True
        return bool(self.allowed) and (
            name in self.allowed or "*" in self.allowed or f"*.{name.partition('.')[2]}" in self.allowed
        )

    def _is_foreign(self, headers: dict[bytes, bytes], host: str) -> bool:
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and (origin in self.origins or "*" in self.origins):
            return False
        site = headers.get(b"sec-fetch-site")  # set by browsers, and pages cannot change it
        if site is not None:
            return site not in (b"same-origin", b"none")
        return bool(origin) and origin.partition("://")[2] != host


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
