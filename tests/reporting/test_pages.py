"""Reports as files: they open offline, say what is simulated, and show hostile names as text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from bundles import market, trained_until

from aegis_yield.domain.dataset import Dataset
from aegis_yield.models.bundle import Bundle
from aegis_yield.pipelines.evaluate import EvaluationOrder, evaluate
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.preprocessing.cleaning import clean
from aegis_yield.reporting.console import percent
from aegis_yield.reporting.evaluation_page import write_evaluation_page
from aegis_yield.reporting.forecast_page import SIMULATED_BANNER, write_forecast_page
from aegis_yield.reporting.html import Page

HOSTILE = "</script><script>alert('lido')</script>&<b>"
START = trained_until() + dt.timedelta(days=7)


class Reader(HTMLParser):
    """Reads a page as a browser would: elements, their attributes, and visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.source = path.read_text()
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        where = self._open[-1] if self._open else ""
        (self.scripts if where == "script" else self.text).append(data)

    @property
    def figures(self) -> int:
        return sum(script.count("Plotly.newPlot(") for script in self.scripts[1:])

    @property
    def addresses(self) -> Iterable[str]:
        """Everything that a browser would fetch or follow."""
        for _, attributes in self.elements:
            yield from (attributes[name] or "" for name in ("src", "href", "action", "data") if name in attributes)

    @property
    def cells(self) -> list[str]:
        return [text for text in self.text if text.strip()]


def measured(dataset: Dataset) -> Dataset:
    return replace(dataset, yields=dataset.yields.with_columns(source=pl.lit("measured")))


def renamed(dataset: Dataset) -> Dataset:
    """Call Lido's staking by a name that would like to be code."""
    name = pl.col("strategy_id").replace({"lido:ethereum:steth": HOSTILE})
    yields = dataset.yields.with_columns(name).sort("strategy_id", "date")
    return clean(replace(dataset, yields=yields, strategies=dataset.strategies.with_columns(name), name=HOSTILE))


def forecast_page(forecaster: Forecaster, dataset: Dataset, names: list[str], folder: Path) -> Reader:
    asked = Forecaster(dataset, forecaster.bundle, forecaster.model_version, forecaster.names)
    write_forecast_page(asked, asked.ask(Question(names, 7, 0.8)), folder / "page.html")
    return Reader(folder / "page.html")


def evaluation_page(bundle: Bundle, dataset: Dataset, shown: dict[str, str], folder: Path) -> Reader:
    order = EvaluationOrder(dataset, bundle, START)
    others = [evaluate(replace(order, horizon_days=horizon)) for horizon in (1, 14)]
    write_evaluation_page(evaluate(order), others, shown, folder / "page.html")
    return Reader(folder / "page.html")


@pytest.fixture(scope="session")
def forecast(forecaster: Forecaster, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return forecast_page(forecaster, market(), ["aave", "lido", "delta"], tmp_path_factory.mktemp("forecast"))


@pytest.fixture(scope="session")
def evaluation(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    shown = {"aave": "aave-v3:ethereum:usdc", "lido": "lido:ethereum:steth", "gone": "gone:nowhere:x"}
    return evaluation_page(tiny_bundle, market(), shown, tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(params=["forecast", "evaluation"])
def page(request: pytest.FixtureRequest) -> Reader:
    reader: Reader = request.getfixturevalue(request.param)
    return reader


def test_nothing_is_fetched_from_anywhere(page: Reader) -> None:
    assert [address for address in page.addresses if not address.startswith("#")] == []
    assert "url(" not in "".join(page.source.partition("<style>")[2].partition("</style>")[0])


def test_simulated_data_is_announced_at_the_top(page: Reader) -> None:
    banner = next(number for number, (_, attributes) in enumerate(page.elements) if attributes.get("role") == "alert")
    heading = next(number for number, (tag, _) in enumerate(page.elements) if tag == "h1")
    assert banner < heading
    assert SIMULATED_BANNER in page.text


def test_a_forecast_page_has_a_picture_for_each_strategy(forecast: Reader) -> None:
    assert forecast.figures == 3
    for name in ("aave (aave-v3:ethereum:usdc)", "lido (lido:ethereum:steth)", "80 % interval"):
        assert name in forecast.cells


def test_an_evaluation_page_has_every_picture_and_table(evaluation: Reader) -> None:
    # two strategies, calibration, coverage by month, error by category, error by horizon
    assert evaluation.figures == 2 + 4
    assert sum(tag == "table" for tag, _ in evaluation.elements) == 2
    assert "gone (gone:nowhere:x) could not be forecast in this span." in evaluation.text


def test_an_evaluation_page_shows_every_forecaster_and_horizon(evaluation: Reader) -> None:
    for name in ("LSTM", "last value", "mean 7 days", "EWMA 0.3"):
        assert name in evaluation.cells
    assert all(f'"{horizon} d"' in evaluation.scripts[-1] for horizon in (1, 7, 14))


def test_an_evaluation_page_shows_the_scores_it_was_given(tiny_bundle: Bundle, tmp_path: Path) -> None:
    result = evaluate(EvaluationOrder(market(), tiny_bundle, START))
    write_evaluation_page(result, [], {}, tmp_path / "page.html")
    cells = Reader(tmp_path / "page.html").cells
    for name, card in result.scores["scores"].items():
        shown = cells[cells.index(name) + 1 :]
        assert shown[:2] == [f"{card['rel_mae']:.3f}", f"{card['rel_crps']:.3f}"]
        for cell, level in zip(shown[2:5], ("0.80", "0.90", "0.95"), strict=True):
            assert cell == percent(card["intervals"][level]["coverage"], 1)
        assert shown[5] == percent(card["intervals"]["0.90"]["median_width"])
        assert shown[6] == f"{card['qlike_median']:.2f}"


def test_measured_data_carries_no_banner(forecaster: Forecaster, tiny_bundle: Bundle, tmp_path: Path) -> None:
    real = measured(market())
    pages = (
        forecast_page(forecaster, real, ["aave"], tmp_path),
        evaluation_page(tiny_bundle, real, {}, tmp_path),
    )
    for page in pages:
        assert SIMULATED_BANNER not in page.text
        assert all("role" not in attributes for tag, attributes in page.elements if tag == "p")


def test_hostile_names_stay_text_in_forecasts(forecaster: Forecaster, tmp_path: Path, forecast: Reader) -> None:
    page = forecast_page(forecaster, renamed(market()), ["aave", HOSTILE, "delta"], tmp_path)
    assert tags(page) == tags(forecast)
    assert f"{HOSTILE} ({HOSTILE})" in "".join(page.text)


def test_hostile_names_stay_text_in_evaluations(tiny_bundle: Bundle, tmp_path: Path, evaluation: Reader) -> None:
    shown = {"aave": "aave-v3:ethereum:usdc", HOSTILE: HOSTILE, "gone<br>": "gone<script>"}
    page = evaluation_page(tiny_bundle, renamed(market()), shown, tmp_path)
    assert tags(page) == tags(evaluation)
    assert "gone<br> (gone<script>) could not be forecast in this span." in "".join(page.text)


def tags(page: Reader) -> list[str]:
    return [tag for tag, _ in page.elements]


def test_a_page_escapes_whatever_it_is_given(tmp_path: Path) -> None:
    page = Page(title="<i>title</i>", lead="a & b", banner="<u>")
    page.heading("<h6>")
    page.paragraph("<img src=x>")
    page.table(["<th>"], [["<td>", '"quoted"']], caption="<caption>")
    page.write(tmp_path / "page.html")
    read = Reader(tmp_path / "page.html")
    expected = ["html", "head", "meta", "meta", "title", "style", "script", "body", "p", "h1", "p", "h2", "p"]
    table = ["table", "caption", "thead", "tr", "th", "tbody", "tr", "td", "td", "footer"]
    assert tags(read) == expected + table
    assert [text for text in read.cells if text.startswith("<")][:2] == ["<i>title</i>", "<u>"]


def test_an_evaluation_without_known_outcomes_still_makes_a_page(tiny_bundle: Bundle, tmp_path: Path) -> None:
    last = market().last_date
    write_evaluation_page(evaluate(EvaluationOrder(market(), tiny_bundle, last, last)), [], {}, tmp_path / "page.html")
    assert Reader(tmp_path / "page.html").figures == 4


def test_days_the_model_was_trained_on_are_admitted(tiny_bundle: Bundle, tmp_path: Path) -> None:
    order = EvaluationOrder(market(), tiny_bundle, START - dt.timedelta(days=30))
    write_evaluation_page(evaluate(order), [], {}, tmp_path / "page.html")
    assert "this is no proof of skill" in "".join(Reader(tmp_path / "page.html").text)
