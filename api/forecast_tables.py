"""Forecast tables: what one state of model and tables forecasts, made once and kept as the bytes that go out."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from pydantic_core import to_json as as_bytes

from aegis_yield.domain.errors import BundleError, HistoryError
from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS, DEFAULT_LEVEL
from aegis_yield.pipelines.predict import Answer, Forecaster, Question, StrategyForecast, to_json

MAX_KEPT: Final = 100_000
"""Forecasts kept for one state, about a kilobyte each; the tables that were not asked for longest go first."""

Key: TypeAlias = tuple[int, float]
"""Horizon in days, and level of the interval."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One strategy's forecast.

    Attributes
    ----------
    row : StrategyForecast
        Its numbers.
    forecast_id : str or None
        Its name once it is recorded; None where the model came from no file.
    answer : Answer
        With which others it was made.
    text : bytes
        The JSON object that goes out, its last brace left off.
    """

    row: StrategyForecast
    forecast_id: str | None
    answer: Answer
    text: bytes

    def json(self, *, with_id: bool, explanation: bytes | None = None) -> bytes:
        """Return the prediction as a JSON object."""
        parts = [self.text]
        if with_id:
            parts.append(f',"forecast_id":"{self.forecast_id}"'.encode())
        if explanation is not None:
            parts.append(b',"explanation":' + explanation)
        return b"".join((*parts, b"}"))


class ForecastTable:
    """Forecasts of every strategy at one horizon and level, as given out on one day.

    Strategies that have ended are forecast when somebody asks for them by name.

    Parameters
    ----------
    forecaster : Forecaster
        Tables and model.
    answer : Answer
        Forecasts of everything that goes on.
    day : datetime.date
        Today, UTC: the age of the data goes by it.
    """

    def __init__(self, forecaster: Forecaster, answer: Answer, day: dt.date) -> None:
        self.answer = answer
        self.day = day
        self.cells: dict[str, Cell] = {cell.row.strategy_id: cell for cell in _cells(answer, day)}
        self._refused: dict[str, HistoryError] = {}
        self._forecaster = forecaster

    def find(self, strategies: Iterable[str]) -> list[Cell] | None:
        """Return the forecasts of strategies, or None if one has to be made first."""
        try:
            return [self.cells[strategy] for strategy in strategies]
        except KeyError:
            return None

    def fill(self, strategies: Iterable[str]) -> None:
        """Forecast strategies that have ended, one by one: so it does not matter who else is asked for.

        Raises
        ------
        HistoryError
            If one has too little history.
        """
        for strategy in strategies:
            if strategy in self.cells:
                continue
            if strategy in self._refused:
                raise HistoryError(str(self._refused[strategy]))
            try:
                answer = self._forecaster.ask(replace(self.answer.question, strategies=[strategy]))
            except HistoryError as error:
                self._refused[strategy] = error
                raise
            self.cells.update((cell.row.strategy_id, cell) for cell in _cells(answer, self.day))

    def on(self, day: dt.date) -> ForecastTable:
        """Return the same forecasts as given out on another day."""
        return ForecastTable(self._forecaster, self.answer, day)


class ForecastTables:
    """The tables of one state, each made when it is first asked for, in a thread, once.

    Parameters
    ----------
    forecaster : Forecaster
        The state.
    """

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._kept: dict[Key, ForecastTable] = {}
        self._making: dict[Key, asyncio.Task[ForecastTable]] = {}
        self._turn = asyncio.Semaphore(1)  # the others go on being answered from what is there

    def warm(self) -> None:
        """Make the table that is asked for most: the first request is fast, and the model known to work.

        Raises
        ------
        BundleError
            If a forecast is no number.
        """
        key = (DEFAULT_HORIZON_DAYS, DEFAULT_LEVEL)
        table = self._keep(key, self._make(key))
        for row in table.answer.rows:
            if not all(map(math.isfinite, (row.apy, row.low, row.high, row.volatility))):
                raise BundleError(f"{self._forecaster.model_version}: forecasts of {row.strategy_id} are no numbers")

    async def at(self, horizon_days: int, level: float) -> ForecastTable:
        """Return the table of a horizon and level, as of today."""
        key = (horizon_days, level)
        table = self._kept.get(key)
        if table is None or table.day != _today():
            return await self._made(key)
        if len(self._kept) > 1:
            self._kept[key] = self._kept.pop(key)  # the last to go
        return table

    async def cells(self, table: ForecastTable, strategies: Sequence[str]) -> list[Cell]:
        """Return the forecasts of strategies, in their order.

        Raises
        ------
        HistoryError
            If one has too little history.
        """
        found = table.find(strategies)
        if found is None:
            async with self._turn:
                await asyncio.to_thread(table.fill, strategies)
            found = table.find(strategies) or []
        return found

    async def _made(self, key: Key) -> ForecastTable:
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.ensure_future(self._make_in_turn(key))
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)  # who gives up takes nothing from those who wait for the same

    def _forget(self, key: Key, done: asyncio.Task[ForecastTable]) -> None:
        self._making.pop(key, None)
        if not done.cancelled():
            done.exception()  # seen, even if all who asked have gone

    async def _make_in_turn(self, key: Key) -> ForecastTable:
        async with self._turn:
            return self._keep(key, await asyncio.to_thread(self._make, key))

    def _make(self, key: Key) -> ForecastTable:
        day, old = _today(), self._kept.get(key)
        if old is not None:
            return old.on(day)
        return ForecastTable(self._forecaster, self._forecaster.ask(Question(None, *key)), day)

    def _keep(self, key: Key, table: ForecastTable) -> ForecastTable:
        self._kept.pop(key, None)
        self._kept[key] = table
        while len(self._kept) > 1 and sum(len(one.cells) for one in self._kept.values()) > MAX_KEPT:
            self._kept.pop(next(iter(self._kept)))
        return table


def answers_of(cells: Sequence[Cell]) -> Iterator[Answer]:
    """Yield the answers that forecasts are part of, each with these rows only, each once."""
    groups: dict[int, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(id(cell.answer), []).append(cell)
    for group in groups.values():
        yield replace(group[0].answer, rows=list({cell.row.strategy_id: cell.row for cell in group}.values()))


def _cells(answer: Answer, day: dt.date) -> Iterator[Cell]:
    for row, content in zip(answer.rows, to_json(answer)["predictions"].values(), strict=True):
        forecast_id = content.pop("forecast_id", None)
        aged = {**content, "data_age_days": (day - row.as_of).days}
        yield Cell(row, forecast_id, answer, as_bytes(aged)[:-1])


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
