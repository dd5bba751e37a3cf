from __future__ import annotations

import datetime as dt
import json
import math
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aegis_yield.collection.verdicts import (
    SHOWN_CHARS,
    Verdict,
    as_line,
    brief,
    decoded,
    refuse_status,
    retry_after_s,
    verdict_of_status,
)
from aegis_yield.domain.errors import SourceError

NOW = dt.datetime(2026, 11, 22, 12, 0, 0, tzinfo=dt.UTC)

# By hand, from the checklist in the sources' documentation.
TRANSIENT = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527}
BANNED = {403, 418}


def test_every_status_has_one_meaning() -> None:
    meant = {status: verdict_of_status(status) for status in range(100, 600)}
    assert {status for status, verdict in meant.items() if verdict is None} == set(range(200, 300))
    assert {status for status, verdict in meant.items() if verdict == Verdict.TRANSIENT} == TRANSIENT
    assert {status for status, verdict in meant.items() if verdict == Verdict.BANNED} == BANNED
    for status in (301, 304, 400, 401, 404, 410, 422, 451, 501):
        assert meant[status] == Verdict.FINAL


def test_a_good_status_is_let_through() -> None:
    refuse_status(200, {}, b"anything", NOW)


def test_a_bad_status_says_its_number_its_first_words_and_the_wait() -> None:
    with pytest.raises(SourceError) as caught:
        refuse_status(429, {"retry-after": "7"}, b"<h1>\n slow   down </h1>", NOW)
    assert str(caught.value) == "HTTP 429: <h1> slow down </h1>"
    assert (caught.value.verdict, caught.value.retry_after_s) == (Verdict.TRANSIENT, 7.0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("30", 30.0),
        (" 2.5 ", 2.5),
        ("-4", 0.0),
        ("Sun, 22 Nov 2026 12:00:45 GMT", 45.0),
        ("Sunday, 22-Nov-26 12:01:00 GMT", 60.0),
        ("Sun, 22 Nov 2026 14:00:45 +0200", 45.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e400", None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds


@given(st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2090, 1, 1)).map(lambda t: t.replace(microsecond=0)))
def test_a_date_means_the_time_until_then(moment: dt.datetime) -> None:
    header = format_datetime(moment.replace(tzinfo=dt.UTC), usegmt=True)
    assert retry_after_s(header, NOW) == max(0.0, (moment - NOW.replace(tzinfo=None)).total_seconds())


@given(st.text(st.characters(max_codepoint=255)))
@example("Mon, 01 Jan 99999999999999999999 00:00:00 GMT")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 01 Jan 2026 00:00:00 +999999999999")
@example("1 Jan 1 1")
@example("0 0 0")
def test_no_header_breaks_the_reading(header: str) -> None:
    seconds = retry_after_s(header, NOW)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_is_decoded(value: Any) -> None:
    assert decoded(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) == value


@given(st.data(), st.lists(json_values) | st.dictionaries(st.text(), json_values))
def test_a_truncated_answer_is_a_mishap_on_the_way(data: st.DataObject, value: Any) -> None:
    body = json.dumps(value).encode()
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(SourceError) as caught:
        decoded(body[:cut])
    assert caught.value.verdict == Verdict.TRANSIENT


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Just a moment...</html>",
        b'{"apy": NaN}',
        b'{"apy": -Infinity}',
        b'{"apy": "\xff\xfe\xfa"}',
        b"[" * 200_000,
        b"[" + b"9" * 10_000 + b"]",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(SourceError, match="is not JSON") as caught:
        decoded(body)
    assert caught.value.verdict == Verdict.TRANSIENT
    assert len(str(caught.value)) < 400


@given(st.binary(max_size=2000))
def test_what_is_quoted_is_one_short_line_of_plain_text(body: bytes) -> None:
    quoted = brief(body)
    assert len(quoted) <= SHOWN_CHARS + 1
    assert len(quoted.splitlines()) <= 1
    assert quoted.isprintable()
    quoted.encode()


@given(st.text(st.characters(codec=None)))
def test_any_text_becomes_a_line_that_can_be_written(text: str) -> None:
    line = as_line(text)
    assert len(line.splitlines()) <= 1
    assert line == as_line(line)
    line.encode()


def test_half_a_surrogate_is_left_out_of_a_line() -> None:
    assert as_line("a\ud800b\x1b[31m\u2028c") == "a b [31m c"
