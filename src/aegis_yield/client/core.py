"""What both clients do alike: requests for the HTTP library, answers or errors from its responses."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx2

from aegis_yield.client.calls import NDJSON, Call
from aegis_yield.client.errors import DamagedAnswerError, RefusedError, ServiceError, UnreachableError
from aegis_yield.client.parsing import MisfitError, decode
from aegis_yield.client.policy import SPARE_S, Address, Attempts, Retries, retry_after_s
from aegis_yield.domain.errors import RequestError

T = TypeVar("T")

PASSING: Final = frozenset({429, 503})
"""What may be otherwise in a moment."""

_OK: Final = 200
_SHOWN_CHARACTERS: Final = 200


@dataclass(frozen=True)
class Fault:
    """A try that failed: the error, and whether and when another may do better."""

    error: ServiceError
    may_pass: bool
    retry_after_s: float | None = None

    def wait_s(self, attempts: Attempts) -> float:
        """Return the wait before the next try; raise the error if there shall be none."""
        if not self.may_pass:
            raise self.error
        return attempts.wait_s(self.error, self.retry_after_s)


class Core:
    """Turns calls into requests and responses into answers; it neither sends nor waits."""

    def __init__(self, address: Address, timeout_s: float, retries: Retries) -> None:
        if not timeout_s > 0:
            raise RequestError("timeout_s", timeout_s, "more than 0 seconds")
        self.address = address
        self.timeout_s = timeout_s
        self._retries = retries

    def attempts(self) -> Attempts:
        """Return a fresh count of tries."""
        return Attempts(self._retries)

    def options(self, ssl_context: ssl.SSLContext | None) -> dict[str, Any]:
        """Return what the HTTP library's client is made with."""
        trusted = {} if ssl_context is None else {"verify": ssl_context}
        return {"headers": self.address.headers, "timeout": self.timeout_s, **trusted}

    def request(self, call: Call[Any]) -> dict[str, Any]:
        """Return the arguments for the HTTP library's ``build_request``."""
        content = {} if call.body is None else {"content": call.body}
        kind = {} if call.body is None else {"Content-Type": "application/json"}
        timeout_s = self.timeout_s if call.seconds is None else max(self.timeout_s, call.seconds + SPARE_S)
        return {
            "method": call.method,
            "url": self.address.url + call.path,
            "headers": {"Accept": call.accept, **kind},
            "timeout": timeout_s,
            **({"params": dict(call.query)} if call.query else {}),
            **content,
        }

    def answer(self, call: Call[T], response: httpx2.Response) -> T | Fault:
        """Return the answer that a response, read whole, carries, or what is wrong with it."""
        fault = self.refusal(call, response)
        if fault is not None:
            return fault
        try:
            return call.parse(response.content)
        except MisfitError as error:
            found = DamagedAnswerError(f"damaged answer: {error}", response.status_code, request_id_of(response))
            return Fault(found, may_pass=False)
        except DamagedAnswerError as error:  # lines do not know under which request they came
            return Fault(DamagedAnswerError(error.detail, None, request_id_of(response)), may_pass=False)

    def refusal(self, call: Call[Any], response: httpx2.Response) -> Fault | None:
        """Return what is wrong with a response, its body left aside unless it is an error; None if nothing is."""
        status = response.status_code
        wanted = NDJSON if call.accept == NDJSON else "json"
        if status == _OK and wanted in response.headers.get("content-type", ""):
            return None
        if status == _OK:
            detail = f"damaged answer: {response.headers.get('content-type', 'no type')!r} is not {call.accept}"
            return Fault(DamagedAnswerError(detail, status, request_id_of(response)), may_pass=False)
        error = RefusedError(*_told(response), problem=_problem(response))
        return Fault(error, status in PASSING, retry_after_s(response.headers))

    def failure(self, call: Call[Any], error: httpx2.RequestError) -> Fault:
        """Return what a failed exchange comes to."""
        what = f"{call.method} {call.path[:_SHOWN_CHARACTERS]} at {self.address.url}"
        if isinstance(error, httpx2.TimeoutException) and not isinstance(error, httpx2.ConnectTimeout):
            # The service may still be at it: asking again would only add to its load.
            return Fault(UnreachableError(f"{what}: no answer in time ({type(error).__name__})"), may_pass=False)
        if isinstance(error, httpx2.DecodingError):
            return Fault(DamagedAnswerError(f"damaged answer: {what}: cannot be unpacked"), may_pass=False)
        reason = type(error).__name__ + (f": {error}" if isinstance(error, httpx2.ConnectError) else "")
        return Fault(UnreachableError(f"{what}: {reason}"), isinstance(error, httpx2.TransportError))


def request_id_of(response: httpx2.Response) -> str | None:
    """Return the id under which the service's log knows a request."""
    found: str | None = response.headers.get("x-request-id")
    return found


def _problem(response: httpx2.Response) -> Mapping[str, Any]:
    if "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        content = decode(response.content)
    except MisfitError:
        return {}
    return content if isinstance(content, dict) else {}


def _told(response: httpx2.Response) -> tuple[str, int, str | None]:
    """Return detail, status and request id of an error; also where a proxy answered, and not the service."""
    problem = _problem(response)
    detail = problem.get("detail")
    if not isinstance(detail, str) or not detail:
        detail = f"{response.reason_phrase or 'error'}, without a problem document: is this the service?"
    request_id = problem.get("request_id")
    return detail, response.status_code, request_id if isinstance(request_id, str) else request_id_of(response)
