"""Simulated pairs of models: losses with weekly autocorrelation, common shocks and very different scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aegis_yield.monitoring.gate import PairedLosses


@dataclass(frozen=True)
class World:
    weeks: int = 26
    strategies: int = 24
    autocorrelation: float = 0.4
    common: float = 0.4
    noise: float = 0.3
    improvement: float = 0.0
    coverage: tuple[float, float] = (0.9, 0.9)
    broken: tuple[int, float] | None = None
    """Category and the challenger's coverage in it."""


def series(rng: np.random.Generator, world: World) -> np.ndarray:
    """Unit-variance series, shape (weeks, strategies), partly common to all."""
    whole = np.empty((world.weeks, world.strategies + 1))
    whole[0] = rng.standard_normal(world.strategies + 1)
    fresh = np.sqrt(1 - world.autocorrelation**2)
    for week in range(1, world.weeks):
        whole[week] = world.autocorrelation * whole[week - 1] + fresh * rng.standard_normal(world.strategies + 1)
    return np.sqrt(world.common) * whole[:, :1] + np.sqrt(1 - world.common) * whole[:, 1:]


def simulated_pair(rng: np.random.Generator, world: World) -> PairedLosses:
    week, strategy = (
        grid.ravel() for grid in np.meshgrid(np.arange(world.weeks), np.arange(world.strategies), indexing="ij")
    )
    scale = np.exp(rng.normal(-4.0, 1.5, world.strategies))
    shared = scale * np.exp(0.8 * series(rng, world))
    champion, challenger = (shared * np.exp(world.noise * series(rng, world)) for _ in range(2))
    category = strategy % 3
    inside = [rng.random(len(week)) < coverage for coverage in world.coverage]
    if world.broken is not None:
        code, coverage = world.broken
        inside[1] = np.where(category == code, rng.random(len(week)) < coverage, inside[1])
    return PairedLosses(
        week=week,
        strategy=strategy,
        category=category,
        champion=champion.ravel(),
        challenger=(challenger * (1 - world.improvement)).ravel(),
        champion_inside=inside[0],
        challenger_inside=inside[1],
    )
