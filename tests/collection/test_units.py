from __future__ import annotations

import datetime as dt
import hashlib
import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.collection.units import Demand, Page, WorkUnit, daily_unit, monthly_units

DAY = dt.timedelta(days=1)
DEMAND = Demand("binance", "funding", "ETHUSDT")

days = st.dates(dt.date(2015, 1, 1), dt.date(2027, 12, 31))
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
demands = st.builds(Demand, names, names, st.text(max_size=8))


def test_the_id_is_that_of_every_machine_and_every_run() -> None:
    unit = WorkUnit(DEMAND, dt.date(2026, 2, 1), dt.date(2026, 3, 1))
    whole = hashlib.sha256(b"binance|funding|ETHUSDT|2026-02-01|2026-03-01").hexdigest()
    assert unit.id == whole[:32] == "b267f697893ed3e6a28f19205c6f040d"
    code = (
        "import datetime as dt; from aegis_yield.collection.units import *;"
        "print(WorkUnit(Demand('binance', 'funding', 'ETHUSDT'), dt.date(2026, 2, 1), dt.date(2026, 3, 1)).id)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == unit.id


@given(st.lists(st.tuples(demands, days, days), min_size=2, max_size=6, unique=True))
def test_different_units_have_different_ids(parts: list[tuple[Demand, dt.date, dt.date]]) -> None:
    assert len({WorkUnit(*part).id for part in parts}) == len(parts)


def test_a_unit_says_what_it_is() -> None:
    assert str(daily_unit(DEMAND, dt.date(2026, 2, 28))) == "binance/funding/ETHUSDT 2026-02-28…2026-03-01"


@given(since=days, length=st.integers(0, 800))
def test_months_hold_every_day_once(since: dt.date, length: int) -> None:
    today = since + length * DAY
    units = monthly_units(DEMAND, since, today)
    held = [unit.start + n * DAY for unit in units for n in range((unit.end - unit.start).days)]
    first = dt.date(since.year, since.month, 1)
    assert held == [first + n * DAY for n in range(len(held))]
    assert units[-1].start <= today < units[-1].end
    assert all(unit.start.day == unit.end.day == 1 and 28 <= (unit.end - unit.start).days <= 31 for unit in units)


@given(since=days, length=st.integers(0, 800))
def test_a_month_is_the_same_unit_whenever_it_is_planned(since: dt.date, length: int) -> None:
    today = since + length * DAY
    earlier = {unit.id for unit in monthly_units(DEMAND, since, today)}
    later = {unit.id for unit in monthly_units(DEMAND, since - 40 * DAY, today + 40 * DAY)}
    assert earlier < later


def test_there_is_no_month_before_the_beginning() -> None:
    assert monthly_units(DEMAND, dt.date(2026, 3, 1), dt.date(2026, 2, 27)) == []


def test_a_page_without_context_has_an_empty_one() -> None:
    moment = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    assert Page("r", DEMAND, "u", {"path": "/"}, moment, b"").context == {}
    assert Page("r", DEMAND, "u", {"context": {"day": 1}}, moment, b"").context == {"day": 1}
