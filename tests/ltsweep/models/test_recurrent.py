"""The LSTM against torch's own, from equal weights."""

import torch
from torch import nn

from ltsweep.models import lstm
from ltsweep.models.recurrent import LSTM


def as_torchs(rows):
    """Return rows of the gates i, f, o and of the new values g in torch's order: i, f, g, o."""
    i, f, o, g = rows.chunk(4)
    return torch.cat([i, f, g, o])


def test_a_layer_is_torchs_lstm():
    """To 1e-6, outputs and gradients of the input, from a state of zero."""
    own, other, x = LSTM(5, 7), nn.LSTM(5, 7, batch_first=True), torch.randn(3, 11, 5)
    with torch.no_grad():
        other.weight_ih_l0.copy_(as_torchs(own.input.weight))
        other.weight_hh_l0.copy_(as_torchs(own.recurrent.weight))
        other.bias_ih_l0.copy_(as_torchs(own.input.bias))
        other.bias_hh_l0.zero_()
    found = []
    for layer in (own, lambda x: other(x)[0]):
        leaf = x.clone().requires_grad_()
        out = layer(leaf)
        out.square().sum().backward()
        found.append((out.detach(), leaf.grad))
    for mine, torchs in zip(*found, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-6, atol=1e-6)


def test_a_model_is_an_embedding_layers_with_dropout_between_and_an_output():
    model, x = lstm((6,), 9, embedding=4, hidden=5, layers=3, dropout=0.5).eval(), torch.randint(9, (2, 6))
    assert [name for name, _ in model.named_children()] == [
        "embedding", "lstm1", "drop1", "lstm2", "drop2", "lstm3", "output"
    ]  # fmt: skip
    states = model.lstm3(model.lstm2(model.lstm1(model.embedding.weight[x])))
    torch.testing.assert_close(model(x), states @ model.output.weight.T + model.output.bias)
    later = x.clone()
    later[:, 4:] = (x[:, 4:] + 1) % 9
    assert torch.equal(model(later)[:, :4], model(x)[:, :4])  # of later tokens it knows nothing
    assert "drop1" not in dict(lstm((6,), 9).named_children())
