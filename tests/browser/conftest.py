from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from bundles import CHECKOUT, clean_environment, market
from dashboards import CHROMIUM, HOSTILE, Open, Watched, free_port, opened, running

from aegis_yield.preprocessing.tables import write_dataset


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    if not CHROMIUM.is_file():
        pytest.skip(f"no Chromium at {CHROMIUM} (scripts/install_browser.sh installs it; AEGIS_CHROMIUM names another)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    with sync_api.sync_playwright() as driver:
        # Containers have neither the kernel's sandbox for browsers nor much shared memory.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def look(chromium: object) -> Iterator[Open]:
    """Open pages; afterwards none may have asked a foreign host for anything, or complained."""
    pages: list[Watched] = []

    def show(url: str, **options: object) -> Watched:
        pages.append(opened(chromium, url, **options))  # type: ignore[arg-type]
        return pages[-1]

    yield show
    for watched in pages:
        watched.page.context.close()
    assert [url for watched in pages for url in watched.foreign] == []
    assert [line for watched in pages for line in watched.complaints] == []


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service on the simulated market."""
    with running(sys.executable, tmp_path_factory.mktemp("simulated"), free_port()) as url:
        yield url


@pytest.fixture(scope="session")
def real_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables that pass for real ones: last year's, and somebody has put markup into a name."""
    folder = tmp_path_factory.mktemp("real-tables")
    made = market()
    symbol = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(HOSTILE)).otherwise("symbol").alias("symbol")
    passed_off = {
        "yields": made.yields.with_columns(source=pl.lit("test")),
        "strategies": made.strategies.with_columns(symbol),
    }
    write_dataset(dataclasses.replace(made, **passed_off), folder)
    return folder


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory, real_tables: Path) -> Iterator[str]:
    """The service on tables that are old, and told to go on nevertheless."""
    folder = tmp_path_factory.mktemp("real")
    settings = {"AEGIS_DATA": str(real_tables), "AEGIS_SERVICE__MAX_AGE_DAYS": "100000"}
    with running(sys.executable, folder, free_port(), **settings) as url:
        yield url


@pytest.fixture(scope="session")
def too_old(tmp_path_factory: pytest.TempPathFactory, real_tables: Path) -> Iterator[str]:
    """The service on tables that are older than it may answer from."""
    folder = tmp_path_factory.mktemp("too-old")
    with running(sys.executable, folder, free_port(), AEGIS_DATA=str(real_tables)) as url:
        yield url


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The service behind keys, and a key that may read."""
    folder = tmp_path_factory.mktemp("guarded")
    file = folder / "keys.json"
    command = [str(Path(sys.executable).with_name("aegis")), "keys", "create", "--name", "person", "--file", str(file)]
    made = subprocess.run(
        command, env=clean_environment(folder), capture_output=True, text=True, timeout=60, check=True, cwd=CHECKOUT
    )
    key = made.stdout.split()[-1]
    with running(sys.executable, folder, free_port(), AEGIS_SERVICE__KEYS=str(file)) as url:
        yield url, key
