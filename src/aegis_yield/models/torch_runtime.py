"""The one place that imports torch, so that its threads are set up before it starts.

Two spinning OpenMP threads on a busy two-core machine run an LSTM step thirty times slower than one;
the second core is better spent on another process (see ``benchmarks/training_speed.py``).
"""

from __future__ import annotations

import gc
import os
import pickle
import struct
import zipfile
from typing import Final

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_collected = gc.isenabled()
gc.disable()
import torch  # noqa: E402  # what is set up before it counts

gc.freeze()  # what it made stays: looking through it took a sixth of every start, and 0.1 s each time later
if _collected:
    gc.enable()

torch.set_num_threads(1)

UNREADABLE: Final = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What reading damaged or crafted bytes can raise, in zipfile, in torch and in our own rebuilding."""

__all__ = ["UNREADABLE", "torch"]
