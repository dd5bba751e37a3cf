"""The course: cut-offs, legs, jobs and the keys that their results are kept under."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from aegis_yield.preprocessing.panel import to_day
from benchmarks.race.methods import BY_KEY, METHODS
from benchmarks.race.plan import Course, Entry, Source, default_refits, jobs_of
from benchmarks.race.store import ROOT

START, END = dt.date(2024, 10, 1), dt.date(2025, 9, 20)
REFITS = (dt.date(2024, 9, 30), dt.date(2025, 1, 31), dt.date(2025, 5, 31))
COURSE = Course(Source(), START, END, (1, 7), REFITS)


def entry(key: str, **settings: object) -> Entry:
    return Entry(BY_KEY[key], settings, (1, 7))


def test_by_default_models_are_refitted_every_four_months() -> None:
    assert default_refits(START, END) == REFITS


@pytest.mark.parametrize("start", [dt.date(2024, 1, 1), dt.date(2024, 2, 29), dt.date(2023, 12, 31)])
@pytest.mark.parametrize("months", [1, 5, 12])
def test_default_refits_are_month_ends_before_and_within_the_span(start: dt.date, months: int) -> None:
    refits = default_refits(start, start + dt.timedelta(days=900), months)
    assert refits[0] < start <= refits[0] + dt.timedelta(days=32)
    assert all((refit + dt.timedelta(days=1)).day == 1 for refit in refits)
    assert {(b.year - a.year) * 12 + b.month - a.month for a, b in pairwise(refits)} == {months}


def test_every_origin_lies_in_the_leg_of_the_latest_cutoff_before_it() -> None:
    legs = COURSE.legs(COURSE.origins)
    assert sorted(day for _, days in legs for day in days) == list(COURSE.origins)
    for cutoff, days in legs:
        latest = [max(to_day(refit) for refit in REFITS if to_day(refit) < day) for day in days]
        assert latest == [cutoff] * len(days)


def test_an_origin_on_a_cutoff_belongs_to_the_leg_before() -> None:
    course = replace(COURSE, start=dt.date(2025, 1, 31), every_days=1)
    first = course.legs(course.origins)[0]
    assert first == (to_day(dt.date(2024, 9, 30)), (to_day(dt.date(2025, 1, 31)),))


@pytest.mark.parametrize("refits", [(), (START,), (REFITS[1], REFITS[0]), (REFITS[0], REFITS[0])])
def test_impossible_refits_are_refused(refits: tuple[dt.date, ...]) -> None:
    with pytest.raises(ValueError, match="refits must rise"):
        replace(COURSE, refits=refits)


def test_all_methods_are_asked_for_the_same_origins() -> None:
    for method in METHODS:
        jobs = jobs_of(COURSE, Entry(method, {}, (1, 7)), "data")
        for horizon in (1, 7):
            days = sorted(day for job in jobs if horizon in job.horizons for day in job.origins)
            assert days == list(COURSE.thinned if method.slow else COURSE.origins)


def test_only_trained_methods_have_cutoffs_and_none_sees_an_origin_before_its_own() -> None:
    for method in METHODS:
        for job in jobs_of(COURSE, Entry(method, {}, (7,)), "data"):
            assert (job.cutoff is not None) == method.trained
            assert job.cutoff is None or job.cutoff < min(job.origins)


def test_a_result_is_kept_under_everything_that_made_it() -> None:
    def names(course: Course, own: Entry, data: str = "data", cold: bool = False) -> set[str]:
        return {job.name for job in jobs_of(course, own, data, cold)}

    plain = names(COURSE, entry("lgbm-cqr"))
    assert names(COURSE, entry("lgbm-cqr", members=5)) == plain  # a setting of another method
    assert (
        names(replace(COURSE, refits=(*REFITS[:2], dt.date(2025, 7, 31))), entry("lgbm-cqr")) & plain
    )  # the first leg
    changed = [
        names(COURSE, entry("lgbm-cqr"), "other data"),
        names(COURSE, entry("lgbm-cqr", trees=9)),
        names(COURSE, entry("lgbm-point")),
        names(COURSE, entry("lgbm-cqr"), cold=True),
        names(replace(COURSE, every_days=14), entry("lgbm-cqr")),
    ]
    assert all(not (other & plain) for other in changed)


def test_a_given_bundle_is_named_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    cutoff = to_day(REFITS[1])
    seen = []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        seen.append({job.cutoff: job for job in jobs_of(COURSE, entry("ours", bundles={cutoff: path}), "data")})
    first, second = seen
    assert first[cutoff].settings["bundle"] == str(path)
    assert first[cutoff].name != second[cutoff].name
    assert all(first[other].name == second[other].name for other in first if other != cutoff)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key)
def test_the_code_a_method_depends_on_exists_and_holds_its_entry(method: object) -> None:
    module = method.entry.split(":")[0]  # type: ignore[attr-defined]
    patterns = method.depends_on  # type: ignore[attr-defined]
    assert all(list(ROOT.glob(pattern)) for pattern in patterns)
    assert f"benchmarks/race/{module}.py" in patterns
