"""What each step of the model brought: parts taken out of one trained bundle, on the same origins in one run.

    python benchmarks/ablation.py                       # trains at the cut-off first: a quarter of an hour on one core
    python benchmarks/ablation.py --bundle models/old.pth --start 2024-01-31 --end 2024-09-20 --horizons 1 7 30

Each row adds one step to the row above it, down to what is served. The rows below that show why only a part of each
stretch is applied, and what it costs if intervals stay as training left them and never learn from outcomes. Origins lie
after everything that the bundle has learned from. Without the reference data the simulated market stands in, and says
so.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from aegis_yield.cli.progress import TrainingDisplay
from aegis_yield.domain.dataset import Dataset
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.models.calibration import RECORD_PRIOR, SHAPED_STRENGTH, WHOLE_STRENGTH, Calibrator, ScorePool
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.pipelines.datasets import open_dataset, reference_folder
from aegis_yield.pipelines.evaluate import EvaluationOrder, evaluate
from aegis_yield.pipelines.train import TrainingOrder, train
from aegis_yield.utils.files import write_text_atomically

CUTOFF: Final = dt.date(2023, 10, 3)
START: Final = dt.date(2024, 1, 31)
END: Final = dt.date(2024, 9, 20)
NO_STRENGTH: Final = (0.0,) * len(WHOLE_STRENGTH)
FOLDER: Final = Path("reports/ablation")
HEADINGS: Final = {
    "rel_mae": "relMAE", "rel_crps": "relCRPS", "winkler_90": "Winkler", "coverage_80": "in 80", "coverage_90": "in 90",
    "coverage_95": "in 95", "coverage_90_each_off": "each off", "qlike_median": "QLIKE",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Train if need be, take parts out, score, print; returns the exit status."""
    options = _parser().parse_args(arguments)
    console, notes = Console(width=None if os.isatty(1) else 130), Console(stderr=True)
    dataset = open_dataset(reference_folder() if (reference_folder() / "yields.parquet").is_file() else None)
    plan = TrainingPlan(batch_size=options.batch_size, epochs=options.epochs)
    bundle = load_bundle(options.bundle) if options.bundle else _trained(dataset, plan, options.until, notes)
    textbook = _trained(dataset, replace(plan, recipe="textbook", members=1), options.until, notes)
    found: dict[str, Any] = {"data": dataset.name, "simulated": dataset.is_simulated, "until": bundle.data_end}
    for horizon in options.horizons:
        order = EvaluationOrder(
            dataset, textbook, options.start, options.end, 7, horizon, rivals={**_steps(bundle), **_extras(bundle)}
        )
        found[str(horizon)] = _figures(evaluate(order).scores)
        console.print(_table(horizon, found[str(horizon)], order, dataset.is_simulated))
    if options.json:
        write_text_atomically(options.json, json.dumps(found, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="take parts out of this bundle instead of training one")
    parser.add_argument("--until", type=dt.date.fromisoformat, default=CUTOFF, help="last day to learn from")
    parser.add_argument("--start", type=dt.date.fromisoformat, default=START, help="first origin")
    parser.add_argument("--end", type=dt.date.fromisoformat, default=END, help="last origin")
    parser.add_argument("--horizons", type=int, nargs="+", default=[7], help="days ahead")
    parser.add_argument("--epochs", type=int, default=100, help="most epochs")
    parser.add_argument("--batch-size", type=int, default=256, help="windows a step")
    parser.add_argument("--json", type=Path, help="write the figures here")
    return parser


def _trained(dataset: Dataset, plan: TrainingPlan, until: dt.date, notes: Console) -> Bundle:
    """Return a bundle trained for this, or the one that an earlier run left."""
    name = "-".join(map(str, (plan.recipe, until, plan.batch_size, plan.epochs)))
    known = sorted((FOLDER / name).glob("*.pth"))
    if known:
        return load_bundle(known[-1])
    with TrainingDisplay(notes) as display:
        return train(TrainingOrder(dataset, plan, until=until, models=FOLDER / name), display).bundle


def _steps(bundle: Bundle) -> Mapping[str, Bundle]:
    """Return the bundle with parts of it, from the barest to the whole."""
    model, pool = bundle.model, bundle.calibrator.pool
    one = replace(model, members=model.members[:1], shape=None, experts=())
    several = replace(model, shape=None)
    as_they_come = Calibrator(ScorePool.empty(), strength=NO_STRENGTH)
    shape = replace(model.shape, laplace_share=NO_STRENGTH, move_share=1.0) if model.shape else None
    return {
        "anchored, one network": replace(bundle, model=one, calibrator=as_they_come),
        f"+ {len(model.members)} networks": replace(bundle, model=several, calibrator=as_they_come),
        "+ shape stage as taught": replace(bundle, model=replace(model, shape=shape), calibrator=as_they_come),
        "+ tempered": replace(bundle, calibrator=as_they_come),
        "+ calibration by category": replace(bundle, calibrator=Calibrator(pool, strength=SHAPED_STRENGTH)),
        "+ own records (served)": replace(
            bundle, calibrator=Calibrator(pool, strength=SHAPED_STRENGTH, record_prior=RECORD_PRIOR)
        ),
    }


def _extras(bundle: Bundle) -> Mapping[str, Bundle]:
    several = replace(bundle.model, shape=None)
    whole = Calibrator(bundle.calibrator.pool, strength=WHOLE_STRENGTH)
    twice = tuple(2 * share for share in SHAPED_STRENGTH)
    return {
        "by category, twice as much, no records": replace(bundle, calibrator=replace(whole, strength=twice)),
        "by category in full, no records": replace(bundle, calibrator=whole),
        "the same, no shape stage": replace(
            bundle, model=several, calibrator=Calibrator(ScorePool.empty(), strength=WHOLE_STRENGTH)
        ),
        "as served, never recalibrated": _frozen(bundle),
    }


def _frozen(bundle: Bundle) -> Bundle:
    """Return the bundle as one that takes every origin for a day of its training: it learns from none as it walks."""
    data = {**bundle.provenance["data"], "last_date": dt.date.max.isoformat()}
    return replace(bundle, provenance={**bundle.provenance, "data": data})


def _figures(scores: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the figures of every row, the naive forecaster's first."""
    found = {}
    for name, card in scores["scores"].items():
        intervals = card["intervals"]
        found[name] = {
            "rel_mae": card["rel_mae"],
            "rel_crps": card["rel_crps"],
            "winkler_90": intervals["0.90"]["winkler"],
            **{f"coverage_{level[2:]}": intervals[level]["coverage"] for level in intervals},
            "coverage_90_each_off": card["coverage_90_of_strategies"]["mean_gap"],
            "qlike_median": card["qlike_median"],
        }
    return found


def _table(horizon: int, figures: Mapping[str, Mapping[str, float]], order: EvaluationOrder, simulated: bool) -> Table:
    title = f"{horizon} days ahead, {order.start} … {order.end}{' (SIMULATED data)' if simulated else ''}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    for name in next(iter(figures.values())):
        table.add_column(HEADINGS[name], justify="right")
    for name, row in figures.items():
        shown = (f"{100 * v:.1f} %" if key.startswith("coverage") else f"{v:.3f}" for key, v in row.items())
        table.add_row(name, *shown)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
