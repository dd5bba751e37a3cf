"""What tests of the dashboard are made of: a service as a process, a page that is watched, numbers read from cells."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from bundles import CHECKOUT, clean_environment
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect

CHROMIUM = Path(os.environ.get("AEGIS_CHROMIUM", "/usr/bin/chromium"))
SHOTS = CHECKOUT / "reports" / "screenshots"
START_S = 60
DESKTOP = {"width": 1366, "height": 860}
PHONE = {"width": 360, "height": 740}
HOSTILE = "<img src=x onerror=alert(1)>"
"""A name that is markup."""
PATIENT_MS = 120_000
"""Optimisations share two cores with whatever else runs."""


@contextlib.contextmanager
def running(python: str, folder: Path, port: int, **settings: str) -> Iterator[str]:
    """Start the service as documented, wait until it is ready or says why not, stop it at the end."""
    environment = clean_environment(
        folder, AEGIS_PORT=str(port), AEGIS_MODEL=str(CHECKOUT / "models" / "lstm_v1.pth"), **settings
    )
    url = f"http://127.0.0.1:{port}"
    with (folder / f"service-{port}.log").open("w") as log:
        process = subprocess.Popen(
            [python, str(CHECKOUT / "api" / "ml_service.py")], env=environment, cwd=folder, stdout=log, stderr=log
        )
        try:
            wait_until_it_answers(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up:
        assert process.poll() is None, f"the service ended with {process.returncode}"
        try:
            urllib.request.urlopen(f"{url}/health/live", timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"no answer within {START_S} s")


@dataclass
class Watched:
    """A page, what it asked foreign hosts for, and what its console complained of."""

    page: Page
    url: str
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def show(self, view: str) -> Page:
        """Open a view and wait until nothing loads any more."""
        self.page.goto(f"{self.url}/{view}")
        self.settle()
        return self.page

    def settle(self) -> None:
        self.page.wait_for_load_state("networkidle")
        expect(self.page.locator(".loading, [aria-busy]")).to_have_count(0, timeout=PATIENT_MS)

    def forgive(self, pattern: str) -> None:
        """Leave out complaints that a test provokes."""
        self.complaints = [line for line in self.complaints if not re.search(pattern, line)]


Open: TypeAlias = Callable[..., Watched]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def opened(browser: Browser, url: str, size: dict[str, int] = DESKTOP, scheme: str = "light") -> Watched:
    """Open a page that reaches its service and nothing else."""
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page = context.new_page()
    watched = Watched(page, url)

    def guard(route: Route) -> None:
        if urlsplit(route.request.url).netloc == urlsplit(url).netloc:
            route.continue_()
            return
        watched.foreign.append(route.request.url)
        route.abort()

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            watched.complaints.append(f"{message.type}: {message.text}")

    context.route("**/*", guard)
    page.on("console", hear)
    page.on("pageerror", lambda error: watched.complaints.append(f"uncaught: {error}"))
    return watched


def plain(text: str) -> str:
    """Return a text with ordinary spaces and minus signs."""
    return re.sub(r"\s+", " ", text.replace("\u202f", " ").replace("\u00a0", " ").replace("\u2212", "-")).strip()


def value_of(text: str) -> float | None:
    """Read the number of a cell; None where nothing is known."""
    found = re.search(r"(-?)\$?([\d,]+(?:\.\d+)?)(?: ([kMB])\b)?", plain(text))
    if not found:
        return None
    size = {None: 1.0, "k": 1e3, "M": 1e6, "B": 1e9}[found[3]]
    return float(f"{found[1]}{found[2]}".replace(",", "")) * size


def headers(page: Page, caption: str) -> list[str]:
    cells = page.get_by_role("table", name=caption).locator("thead th").all_inner_texts()
    return [plain(re.sub("[▲▼]", "", text)) for text in cells]


def column(page: Page, caption: str, header: str) -> list[str]:
    """Return the texts of a column whose header begins so."""
    index = next(at for at, name in enumerate(headers(page, caption)) if name.startswith(header))
    rows = page.get_by_role("table", name=caption).locator("tbody tr")
    return [plain(text) for text in rows.locator(f":scope > :nth-child({index + 1})").all_inner_texts()]


def is_ordered(values: Sequence[float | None], falling: bool) -> bool:
    """Whether numbers are in order, what is unknown last."""
    known = [value for value in values if value is not None]
    unknown_last = all(value is None for value in values[len(known) :])
    return unknown_last and known == sorted(known, reverse=falling)
