"""How fast: training windows a second, and the time to forecast a thousand strategies, beside peers.

    python benchmarks/speed.py

One thread each, alternating runs, medians; ratios carry over to other machines, seconds do not. The training peer is
the same network fed by ``torch.utils.data.DataLoader``; the forecasting peer is AutoETS on the same histories
(where statsforecast is installed).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import islice

import numpy as np
from rich.console import Console
from rich.table import Table

from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS
from aegis_yield.models.batches import BatchSource, fit_scaler
from aegis_yield.models.bundle import load_bundle
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.recipes import AnchoredRecipe
from aegis_yield.models.training import EpochReport, Job, MemberTrainer
from aegis_yield.pipelines.datasets import simulated_dataset
from aegis_yield.pipelines.names import load_names
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.preprocessing.origins import ModelInputs, history_before, walk_origins
from aegis_yield.preprocessing.panel import build_panel, to_date, to_day
from aegis_yield.preprocessing.windows import build_windows
from aegis_yield.registry import default_model
from aegis_yield.simulation import MarketSpec

BATCH = 256
REPEATS = 5
PEER_STRATEGIES = 50


class Silent:
    """An observer that watches nothing."""

    def started(self, label: str, max_epochs: int, windows_per_epoch: int) -> None:
        """Ignore a start."""

    def advanced(self, n_windows: int, loss: float) -> None:
        """Ignore a batch."""

    def epoch_ended(self, report: EpochReport) -> None:
        """Ignore an epoch's end."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    as_json = parser.parse_args().json
    rows = [*_training(), *_forecasting()]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(title="Speed, one thread, medians")
    for name in ("what", "value", "unit", "ratio to peer"):
        table.add_column(name)
    for row in rows:
        table.add_row(str(row["what"]), _figure(float(str(row["value"]))), str(row["unit"]), str(row.get("ratio", "")))
    Console().print(table)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _training() -> list[dict[str, object]]:
    data = build_windows(build_panel(simulated_dataset(MarketSpec(n_strategies=60, n_days=800, seed=1))))
    rows = data.origins_between(0, int(data.day.max()))[: BATCH * 100]
    recipe = AnchoredRecipe()
    source = BatchSource.build(data, fit_scaler(data, rows, recipe), recipe)
    limit = data.horizon_limit(rows, int(data.day.max()))
    plan = TrainingPlan(batch_size=BATCH, epochs=1, members=1)

    def ours() -> None:
        job = Job("speed", (0, 0), rows, limit, max_epochs=1, validate=None)
        list(MemberTrainer(plan, source, recipe, job).epochs(Silent()))

    def peer() -> None:
        _dataloader_epoch(source, rows, limit)

    mine, theirs = _alternate(ours, peer)
    return [
        {
            "what": f"training, batch {BATCH}",
            "value": len(rows) / mine,
            "unit": "windows/s",
            "ratio": f"{theirs / mine:.2f}x",
        },
        {"what": "training, DataLoader peer", "value": len(rows) / theirs, "unit": "windows/s"},
    ]


def _dataloader_epoch(source: BatchSource, rows: np.ndarray, limit: np.ndarray) -> None:
    """Train one epoch the usual way: a Dataset that returns one window, a DataLoader that stacks them."""
    from aegis_yield.models.network import Architecture, YieldNetwork
    from aegis_yield.models.torch_runtime import torch

    horizons = np.minimum(limit, DEFAULT_HORIZON_DAYS)

    class Windows(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
            one = slice(item, item + 1)
            targets = source.targets(rows[one], horizons[one])
            move = np.clip((targets.apy - targets.anchor) / targets.scale, -20, 20).astype(np.float32)
            return source.windows(rows[one], horizons[one])[0], torch.from_numpy(move)[0]

    network = YieldNetwork(Architecture(n_inputs=source.view.shape[1] + 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    network.train()
    for x, y in torch.utils.data.DataLoader(Windows(), batch_size=BATCH, shuffle=True):
        optimizer.zero_grad()
        outputs = network(x)
        loss = (y - outputs[:, 0]).abs().mean() + outputs[:, 1].square().mean()
        loss.backward()
        optimizer.step()


def _forecasting() -> list[dict[str, object]]:
    dataset = simulated_dataset(MarketSpec(n_strategies=1_300, n_days=400, seed=1))
    bundle = load_bundle(default_model())
    names = load_names()

    def ours() -> int:
        forecaster = Forecaster(dataset, bundle, "speed", names)  # a new one each time: nothing remembered
        panel = build_panel(dataset, start=to_date(history_before(last)), end=to_date(last))
        batch = next(iter(walk_origins(panel, [last])))
        chosen = batch.subset(np.arange(min(1_000, len(batch.keys))))
        raw = forecaster.bundle.model.locate(chosen.inputs, DEFAULT_HORIZON_DAYS)
        return len(
            forecaster.bundle.calibrator.forecasts(raw, chosen.keys, DEFAULT_HORIZON_DAYS, (0.05, 0.5, 0.95)).apy
        )

    last = to_day(dataset.last_date)
    seconds = [_seconds(ours) for _ in range(REPEATS)]
    count = ours()
    rows: list[dict[str, object]] = [
        {
            "what": f"forecast {count:,} strategies, tables to quantiles",
            "value": statistics.median(seconds),
            "unit": "s",
        }
    ]
    forecaster = Forecaster(dataset, bundle, "speed", names)
    question = Question(["aave", "lido", "delta"])
    forecaster.ask(question)
    again = [_seconds(lambda: forecaster.ask(question)) for _ in range(20)]
    rows.append(
        {"what": "answer one more question for 3 strategies", "value": 1e3 * statistics.median(again), "unit": "ms"}
    )
    panel = build_panel(dataset, start=to_date(history_before(last)), end=to_date(last))
    inputs = next(iter(walk_origins(panel, [last]))).inputs
    return [*rows, *_classical(inputs, statistics.median(seconds) / count)]


def _classical(inputs: ModelInputs, own_seconds_each: float) -> list[dict[str, object]]:
    try:
        from benchmarks.peers import classical_peers

        ets = classical_peers()[0]
    except ImportError:
        return [
            {
                "what": "AutoETS peer: statsforecast is not installed (make bench installs it)",
                "value": float("nan"),
                "unit": "",
            }
        ]
    few = ModelInputs(*(getattr(inputs, name)[:PEER_STRATEGIES] for name in ModelInputs.__dataclass_fields__))
    ets.locate(few, DEFAULT_HORIZON_DAYS)
    each = statistics.median(_seconds(lambda: ets.locate(few, DEFAULT_HORIZON_DAYS)) for _ in range(3)) / len(few)
    what = "forecast 1,000 strategies with AutoETS (from 50)"
    return [
        {"what": what, "value": 1_000 * each, "unit": "s", "ratio": f"ours is {each / own_seconds_each:.0f}x faster"}
    ]


def _alternate(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in islice(range(REPEATS), 3):
        times[0].append(_seconds(first))
        times[1].append(_seconds(second))
    return statistics.median(times[0]), statistics.median(times[1])


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
