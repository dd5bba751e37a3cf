"""The raw zone: exact bytes back, damage seen, order kept, nothing half written."""

from __future__ import annotations

import datetime as dt
import errno
import gzip
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis_yield.collection.raw import Answer, RawZone
from aegis_yield.collection.units import Demand, Request, WorkUnit
from aegis_yield.domain.errors import CollectionError
from aegis_yield.utils import files

DEMAND = Demand("binance", "funding", "ETHUSDT")
UNIT = WorkUnit(DEMAND, dt.date(2026, 2, 1), dt.date(2026, 3, 1))
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
ASKED = Request("binance", "/fapi/v1/fundingRate", {"symbol": "ETHUSDT", "limit": 1000}, context={"hours": 8})
BODY = b'[{"fundingRate":"0.0001"}]\n'


@pytest.fixture
def raw(tmp_path: Path) -> RawZone:
    return RawZone(tmp_path / "raw")


def answer(body: bytes = BODY, fetched_at: dt.datetime = NOON, **more: Any) -> Answer:
    values = {"status": 200, "headers": {"etag": "x"}, "url": "http://127.0.0.1/", "duration_ms": 12.34, "attempt": 1}
    return Answer(body=body, fetched_at=fetched_at, **{**values, **more})


def names(raw: RawZone) -> list[str]:
    return [path.name for path in raw.files()]


def size(raw: RawZone, raw_id: str, demand: Demand = DEMAND) -> int:
    return raw.path_of(demand, raw_id).stat().st_size


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_the_exact_bytes_come_back(raw: RawZone, body: bytes) -> None:
    page = raw.page(raw.path_of(DEMAND, raw.land(UNIT, ASKED, answer(body))))
    assert page is not None
    assert page.body == body


def test_a_page_holds_all_that_a_reader_may_use(raw: RawZone) -> None:
    raw_id = raw.land(UNIT, ASKED, answer(fetched_at=NOON + dt.timedelta(microseconds=7)))
    assert raw_id == f"20260301T120000000007-{UNIT.id[:12]}"
    path = raw.folder / "binance" / "funding" / "dt=2026-03-01" / f"{raw_id}.json.gz"
    assert list(raw.files()) == [path] == [raw.path_of(DEMAND, raw_id)]
    page = raw.page(path)
    assert page is not None
    assert (page.raw_id, page.demand, page.unit_id, page.body) == (raw_id, DEMAND, UNIT.id, BODY)
    assert page.fetched_at == NOON + dt.timedelta(microseconds=7)
    assert page.context == {"hours": 8}
    assert page.request["params"] == {"symbol": "ETHUSDT", "limit": 1000}


def test_a_file_can_be_read_without_this_project(raw: RawZone) -> None:
    raw_id = raw.land(UNIT, ASKED, answer(attempt=3))
    shown = subprocess.run(["zcat", raw.path_of(DEMAND, raw_id)], capture_output=True, check=True).stdout
    line, body = shown.split(b"\n", 1)
    assert body == BODY
    assert json.loads(line) == {
        "format": 1, "raw_id": raw_id, "unit": UNIT.id, "source": "binance", "dataset": "funding", "entity": "ETHUSDT",
        "window": ["2026-02-01", "2026-03-01"], "url": "http://127.0.0.1/",
        "request": {
            "host": "binance", "path": "/fapi/v1/fundingRate", "params": {"symbol": "ETHUSDT", "limit": 1000},
            "body": None, "context": {"hours": 8},
        },
        "status": 200, "headers": {"etag": "x"}, "fetched_at": NOON.isoformat(), "duration_ms": 12.3, "attempt": 3,
        "verdict": "", "is_probe": False, "sha256": hashlib.sha256(BODY).hexdigest(), "body_of": "",
    }  # fmt: skip


# The same body again


def test_the_same_body_is_kept_once(raw: RawZone) -> None:
    body = bytes(range(256)) * 400
    ids = [raw.land(UNIT, ASKED, answer(body)) for _ in range(4)]
    assert size(raw, ids[1]) < 0.6 * size(raw, ids[0])
    pages = [raw.page(path) for path in raw.files()]
    assert [page.body for page in pages if page] == [body] * 4
    assert [page.raw_id for page in pages if page] == ids


def test_a_body_is_shared_only_with_the_one_just_before_of_the_same_question(raw: RawZone) -> None:
    other_unit = WorkUnit(Demand("binance", "funding", "BTCUSDT"), UNIT.start, UNIT.end)
    steps = [
        (UNIT, ASKED, BODY, False),
        (UNIT, ASKED, BODY, True),
        (UNIT, Request("binance", "/other"), BODY, False),
        (UNIT, Request(ASKED.host, ASKED.path, {**ASKED.params, "limit": 1}), BODY, False),
        (UNIT, Request(ASKED.host, ASKED.path, ASKED.params, context={"hours": 1}), BODY, False),
        (other_unit, ASKED, BODY, False),
        (UNIT, ASKED, b"[]", False),
        (UNIT, ASKED, BODY, False),
        (UNIT, ASKED, BODY, True),
    ]
    for unit, asked, body, is_shared in steps:
        path = raw.path_of(unit.demand, raw.land(unit, asked, answer(body)))
        line = json.loads(gzip.decompress(path.read_bytes()).partition(b"\n")[0])
        assert bool(line["body_of"]) == is_shared
        page = raw.page(path)
        assert page is not None
        assert page.body == body


def test_an_error_between_two_answers_is_no_body_to_share(raw: RawZone) -> None:
    first = raw.land(UNIT, ASKED, answer())
    error = raw.land(UNIT, ASKED, answer(status=503, verdict="transient: HTTP 503"))
    again = raw.land(UNIT, ASKED, answer())
    lines = [gzip.decompress(raw.path_of(DEMAND, raw_id).read_bytes()) for raw_id in (error, again)]
    assert lines[0].endswith(BODY)  # the error's own words are kept
    assert json.loads(lines[1])["body_of"] == first


def test_an_error_does_not_make_later_good_answers_share_its_body(raw: RawZone) -> None:
    raw.land(UNIT, ASKED, answer(verdict="transient: says busy"))
    page = raw.page(raw.path_of(DEMAND, raw.land(UNIT, ASKED, answer())))
    assert page is not None
    assert page.body == BODY


def test_another_process_begins_with_a_body_of_its_own(raw: RawZone) -> None:
    raw.land(UNIT, ASKED, answer())
    raw_id = RawZone(raw.folder).land(UNIT, ASKED, answer())
    assert gzip.decompress(raw.path_of(DEMAND, raw_id).read_bytes()).endswith(BODY)


# What is no page


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (ASKED, answer(status=404, verdict="final: HTTP 404")),
        (ASKED, answer(verdict="transient: says busy")),
        (Request("binance", "/time", is_probe=True), answer()),
    ],
    ids=["error status", "error envelope", "probe"],
)
def test_errors_and_probes_are_kept_but_are_no_pages(raw: RawZone, asked: Request, given: Answer) -> None:
    path = raw.path_of(DEMAND, raw.land(UNIT, asked, given))
    assert gzip.decompress(path.read_bytes()).endswith(BODY)
    assert raw.page(path) is None


# Order


def test_names_sort_by_time_even_if_the_clock_goes_back_or_stands_still(raw: RawZone) -> None:
    moments = [0, 0, 5, -3600, -3600, 6, 6, -86_400, 7]
    ids = [raw.land(UNIT, ASKED, answer(fetched_at=NOON + dt.timedelta(seconds=s))) for s in moments]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert names(raw) == [f"{raw_id}.json.gz" for raw_id in ids]
    found = [raw.page(path) for path in raw.files()]
    assert [page.fetched_at for page in found if page] == [NOON + dt.timedelta(seconds=s) for s in moments]


def test_names_sort_by_time_even_if_the_clock_was_set_back_between_two_runs(raw: RawZone) -> None:
    first = raw.land(UNIT, ASKED, answer(fetched_at=NOON))
    (raw.folder / "binance" / "funding" / "dt=2026-03-09").mkdir()  # of a run that was killed just then
    other = WorkUnit(Demand("bybit", "funding", "ETHUSDT"), UNIT.start, UNIT.end)
    second = RawZone(raw.folder).land(other, ASKED, answer(fetched_at=NOON - dt.timedelta(days=2)))
    third = RawZone(raw.folder).land(UNIT, ASKED, answer(fetched_at=NOON - dt.timedelta(days=1)))
    assert [first, second, third] == sorted([first, second, third])


@given(st.datetimes(dt.datetime(2015, 1, 1), dt.datetime(2100, 1, 1)))
def test_the_name_is_the_time_to_the_microsecond(moment: dt.datetime) -> None:
    name = RawZone(Path("nowhere"))._next_id(moment.replace(tzinfo=dt.UTC), UNIT)
    assert name == f"{moment.year:04d}{moment:%m%dT%H%M%S%f}-{UNIT.id[:12]}"


def test_files_are_listed_in_order_over_sources_and_days(raw: RawZone) -> None:
    ids = []
    for day in range(3):
        for source in ("okx", "binance"):
            unit = WorkUnit(Demand(source, "funding", "E"), UNIT.start, UNIT.end)
            ids.append(raw.land(unit, ASKED, answer(fetched_at=NOON + dt.timedelta(days=day))))
    assert names(raw) == [f"{raw_id}.json.gz" for raw_id in ids]
    assert [path.name for path in raw.files(since=dt.date(2026, 3, 2))] == names(raw)[2:]


# Damage


def damaged(path: Path, how: str) -> None:
    content = path.read_bytes()
    plain = gzip.decompress(content)
    changed = {
        "one bit of the packed bytes": lambda: bytes([*content[:200], content[200] ^ 1, *content[201:]]),
        "cut short": lambda: content[:-20],
        "empty": lambda: b"",
        "not packed": lambda: plain,
        "another body": lambda: gzip.compress(plain.replace(b"0.0001", b"0.0002")),
        "no provenance": lambda: gzip.compress(BODY),
        "provenance is no object": lambda: gzip.compress(b"[1]\n" + BODY),
        "incomplete provenance": lambda: gzip.compress(plain.replace(b'"sha256"', b'"sha255"')),
        "another format": lambda: gzip.compress(plain.replace(b'"format":1', b'"format":2')),
    }
    path.write_bytes(changed[how]())


@pytest.mark.parametrize(
    "how",
    ["one bit of the packed bytes", "cut short", "empty", "not packed", "another body", "no provenance",
     "provenance is no object", "incomplete provenance", "another format"],
)  # fmt: skip
def test_a_damaged_file_is_seen_and_named(raw: RawZone, how: str) -> None:
    path = raw.path_of(DEMAND, raw.land(UNIT, ASKED, answer()))
    damaged(path, how)
    with pytest.raises(CollectionError) as caught:
        raw.page(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("; delete the file and collect again")


def test_damage_to_a_shared_body_is_seen_by_all_who_share_it(raw: RawZone) -> None:
    first, second = (raw.path_of(DEMAND, raw.land(UNIT, ASKED, answer())) for _ in range(2))
    damaged(first, "another body")
    with pytest.raises(CollectionError, match="delete the file and collect again"):
        raw.page(second)
    first.unlink()
    with pytest.raises(CollectionError, match=first.name):
        raw.page(second)


# A crash in the middle


@pytest.mark.parametrize("where", ["write", "flush", "rename"])
def test_a_full_disk_leaves_no_part_of_a_file(raw: RawZone, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    before = raw.land(UNIT, ASKED, answer())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        if where == "write":
            patched.setattr(Path, "write_bytes", full)
        elif where == "flush":
            patched.setattr(files, "_flush", full)
        else:
            patched.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space left") as caught:
            raw.land(UNIT, ASKED, answer(b"[2]"))
    assert str(raw.folder) in str(caught.value.filename)
    assert names(raw) == [f"{before}.json.gz"]
    assert [path.name for path in raw.folder.rglob("*") if path.is_file()] == [f"{before}.json.gz"]
    page = raw.page(raw.path_of(DEMAND, raw.land(UNIT, ASKED, answer())))  # shares the body that is there
    assert page is not None
    assert page.body == BODY


def test_half_a_file_of_a_killed_process_is_not_listed(raw: RawZone) -> None:
    raw_id = raw.land(UNIT, ASKED, answer())
    folder = raw.path_of(DEMAND, raw_id).parent
    (folder / f".{raw_id[:-1]}0.json.gz.k2j3.gz").write_bytes(b"half")
    (folder / f".{raw_id[:-1]}0.json.gz").write_bytes(b"half")
    assert names(raw) == [f"{raw_id}.json.gz"]
    assert RawZone(raw.folder).land(UNIT, ASKED, answer()) > raw_id
