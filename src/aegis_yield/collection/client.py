"""The one way to ask any host: limits, retries, failover, every answer landed before it is used.

An answer is judged by its status and then by the caller's own check, because several sources say "error" with a 200.
What is transient is asked again after a random wait of up to ``base * 2^try`` seconds ("full jitter", M. Brooker, AWS
Architecture Blog, 2015); a ``Retry-After`` wins over that. A ban closes the address for a good while. Everything else
is final at once.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from types import TracebackType
from typing import Any, Final, Self

import httpx2
import stamina

from aegis_yield.collection.limits import Gate, HostFigures, seconds_to_hold
from aegis_yield.collection.raw import Answer, RawZone
from aegis_yield.collection.redaction import Redactor
from aegis_yield.collection.settings import CollectionSettings, HostSettings
from aegis_yield.collection.units import Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict, as_line, decoded, refuse_status
from aegis_yield.domain.errors import SourceError

USER_AGENT: Final = f"aegis-yield/{version('aegis-yield')} (collector of public DeFi yield data)"

_NO_PATIENCE_S: Final = 1e-3
"""Stands for 0, which the retrying library takes for a mistake."""

Check = Callable[[Any], None]
"""Raises SourceError if decoded JSON is an error in disguise."""


def anything(content: Any) -> None:
    """Accept whatever is JSON."""


@dataclass(frozen=True)
class Reply:
    """A good answer.

    Attributes
    ----------
    raw_id : str
        Under which it was landed.
    content : object
        Decoded JSON.
    headers : mapping
        Response headers.
    fetched_at : datetime
        UTC.
    """

    raw_id: str
    content: Any
    headers: Any
    fetched_at: dt.datetime


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read the system's certificates once: it takes longer than a request to a host nearby."""
    return httpx2.create_ssl_context()


class Client:
    """Asks hosts; use as an async context manager.

    Parameters
    ----------
    settings : CollectionSettings
        Addresses, keys, limits.
    raw : RawZone
        Where every answer is landed.
    """

    def __init__(self, settings: CollectionSettings, raw: RawZone) -> None:
        self._settings, self._raw = settings, raw
        self._redactor = Redactor(settings.secrets)
        self._gates: dict[_Address, Gate] = {}
        self.figures: dict[str, HostFigures] = {}
        # The library logs whole URLs at INFO, keys included.
        for name in ("httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("stamina").setLevel(logging.ERROR)  # retries are counted and shown, not logged one by one
        self._http = httpx2.AsyncClient(
            headers={"user-agent": USER_AGENT, "accept": "application/json"},
            verify=_certificates(),
            follow_redirects=False,
            trust_env=not settings.offline,  # a proxy named by the environment is another machine
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ask(self, unit: WorkUnit, request: Request, check: Check = anything) -> Reply:
        """Ask until there is a good answer or none can be had; of several addresses the first that will do.

        Raises
        ------
        SourceError
            With the verdict of the last address; never with a secret in it.
        OfflineError
            If offline mode forbids the host.
        """
        host = self._settings.host(request.host)
        *others, last = (_Address(host, base_url) for base_url in host.base_urls)
        for address in others:
            try:
                return await self._ask_patiently(unit, request, check, address)
            except SourceError as error:
                if error.verdict in (Verdict.FINAL, Verdict.TOO_LARGE):
                    raise
                if error.verdict == Verdict.TRANSIENT:
                    # All patience was spent on it: the next questions go to the others at once.
                    self._gate(address).breaker.trip(error)
        return await self._ask_patiently(unit, request, check, last)

    async def _ask_patiently(self, unit: WorkUnit, request: Request, check: Check, address: _Address) -> Reply:
        gate = self._gate(address)
        patience = self._settings.client
        timeout = max(patience.patience_s, _NO_PATIENCE_S)
        attempts = stamina.retry_context(
            on=_wait_before_retry, attempts=patience.attempts, timeout=timeout, wait_jitter=0
        )
        try:
            async for attempt in attempts:
                with attempt:
                    try:
                        async with gate.passing(request.weight):
                            reply = await self._ask_once(unit, request, check, (address, attempt.num))
                    except SourceError as error:
                        self._note(gate, error, attempt.num)
                        raise
        except SourceError as error:
            gate.count_lost(error)
            raise
        gate.forget_lost()
        return reply

    def _note(self, gate: Gate, error: SourceError, attempt: int) -> None:
        patience = self._settings.client
        if error.verdict == Verdict.BANNED and not str(error).startswith("left alone"):
            gate.breaker.trip(error)
        if error.verdict == Verdict.TRANSIENT:
            if error.retry_after_s is not None and error.retry_after_s > patience.patience_s:
                # Asked to wait longer than we ever would: as good as a ban. Nobody waits it out at the gate.
                gate.breaker.trip(error)
                error.verdict = Verdict.BANNED
                return
            ceiling = min(patience.backoff_cap_s, patience.backoff_base_s * 2.0**attempt)
            wait = random.uniform(0.0, ceiling)
            if error.retry_after_s:  # "0", or a date that is past on our clock, says nothing of how long
                wait = error.retry_after_s
                gate.hold(wait)  # the host asked everybody to wait, not only this request
            error.retry_after_s = wait
            if attempt < patience.attempts:
                gate.figures.retries += 1
                gate.figures.waited_s += wait

    async def _ask_once(self, unit: WorkUnit, request: Request, check: Check, way: tuple[_Address, int]) -> Reply:
        address, attempt = way
        figures = self._gate(address).figures
        figures.requests += 1
        began = time.monotonic()
        answer = await self._transfer(request, address)
        figures.received_bytes += len(answer.body)
        figures.limited += answer.status == 429
        self._gate(address).hold(seconds_to_hold(answer.headers, time.time()))
        answer = replace(answer, attempt=attempt, duration_ms=1000 * (time.monotonic() - began))
        # Before anything is quoted from it: a quotation cut short could hold half a key, which no one would know again.
        answer = replace(answer, body=self._redactor.content(answer.body))
        try:
            if request.reads_errors and answer.status >= 400:
                _heed_reason(answer, check)
            refuse_status(answer.status, answer.headers, answer.body, answer.fetched_at)
            content = decoded(answer.body)
            _apply(check, content)
        except SourceError as error:
            words = self._redactor.text(as_line(f"{address.host.name}: {error}"))
            clean = SourceError(words, error.verdict, error.retry_after_s)
            self._land(unit, request, replace(answer, verdict=f"{error.verdict}: {clean}"))
            raise clean from None
        raw_id = self._land(unit, request, answer)
        return Reply(raw_id, content, answer.headers, answer.fetched_at)

    def _land(self, unit: WorkUnit, request: Request, answer: Answer) -> str:
        clean = self._redactor
        headers = clean.value({key.lower(): value for key, value in answer.headers.items()})
        asked = replace(request, params=clean.value(dict(request.params)), body=clean.value(request.body))
        kept = replace(answer, headers=headers, url=clean.text(answer.url))
        return self._raw.land(unit, asked, kept)

    async def _transfer(self, request: Request, address: _Address) -> Answer:
        host = address.host
        params = {**request.params, **({host.api_key_param: host.api_key} if host.api_key_param else {})}
        headers = {host.api_key_header: host.api_key} if host.api_key and host.api_key_header else {}
        asked = self._http.build_request(
            "GET" if request.body is None else "POST",
            address.base_url + request.path,
            params=params or None,
            json=request.body,
            headers=headers,
            timeout=host.timeout_s,
        )
        try:
            # The timeout above is that between two bytes: a host that drips them would never run into it.
            async with asyncio.timeout(self._settings.client.transfer_s):
                response = await self._http.send(asked, stream=True)
                try:
                    body = await self._bounded_body(response, host)
                finally:
                    await response.aclose()
        except (httpx2.TransportError, httpx2.DecodingError, TimeoutError) as error:
            reason = f"{type(error).__name__} {error}".strip()
            raise SourceError(
                self._redactor.text(f"{host.name}: no complete answer ({reason})"), Verdict.TRANSIENT
            ) from None
        now = dt.datetime.now(dt.UTC)
        return Answer(response.status_code, dict(response.headers), body, str(asked.url), now, 0.0, 1)

    async def _bounded_body(self, response: httpx2.Response, host: HostSettings) -> bytes:
        limit = int(self._settings.client.max_body_mb * 1024**2)
        parts, size = [], 0
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > limit:
                raise SourceError(f"{host.name}: answer is longer than {limit} bytes", Verdict.TOO_LARGE)
        return b"".join(parts)

    def _gate(self, address: _Address) -> Gate:
        if address not in self._gates:
            figures = self.figures.setdefault(address.host.name, HostFigures())
            self._gates[address] = Gate(address.host, self._settings.client.ban_s, figures)
        return self._gates[address]


@dataclass(frozen=True)
class _Address:
    """One of the places at which a host can be reached."""

    host: HostSettings
    base_url: str


def _apply(check: Check, content: Any) -> None:
    try:
        check(content)
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001 - content of another form may break its check in any way
        raise SourceError(f"answer has another form ({type(error).__name__}: {error})", Verdict.FINAL) from None


def _heed_reason(answer: Answer, check: Check) -> None:
    """Raise what the body of an error status says, if it says what to do: ask for less, or ask elsewhere."""
    try:
        _apply(check, decoded(answer.body))
    except SourceError as error:
        if error.verdict in (Verdict.TOO_LARGE, Verdict.PROVIDER) and answer.body.lstrip()[:1] in (b"{", b"["):
            raise


def _wait_before_retry(error: Exception) -> bool | float:
    """Tell the retrying loop whether, and after how many seconds, to ask again."""
    if not isinstance(error, SourceError) or error.verdict != Verdict.TRANSIENT:
        return False
    return error.retry_after_s if error.retry_after_s is not None else True
