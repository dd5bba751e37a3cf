"""The one place that imports torch, so that its threads are set up before it starts.

Two spinning OpenMP threads on a busy two-core machine run an LSTM step thirty times slower than one;
the second core is better spent on another process (see ``benchmarks/training_speed.py``).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

torch.set_num_threads(1)

__all__ = ["torch"]
