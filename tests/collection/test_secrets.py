"""No key is ever written or said, whatever the host answers: not in files, errors, logs or tracebacks."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import gzip
import json
import logging
import re
import socket
import traceback
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as Asked
from werkzeug import Response

from aegis_yield.collection.client import Client
from aegis_yield.collection.raw import RawZone
from aegis_yield.collection.settings import load_settings
from aegis_yield.collection.units import Demand, Request, daily_unit
from aegis_yield.domain.errors import SourceError

UNIT = daily_unit(Demand("fred", "series", "DFF"), dt.date(2026, 3, 1))
KEY = "0123456789abcdef" * 2
PASSWORD = "pw-of-the-node"
USER = base64.b64encode(f"{KEY}:{PASSWORD}".encode()).decode()
PLACES = {
    "path": ("defillama_api", "{url}/{key}/api", ""),
    "query": ("ethereum", "{url}/rpc?network=ethereum&dkey={key}", ""),
    "user": ("ethereum", "{key_at_url}/rpc", ""),
    "parameter": ("fred", "{url}", KEY),
    "header": ("coingecko", "{url}", KEY),
}


def environment_of(place: str, url: str) -> dict[str, str]:
    host, address, key = PLACES[place]
    address = address.format(url=url, key=KEY, key_at_url=url.replace("//", f"//{KEY}:{PASSWORD}@"))
    found = {
        "BASE_URL": address, "REQUESTS_PER_SECOND": "0", "TIMEOUT_S": "0.1", **({"API_KEY": key} if key else {}),
    }  # fmt: skip
    patience = {"AEGIS_SRC__CLIENT__BACKOFF_BASE_S": "0.001", "AEGIS_SRC__CLIENT__ATTEMPTS": "2", "AEGIS_OFFLINE": "1"}
    return {f"AEGIS_SRC__{host.upper()}__{name}": value for name, value in found.items()} | patience


def echoing(status: int, body: str) -> Response:
    """An answer that says all that it was asked, in its body and its headers."""
    headers = {"Location": f"http://elsewhere.example/?k={KEY}", "X-Asked": f"key {KEY}", "Set-Cookie": f"s={KEY}"}
    return Response(body, status=status, headers=headers)


ANSWERS = {
    "good": (200, '{"asked": "%s", "%s": [1]}'),
    "array in error": (200, '["%s"]'),
    "truncated": (200, '{"asked": "%s'),
    "cut in the middle of a quotation": (404, "x" * 140 + "%s"),
    "cut at the last byte that is looked at": (404, " " * 625 + "%s"),
    "redirect": (302, "<a href='/?api_key=%s'>moved</a>"),
    "forbidden": (403, "<html>no access with %s</html>"),
    "not found": (404, "no such path: /%s/x"),
    "limited": (429, '{"error": "%s is over its limit"}'),
    "broken": (500, "Traceback: KeyError: '%s'"),
}


def no_part_of(secret: str, text: str) -> bool:
    """Whether not even eight characters of a secret are in a text."""
    return not any(secret[start : start + 8] in text for start in range(len(secret) - 7))


def said(error: BaseException | None) -> str:
    """All that can be said about an error, what it hides included."""
    if error is None:
        return ""
    lines = "".join(traceback.format_exception(error))
    return f"{error!r} {error} {error.args} {vars(error)} {lines} {said(error.__cause__)}"


def written(folder: Path) -> str:
    return "\n".join(f"{path} {gzip.decompress(path.read_bytes())!r}" for path in folder.rglob("*.gz"))


def ask(environment: dict[str, str], raw: RawZone, request: Request) -> SourceError | None:
    settings = load_settings(environment=environment)

    def wrong(content: object) -> None:
        if isinstance(content, list):
            raise SourceError(f"expected an object, received {content}", "final")

    async def play() -> SourceError | None:
        async with Client(settings, raw) as client:
            try:
                await client.ask(UNIT, request, wrong)
            except SourceError as error:
                return error
        return None

    error = asyncio.run(play())
    assert no_part_of(KEY, repr(settings))
    return error


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Every logger that there is, down to DEBUG, as someone would have set it who looks for a fault."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2", "stamina", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("answer", ANSWERS)
def test_no_answer_makes_a_key_visible(
    httpserver: HTTPServer, tmp_path: Path, log: pytest.LogCaptureFixture, place: str, answer: str
) -> None:
    status, body = ANSWERS[answer]
    seen: list[str] = []

    def handle(asked: Asked) -> Response:
        seen.append(f"{asked.url} {asked.headers}")
        return echoing(status, body.replace("%s", f"{KEY} {on_the_wire}"))

    httpserver.expect_request(re.compile(".*")).respond_with_handler(handle)
    on_the_wire = USER if place == "user" else KEY
    environment = environment_of(place, httpserver.url_for("").rstrip("/"))
    raw = RawZone(tmp_path / "raw")
    error = ask(environment, raw, Request(PLACES[place][0], "" if place == "query" else "/x"))
    assert on_the_wire in seen[0]  # the host did receive it
    assert (error is None) == (answer == "good")
    files = written(tmp_path)
    assert files
    everything = files + said(error) + log.text
    assert no_part_of(KEY, everything)
    assert no_part_of(on_the_wire, everything)
    assert PASSWORD not in everything


@pytest.mark.parametrize("place", PLACES)
def test_no_missing_answer_makes_a_key_visible(tmp_path: Path, log: pytest.LogCaptureFixture, place: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        url = f"http://127.0.0.1:{found.getsockname()[1]}"
        silent = ask(environment_of(place, url), RawZone(tmp_path), Request(PLACES[place][0], "/x"))
    refused = ask(environment_of(place, url), RawZone(tmp_path), Request(PLACES[place][0], "/x"))
    assert "ReadTimeout" in str(silent)
    assert "ConnectError" in str(refused)
    assert no_part_of(KEY, said(silent) + said(refused) + log.text)
    assert PASSWORD not in said(silent) + said(refused)


def test_a_key_in_a_request_body_is_not_written(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/x").respond_with_json({"ok": True})
    environment = environment_of("header", httpserver.url_for("").rstrip("/"))
    ask(environment, RawZone(tmp_path), Request("coingecko", "/x", {"q": KEY}, body={"auth": [KEY]}))
    (path,) = RawZone(tmp_path).files()
    landed = json.loads(gzip.decompress(path.read_bytes()).partition(b"\n")[0])
    assert landed["request"]["params"] == {"q": "***"}
    assert landed["request"]["body"] == {"auth": ["***"]}
    assert no_part_of(KEY, written(tmp_path))
