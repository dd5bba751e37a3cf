"""``aegis collect`` as a user runs it: what it prints, its exit codes, and processes that are interrupted or killed."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bundles import listing, run, start
from pytest_httpserver import HTTPServer
from small_world import AAVE, LIDO, World, as_json, frames_of, quiet_server, small_world, tables_of, today
from werkzeug import Response

from aegis_yield.cli import shared
from aegis_yield.cli.app import main
from aegis_yield.collection.history import History
from aegis_yield.collection.journal import Journal
from aegis_yield.collection.schemas import PROVENANCE, TABLES

AEGIS = ("-c", "from aegis_yield.cli.app import main; main()", "collect")
UNIVERSE = "project=yearn tvl>2.5e6"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPServer]:
    with quiet_server() as found:
        yield found


@pytest.fixture
def world(server: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The hosts, for commands in this process; others need ``world.environment()``."""
    monkeypatch.setattr(shared.out, "width", shared.PIPE_WIDTH)  # tables are read line by line: none may be folded
    found = small_world(server, tmp_path)
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def collect(data: Path, *arguments: str) -> object:
    """Run the command in this process and return its exit code."""
    try:
        main(["collect", *arguments, "--into", str(data)])
    except SystemExit as end:
        return end.code or 0
    return 0


def words(text: str) -> list[str]:
    """Lines with single blanks."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def only_line(err: str) -> str:
    (line,) = err.strip().splitlines()
    assert line.startswith("error: ")
    return line


def unreachable() -> str:
    """An address at which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}"


# What it prints


def test_a_run_shows_what_it_brought_and_where(world: World, data: Path, capsys: Capture) -> None:
    assert collect(data) == 0
    shown = capsys.readouterr()
    assert "defillama chart 2 0 152 0 0 0" in words(shown.out)
    assert "left out: fred/observations: needs a key: set AEGIS_SRC__FRED__API_KEY" in words(shown.out)
    requests = sum(path.startswith("/binance") for path in world.asked)
    assert any(line.startswith(f"binance {requests} 0 0 ") for line in words(shown.out))
    rows = frames_of(data)["yields"].height
    assert words(shown.err)[-1] == f"{data / 'processed'}: {rows:,} rows of 4 strategies"
    assert "failed (" not in shown.out


def test_a_run_as_json_is_json_and_nothing_else(world: World, data: Path, capsys: Capture) -> None:
    assert collect(data, "--json", "--universe", "symbol=yv1") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["failures"] == []
    assert found["appended"]["defillama/chart"] == {"new": 3 * 76, "revised": 0, "unchanged": 0, "rejected": 0}
    assert sum(host["requests"] for host in found["hosts"].values()) == len(world.asked)
    assert found["tables"]["rows"]["strategies"] == 5
    assert set(found["left_out"]) == {"fred/observations", "defillama/lending"}
    assert found["units"] >= 12


def test_a_dry_run_shows_the_plan_and_asks_nothing(world: World, data: Path, capsys: Capture) -> None:
    assert collect(data, "--dry-run") == 0
    shown = words(capsys.readouterr().out)
    assert re.fullmatch(r"Plan: \d+ units, about \d+ requests, at least \d+ s", shown[0])
    assert any(line.startswith("binance funding ") for line in shown)
    assert collect(data, "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert {one["dataset"] for one in plan["sources"]} >= {"chart", "funding", "index"}
    assert sum(one["n_units"] for one in plan["sources"]) == int(shown[0].split()[1])
    assert plan["minutes"] > 0
    assert world.asked == []
    assert not data.exists()


def test_the_status_shows_freshness_completeness_revisions_and_failures(
    world: World, data: Path, capsys: Capture
) -> None:
    world.broken["/fng"] = lambda: Response("closed", status=404)
    assert collect(data) == 1
    capsys.readouterr()
    assert collect(data, "status") == 0
    shown = words(capsys.readouterr().out)
    assert f"defillama pool_days 2 152 {today()} 0 d 100.0% 0 0" in shown
    assert any(re.fullmatch(r"fear_greed index 0 0 0 1 \d{4}-\d\d-\d\d \d\d:\d\d", line) for line in shown)
    assert f"fear_greed/index: * {today()}: fear_greed: HTTP 404: closed" in shown
    assert any(line.startswith("Tables: ") for line in shown)
    assert collect(data, "status", "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert set(status) == {"tables", "units", "runs", "manifest"}
    (found,) = (unit for unit in status["units"] if unit["source"] == "fear_greed")
    assert (found["failed"], found["done"]) == (1, 0)
    assert status["runs"][0]["failed"] == 1


def test_only_the_legs_of_the_strategy_meant_by_a_short_name_are_asked(world: World, data: Path) -> None:
    assert collect(data, "--strategies", "delta") == 0
    charts = [path for path in world.asked if path.startswith("/yields/chart/")]
    assert charts == [f"/yields/chart/{LIDO}"]
    assert any(path.endswith("/fundingRate") for path in world.asked)
    assert AAVE not in frames_of(data)["strategies"]["llama_id"].to_list()
    assert "delta-neutral:lido-binance:steth-eth" in frames_of(data)["strategies"]["strategy_id"].to_list()


@pytest.mark.parametrize("sources", [("fear_greed", "binance"), ("fear_greed,binance",)])
def test_sources_may_stand_one_after_another_or_with_commas(world: World, data: Path, sources: tuple[str, ...]) -> None:
    assert collect(data, "--sources", *sources) == 0
    assert {path.split("/")[1] for path in world.asked} == {"fng", "binance"}


def test_since_reaches_back_further(world: World, data: Path) -> None:
    early = today().replace(day=1).replace(year=today().year - 1)
    assert collect(data, "--sources", "binance", "--since", str(early), "--dry-run") == 0
    assert collect(data, "--sources", "binance", "--since", str(early)) == 0
    assert len(world.asked) >= 2 * 12


def test_an_earlier_view_is_written_beside_the_current_one(world: World, data: Path, capsys: Capture) -> None:
    assert collect(data) == 0
    before = tables_of(data)
    assert collect(data, "--as-of", "2999-01-01T00:00") == 0
    (line,) = (line for line in words(capsys.readouterr().err) if "as known at" in line)
    assert line.startswith(f"{data / 'as-of' / '29990101T000000'}: ")
    (folder,) = (data / "as-of").iterdir()
    assert {path.name: path.read_bytes() for path in folder.glob("*.parquet")} == before
    assert collect(data, "--as-of", "2020-01-01") == 1
    assert "a moment by which something had been collected" in only_line(capsys.readouterr().err)


# What it refuses


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown action": (("stauts",), "action: received 'stauts', allowed is run or status"),
    "a day that is none": (("--since", "yesterday"), "since: received 'yesterday', allowed is a date such as"),
    "a day to come": (("--since", "2999-01-01"), "since: received 2999-01-01, allowed is a day from 2015-01-01"),
    "an unknown source": (("--sources", "binance", "kraken"), "sources: received 'kraken', allowed is aave, binance"),
    "an unknown strategy": (("--strategies", "lidoo"), "unknown strategy 'lidoo'; closest names: lido"),
    "a universe that cannot be read": (("--universe", "tvl>a lot"), "universe: received 'tvl>a', allowed is a number"),
    "a moment that is none": (("--as-of", "noon"), "as-of: received 'noon', allowed is a moment in UTC"),
    "a dry run of a rebuild": (("--dry-run", "--rebuild"), "received '--rebuild --dry-run', allowed is one of these"),
    "a status as of a day": (("status", "--as-of", "2024-01-01"), "received 'status --as-of', allowed is one of these"),
    "the status of nothing": (("status",), "nothing was collected here yet; run: aegis collect"),
    "the same as json": (("status", "--json"), "nothing was collected here yet; run: aegis collect"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_one_line_and_nothing_is_asked(
    case: str, world: World, data: Path, capsys: Capture
) -> None:
    arguments, said = REFUSED[case]
    assert collect(data, *arguments) == 1
    shown = capsys.readouterr()
    assert said in only_line(shown.err)
    assert shown.out == ""
    assert world.asked == []
    assert not data.exists()


def test_rebuilding_from_nothing_is_one_line(world: World, data: Path, capsys: Capture) -> None:
    assert collect(data, "--rebuild") == 1
    assert "holds no answers to make the tables from" in only_line(capsys.readouterr().err)


def test_a_broken_catalogue_is_one_line(world: World, data: Path, capsys: Capture) -> None:
    world.catalogue.write_text(world.catalogue.read_text().replace('category = "lending"', 'category = "bonds"'))
    assert collect(data) == 1
    assert "strategy 1 (aave-v3:ethereum:usdc): category is 'bonds'" in only_line(capsys.readouterr().err)


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--universe", "tvl>1")])
def test_offline_mode_refuses_another_machine_in_one_line_before_anything_is_asked(
    arguments: tuple[str, ...], world: World, data: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_SRC__FEAR_GREED__BASE_URL", "https://api.alternative.me")
    assert collect(data, *arguments) == 1
    line = only_line(capsys.readouterr().err)
    assert "offline mode (AEGIS_OFFLINE) allows this machine only, fear_greed is at api.alternative.me" in line
    assert world.asked == []


# Hosts that fail


def test_a_host_that_cannot_be_reached_fails_the_run_and_the_other_tables_are_written(
    world: World, data: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_SRC__BINANCE__BASE_URL", unreachable())
    assert collect(data) == 1
    shown = capsys.readouterr()
    said = [line for line in words(shown.out) if line.startswith("failed (")]
    assert {line.split(": ")[1].split(",")[0] for line in said} == {"binance/funding", "binance/candles"}
    assert all("binance" in line for line in said)
    assert re.search(r"\d+ units failed; run the same command again to try again", shown.err)
    assert set(frames_of(data)["strategies"]["strategy_id"]) == {"aave-v3:ethereum:usdc", "lido:ethereum:steth"}
    assert frames_of(data)["market"].columns == ["date", "fear_greed"]
    monkeypatch.setenv("AEGIS_SRC__BINANCE__BASE_URL", world.environment()["AEGIS_SRC__BINANCE__BASE_URL"])
    assert collect(data) == 0
    assert len(frames_of(data)["strategies"]) == 4


def test_one_failed_unit_is_enough_for_a_failing_exit_code(world: World, data: Path, capsys: Capture) -> None:
    world.broken[f"/yields/chart/{AAVE}"] = lambda: Response("gone", status=404)
    assert collect(data, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [failure["verdict"] for failure in found["failures"]] == ["final"]
    assert AAVE in found["failures"][0]["unit"]
    assert found["tables"]["rows"]["strategies"] == 3


def test_a_node_that_does_not_keep_old_state_is_said_and_is_no_failure_of_the_run(
    world: World, data: Path, capsys: Capture
) -> None:
    gas = '\n[[market]]\ncolumn = "gas_gwei"\nsources = [{ dataset = "gas/fees", entity = "ethereum" }]\n'
    world.catalogue.write_text(world.catalogue.read_text() + gas)
    refusal = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "missing trie node 0x12 (path )"}}
    world.broken["/rpc"] = lambda: as_json(refusal)
    assert collect(data) == 0
    shown = capsys.readouterr()
    assert re.search(r"\d+ units need a node that keeps old state or logs: see ethereum in docs/sources.md", shown.err)
    assert "failed" not in shown.err
    assert any(line.startswith("failed (provider): gas/fees, ") for line in words(shown.out))
    world.broken["/fng"] = lambda: Response("closed", status=404)
    assert collect(data, "--strategies", "aave") == 0  # fear and greed was read today already
    (data / "raw" / "journal.sqlite3").unlink()
    assert collect(data) == 1
    assert "1 unit failed; run" in capsys.readouterr().err


def test_a_damaged_answer_is_named_in_one_line_and_the_tables_stay(world: World, data: Path, capsys: Capture) -> None:
    assert collect(data) == 0
    before = tables_of(data)
    victim = next((data / "raw" / "binance" / "funding").rglob("*.json.gz"))
    victim.write_bytes(victim.read_bytes()[:-9])
    capsys.readouterr()
    assert collect(data, "--rebuild") == 1
    assert str(victim) in only_line(capsys.readouterr().err)
    assert tables_of(data) == before


# Processes


@pytest.fixture
def as_process(world: World, data: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    def begin(*arguments: str, **more: str) -> subprocess.Popen[str]:
        words = (*AEGIS, *arguments, "--into", str(data))
        return start(words, tmp_path / "home", tmp_path, **world.environment(**more))

    return begin


def test_runs_one_after_another_and_a_rebuild_without_any_host_make_the_same_bytes(
    world: World, data: Path, tmp_path: Path
) -> None:
    words = ["scripts/collect.py", "--into", str(data)]
    first = run(words, tmp_path, tmp_path, **world.environment())
    assert first.returncode == 0, first.stderr
    assert "Traceback" not in first.stderr
    before = tables_of(data)
    second = run(words, tmp_path, tmp_path, **world.environment())
    assert second.returncode == 0, second.stderr
    assert tables_of(data) == before
    n_asked = len(world.asked)
    gone = {name: unreachable() for name in world.environment() if name.endswith("__BASE_URL")}
    rebuilt = run([*words, "--rebuild"], tmp_path, tmp_path, **{**world.environment(), **gone})
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert tables_of(data) == before
    assert len(world.asked) == n_asked
    assert {name.split("/")[0] for name, _ in listing(tmp_path)} == {"data", "catalogue.toml"}


def test_of_two_at_once_the_second_leaves_with_one_line(
    world: World, data: Path, as_process: Callable[..., subprocess.Popen[str]], capsys: Capture
) -> None:
    world.delay_s = 0.1
    first = as_process()
    world.wait_for(1)
    assert collect(data) == 1
    line = only_line(capsys.readouterr().err)
    assert f"process {first.pid} (since " in line
    assert "is collecting into this folder; wait until it is done" in line
    _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert len(frames_of(data)["strategies"]) == 4


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_cleanly_and_the_next_one_completes_it(
    sent: signal.Signals,
    world: World,
    data: Path,
    tmp_path: Path,
    as_process: Callable[..., subprocess.Popen[str]],
) -> None:
    world.delay_s = 0.05
    stopped = as_process()
    world.wait_for(6)
    stopped.send_signal(sent)
    _, err = stopped.communicate(timeout=30)
    assert stopped.returncode == 130
    assert err.splitlines() == ["interrupted; what was received is kept, the same command goes on there"]
    assert not tables_of(data)
    world.delay_s = 0.0
    assert collect(data) == 0
    assert collect(tmp_path / "whole") == 0
    assert tables_of(data) == tables_of(tmp_path / "whole")


def settled_rows(data: Path) -> dict[str, pl.DataFrame]:
    """Every row of the history that no longer changes, without where it came from."""
    history = History(data / "processed" / "history")
    found = {}
    for name, spec in TABLES.items():
        when = pl.col(spec.when)
        rows = history.revisions(name).filter("is_final").drop(*PROVENANCE, "revision")
        if isinstance(rows.schema[spec.when], pl.Date | pl.Datetime):
            rows = rows.filter((when if rows.schema[spec.when] == pl.Date else when.dt.date()) < today())
        found[name] = rows
    return found


def test_killed_again_and_again_it_ends_where_an_uninterrupted_run_ends(
    world: World, data: Path, tmp_path: Path, as_process: Callable[..., subprocess.Popen[str]]
) -> None:
    chance = random.Random(20240601)
    world.delay_s = 0.03
    killed = 0
    for attempt in range(6):
        before = len(world.asked)
        process = as_process("--universe", UNIVERSE)
        if attempt < 4:
            reached_after(world, process, before + chance.randint(1, 7))
        else:
            reached_quiet(world, process, before + 3)  # all is asked: it reads, compacts and writes
        time.sleep(chance.uniform(0.0, 0.06))
        process.kill()
        process.communicate(timeout=30)
        killed += process.returncode == -signal.SIGKILL
    assert killed >= 4
    world.delay_s = 0.0
    assert collect(data, "--universe", UNIVERSE) == 0
    assert collect(tmp_path / "whole", "--universe", UNIVERSE) == 0
    assert tables_of(data) == tables_of(tmp_path / "whole")
    rows, expected = settled_rows(data), settled_rows(tmp_path / "whole")
    for name, spec in TABLES.items():
        assert rows[name].equals(expected[name]), name
        assert not rows[name].select(pl.struct(*spec.keys).is_duplicated().any()).item(), name
    journal = Journal(data / "raw" / "journal.sqlite3")
    assert journal.waiting() == []
    assert {unit["status"] for unit in journal.units()} <= {"done", "open", "empty"}
    journal.close()


def reached_after(world: World, process: subprocess.Popen[str], n_requests: int) -> None:
    until = time.monotonic() + 30
    while len(world.asked) < n_requests and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.002)


def reached_quiet(world: World, process: subprocess.Popen[str], n_requests: int) -> None:
    """Wait until no more is asked."""
    reached_after(world, process, n_requests)
    n_asked = -1
    while n_asked < len(world.asked) and process.poll() is None:
        n_asked = len(world.asked)
        time.sleep(0.08)
