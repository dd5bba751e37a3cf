r"""The race: a bundle against baselines and peers on the same origins, in one run.

    python benchmarks/forecast.py --model models/backtest/lstm_v1.pth --against models/backtest/lstm_v2.pth \
        --start 2025-01-01 --end 2025-09-20

Without ``--model`` the newest bundle runs; without reference data the simulated market stands in. Peers are
fitted on rows up to the day before the first origin. ``--peers lightgbm`` leaves out the
classical ones, which take minutes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import time
from pathlib import Path

from rich.console import Console

from aegis_yield.cli.progress import StepDisplay
from aegis_yield.domain.dataset import Dataset
from aegis_yield.models.base import LocationScaleModel
from aegis_yield.models.bundle import load_bundle
from aegis_yield.pipelines.datasets import open_dataset, reference_folder
from aegis_yield.pipelines.evaluate import EvaluationOrder, evaluate
from aegis_yield.pipelines.models import choose_model
from aegis_yield.preprocessing.panel import build_panel, to_day
from aegis_yield.preprocessing.windows import build_windows
from aegis_yield.reporting.console import category_table, score_table
from benchmarks.peers import LightGbm, classical_peers


def main() -> None:
    """Run the race and print its tables."""
    arguments = _parse()
    console = Console()
    folder = arguments.data or reference_folder()
    dataset = open_dataset(folder if folder and folder.is_dir() else None)
    order = EvaluationOrder(dataset, choose_model(dataset, arguments.model)[1], arguments.start, arguments.end)
    start, end = order.span
    peers = _peers(arguments.peers, dataset, start, order.horizon_days, console)
    began = time.perf_counter()
    with StepDisplay(Console(stderr=True), "origins") as display:
        rivals = {f"{path.parent.name}/{path.stem}": load_bundle(path) for path in arguments.against}
        result = evaluate(EvaluationOrder(dataset, order.bundle, start, end, peers=peers, rivals=rivals), display)
    console.print(score_table(result.scores))
    console.print(category_table(result.scores))
    if result.scores["seen_in_training"]:
        console.print("NOTE: a bundle here was trained on some of these days: its row is no proof of skill")
    console.print(f"{time.perf_counter() - began:.0f} s for {result.scores['n_forecasts']:,} forecasts of each")
    if arguments.json:
        arguments.json.write_text(json.dumps(result.scores, indent=2))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="bundle; default: the newest")
    parser.add_argument("--against", type=Path, nargs="*", default=[], help="other bundles in the same race")
    parser.add_argument("--data", type=Path, help="dataset folder; default: the reference data, else simulated")
    parser.add_argument("--start", type=dt.date.fromisoformat, help="first origin")
    parser.add_argument("--end", type=dt.date.fromisoformat, help="last origin")
    parser.add_argument("--peers", nargs="*", default=["lightgbm", "classical"], choices=["lightgbm", "classical"])
    parser.add_argument("--json", type=Path, help="write all scores here")
    return parser.parse_args()


def _peers(
    wanted: list[str], dataset: Dataset, start: dt.date, horizon_days: int, console: Console
) -> list[LocationScaleModel]:
    peers: list[LocationScaleModel] = []
    if "lightgbm" in wanted:
        began = time.perf_counter()
        last = start - dt.timedelta(days=1)
        data = build_windows(build_panel(dataset.known_at(last)))
        peers.append(LightGbm.fit(data, to_day(last), horizon_days))
        console.print(f"LightGBM fitted in {time.perf_counter() - began:.0f} s on rows up to {last}")
    if "classical" in wanted:
        peers += classical_peers()
    return peers


if __name__ == "__main__":
    main()
