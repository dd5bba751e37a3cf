"""How often a request is tried, how long a client waits, and what it says of itself in headers."""

from __future__ import annotations

import datetime as dt
import email.utils
import os
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from aegis_yield.client.errors import ServiceError
from aegis_yield.domain.errors import RequestError

DEFAULT_URL: Final = "http://127.0.0.1:5000"
KEY_VARIABLE: Final = "AEGIS_API_KEY"
USER_AGENT: Final = f"aegis-yield/{version('aegis-yield')} (client)"
SPARE_S: Final = 10.0
"""Beyond the time that the service may take, for the way there and back."""

_KEY: Final = re.compile(r"[\x21-\x7e]{1,500}")


@dataclass(frozen=True)
class Retries:
    """How a request is tried again after 429, 503, or a connection that failed; all requests only read.

    Attributes
    ----------
    attempts : int
        Tries in all; 1 never tries again.
    first_wait_s, longest_wait_s : float
        A random wait of up to ``first_wait_s``, then twice that, and so on; ``Retry-After`` wins over it.
    budget_s : float
        No further try begins later than this after the first: who is told to wait longer is told so by the error.
    """

    attempts: int = 4
    first_wait_s: float = 0.25
    longest_wait_s: float = 5.0
    budget_s: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise RequestError("attempts", self.attempts, "at least 1")
        if min(self.first_wait_s, self.longest_wait_s, self.budget_s) < 0:
            raise RequestError("retries", self, "waits of 0 seconds or more")


class Attempts:
    """The tries of one request."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._n_failed = 0
        self._began = time.monotonic()

    def wait_s(self, fault: ServiceError, retry_after_s: float | None) -> float:
        """Return how long to wait before the next try.

        Raises
        ------
        ServiceError
            The fault itself, if there shall be no further try.
        """
        rule = self._retries
        longest = min(rule.longest_wait_s, rule.first_wait_s * 2**self._n_failed)
        wait_s = random.uniform(longest / 2, longest) if retry_after_s is None else retry_after_s
        self._n_failed += 1
        if self._n_failed >= rule.attempts or time.monotonic() - self._began + wait_s > rule.budget_s:
            raise fault
        return wait_s


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how long an answer asks to wait: seconds, or until a time; None if it does not say."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        return None
    return max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds())


@dataclass(frozen=True)
class Address:
    """Where the service is and how to ask there; the key is never shown.

    Attributes
    ----------
    url : str
        Without a slash at the end.
    headers : mapping
        For every request.
    """

    url: str
    _key: str | None

    @classmethod
    def of(cls, base_url: str, key: str | None) -> Address:
        """Check an address and a key; without a key, ``AEGIS_API_KEY`` is used if it is set.

        Raises
        ------
        RequestError
            If one of them cannot be used.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RequestError("base_url", base_url.rpartition("@")[2], "http://… or https://…")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            shown = base_url.rpartition("@")[2].partition("?")[0]
            raise RequestError("base_url", shown, "an address without user, query and fragment; pass a key as key=")
        chosen = key if key is not None else os.environ.get(KEY_VARIABLE) or None
        if chosen is not None and not _KEY.fullmatch(chosen):
            raise RequestError("key", "one that no header can carry", "a key as `aegis keys create` prints it")
        return cls(base_url.rstrip("/"), chosen)

    def __repr__(self) -> str:
        return f"Address({self.url!r}, {'with' if self._key else 'without'} a key)"

    @property
    def headers(self) -> dict[str, str]:
        """Headers for every request."""
        known = {"User-Agent": USER_AGENT}
        return {**known, "Authorization": f"Bearer {self._key}"} if self._key else known
