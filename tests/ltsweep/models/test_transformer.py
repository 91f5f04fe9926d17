"""The transformer against loops over heads and tokens, from equal weights."""

import torch
from torch.nn.functional import gelu, layer_norm

from ltsweep.models import transformer
from ltsweep.models.transformer import Block


def attended(w, x, heads):
    """Return the attention of one window x: (T, E), token by token and head by head."""
    length, width = x.shape
    size = width // heads
    query, key, value = (x @ w["input.weight"].T + w["input.bias"]).split(width, dim=1)  # (T, E) each
    out = torch.zeros_like(x)
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        for t in range(length):
            fits = torch.stack([query[t, own] @ key[s, own] / size**0.5 for s in range(t + 1)])
            shares = fits.exp() / fits.exp().sum()
            out[t, own] = sum(share * value[s, own] for s, share in enumerate(shares))
    return out @ w["output.weight"].T + w["output.bias"]


def test_a_block_is_a_plain_loop_over_heads():
    block, x = Block(8, 2, 0.0).double(), torch.randn(3, 5, 8, dtype=torch.float64)
    w = dict(block.named_parameters())
    attention = {name.removeprefix("attention."): value for name, value in w.items() if "attention" in name}
    for window, found in zip(x, block(x), strict=True):
        middle = window + attended(attention, layer_norm(window, (8,)), 2)
        inner = gelu(layer_norm(middle, (8,)) @ w["fc1.weight"].T + w["fc1.bias"])
        torch.testing.assert_close(found, middle + inner @ w["fc2.weight"].T + w["fc2.bias"], rtol=1e-6, atol=1e-6)


def test_a_model_adds_places_normalizes_last_and_knows_no_later_token():
    model, x = transformer((6,), 9, layers=2, heads=2, width=4, dropout=0.5).eval(), torch.randint(9, (2, 6))
    names = [name for name, _ in model.named_children()]
    assert names == ["embedding", "positions", "drop", "block1", "block2", "norm", "output"]
    first = model.embedding.weight[x] + model.positions.embedding.weight
    states = layer_norm(model.block2(model.block1(first)), (4,))
    torch.testing.assert_close(model(x), states @ model.output.weight.T + model.output.bias)
    later = x.clone()
    later[:, 4:] = (x[:, 4:] + 1) % 9
    torch.testing.assert_close(model(later)[:, :4], model(x)[:, :4])
