"""One job in a process of its own, so that its seconds and its memory are its own.

    python -m benchmarks.race.worker JOB.json

Prints ``done total`` lines while it works; writes its tables and costs into the store.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.race.methods import BY_KEY
from benchmarks.race.plan import Job, Source
from benchmarks.race.store import Store, code_digest
from benchmarks.race.task import Task, held_out_strategies


def main(path: Path) -> None:
    """Run the job described in a file."""
    order = json.loads(path.read_text())
    job = job_from(order["job"])
    if job.code and job.code != code_digest(BY_KEY[job.method].depends_on):
        raise RuntimeError("the source code has changed since the race began: start it again, results so far are kept")
    store = Store(Path(order["store"]))
    dataset = Source(**order["source"]).open()
    task = Task(
        dataset=dataset,
        cutoff=job.cutoff,
        origins=job.origins,
        horizons=job.horizons,
        held_out=held_out_strategies(dataset, order["held_out_share"]) if job.cold else frozenset(),
        settings=job.settings,
        store=store,
        version=job.version,
        say=lambda done, total: print(done, total, flush=True),
    )
    before = peak_megabytes()
    began = time.perf_counter()
    run = BY_KEY[job.method].run(task)
    seconds = time.perf_counter() - began
    store.keep_table(job.name, pl.concat([run.tables[horizon] for horizon in job.horizons]))
    costs = {"total": seconds, **run.seconds}
    store.keep_facts(job.name, {"seconds": costs, "peak_mb": peak_megabytes(), "data_mb": before, "label": job.label()})


def job_from(facts: dict[str, Any]) -> Job:
    """Return a job from its plain values."""
    lists = {name: tuple(facts[name]) for name in ("origins", "horizons")}
    return Job(**(facts | lists))


def peak_megabytes() -> float:
    """Return the most resident memory this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
