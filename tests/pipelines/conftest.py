from __future__ import annotations

from bundles import forecaster, home, plain_environment, tables, tiny_bundle, tiny_model

__all__ = ["forecaster", "home", "plain_environment", "tables", "tiny_bundle", "tiny_model"]
