"""The promised network: LSTM 128, LSTM 64, dense 32, two outputs."""

from __future__ import annotations

from dataclasses import dataclass

from aegis_yield.models.torch_runtime import torch

Tensor = torch.Tensor


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network; everything but the number of inputs is what users were promised.

    Attributes
    ----------
    n_inputs : int
        Channels per day: the features and the horizon.
    window_days : int
        Days in the window.
    hidden_1, hidden_2, dense : int
        Units of the two LSTM layers and the dense layer.
    dropout : float
        Dropped share after each LSTM layer.
    """

    n_inputs: int
    window_days: int = 7
    hidden_1: int = 128
    hidden_2: int = 64
    dense: int = 32
    dropout: float = 0.2


class YieldNetwork(torch.nn.Module):
    """LSTM 128 → dropout → LSTM 64 → dropout → dense 32, ReLU → (APY, volatility).

    The last layer starts at zero, so that an untrained network forecasts its anchor exactly.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        a = architecture
        self.lstm_1 = torch.nn.LSTM(a.n_inputs, a.hidden_1, batch_first=True)
        self.lstm_2 = torch.nn.LSTM(a.hidden_1, a.hidden_2, batch_first=True)
        self.dense = torch.nn.Linear(a.hidden_2, a.dense)
        self.head = torch.nn.Linear(a.dense, 2)
        self.dropout = torch.nn.Dropout(a.dropout)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, windows: Tensor) -> Tensor:
        """Map input windows to the two outputs.

        Parameters
        ----------
        windows : Tensor of shape (batch, window_days, n_inputs)
            Scaled inputs.

        Returns
        -------
        Tensor of shape (batch, 2)
            Location and log scale, in the units of the target transform.
        """
        hidden, _ = self.lstm_1(windows)  # (batch, window, hidden_1)
        hidden, _ = self.lstm_2(self._drop_channels(hidden))  # (batch, window, hidden_2)
        last = self.dropout(hidden[:, -1])  # (batch, hidden_2)
        outputs: Tensor = self.head(torch.relu(self.dense(last)))  # (batch, 2)
        return outputs

    def _drop_channels(self, hidden: Tensor) -> Tensor:
        # One mask per sequence: the same units are dropped on all days, which suits recurrent layers
        # (Gal & Ghahramani 2016) and draws seven times fewer random numbers.
        mask: Tensor = self.dropout(torch.ones_like(hidden[:, :1]))  # (batch, 1, hidden_1)
        return hidden * mask
