"""Every view as a person uses it: shown, sorted, filtered, searched, and the same as the service says."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from typing import Any

import pytest
from dashboards import HOSTILE, Open, column, headers, is_ordered, plain, value_of
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow

LIST = "Strategies with their forecast for 7 days"

COLUMNS = {
    "Forecast": "forecast_apy",
    "90 % from": "lower",
    "to": "upper",
    "Now": "last_apy",
    "Volatility": "volatility",
}


def ask(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def shown(page: Page) -> list[str]:
    return page.locator(".listing tbody th a").all_inner_texts()


def test_the_list_shows_what_the_service_says(look: Open, simulated: str) -> None:
    page = look(simulated).show("")
    rows = ask(simulated, "/strategies?limit=1000&sort=-forecast_apy")["strategies"]
    expect(page.locator("#count")).to_have_text(f"{len(rows)} strategies")
    first = rows[0]
    for header, field in COLUMNS.items():
        assert value_of(column(page, LIST, header)[0]) == pytest.approx(first[field] * 100, abs=0.051), header
    assert [row["symbol"] for row in rows[:50]] == shown(page)


def test_simulated_data_is_marked_and_real_data_is_not(look: Open, simulated: str, real: str) -> None:
    expect(look(simulated).show("").locator("#banner")).to_contain_text("Simulated data.")
    page = look(real).show("")
    expect(page.locator("#served")).to_contain_text("data of")
    expect(page.locator("#banner")).to_be_hidden()


def test_every_column_sorts_both_ways(look: Open, simulated: str) -> None:
    page = look(simulated).show("")
    names = headers(page, LIST)
    assert len(names) == 11
    for index, name in enumerate(names):
        header = page.locator(".listing thead th").nth(index)
        orders = []
        for _ in range(2):
            header.get_by_role("button").click()
            orders.append(header.get_attribute("aria-sort"))
            texts = column(page, LIST, name)
            if name.startswith(("Forecast", "90", "to", "Now", "Volatility", "TVL", "Behind")):
                assert is_ordered([value_of(text) for text in texts], falling=orders[-1] == "descending"), (name, texts)
            elif name.startswith("Category"):
                assert texts == sorted(texts, reverse=orders[-1] == "descending")
        assert set(orders) == {"ascending", "descending"}
        assert page.locator(".listing th[aria-sort]").count() == 1
        expect(header.get_by_role("button")).to_be_focused()


def test_search_and_filters_narrow_the_list_and_can_be_linked_to(look: Open, simulated: str) -> None:
    page = look(simulated).show("")
    page.get_by_label("Category").select_option("lending")
    assert set(column(page, LIST, "Category")) == {"lending"}
    page.get_by_label("Search").fill("usdc ethereum")
    names = column(page, LIST, "Strategy")
    assert names
    assert all("USDC" in name and "Ethereum" in name for name in names)
    expect(page.locator("#count")).to_have_text(re.compile(rf"^{len(names)} of \d+ strategies$"))
    address = urllib.parse.parse_qs(page.url.partition("?")[2])
    assert address == {"category": ["lending"], "q": ["usdc ethereum"]}
    page.reload()
    page.wait_for_selector(".listing tbody th a")
    assert column(page, LIST, "Strategy") == names
    page.get_by_label("Search").fill("no such thing")
    expect(page.get_by_text("No strategy fits.")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_label("Search")).to_be_focused()
    assert len(shown(page)) == 50


def test_aliases_are_found(look: Open, simulated: str) -> None:
    page = look(simulated).show("")
    page.get_by_label("Search").fill("lido")
    assert "STETH lido · Ethereum" in column(page, LIST, "Strategy")


def test_pages_turn(look: Open, simulated: str) -> None:
    page = look(simulated).show("")
    first = column(page, LIST, "Strategy")
    expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    page.get_by_role("button", name="Next").click()
    second = column(page, LIST, "Strategy")
    assert len(first) == 50
    assert len(second) == 10
    assert not set(first) & set(second)
    expect(page.locator(".pager")).to_contain_text("51\u201360 of 60")


def test_horizon_and_level_change_the_forecasts(look: Open, simulated: str) -> None:
    watched = look(simulated)
    page = watched.show("")
    page.get_by_label("Days ahead").select_option("30")
    page.get_by_label("Interval", exact=True).select_option("0.5")
    watched.settle()
    first = ask(simulated, "/strategies?limit=1&sort=-forecast_apy&horizon_days=30&level=0.5")["strategies"][0]
    caption = "Strategies with their forecast for 30 days"
    assert value_of(column(page, caption, "50 % from")[0]) == pytest.approx(first["lower"] * 100, abs=0.051)
    page.locator(".listing tbody th a").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(first["strategy_id"])
    expect(page.get_by_label("Days ahead")).to_have_value("30")


def test_one_strategy_has_history_fan_risk_and_reasons(look: Open, simulated: str) -> None:
    page = look(simulated).show("#/strategy/aave")
    told = ask(simulated, "/predict", {"strategies": ["aave"], "horizon_days": 7, "explain": True})["predictions"][
        "aave"
    ]
    words = plain(page.locator(".words").first.inner_text())
    low, high = (told["confidence_interval"][end] * 100 for end in ("lower", "upper"))
    assert words.startswith("In 9 cases of 10 a depositor of the next 7 days earns between")
    assert f"{low:.2f} % and {high:.2f} % a year" in words
    moved = page.get_by_role("table", name="What moved the forecast").locator("tbody tr")
    numbers = [value_of(plain(row.locator("td").last.inner_text()).replace("+", "")) or 0.0 for row in moved.all()]
    assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=0.005 * len(numbers))
    for title in ("Rate", "Volatility", "Drawdown", "Value locked", "Mean rate of the next days"):
        chart = page.locator("figure", has=page.get_by_role("heading", name=title, exact=True))
        expect(chart.locator(".main-svg").first).to_be_visible()
        expect(chart.locator(".plot")).to_have_attribute("aria-label", re.compile("chart"))
    risk = ask(simulated, "/risk", {"strategies": ["aave"], "horizon_days": 30})["rows"][0]
    expect(page.get_by_role("region", name="What can go wrong")).to_contain_text(f"{risk['cvar'] * 100:.2f}")
    page.get_by_role("button", name="90 days").click()
    rate = page.locator("figure", has=page.get_by_role("heading", name="Rate", exact=True))
    rate.locator("summary").click()
    expect(rate.locator(".pager")).to_contain_text("of 90")


def test_ids_work_as_addresses_and_unknown_ones_are_told(look: Open, simulated: str) -> None:
    watched = look(simulated)
    page = watched.show("#/strategy/lido%3Aethereum%3Asteth")
    expect(page.locator(".about")).to_contain_text("also called lido")
    page = watched.show("#/strategy/nothing")
    expect(page.get_by_role("alert").first).to_contain_text("unknown strategy")
    page = watched.show("#/nowhere")
    expect(page.get_by_role("alert")).to_contain_text('no view "nowhere"')
    watched.forgive("404")


def test_models_say_which_one_serves(look: Open, simulated: str) -> None:
    page = look(simulated).show("#/models")
    models = ask(simulated, "/models")["models"]
    served = next(one for one in models if one["is_served"])
    row = page.get_by_role("table", name="Versions of the model").locator("tbody tr", has_text=served["model_version"])
    expect(row).to_contain_text("serves now")
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(served["version"])
    expect(page.get_by_text(served["sha256"])).to_be_visible()
    expect(page.locator("figure .main-svg").first).to_be_visible()


def test_health_tells_ages_and_warnings(look: Open, simulated: str, real: str) -> None:
    page = look(simulated).show("#/health")
    rows = ask(simulated, "/strategies?limit=1000")["strategies"]
    assert sum(int(text) for text in column(page, "Age of the data by category", "Strategies")) == len(rows)
    expect(page.get_by_role("region", name="Service")).to_contain_text("Simulated")
    page = look(real).show("#/health")
    service = page.get_by_role("region", name="Service")
    expect(service).to_contain_text("Ready, with warnings")
    expect(service).to_contain_text("Real")
    expect(page.locator("#alerts")).to_contain_text("old")


def test_names_in_the_tables_are_text_never_markup(look: Open, real: str) -> None:
    page = look(real).show("")
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    page.get_by_role("link", name=HOSTILE).click()
    expect(page.locator(".about")).to_contain_text(HOSTILE)
    assert page.locator("img[src='x']").count() == 0


def test_colours_follow_the_system_or_the_choice(look: Open, simulated: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page = look(simulated, scheme="dark").show("#/models")
    dark = page.evaluate(ground)
    page.get_by_label("Colours").select_option("light")
    light = page.evaluate(ground)
    assert dark != light
    page.reload()
    page.wait_for_selector("table")
    assert page.evaluate(ground) == light
