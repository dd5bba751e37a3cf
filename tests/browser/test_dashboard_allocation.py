"""The allocation workbench: an answer, a what-if, limits that conflict, input that is wrong, the frontier."""

from __future__ import annotations

import pytest
from dashboards import PATIENT_MS, Open, Watched, column, plain, value_of
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow

PLACES = "Where the capital goes"
FEW = ("aave", "lido", "delta")


def optimise(page: Page) -> None:
    page.get_by_role("button", name="Optimise", exact=True).click()
    expect(page.get_by_role("button", name="Optimise", exact=True)).to_be_enabled(timeout=PATIENT_MS)


def with_few(watched: Watched) -> Page:
    """Open the workbench with three candidates."""
    page = watched.show("#/allocate")
    page.get_by_text("Only these").click()
    for name in FEW:
        page.get_by_label("Candidates", exact=True).fill(name)
        page.keyboard.press("Enter")
    return page


def test_an_answer_adds_up_and_says_why(look: Open, simulated: str) -> None:
    page = look(simulated).show("#/allocate")
    page.get_by_label("Capital ($)").fill("250k")
    optimise(page)
    amounts = [value_of(text) or 0.0 for text in column(page, PLACES, "Amount")]
    weights = [value_of(text) or 0.0 for text in column(page, PLACES, "Weight")]
    assert sum(amounts) == pytest.approx(250_000, rel=0.01)
    assert sum(weights) == pytest.approx(100, abs=1)
    assert max(weights) <= 40.0
    assert amounts == sorted(amounts, reverse=True)
    assert all(column(page, PLACES, "Why"))
    assert "Deposit" in column(page, "Trades", "Action")
    assert "binds" in column(page, "Limits", "Binds")
    expect(page.get_by_role("region", name="Not used, and why")).to_contain_text("short of the cut-off")
    expect(page.get_by_text("Proven best")).to_be_visible()
    assert page.get_by_label("Capital ($)").input_value() == "250,000"


def test_a_what_if_is_compared_with_the_answer_before(look: Open, simulated: str) -> None:
    page = with_few(look(simulated))
    optimise(page)
    first = column(page, PLACES, "Weight")
    page.get_by_label("In one strategy, at most").fill("30")
    optimise(page)
    compared = page.get_by_role("region", name="Compared with an earlier answer")
    expect(compared).to_contain_text("Changed: In one strategy, at most")
    assert "from 40.00 % to 30.00 %" in plain(compared.inner_text())
    before, now, change = (column(page, "Before and after", name)[0] for name in ("Before", "Now", "Difference"))
    assert value_of(now.replace("+", "")) - value_of(before) == pytest.approx(
        value_of(change.replace("+", "")), abs=0.06
    )  # type: ignore[operator]
    rows = zip(column(page, PLACES, "Strategy"), column(page, PLACES, "Weight"), strict=True)
    assert max(value_of(text) or 0.0 for name, text in rows if name != "Cash") <= 30.0
    assert first != column(page, PLACES, "Weight")
    page.locator("nav").get_by_role("link", name="Models").click()
    page.locator("nav").get_by_role("link", name="Allocation").click()
    expect(page.get_by_label("In one strategy, at most")).to_have_value("30")
    expect(page.get_by_role("region", name="Result")).to_be_visible()


def test_present_positions_are_counted_and_trades_show_it(look: Open, simulated: str) -> None:
    page = with_few(look(simulated))
    page.get_by_label("What is held now").fill("aave")
    page.get_by_label("US dollars in it").fill("1m")
    page.get_by_role("group", name="Present positions").get_by_role("button", name="Add").click()
    expect(page.get_by_role("group", name="Present positions").get_by_role("list")).to_contain_text("$1,000,000")
    optimise(page)
    assert "Withdraw" in column(page, "Trades", "Action")
    page.get_by_role("button", name="Remove aave").first.click()
    expect(page.get_by_label("What is held now")).to_be_focused()


def test_limits_that_conflict_are_named_with_what_would_do(look: Open, simulated: str) -> None:
    watched = look(simulated)
    page = with_few(watched)
    page.get_by_label("In one strategy, at most").fill("20")
    page.get_by_text("Size and liquidity").click()
    page.get_by_label("Invested, at least").fill("90")
    optimise(page)
    told = page.get_by_role("alert")
    expect(told).to_contain_text("These limits cannot all be met")
    expect(told).to_contain_text("One strategy")
    assert "Invested, at least from 90.00 % to 60.00 %" in plain(told.inner_text())
    told.get_by_role("button", name="Change that and optimise").click()
    expect(page.get_by_role("region", name="Result")).to_be_visible(timeout=PATIENT_MS)
    expect(page.get_by_label("Invested, at least")).to_have_value("60")
    watched.forgive("422")


def test_wrong_input_is_told_at_its_field(look: Open, simulated: str) -> None:
    watched = look(simulated)
    page = watched.show("#/allocate")
    page.get_by_label("In one strategy, at most").fill("140")
    page.get_by_role("button", name="Optimise", exact=True).click()
    field = page.get_by_label("In one strategy, at most")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("40")
    page.get_by_label("Capital ($)").fill("lots")
    page.get_by_role("button", name="Optimise", exact=True).click()
    expect(page.get_by_text("Write dollars as a number")).to_be_visible()
    page.get_by_label("Capital ($)").fill("1m")
    page.get_by_text("Only these").click()
    page.get_by_label("Candidates", exact=True).fill("not-a-strategy")
    page.keyboard.press("Enter")
    optimise(page)
    expect(page.get_by_role("alert")).to_contain_text("not-a-strategy")
    watched.forgive("404|422")


def test_the_frontier_is_drawn_and_a_point_can_be_taken_over(look: Open, simulated: str) -> None:
    page = with_few(look(simulated))
    optimise(page)
    page.get_by_role("button", name="Draw the frontier").click()
    points = "Points of the frontier and what people do today"
    page.get_by_role("table", name=points).wait_for(timeout=PATIENT_MS)
    expect(page.locator("figure .main-svg").first).to_be_visible()
    names = column(page, points, "Split")
    assert names[0] == "Chosen"
    assert "Today: equal weight" in names
    page.get_by_role("button", name="Use aversion 0.2", exact=True).click()
    slider = page.get_by_label("Aversion to risk")
    expect(slider).to_be_focused()
    assert slider.get_attribute("aria-valuetext") == "$0.20 of income given up to lose $1 less in bad cases"


def test_a_long_search_can_be_stopped(look: Open, simulated: str) -> None:
    page = look(simulated).show("#/allocate")
    page.get_by_role("button", name="Optimise", exact=True).click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    expect(page.get_by_role("button", name="Optimise", exact=True)).to_be_enabled()
