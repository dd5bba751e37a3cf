"""The service beside MLflow's and BentoML's servers with the same bundle and tables: requests a second, waits, memory.

    pip install mlflow       # the whole of it, not mlflow-skinny
    python benchmarks/service_peers.py

BentoML wants other versions of shared packages, so it gets an environment of its own:

    python -m venv .venv-bentoml
    .venv-bentoml/bin/pip install torch==2.13.0
    .venv-bentoml/bin/pip install bentoml==1.4.39 -e .
    python benchmarks/service_peers.py --bentoml .venv-bentoml/bin/python

Each runs one server process on one core, the generator on another, and is asked for the same three strategies over
connections that stay open. The others forecast anew for each request; this service computes a horizon once and
answers from it until model or tables change, which no general server can know. Every answer is compared: all give the
same rates.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from aegis_yield.registry import default_model
from benchmarks.loading.generator import Load, ask_once, flat_out, post_bytes, predict_bytes
from benchmarks.loading.served import ROOT, Program, free_port, own_service, served
from benchmarks.service_load import CONNECTIONS, SERVICE_CORE, THREE, pinned, simulated_tables

N_STRATEGIES = 100
TOLERANCE = 1e-6
"""A batch of three and a batch of all are not summed in the same order."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each server (20)")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="at once (16)")
    parser.add_argument("--bentoml", metavar="PYTHON", help="of an environment with BentoML and this project")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    core = SERVICE_CORE if pinned() else None
    with tempfile.TemporaryDirectory() as scratch:
        data, model = simulated_tables(Path(scratch) / "tables", N_STRATEGIES), default_model()
        own = own_service({"AEGIS_DATA": str(data), "AEGIS_MODEL": str(model), "AEGIS_HOME": scratch})
        servers = {"aegis serve": (own, predict_bytes(THREE))}
        if _has_mlflow():
            servers["MLflow scoring server"] = (_mlflow(data, model, Path(scratch)), _invocation())
        if chosen.bentoml:
            asked = post_bytes("/predict", {"strategies": list(THREE)})
            servers["BentoML"] = (_bentoml(data, model, Path(scratch), chosen.bentoml), asked)
        found = {
            name: _measured(program, request, core, (chosen.connections, chosen.seconds))
            for name, (program, request) in servers.items()
        }
    _compare(found)
    print(json.dumps(found, indent=2)) if chosen.json else _show(found)


def _compare(found: Mapping[str, Mapping[str, object]]) -> None:
    """See that all give the same rates, or there is nothing to compare."""
    rates = np.array([row["apy"] for row in found.values()], dtype=np.float64)
    if not np.allclose(rates, rates[0], rtol=0.0, atol=TOLERANCE):
        raise RuntimeError(f"the servers do not give the same forecasts: {rates.tolist()}")


def _has_mlflow() -> bool:
    """Say whether the whole of MLflow is installed; mlflow-skinny serves nothing."""
    try:
        importlib.metadata.version("mlflow")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _mlflow(data: Path, model: Path, scratch: Path) -> Program:
    """Save the model as MLflow keeps it; return the server that MLflow serves it with."""
    import mlflow.pyfunc

    saved, port = scratch / "saved", free_port()
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it would rather be told the columns' types
        mlflow.pyfunc.save_model(
            saved,
            python_model=str(Path(__file__).parent / "loading" / "mlflow_model.py"),
            artifacts={"data": str(data), "model": str(model)},
            pip_requirements=["aegis-yield"],
        )
    serve = ("-m", "mlflow", "models", "serve", "-m", str(saved), "--env-manager", "local", "-p", str(port), "-w", "1")
    return Program(serve, {"AEGIS_HOME": str(scratch)}, port, "/ping")


def _bentoml(data: Path, model: Path, scratch: Path, python: str) -> Program:
    """Return the server that BentoML runs its service with."""
    port = free_port()
    serve = ("-m", "bentoml", "serve", "benchmarks.loading.bentoml_service:ForecastService")
    where = ("--host", "127.0.0.1", "--port", str(port), "--working-dir", str(ROOT))
    environment = {"AEGIS_DATA": str(data), "AEGIS_MODEL": str(model), "AEGIS_HOME": str(scratch)}
    quiet = {"BENTOML_HOME": str(scratch / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    return Program((*serve, *where), environment | quiet, port, "/readyz", str(Path(python).absolute()))


def _invocation() -> bytes:
    content = {"dataframe_split": {"columns": ["strategy"], "data": [[name] for name in THREE]}}
    return post_bytes("/invocations", content)


def _measured(program: Program, request: bytes, core: int | None, plan: tuple[int, float]) -> dict[str, object]:
    connections, seconds = plan
    with served(program, core) as server:
        content = json.loads(asyncio.run(ask_once(server.port, request)))
        predictions = content["predictions"]
        rows = predictions.values() if isinstance(predictions, dict) else predictions
        asyncio.run(flat_out(Load(server.port, request, 1, 1.0)))  # warm
        figures = asyncio.run(flat_out(Load(server.port, request, connections, seconds)))
        return {
            "start_to_ready_s": round(server.start_to_ready_s, 2),
            "memory_mb": round(server.memory_mb, 1),
            "apy": [row["apy"] for row in rows],
            **asdict(figures),
        }


def _show(found: dict[str, dict[str, object]]) -> None:
    columns = ("per_s", "p50_ms", "p99_ms", "n_errors", "start_to_ready_s", "memory_mb")
    table = Table("server", *columns)
    for name, row in found.items():
        table.add_row(name, *(str(row[column]) for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
