"""Which random numbers belong to which strategy: one stream each, so no path depends on the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum

import numpy as np

from aegis_yield.utils.typing import BoolArray, FloatArray


class Purpose(IntEnum):
    """What a stream is for: each purpose draws from its own, so one can change without moving another."""

    COMMON = 0
    MECHANISM = 1
    LIFECYCLE = 2


class Streams:
    """The random streams of some strategies, drawn from side by side.

    Parameters
    ----------
    seed : int
        The market's seed.
    purpose : Purpose
        What the numbers are for.
    indices : sequence of int
        The strategies' places in the universe.
    flagship : sequence of bool, optional
        Strategies whose traits all take the middle of their range: the few that every user meets
        first are typical of their kind. None by default.
    """

    def __init__(
        self, seed: int, purpose: Purpose, indices: Sequence[int], flagship: Sequence[bool] | None = None
    ) -> None:
        self._generators = [
            np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, index))) for index in indices
        ]
        self.flagship: BoolArray = np.array(flagship or [False] * len(indices), dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._generators)

    def traits(self, n_traits: int) -> FloatArray:
        """Draw the uniform numbers in (0, 1) that fix a strategy's character.

        Returns
        -------
        ndarray of shape (n_traits, n_strategies, 1)
            The last axis broadcasts over days.
        """
        drawn = self._stack(lambda generator: generator.uniform(0.001, 0.999, n_traits))
        drawn[self.flagship] = 0.5
        return np.ascontiguousarray(drawn.T)[:, :, None]

    def uniform(self, n_days: int) -> FloatArray:
        """Draw uniform numbers in [0, 1), shape (n_strategies, n_days)."""
        return self._stack(lambda generator: generator.random(n_days))

    def normal(self, n_days: int) -> FloatArray:
        """Draw standard normal numbers, shape (n_strategies, n_days)."""
        return self._stack(lambda generator: generator.standard_normal(n_days))

    def heavy(self, n_days: int, dof: float = 4.0) -> FloatArray:
        """Draw Student-t numbers of `dof` > 2, scaled to variance 1, shape (n_strategies, n_days)."""
        scale = np.sqrt((dof - 2.0) / dof)
        return np.asarray(scale * self._stack(lambda generator: generator.standard_t(dof, n_days)))

    def jumps(self, n_days: int, probability: float) -> FloatArray:
        """Draw exponential jumps of mean 1 on days picked with `probability`, 0 elsewhere.

        Returns
        -------
        ndarray of shape (n_strategies, n_days)
        """
        sizes = self._stack(lambda generator: generator.standard_exponential(n_days))
        return np.where(self.uniform(n_days) < probability, sizes, 0.0)

    def _stack(self, draw: Callable[[np.random.Generator], FloatArray]) -> FloatArray:
        return np.stack([draw(generator) for generator in self._generators])
