"""Starting up: commands that need no network must not wait for torch, and torch must not spin."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def printed(code: str, **environment: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**kept, **environment}
    )
    return run.stdout.split()


@pytest.mark.parametrize("module", ["aegis_yield", "aegis_yield.cli.app", "aegis_yield.registry"])
def test_importing_does_not_load_torch(module: str) -> None:
    assert printed(f"import sys, {module}; print('torch' in sys.modules)") == ["False"]


def test_torch_runs_on_one_thread_that_waits_quietly() -> None:
    code = """
import os
from aegis_yield.models.torch_runtime import torch
print(torch.get_num_threads(), os.environ["OMP_WAIT_POLICY"])
"""
    assert printed(code) == ["1", "PASSIVE"]
    assert printed(code, OMP_WAIT_POLICY="ACTIVE", OMP_NUM_THREADS="2") == ["1", "ACTIVE"]


@pytest.mark.parametrize("before", [True, False])
def test_the_garbage_collector_works_as_before_and_leaves_torch_alone(before: bool) -> None:
    code = f"""
import gc
gc.enable() if {before} else gc.disable()
import aegis_yield.models.torch_runtime
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
"""
    assert printed(code) == [str(before), "True"]
