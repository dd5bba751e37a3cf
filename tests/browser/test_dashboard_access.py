"""For everybody: screen readers (axe-core), the keyboard alone, a phone; and pictures of each view to look at."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from dashboards import DESKTOP, PATIENT_MS, PHONE, SHOTS, Open, Watched
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow

VIEWS = {
    "strategies": "",
    "strategy": "#/strategy/aave",
    "allocation": "#/allocate",
    "conflict": "#/allocate",
    "models": "#/models",
    "model": "#/models/lstm_v1",
    "health": "#/health",
}
CANDIDATES = (
    "aave",
    "lido",
    "delta",
    "compound-v3:ethereum:usdc",
    "ethena-usde:ethereum:susde",
    "morpho-blue:optimism:usds",
    "sky-lending:ethereum:susds",
    "pendle:ethereum:susde",
)
LOOKS = {"light": (DESKTOP, "light"), "dark": (DESKTOP, "dark"), "phone": (PHONE, "light")}


def prepared(watched: Watched, name: str) -> Page:
    """Open a view and bring it to where there is most to see."""
    page = watched.show(VIEWS[name])
    if name == "allocation":
        page.get_by_text("Only these").click()
        for candidate in CANDIDATES:
            page.get_by_label("Candidates", exact=True).fill(candidate)
            page.keyboard.press("Enter")
        page.get_by_label("What is held now").fill("aave")
        page.get_by_label("US dollars in it").fill("400k")
        page.keyboard.press("Enter")
        answer(page)
        page.get_by_label("In one strategy, at most").fill("25")
        answer(page)
        page.get_by_role("button", name="Draw the frontier").click()
        page.locator("figure .main-svg").first.wait_for(timeout=PATIENT_MS)
    if name == "conflict":
        page.get_by_label("In one strategy, at most").fill("1")
        page.get_by_text("Size and liquidity").click()
        page.get_by_label("Invested, at least").fill("90")
        answer(page)
        watched.forgive("422")
    watched.settle()
    return page


def answer(page: Page) -> None:
    page.get_by_role("button", name="Optimise", exact=True).click()
    expect(page.get_by_role("button", name="Optimise", exact=True)).to_be_enabled(timeout=PATIENT_MS)


@pytest.mark.parametrize("appearance", LOOKS)
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_accessible_and_fits(look: Open, simulated: str, name: str, appearance: str) -> None:
    size, scheme = LOOKS[appearance]
    watched = look(simulated, size=size, scheme=scheme)
    page = prepared(watched, name)
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.evaluate(
        "document.querySelector('.actions')?.style.setProperty('position', 'static')"
    )  # it sticks in pictures
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=SHOTS / f"{name}-{appearance}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    findings = Axe().run(page).response["violations"]
    assert [(one["id"], one["impact"], [node["target"] for node in one["nodes"]][:3]) for one in findings] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_key_dialog_is_accessible(look: Open, guarded: tuple[str, str], scheme: str) -> None:
    watched = look(guarded[0], scheme=scheme)
    watched.page.goto(guarded[0])
    expect(watched.page.get_by_role("dialog")).to_be_visible()
    SHOTS.mkdir(parents=True, exist_ok=True)
    watched.page.screenshot(path=SHOTS / f"key-{scheme}.png")
    assert [one["id"] for one in Axe().run(watched.page).response["violations"]] == []
    watched.forgive("401")


FOCUSED = "document.activeElement"


def focused(page: Page) -> str:
    """Return the name of what has the focus."""
    name = "e => e.labels?.[0]?.innerText || e.getAttribute('aria-label') || e.innerText || e.id"
    return str(page.evaluate(f"({name})({FOCUSED})")).strip()


def test_everything_can_be_reached_by_keyboard(look: Open, simulated: str) -> None:
    page = look(simulated).show("")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to content"
    names = []
    for _ in range(14):
        page.keyboard.press("Tab")
        names.append(focused(page))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", names[-1]
    order = ["Aegis Yield", "Strategies", "Allocation", "Models", "Data health", "Colours", "Days ahead", "Interval"]
    assert names[:8] == order
    assert names[8:13] == ["Search", "Category", "Chain", "Project", "Clear"]


def test_skip_sort_open_and_answer_without_a_mouse(look: Open, simulated: str) -> None:
    watched = look(simulated)
    page = watched.show("")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    tab_to(page, re.compile("^TVL"))
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=descending]").inner_text().startswith(("▼", "TVL"))
    expect(page.locator("#live")).to_have_text("Sorted by TVL, falling.")
    first = page.locator(".listing tbody th a").first
    tab_to(page, re.compile(f"^{re.escape(first.inner_text())}$"))
    page.keyboard.press("Enter")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_be_focused()
    assert page.title().endswith(" \u2013 Aegis Yield")
    page.locator("nav").get_by_role("link", name="Allocation").focus()
    page.keyboard.press("Enter")
    expect(heading).to_have_text("Allocation")
    expect(heading).to_be_focused()
    tab_to(page, re.compile("^Capital"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Result")).to_be_visible(timeout=PATIENT_MS)
    expect(page.locator("#live")).to_contain_text("Answer 1: net APY")


def tab_to(page: Page, name: re.Pattern[str]) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if name.search(focused(page)):
            return
    raise AssertionError(f"nothing called {name.pattern} within 60 steps")


def test_a_page_has_landmarks_one_heading_and_named_tables(look: Open, simulated: str) -> None:
    watched = look(simulated)
    for view in VIEWS.values():
        page = watched.show(view)
        for role in ("banner", "main", "contentinfo"):
            expect(page.get_by_role(role)).to_have_count(1)
        expect(page.get_by_role("navigation", name="Views")).to_have_count(1)
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        expect(page.locator("nav [aria-current=page]")).to_have_count(1)
        assert page.locator("table:not(:has(caption))").count() == 0
