"""The dashboard: one page at ``/`` and the files it is made of under ``/static/``."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

FOLDER: Final = Path(__file__).resolve().parents[1] / "dashboard"
PLOTLY_CACHE: Final = "public, max-age=2592000"
"""Thirty days: four megabytes that change with a release of plotly only."""

router = APIRouter(include_in_schema=False)
_files = StaticFiles(directory=FOLDER)


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    """Return the page."""
    return await _file("index.html", request)


@router.api_route("/favicon.ico", methods=["GET", "HEAD"])
async def favicon(request: Request) -> Response:
    """Return the icon where browsers look for it unasked."""
    return await _file("icon.svg", request)


@router.api_route("/static/plotly.min.js", methods=["GET", "HEAD"])
async def plotly_script(request: Request) -> Response:
    """Return plotly's script from its Python package, compressed where that is understood."""
    path = _plotly_path()
    if path is None:
        raise HTTPException(404, "plotly.min.js: the Python package plotly is not installed here")
    if "gzip" not in request.headers.get("accept-encoding", ""):
        plain = FileResponse(path, media_type="text/javascript")
        plain.headers.update({"Cache-Control": PLOTLY_CACHE, "Vary": "Accept-Encoding"})
        return plain
    body, tag = await run_in_threadpool(_compressed, path)
    headers = {"ETag": tag, "Cache-Control": PLOTLY_CACHE, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, headers={**headers, "Content-Encoding": "gzip"}, media_type="text/javascript")


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"])
async def static(path: str, request: Request) -> Response:
    """Return one of the page's files."""
    return await _file(path, request)


async def _file(path: str, request: Request) -> Response:
    # It answers 304 where the file has not changed, and 404 for all that is not a file of the folder.
    found = await _files.get_response(path, request.scope)
    found.headers["Cache-Control"] = "no-cache"  # asked for again each time: script and page are of one release
    return found


@functools.cache
def _plotly_path() -> Path | None:
    package = importlib.util.find_spec("plotly")  # found, not imported: only its script is wanted
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).with_name("package_data") / "plotly.min.js"
    return path if path.is_file() else None


@functools.cache
def _compressed(path: Path) -> tuple[bytes, str]:
    body = gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
