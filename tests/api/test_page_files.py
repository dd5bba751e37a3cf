"""The files of the dashboard as they are served: which, with which headers, and nothing else of the folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.routes.pages import FOLDER

FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file())
OWN = [path for path in FOLDER.rglob("*") if path.suffix in (".js", ".html", ".css", ".svg")]


def test_the_page_is_at_the_root(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert '<main id="main"' in answer.text


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_served_and_not_sent_twice(client: TestClient, name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.content == (FOLDER / name).read_bytes()
    again = client.get(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


def test_scripts_are_javascript_by_their_type(client: TestClient) -> None:
    kinds = {client.get(f"/static/{name}").headers["content-type"] for name in FILES if name.endswith(".js")}
    assert kinds == {"text/javascript; charset=utf-8"}


@pytest.mark.parametrize(
    "path", ["../ml_service.py", "%2e%2e/ml_service.py", "js/../../settings.py", "js", "", "none.js", "/etc/passwd"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    answer = client.get(f"/static/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_plotly_comes_from_its_package_compressed_and_is_kept_long(client: TestClient) -> None:
    packed = client.get("/static/plotly.min.js", headers={"Accept-Encoding": "gzip"})
    assert packed.status_code == 200
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < 2_000_000
    assert "max-age=2592000" in packed.headers["cache-control"]
    plain = client.get("/static/plotly.min.js", headers={"Accept-Encoding": "identity"})
    assert plain.content == packed.content
    assert b"plotly.js v" in plain.content[:100]
    again = client.get(
        "/static/plotly.min.js", headers={"If-None-Match": packed.headers["etag"], "Accept-Encoding": "gzip"}
    )
    assert again.status_code == 304


def test_the_page_is_no_part_of_the_contract(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith("/static")]


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_no_file_names_a_foreign_host_or_makes_markup_from_data(path: Path) -> None:
    text = path.read_text()
    hosts = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert hosts == set()
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        'setAttribute("style"',
        "style=",
    ):
        assert way not in text, way


def test_every_module_that_is_imported_is_there() -> None:
    for path in FOLDER.rglob("*.js"):
        for name in re.findall(r'from "(\.[^"]+)"', path.read_text()):
            assert (path.parent / name).resolve().is_file(), f"{path.name} imports {name}"


def test_the_page_has_no_inline_script_or_style() -> None:
    page = (FOLDER / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\son\w+=", page) == []
