"""Collecting as a call: run after run, rebuilt, as of a moment, by universe, with hosts that fail, from a thread."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from pytest_httpserver import HTTPServer
from small_world import (
    AAVE,
    HISTORY_DAYS,
    LIDO,
    World,
    frames_of,
    pool_of,
    quiet_server,
    small_world,
    tables_of,
    today,
)
from werkzeug import Response

from aegis_yield.collection.history import History
from aegis_yield.collection.lock import only_one
from aegis_yield.collection.plan import Wish
from aegis_yield.domain.errors import BusyError, CollectionError, OfflineError, RequestError, UnknownStrategyError
from aegis_yield.pipelines.collect import (
    MANIFEST,
    Collected,
    CollectionFolder,
    collect,
    collection_status,
    plan_collection,
    rebuild,
    write_tables_as_of,
)
from aegis_yield.utils.files import sha256_of

TRADE, SHORT = "delta-neutral:lido-binance:steth-eth", "delta-neutral:binance:eth"


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPServer]:
    with quiet_server() as found:
        yield found


@pytest.fixture
def world(server: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    found = small_world(server, tmp_path)
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> CollectionFolder:
    return CollectionFolder(tmp_path / "data")


def yields_of(folder: CollectionFolder, strategy: str) -> dict[dt.date, float]:
    rows = frames_of(folder.root)["yields"].filter(pl.col("strategy_id") == strategy)
    return dict(rows.select("date", "apy").iter_rows())


def row_counts(result: Collected) -> dict[str, tuple[int, int]]:
    return {"/".join(name): (rows.new, rows.revised) for name, rows in result.appended.items()}


def failed(result: Collected) -> set[str]:
    return {f"{failure.unit.demand.source}/{failure.unit.demand.dataset}" for failure in result.failures}


def everything_in(folder: CollectionFolder) -> dict[str, str]:
    return {str(path): sha256_of(path) for path in sorted(folder.root.rglob("*")) if path.is_file()}


# Run after run


def test_the_tables_say_what_the_hosts_said(world: World, folder: CollectionFolder) -> None:
    result = collect(folder, Wish())
    assert result.failures == []
    frames = frames_of(folder.root)
    days = [today() - dt.timedelta(days=n) for n in range(75, 0, -1)]
    assert yields_of(folder, "aave-v3:ethereum:usdc") == {
        day: pytest.approx(world.apy_percent(AAVE, day) / 100) for day in days
    }
    since = (today() - dt.timedelta(days=HISTORY_DAYS)).replace(day=1)
    funded = yields_of(folder, SHORT)
    assert set(funded) == {day for day in days if day >= since}
    for day, apy in funded.items():
        midnight = (day - dt.date(1970, 1, 1)).days * 86_400_000
        paid = sum(world.funding_rate(midnight + hours * 3_600_000) for hours in (0, 8, 16))
        assert apy == pytest.approx(365 * paid)
    assert set(yields_of(folder, TRADE)) == set(funded)
    market = frames["market"].filter(pl.col("date") >= since)
    assert market["date"].to_list() == [day for day in days if day >= since]
    assert market.columns == ["date", "eth_price", "eth_volatility", "fear_greed"]
    assert market.null_count().row(0) == (0, 0, 0, 0)
    assert set(frames["strategies"]["strategy_id"]) == {"aave-v3:ethereum:usdc", "lido:ethereum:steth", SHORT, TRADE}
    assert result.plan.left_out["fred/observations"] == "needs a key: set AEGIS_SRC__FRED__API_KEY"
    assert not [path for path in world.asked if path.startswith(("/fred", "/yields/chartLendBorrow"))]


def test_a_second_run_brings_nothing_new_and_writes_the_same_bytes(world: World, folder: CollectionFolder) -> None:
    collect(folder, Wish())
    before, history = tables_of(folder.root), History(folder.processed / "history").revisions("pool_days")
    world.asked.clear()
    again = collect(folder, Wish())
    assert again.failures == []
    assert all(counts == (0, 0) for counts in row_counts(again).values()), row_counts(again)
    assert {unit.demand.dataset for unit in again.plan.units} == {"funding", "candles", "price"}  # months under way
    assert tables_of(folder.root) == before
    assert History(folder.processed / "history").revisions("pool_days").equals(history)
    assert "/yields/pools" not in world.asked


def test_the_manifest_vouches_for_the_tables(world: World, folder: CollectionFolder) -> None:
    collect(folder, Wish())
    manifest = json.loads((folder.processed / MANIFEST).read_text())
    frames = frames_of(folder.root)
    assert manifest["rows"] == {name: frame.height for name, frame in frames.items()}
    assert manifest["days"] == [str(frames["yields"]["date"].min()), str(frames["yields"]["date"].max())]
    assert manifest["sha256"] == {
        name: sha256_of(folder.processed / name) for name in ("market.parquet", "strategies.parquet", "yields.parquet")
    }
    assert manifest["as_of"] is None
    flags = frames["yields"]["quality_flags"]
    assert manifest["flags"]["spike"] == sum(value % 2 for value in flags)


def test_figures_of_hosts_count_every_request(world: World, folder: CollectionFolder) -> None:
    result = collect(folder, Wish(universe="project=yearn tvl>5.5e6"))
    by_prefix = {
        "defillama_yields": "/yields",
        "defillama_api": "/api",
        "defillama_coins": "/coins",
        "binance": "/binance",
    }
    for host, prefix in by_prefix.items():
        asked = sum(path.startswith(prefix) for path in world.asked)
        assert result.figures[host].requests == asked > 0
        assert result.figures[host].received_bytes > 0
    assert len(result.plan.units) == len({unit.id for unit in result.plan.units})
    asked_of = [unit.demand.dataset for unit in result.plan.units]
    assert (asked_of.count("pools"), asked_of.count("protocols"), asked_of.count("chart")) == (1, 1, 2 + 3)


def test_progress_is_told_to_the_end(world: World, folder: CollectionFolder) -> None:
    told: list[tuple[int, int]] = []
    result = collect(folder, Wish(), lambda done, total: told.append((done, total)))
    total = len(result.plan.units)
    assert told == [(done, total) for done in range(total + 1)]


@pytest.mark.parametrize("cut_off", ["UPDATE page SET state = 'landed'", "DELETE FROM page"])
def test_answers_that_a_kill_left_unread_are_read_by_the_next_run_and_not_asked_for_again(
    cut_off: str, world: World, folder: CollectionFolder
) -> None:
    """Killed before reading, or even between landing an answer and entering it in the journal."""
    wish = Wish(sources=("defillama",), strategies=("lido:ethereum:steth",))
    collect(folder, wish)
    before = tables_of(folder.root)
    shutil.rmtree(folder.processed)
    with closing(sqlite3.connect(folder.journal)) as journal, journal:
        assert journal.execute(cut_off).rowcount == 3
    world.asked.clear()
    assert row_counts(collect(folder, wish))["defillama/chart"] == (76, 0)
    assert world.asked == []
    assert tables_of(folder.root) == before


def killed_while_writing(path: Path) -> Path:
    """Return what a process leaves that was killed while it wrote a file."""
    before = set(path.parent.iterdir())
    program = (
        "import os, signal, sys; from pathlib import Path; from aegis_yield.utils.files import write_atomically; "
        "write_atomically(Path(sys.argv[1]), lambda x: (x.write_bytes(b'half'), os.kill(os.getpid(), signal.SIGKILL)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    (left,) = set(path.parent.iterdir()) - before
    return left


def test_what_a_kill_left_half_written_is_swept_by_the_next_run_and_nothing_else(
    world: World, folder: CollectionFolder
) -> None:
    wish = Wish(sources=("defillama",), strategies=("lido:ethereum:steth",))
    collect(folder, wish)
    before, manifest = tables_of(folder.root), json.loads((folder.processed / MANIFEST).read_text())
    segments = (folder.processed / "history" / "g0001" / "pool_days").glob("*.parquet")
    answers = folder.raw.glob("*/*/dt=*/*.json.gz")
    written = [folder.processed / "yields.parquet", folder.processed / MANIFEST, next(segments), next(answers)]
    left = [killed_while_writing(path) for path in written]
    others = [folder.processed / name for name in (".mine.parquet.abcdefgh.parquet", ".yields.parquet", ".x")]
    for other in others:
        other.write_bytes(b"somebody's")
    with only_one(folder.raw / ".lock"), pytest.raises(BusyError):
        collect(folder, wish)
    assert all(path.is_file() for path in left)  # whoever holds the lock may be writing them
    collect(folder, wish)
    assert not [path for path in left if path.exists()]
    assert all(path.is_file() for path in (*written, *others))
    assert tables_of(folder.root) == before
    assert json.loads((folder.processed / MANIFEST).read_text())["sha256"] == manifest["sha256"]


# The past rewritten, and earlier views


def test_a_rewritten_past_is_a_revision_and_the_earlier_view_can_be_had_again(
    world: World, folder: CollectionFolder, tmp_path: Path
) -> None:
    collect(folder, Wish(strategies=("lido:ethereum:steth",)))
    before, moment = tables_of(folder.root), dt.datetime.now(dt.UTC)
    day = today() - dt.timedelta(days=30)
    world.rewritten[LIDO, day] = 77.0
    (folder.raw / "journal.sqlite3").unlink()  # as if it were another day: the chart is asked for again
    result = collect(folder, Wish(strategies=("lido:ethereum:steth",)))
    assert row_counts(result)["defillama/chart"] == (0, 1)
    assert yields_of(folder, "lido:ethereum:steth")[day] == pytest.approx(0.77)
    (lido,) = (one for one in collection_status(folder).tables if one.table == "pool_days")
    assert lido.n_revised == 1
    manifest = write_tables_as_of(folder, moment, tmp_path / "then")
    assert manifest is not None
    assert manifest["as_of"] == moment.isoformat()
    then = {path.name: path.read_bytes() for path in (tmp_path / "then").glob("*.parquet")}
    assert then == before
    assert write_tables_as_of(folder, moment - dt.timedelta(hours=1), tmp_path / "nothing") is None
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(CollectionError, match="holds the current tables"):
        write_tables_as_of(folder, moment, folder.processed)


def test_rebuilding_asks_nobody_and_makes_the_same_bytes(world: World, folder: CollectionFolder) -> None:
    collect(folder, Wish(universe="project=yearn tvl>5.5e6"))
    before = tables_of(folder.root)
    revisions = History(folder.processed / "history").revisions("pool_days")
    world.asked.clear()
    told: list[tuple[int, int]] = []
    assert rebuild(folder, lambda done, total: told.append((done, total))) is not None
    assert told[-1][0] == told[-1][1] > 0
    assert tables_of(folder.root) == before
    history = History(folder.processed / "history")
    assert history.generation == "g0002"
    assert history.revisions("pool_days").drop("row_no").equals(revisions.drop("row_no"))
    assert world.asked == []


def test_rebuilding_from_nothing_is_refused_and_the_history_is_kept(
    world: World, folder: CollectionFolder, tmp_path: Path
) -> None:
    collect(folder, Wish())
    before = tables_of(folder.root)
    folder.raw.rename(tmp_path / "moved")
    with pytest.raises(CollectionError, match=r"raw: holds no answers to make the tables from"):
        rebuild(folder)
    assert tables_of(folder.root) == before
    assert History(folder.processed / "history").latest("pool_days").height == 2 * 76


def test_a_damaged_answer_is_named_by_a_rebuild_and_the_tables_stay(world: World, folder: CollectionFolder) -> None:
    collect(folder, Wish())
    before = tables_of(folder.root)
    victim = sorted(folder.raw.glob("defillama/chart/*/*.json.gz"))[0]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0xFF
    victim.write_bytes(bytes(content))
    with pytest.raises(CollectionError, match=str(victim)) as caught:
        rebuild(folder)
    assert "\n" not in str(caught.value)
    assert tables_of(folder.root) == before
    assert History(folder.processed / "history").generation == "g0001"


# Universes


def test_a_universe_is_followed_from_then_on_though_its_pools_leave_the_list(
    world: World, folder: CollectionFolder
) -> None:
    collect(folder, Wish(universe="category=vault chain=Ethereum tvl>=7e6"))
    strategies = frames_of(folder.root)["strategies"]
    chosen = {pool_of("vault 7"), pool_of("vault 8")}
    assert set(strategies["llama_id"].drop_nulls()) == {AAVE, LIDO, *chosen}
    names = set(strategies.filter(pl.col("llama_id").is_in(list(chosen)))["strategy_id"])
    assert names == {f"yearn:ethereum:yv{n}:{pool_of(f'vault {n}')[:8]}" for n in (7, 8)}
    world.pools = world.pools[:2]
    world.gone = chosen
    world.asked.clear()
    (folder.raw / "journal.sqlite3").unlink()  # as if it were another day
    result = collect(folder, Wish())
    assert result.failures == []
    assert {path.rpartition("/")[2] for path in world.asked if "/yields/chart/" in path} == {AAVE, LIDO, *chosen}
    assert set(frames_of(folder.root)["strategies"]["strategy_id"]) >= names


def test_a_universe_beside_named_strategies_brings_its_pools_and_only_those(
    world: World, folder: CollectionFolder
) -> None:
    collect(folder, Wish(universe="symbol=yv1"))
    world.asked.clear()
    (folder.raw / "journal.sqlite3").unlink()
    collect(folder, Wish(strategies=("lido:ethereum:steth",), universe="symbol=yv2"))
    asked = {path.rpartition("/")[2] for path in world.asked if "/yields/chart/" in path}
    assert asked == {LIDO, pool_of("vault 2")}


def test_a_universe_of_nothing_is_refused(world: World, folder: CollectionFolder) -> None:
    with pytest.raises(CollectionError, match=r"universe 'tvl>1e12': none of today's 10 pools is meant; widen it"):
        collect(folder, Wish(universe="tvl>1e12"))
    assert [path for path in world.asked if "chart" in path] == []


def test_without_the_list_the_universe_fails_and_the_rest_is_brought(world: World, folder: CollectionFolder) -> None:
    world.broken["/yields/pools"] = lambda: Response("down", status=500)
    result = collect(folder, Wish(universe="tvl>1"))
    assert [str(failure.unit.demand.dataset) for failure in result.failures] == ["pools"]
    assert world.asked.count("/yields/pools") == 2  # two attempts, and not two more in the same run
    assert len(frames_of(folder.root)["strategies"]) == 4


# What is refused before anything is asked


REFUSED: dict[str, tuple[Wish, type[Exception], str]] = {
    "an unknown source": (Wish(sources=("kraken",)), RequestError, "sources: received 'kraken'"),
    "an unknown strategy": (Wish(strategies=("liod",)), UnknownStrategyError, "unknown strategy 'liod'"),
    "a universe that cannot be read": (Wish(universe="tvl>>5"), RequestError, "universe: received 'tvl>>5'"),
    "an empty universe": (Wish(universe=""), RequestError, "universe: received ''"),
    "a universe without its source": (
        Wish(universe="tvl>1", sources=("okx",)),
        RequestError,
        "sources: received 'okx'",
    ),
    "a day in the future": (Wish(since=dt.date(2999, 1, 1)), RequestError, "since: received 2999-01-01"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("way", [collect, plan_collection])
def test_what_does_not_exist_is_refused_before_anything_is_asked(
    case: str, way: Callable[[CollectionFolder, Wish], object], world: World, folder: CollectionFolder
) -> None:
    wish, kind, words = REFUSED[case]
    with pytest.raises(kind) as caught:
        way(folder, wish)
    assert words in str(caught.value)
    assert world.asked == []
    assert not folder.root.exists()


@pytest.mark.parametrize("universe", [None, "tvl>1"])
def test_offline_mode_refuses_a_foreign_host_before_anything_is_asked(
    universe: str | None, world: World, folder: CollectionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_SRC__BINANCE__BASE_URL", "https://fapi.binance.com")
    with pytest.raises(OfflineError, match=r"binance is at fapi\.binance\.com"):
        collect(folder, Wish(universe=universe))
    assert world.asked == []
    assert not folder.root.exists()
    collect(folder, Wish(sources=("fear_greed",)))  # what stays on this machine is no matter
    assert world.asked == ["/fng/fng/"]


def test_a_plan_asks_nothing_and_leaves_nothing_behind(world: World, folder: CollectionFolder) -> None:
    plan = plan_collection(folder, Wish(universe="tvl>1"))
    assert {one.dataset for one in plan.sources} == {
        "pools", "protocols", "chart", "price", "funding", "candles", "index",
    }  # fmt: skip
    assert plan.left_out["universe"].startswith("the list of pools was never collected")
    assert world.asked == []
    assert not folder.root.exists()
    collect(folder, Wish(universe="symbol=yv1"))
    before, n_asked = everything_in(folder), len(world.asked)
    later = plan_collection(folder, Wish(universe="symbol=yv2"))
    assert [unit.demand.entity for unit in later.units if unit.demand.dataset == "chart"] == [pool_of("vault 2")]
    assert "universe" not in later.left_out
    assert len(world.asked) == n_asked
    assert {path: digest for path, digest in everything_in(folder).items() if "journal" not in path} == {
        path: digest for path, digest in before.items() if "journal" not in path
    }


# Hosts that fail


def test_one_host_that_is_down_stops_nobody_else(world: World, folder: CollectionFolder) -> None:
    world.broken["/binance"] = lambda: Response("maintenance", status=503)
    result = collect(folder, Wish())
    assert failed(result) == {"binance/funding", "binance/candles"}
    assert all("503" in failure.reason for failure in result.failures)
    assert set(frames_of(folder.root)["strategies"]["strategy_id"]) == {"aave-v3:ethereum:usdc", "lido:ethereum:steth"}
    assert frames_of(folder.root)["market"].columns == ["date", "fear_greed"]
    status = {(one["source"], one["dataset"]): one for one in collection_status(folder).units}
    assert status["binance", "funding"]["failed"] == len(
        {f.unit.id for f in result.failures if f.unit.demand.dataset == "funding"}
    )
    assert "503" in status["binance", "funding"]["latest_failure"]
    world.broken.clear()
    again = collect(folder, Wish())
    assert again.failures == []
    assert set(yields_of(folder, TRADE)) == set(yields_of(folder, SHORT)) != set()


def test_without_any_answer_there_are_no_tables_and_the_old_ones_stay(world: World, folder: CollectionFolder) -> None:
    world.broken["/"] = lambda: Response("down", status=500)
    result = collect(folder, Wish())
    assert result.tables is None
    assert len(result.failures) == len(result.plan.units)
    assert not folder.processed.exists() or tables_of(folder.root) == {}
    world.broken.clear()
    collect(folder, Wish())
    before = tables_of(folder.root)
    world.broken["/"] = lambda: Response("down", status=500)
    (folder.raw / "journal.sqlite3").unlink()
    assert collect(folder, Wish()).failures
    assert tables_of(folder.root) == before


# Company


def test_two_at_once_the_second_leaves_and_says_who_is_there(world: World, folder: CollectionFolder) -> None:
    with only_one(folder.raw / ".lock"):
        for second in (lambda: collect(folder, Wish()), lambda: rebuild(folder)):
            with pytest.raises(BusyError, match=r"is collecting into this folder; wait until it is done"):
                second()
        plan_collection(folder, Wish())
    assert world.asked == []
    assert collect(folder, Wish()).failures == []


def test_a_program_may_collect_from_a_thread_of_its_own(world: World, folder: CollectionFolder) -> None:
    results: list[Collected] = []
    thread = threading.Thread(target=lambda: results.append(collect(folder, Wish(sources=("fear_greed",)))))
    thread.start()
    thread.join(timeout=30)
    assert [result.failures for result in results] == [[]]


# Status


def test_the_status_of_nothing_is_refused(folder: CollectionFolder) -> None:
    with pytest.raises(CollectionError, match=r"nothing was collected here yet; run: aegis collect"):
        collection_status(folder)


def test_the_status_tells_runs_and_tables(world: World, folder: CollectionFolder) -> None:
    collect(folder, Wish(sources=("fear_greed", "binance")))
    status = collection_status(folder)
    assert [(one.source, one.table, one.age_days) for one in status.tables] == [
        ("binance", "funding", 0), ("binance", "candles", 0), ("fear_greed", "series_days", 0),
    ]  # fmt: skip
    (run,) = status.runs
    assert run["failed"] == 0
    assert run["finished_at"] >= run["started_at"]
    assert run["hosts"]["fear_greed"]["requests"] == 1
    assert status.manifest is not None
    assert status.manifest["rows"]["strategies"] == 1
