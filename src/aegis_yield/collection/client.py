"""The one way to ask any host: limits, retries, failover, every answer landed before it is used.

An answer is judged by its status and then by the caller's own check, because several sources say "error" with a 200.
What is transient is asked again after a random wait of up to ``base * 2^try`` seconds ("full jitter", M. Brooker, AWS
Architecture Blog, 2015); a ``Retry-After`` wins over that. A ban closes the address for a good while. Everything else
is final at once.
"""

from __future__ import annotations

import datetime as dt
import logging
import random
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
from aegis_yield.collection.verdicts import Verdict, decoded, refuse_status
from aegis_yield.domain.errors import SourceError

USER_AGENT: Final = f"aegis-yield/{version('aegis-yield')} (collector of public DeFi yield data)"

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
        self._gates: dict[str, Gate] = {}
        self.figures: dict[str, HostFigures] = {}
        # The library logs whole URLs at INFO, keys included.
        for name in ("httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("stamina").setLevel(logging.ERROR)  # retries are counted and shown, not logged one by one
        self._http = httpx2.AsyncClient(
            headers={"user-agent": USER_AGENT, "accept": "application/json"}, follow_redirects=False, trust_env=True
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
        failure = SourceError(f"{host.name} has no address", Verdict.FINAL)
        for base_url in host.base_urls:
            try:
                return await self._ask_patiently(unit, request, check, _Address(host, base_url))
            except SourceError as error:
                failure = error
                if error.verdict in (Verdict.FINAL, Verdict.TOO_LARGE):
                    raise
        raise failure

    async def _ask_patiently(self, unit: WorkUnit, request: Request, check: Check, address: _Address) -> Reply:
        gate = self._gate(address)
        patience = self._settings.client
        attempts = stamina.retry_context(
            on=_wait_before_retry, attempts=patience.attempts, timeout=patience.patience_s, wait_jitter=0
        )
        async for attempt in attempts:
            with attempt:
                try:
                    async with gate.passing(request.weight):
                        return await self._ask_once(unit, request, check, (address, attempt.num))
                except SourceError as error:
                    self._note(gate, error, attempt.num)
                    raise
        raise AssertionError("retrying ended without an answer or an error")

    def _note(self, gate: Gate, error: SourceError, attempt: int) -> None:
        patience = self._settings.client
        if error.verdict == Verdict.BANNED and not str(error).startswith("left alone"):
            gate.breaker.trip(error)
        if error.verdict == Verdict.TRANSIENT:
            if error.retry_after_s is not None and error.retry_after_s > patience.patience_s:
                # Asked to wait longer than we ever would: as good as a ban.
                gate.breaker.trip(error)
                error.verdict = Verdict.BANNED
            ceiling = min(patience.backoff_cap_s, patience.backoff_base_s * 2.0**attempt)
            wait = random.uniform(0.0, ceiling)
            if error.retry_after_s is not None:
                wait = error.retry_after_s
                gate.hold(wait)  # the host asked everybody to wait, not only this request
            error.retry_after_s = wait
            if attempt < patience.attempts and error.verdict == Verdict.TRANSIENT:
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
        try:
            refuse_status(answer.status, answer.headers, answer.body, answer.fetched_at)
            content = decoded(answer.body)
            check(content)
        except SourceError as error:
            clean = SourceError(
                self._redactor.text(f"{address.host.name}: {error}"), error.verdict, error.retry_after_s
            )
            self._land(unit, request, replace(answer, verdict=f"{error.verdict}: {clean}"))
            raise clean from None
        raw_id = self._land(unit, request, answer)
        return Reply(raw_id, content, answer.headers, answer.fetched_at)

    def _land(self, unit: WorkUnit, request: Request, answer: Answer) -> str:
        clean = self._redactor
        headers = clean.value({key.lower(): value for key, value in answer.headers.items()})
        asked = replace(request, params=clean.value(dict(request.params)), body=clean.value(request.body))
        kept = replace(answer, headers=headers, body=clean.content(answer.body), url=clean.text(answer.url))
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
            response = await self._http.send(asked, stream=True)
            try:
                body = await self._bounded_body(response)
            finally:
                await response.aclose()
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            reason = f"{type(error).__name__} {error}".strip()
            raise SourceError(
                self._redactor.text(f"{host.name}: no complete answer ({reason})"), Verdict.TRANSIENT
            ) from None
        now = dt.datetime.now(dt.UTC)
        return Answer(response.status_code, dict(response.headers), body, str(asked.url), now, 0.0, 1)

    async def _bounded_body(self, response: httpx2.Response) -> bytes:
        limit = int(self._settings.client.max_body_mb * 1024**2)
        parts, size = [], 0
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > limit:
                raise SourceError(f"answer is longer than {limit} bytes", Verdict.TOO_LARGE)
        return b"".join(parts)

    def _gate(self, address: _Address) -> Gate:
        if address.base_url not in self._gates:
            figures = self.figures.setdefault(address.host.name, HostFigures())
            self._gates[address.base_url] = Gate(address.host, self._settings.client.ban_s, figures)
        return self._gates[address.base_url]


@dataclass(frozen=True)
class _Address:
    """One of the places at which a host can be reached."""

    host: HostSettings
    base_url: str


def _wait_before_retry(error: Exception) -> bool | float:
    """Tell the retrying loop whether, and after how many seconds, to ask again."""
    if not isinstance(error, SourceError) or error.verdict != Verdict.TRANSIENT:
        return False
    return error.retry_after_s if error.retry_after_s is not None else True
