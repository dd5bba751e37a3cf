"""The REST service: a door to the package."""

import os

os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
"""For Polars, before it is loaded: memory that tables no longer need goes back at once, not when more is asked for."""
