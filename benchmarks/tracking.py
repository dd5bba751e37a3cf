"""What recording costs a training: the same training with and without it, in turn, and what of it is the store's.

The training is a small real one: the simulated market, one network of each kind, a few epochs. Each repetition is a
process of its own, as a user runs it; the store is the default one, set up before, because that happens once in the
life of a models folder (its seconds are shown apart). ``scribe_cpu_s`` is what the process beside the training took,
and hardly depends on what else the machine does; the differences of CPU seconds and of the wall clock between a
training that is recorded and one that is not hold everything, but on a busy machine they are mostly noise.

    python -m benchmarks.tracking --repetitions 3
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CODE = """
import atexit, resource, sys
def tell():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("children", used.ru_utime + used.ru_stime, file=sys.stderr)
atexit.register(tell)
from aegis_yield.cli.app import main
main()
"""
AEGIS = [sys.executable, "-c", CODE]
MARKET = ("--strategies-count", "60", "--days", "800")
PLAN = ("--epochs", "4", "--batch-size", "64", "--members", "1")


@dataclass(frozen=True)
class Cost:
    """What one process and its children took, seconds; ``children`` is the part of the latter: scribe, and git."""

    cpu: float
    wall: float
    children: float


def timed(arguments: list[str], home: Path, is_recorded: bool) -> Cost:
    """Run a command and return what it cost, the scribe's share included."""
    environment = {**os.environ, "AEGIS_HOME": str(home), "AEGIS_TRACKING__ENABLED": str(int(is_recorded))}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([*AEGIS, *arguments], env=environment, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    children = next(line for line in done.stderr.splitlines() if line.startswith("children "))
    return Cost(cpu, time.perf_counter() - began, float(children.split()[1]))


def measure(repetitions: int) -> dict[str, Any]:
    """Train with and without recording, in turn, and compare medians."""
    with tempfile.TemporaryDirectory() as folder:
        home, data = Path(folder) / "home", Path(folder) / "data"
        timed(["simulate", *MARKET, "--output", str(data)], home, is_recorded=False)
        (home / "models").mkdir(parents=True)
        set_up = timed(["models", "sync"], home, is_recorded=True)
        train = ["train", "--data", str(data), *PLAN]
        pairs = [
            (timed(train, home, is_recorded=False), timed(train, home, is_recorded=True)) for _ in range(repetitions)
        ]
    plain, recorded = zip(*pairs, strict=True)
    result: dict[str, Any] = {"set_up_s": round(set_up.wall, 2), "repetitions": repetitions}
    scribe = statistics.median(with_it.children - without.children for without, with_it in pairs)
    training = statistics.median(one.cpu for one in plain)
    result |= {"scribe_cpu_s": round(scribe, 2), "scribe_share": round(scribe / training, 4)}
    for clock in ("cpu", "wall"):
        without = statistics.median(getattr(one, clock) for one in plain)
        with_it = statistics.median(getattr(one, clock) for one in recorded)
        result[f"{clock}_without_s"], result[f"{clock}_with_s"] = round(without, 2), round(with_it, 2)
        result[f"{clock}_cost_s"] = round(with_it - without, 2)
        result[f"{clock}_cost_share"] = round(with_it / without - 1.0, 4)
    return result


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    print(json.dumps(measure(parser.parse_args().repetitions), indent=2))


if __name__ == "__main__":
    main()
