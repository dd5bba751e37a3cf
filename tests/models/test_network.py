from __future__ import annotations

import numpy as np
import pytest

from aegis_yield.models.network import Architecture, YieldNetwork
from aegis_yield.models.torch_runtime import torch
from aegis_yield.preprocessing.features import WINDOW_DAYS

N_INPUTS = 11


@pytest.fixture
def network() -> YieldNetwork:
    torch.manual_seed(3)
    made = YieldNetwork(Architecture(n_inputs=N_INPUTS))
    torch.nn.init.normal_(made.head.weight)
    return made


@pytest.fixture
def batch() -> torch.Tensor:
    torch.manual_seed(4)
    return torch.randn(5, WINDOW_DAYS, N_INPUTS)


def calls(network: YieldNetwork, batch: torch.Tensor) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    """Run forward; return each layer called, with its input and output, in order."""
    seen = []
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda _, x, y, name=name: seen.append((name, x[0], y)))
    network(batch)
    return [(name, x, y[0] if isinstance(y, tuple) else y) for name, x, y in seen]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def lstm_by_hand(layer: torch.nn.LSTM, x: np.ndarray) -> np.ndarray:
    """The equations of Hochreiter & Schmidhuber with a forget gate, one sequence and day at a time."""
    w_x, w_h, b_x, b_h = (p.detach().numpy().astype(float) for p in layer.parameters())
    out = np.zeros((len(x), x.shape[1], layer.hidden_size))
    for row, sequence in enumerate(x):
        h = c = np.zeros(layer.hidden_size)
        for day, value in enumerate(sequence):
            i, f, g, o = np.split(w_x @ value + b_x + w_h @ h + b_h, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            out[row, day] = h
    return out


def linear_by_hand(layer: torch.nn.Linear, x: np.ndarray) -> np.ndarray:
    return x @ layer.weight.detach().numpy().T.astype(float) + layer.bias.detach().numpy()


def test_layers_are_the_promised_ones_in_order(network: YieldNetwork, batch: torch.Tensor) -> None:
    order = [(name, tuple(y.shape[1:])) for name, _, y in calls(network, batch)]
    assert order == [
        ("lstm_1", (WINDOW_DAYS, 128)),
        ("dropout", (1, 128)),
        ("lstm_2", (WINDOW_DAYS, 64)),
        ("dropout", (64,)),
        ("dense", (32,)),
        ("head", (2,)),
    ]
    assert network.dropout.p == 0.2


def test_each_lstm_is_a_single_forward_layer(network: YieldNetwork) -> None:
    for layer in (network.lstm_1, network.lstm_2):
        assert (layer.num_layers, layer.bidirectional, layer.proj_size) == (1, False, 0)


def test_the_dense_layer_is_rectified_before_the_head(network: YieldNetwork, batch: torch.Tensor) -> None:
    called = {name: (x, y) for name, x, y in calls(network, batch)}
    assert torch.equal(called["head"][0], called["dense"][1].clamp(min=0.0))
    assert (called["dense"][1] < 0).any()


@pytest.mark.parametrize("n_inputs", [1, 6, 66])
def test_parameter_count_is_the_closed_form(n_inputs: int) -> None:
    def lstm(i: int, h: int) -> int:
        return 4 * (h * (i + h) + 2 * h)

    count = sum(p.numel() for p in YieldNetwork(Architecture(n_inputs)).parameters())
    assert count == lstm(n_inputs, 128) + lstm(128, 64) + (64 * 32 + 32) + (32 * 2 + 2)


def test_an_untrained_network_gives_zeros(batch: torch.Tensor) -> None:
    network = YieldNetwork(Architecture(n_inputs=N_INPUTS))
    assert torch.equal(network(batch), torch.zeros(5, 2))


def test_forward_is_the_textbook_recursion(network: YieldNetwork, batch: torch.Tensor) -> None:
    hidden = lstm_by_hand(network.lstm_2, lstm_by_hand(network.lstm_1, batch.numpy().astype(float)))
    dense = np.maximum(linear_by_hand(network.dense, hidden[:, -1]), 0.0)
    with torch.no_grad():
        outputs = network.eval()(batch).numpy()
    np.testing.assert_allclose(outputs, linear_by_hand(network.head, dense), atol=1e-5)


def test_eval_is_deterministic_and_train_is_not(network: YieldNetwork, batch: torch.Tensor) -> None:
    network.eval()
    assert torch.equal(network(batch), network(batch))
    network.train()
    assert not torch.equal(network(batch), network(batch))


def test_dropout_keeps_one_mask_for_all_days_of_a_sequence(network: YieldNetwork) -> None:
    called = calls(network.train(), torch.randn(200, WINDOW_DAYS, N_INPUTS))
    ratio = called[2][1] / called[0][2]  # what the second LSTM got over what the first gave
    kept = ratio > 0.5
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    torch.testing.assert_close(ratio[kept], torch.full_like(ratio[kept], 1 / 0.8))
    assert not torch.equal(kept[0], kept[1])


def test_dropout_drops_a_fifth_after_either_lstm(network: YieldNetwork) -> None:
    n = 400
    called = calls(network.train(), torch.randn(n, WINDOW_DAYS, N_INPUTS))
    for units, mask in ((128, called[1][2]), (64, called[3][2])):
        dropped = float((mask == 0).float().mean())
        assert abs(dropped - 0.2) < 4 * (0.2 * 0.8 / (n * units)) ** 0.5


def test_nothing_is_dropped_when_forecasting(network: YieldNetwork, batch: torch.Tensor) -> None:
    called = calls(network.eval(), batch)
    assert torch.equal(called[2][1], called[0][2])
    assert torch.equal(called[4][1], called[2][2][:, -1])
