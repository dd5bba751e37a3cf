"""What a person sees when something is wrong: no key, a wrong one, one that may too little, old data, no service."""

from __future__ import annotations

import shutil
import sys
import time
import urllib.request
from pathlib import Path

import polars as pl
import pytest
from dashboards import Open, column, free_port, running
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_a_key_is_asked_for_kept_for_the_tab_and_forgotten(look: Open, guarded: tuple[str, str]) -> None:
    url, key = guarded
    watched = look(url)
    page = watched.page
    page.goto(url)
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_be_visible()
    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    page.get_by_label("Key", exact=True).fill("aegis_wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("does not accept this key")
    page.get_by_label("Key", exact=True).fill(key)
    dialog.get_by_role("button", name="Use this key").click()
    expect(page.locator(".listing tbody th").first).to_be_visible()
    assert key not in page.url
    assert page.evaluate("[JSON.stringify(localStorage), document.cookie]") == ["{}", ""]
    page.reload()
    expect(page.locator(".listing tbody th").first).to_be_visible()
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Forget the API key").click()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_contain_text("An API key is needed")
    watched.forgive("401")


def test_a_key_that_may_too_little_is_told_so(look: Open, guarded: tuple[str, str]) -> None:
    url, key = guarded
    watched = look(url)
    page = watched.page
    page.goto(f"{url}/#/strategy/aave")
    page.get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")
    watched.settle()
    risk = page.get_by_role("region", name="What can go wrong")
    expect(risk.get_by_role("alert")).to_contain_text("This key may not do that")
    expect(page.get_by_role("region", name="Forecast", exact=True)).to_contain_text("a year, forecast")
    watched.forgive("401|403")


def test_data_that_is_too_old_gives_no_forecast_but_the_reason(look: Open, too_old: str) -> None:
    watched = look(too_old)
    page = watched.show("")
    expect(page.locator("#alerts")).to_contain_text("days ago")
    told = set(column(page, "Strategies with their forecast for 7 days", "Forecast"))
    assert told == {"none : the data is too old"}
    page = watched.show("#/strategy/aave")
    forecast = page.get_by_role("region", name="Forecast", exact=True)
    expect(forecast.get_by_role("alert")).to_contain_text("The service is not ready")
    expect(page.get_by_text("Without a forecast there is nothing to explain.")).to_be_visible()
    watched.forgive("503")


def test_old_data_that_is_served_warns(look: Open, real: str) -> None:
    page = look(real).show("#/strategy/aave")
    expect(page.locator("#alerts")).to_contain_text("days ago")
    expect(page.get_by_role("region", name="Forecast", exact=True)).to_contain_text("a year, forecast")


def test_a_service_that_went_away_is_told_and_can_be_tried_again(look: Open, tmp_path: Path) -> None:
    port = free_port()
    with running(sys.executable, tmp_path, port) as url:
        watched = look(url)
        page = watched.show("")
    page.locator("nav").get_by_role("link", name="Models").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    with running(sys.executable, tmp_path, port):
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("table", name="Versions of the model")).to_be_visible()
    watched.forgive("ERR_CONNECTION")


def test_the_policy_of_the_page_lets_no_foreign_or_inline_script_run(look: Open, simulated: str) -> None:
    with urllib.request.urlopen(simulated, timeout=30) as answer:
        policy = answer.headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";") if " " in rule.strip())
    assert rules["default-src"] == "'self'"
    assert "unsafe" not in rules.get("script-src", "'self'")
    watched = look(simulated)
    page = watched.show("#/models")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    assert page.evaluate("window.ran") is None
    watched.forgive("Content Security Policy")


def test_newer_tables_are_offered_not_slipped_in(look: Open, real_tables: Path, tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    shutil.copytree(real_tables, tables)
    settings = {"AEGIS_DATA": str(tables), "AEGIS_SERVICE__WATCH_S": "0.2", "AEGIS_SERVICE__MAX_AGE_DAYS": "100000"}
    with running(sys.executable, tmp_path, free_port(), **settings) as url:
        page = look(url).show("")
        n_before = page.locator(".listing tbody tr").count()
        yields = pl.read_parquet(tables / "yields.parquet")
        gone = yields["strategy_id"][0]
        yields.filter(pl.col("strategy_id") != gone).write_parquet(tables / "yields.parquet")
        offer = page.locator("#alerts").get_by_role("button", name="Show it")
        give_up = time.monotonic() + 60
        while not offer.is_visible() and time.monotonic() < give_up:
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            page.wait_for_timeout(300)
        assert page.locator(".listing tbody tr").count() == n_before
        offer.click()
        expect(page.locator(".listing tbody tr")).to_have_count(n_before - 1)
        expect(offer).to_be_hidden()
