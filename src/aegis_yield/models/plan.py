"""How to train: every choice that changes the result, in one frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from aegis_yield.domain.errors import RequestError


@dataclass(frozen=True)
class TrainingPlan:
    """Choices of a training run.

    Attributes
    ----------
    epochs : int
        Most passes over the training windows; early stopping may end sooner.
    batch_size : int
        Windows per step.
    seed : int
        Seeds weights, batches, horizons and dropout.
    members : int
        Networks in the bundle that say what is paid.
    volatility_members : int
        Networks in the bundle that say how much the rate will move; 0: read off the others' spread. The
        textbook recipe has none.
    shape_members : int
        Small networks that say where quantiles lie around the median; 0: as Laplace's distribution has them.
        The textbook recipe has none.
    recipe : {"anchored", "textbook"}
        What the outputs mean and how they are taught.
    learning_rate : float
        Of the first epoch at batch size 512; other batch sizes scale it by the square root.
    learning_rate_decay : float
        Factor from one epoch to the next.
    weight_decay : float
        AdamW's.
    patience : int
        Epochs without improvement before a member stops.
    """

    epochs: int = 100
    batch_size: int = 32
    seed: int = 0
    members: int = 3
    volatility_members: int = 2
    shape_members: int = 3
    recipe: str = "anchored"
    learning_rate: float = 2e-3
    learning_rate_decay: float = 0.7
    weight_decay: float = 0.1
    patience: int = 2

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        _check("epochs", self.epochs, 1, 10_000)
        _check("batch_size", self.batch_size, 1, 65_536)
        _check("seed", self.seed, 0, 2**31 - 1)
        _check("members", self.members, 1, 8)
        _check("volatility_members", self.volatility_members, 0, 8)
        _check("shape_members", self.shape_members, 0, 8)
        if self.recipe not in ("anchored", "textbook"):
            raise RequestError("recipe", self.recipe, "anchored or textbook")

    def learning_rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        return self.learning_rate * float((self.batch_size / 512) ** 0.5) * self.learning_rate_decay**epoch

    def to_dict(self) -> dict[str, int | float | str]:
        """Return the plan as plain values, for provenance."""
        return asdict(self)


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise RequestError(name, value, f"a whole number from {low:,} to {high:,}")
