"""How much the service carries: requests a second, waiting times at a steady rate, one large request, start, memory.

    python benchmarks/service_load.py
    python benchmarks/service_load.py --soak 60      # an hour at the steady rate: does memory grow, does anything fail

The service runs as it does for users (``api/ml_service.py``, requests logged) on one core, the generator on another:
raw HTTP/1.1 over connections that stay open. At the steady rate a request's time counts from the moment at which it
was due, so a service that stands still does not get away with it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aegis_yield.pipelines.datasets import simulated_dataset
from aegis_yield.preprocessing.tables import write_dataset
from aegis_yield.registry import default_model
from aegis_yield.simulation import MarketSpec
from benchmarks.loading.generator import Figures, Load, ask_once, at_rate, flat_out, predict_bytes
from benchmarks.loading.served import ServedProcess, own_service, served

THREE = ("aave", "lido", "compound")
N_STRATEGIES = 1_200
"""Of which some have ended and cannot be forecast: a thousand are left for the large request."""
N_DAYS = 400
PAGE = 1_000
MOST_STRATEGIES = 100_000
CONNECTIONS = 16
RATE_PER_S = 400.0
SERVICE_CORE, GENERATOR_CORE = 0, 1
FRESH_HORIZON_DAYS = 11
"""Nobody asked for it before: its forecasts are computed."""


@dataclass(frozen=True)
class Plan:
    """What to measure: seconds of each part, requests a second, minutes of the soak, strategies of the market."""

    seconds: float
    rate_per_s: float
    soak_minutes: float
    n_strategies: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each part (20)")
    parser.add_argument("--rate", type=float, default=RATE_PER_S, help="requests a second of the steady part (400)")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="only the steady rate, this long")
    parser.add_argument("--strategies", type=int, default=N_STRATEGIES, help="of the simulated market (1,200)")
    parser.add_argument("--data", type=Path, help="a dataset folder instead of the simulated market")
    parser.add_argument("--model", type=Path, help="a bundle instead of the default one")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    plan = Plan(chosen.seconds, chosen.rate, chosen.soak, chosen.strategies)
    with tempfile.TemporaryDirectory() as scratch:
        data = chosen.data or simulated_tables(Path(scratch), plan.n_strategies)
        found = _measured(plan, data, chosen.model or default_model(), Path(scratch))
    print(json.dumps(found, indent=2)) if chosen.json else _show(found)


def simulated_tables(folder: Path, n_strategies: int) -> Path:
    """Write a simulated market as a dataset folder."""
    write_dataset(simulated_dataset(MarketSpec(n_strategies=n_strategies, n_days=N_DAYS, seed=7)), folder)
    return folder


def _measured(plan: Plan, data: Path, model: Path, scratch: Path) -> dict[str, object]:
    are_apart = pinned()
    environment = {"AEGIS_DATA": str(data), "AEGIS_MODEL": str(model), "AEGIS_HOME": str(scratch)}
    with served(own_service(environment), SERVICE_CORE if are_apart else None) as service:
        names = _names(service)
        about: dict[str, object] = {
            "strategies": len(names),
            "cores_apart": are_apart,
            "load_average": os.getloadavg()[0],
            "start_to_ready_s": round(service.start_to_ready_s, 2),
            "memory_ready_mb": round(service.memory_mb, 1),
        }
        parts = asyncio.run(_soak(plan, service) if plan.soak_minutes else _parts(plan, service, names))
        return {**about, **parts, "memory_after_mb": round(service.memory_mb, 1)}


def pinned() -> bool:
    """Keep to one core, and leave another to the service; say whether there are two."""
    cores = os.sched_getaffinity(0)
    if not {SERVICE_CORE, GENERATOR_CORE} <= cores:
        return False
    os.sched_setaffinity(0, {GENERATOR_CORE})
    return True


def _names(service: ServedProcess) -> list[str]:
    """Return the strategies that can be forecast."""
    names: list[str] = []
    for offset in range(0, MOST_STRATEGIES, PAGE):
        query = f"GET /strategies?limit={PAGE}&offset={offset} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        rows = json.loads(asyncio.run(ask_once(service.port, query.encode())))["strategies"]
        names += [row["strategy_id"] for row in rows if row["forecast_apy"] is not None]
        if len(rows) < PAGE:
            break
    return names


async def _parts(plan: Plan, service: ServedProcess, names: list[str]) -> dict[str, object]:
    three, all_names = predict_bytes(THREE), predict_bytes(names[:1_000])
    fresh = await flat_out(Load(service.port, predict_bytes(names[:1_000], FRESH_HORIZON_DAYS), 1, 0.0))
    await flat_out(Load(service.port, three, 1, 1.0))  # warm
    return {
        "three_strategies": asdict(await flat_out(Load(service.port, three, CONNECTIONS, plan.seconds))),
        "steady": {"rate_per_s": plan.rate_per_s}
        | asdict(await at_rate(Load(service.port, three, CONNECTIONS * 4, plan.seconds), plan.rate_per_s)),
        "large_strategies": len(names[:1_000]),
        "large": asdict(await flat_out(Load(service.port, all_names, 1, plan.seconds / 4))),
        "large_first": asdict(fresh),
    }


async def _soak(plan: Plan, service: ServedProcess) -> dict[str, object]:
    """Ask at the steady rate, a minute at a time, and watch memory."""
    three, minutes = predict_bytes(THREE), []
    left_s = plan.soak_minutes * 60.0
    while left_s > 0.0:
        figures = await at_rate(Load(service.port, three, CONNECTIONS * 4, min(60.0, left_s)), plan.rate_per_s)
        minutes.append({**asdict(figures), "memory_mb": round(service.memory_mb, 1)})
        left_s -= 60.0
    last, half = float(str(minutes[-1]["memory_mb"])), float(str(minutes[len(minutes) // 2]["memory_mb"]))
    return {
        "minutes": minutes,
        "n_requests": sum(int(str(minute["n_requests"])) for minute in minutes),
        "n_errors": sum(int(str(minute["n_errors"])) for minute in minutes),
        "memory_growth_second_half_mb": round(last - half, 1),
    }


def _show(found: Mapping[str, object]) -> None:
    table = Table("part", "requests/s", "p50 ms", "p99 ms", "longest ms", "requests", "errors")
    for name, part in found.items():
        minutes = [(f"minute {number}", each) for number, each in enumerate(part, 1)] if isinstance(part, list) else []
        for label, row in minutes or [(name, part)]:
            if isinstance(row, Mapping):
                table.add_row(label, *(f"{row[column]:,.6g}" for column in Figures.__dataclass_fields__))
    console = Console()
    console.print(table)
    console.print({name: value for name, value in found.items() if not isinstance(value, Mapping | list)})


if __name__ == "__main__":
    main()
