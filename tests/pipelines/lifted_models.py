"""Bundles whose forecasts lie too high by a chosen amount."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from aegis_yield.models.bundle import Bundle


def lifted(bundle: Bundle, by: float) -> Bundle:
    """Add to where the outcome will lie, in local scales."""
    members = tuple(_lifted(weights, by) for weights in bundle.model.members)
    return replace(bundle, model=replace(bundle.model, members=members))


def _lifted(weights: Mapping[str, torch.Tensor], by: float) -> dict[str, torch.Tensor]:
    last = next(name for name, values in weights.items() if tuple(values.shape) == (2,))
    return {**weights, last: weights[last] + torch.tensor([by, 0.0], dtype=weights[last].dtype)}
