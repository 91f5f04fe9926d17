"""The transformer language model.

Letters: B windows a batch, T tokens of a window, E width, A heads of E / A numbers each, V kinds of tokens.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ltsweep.errors import UserError
from ltsweep.models.dropout import Dropout
from ltsweep.models.parts import Layers, context_of


class Positions(nn.Module):
    """Adds a learned embedding of each place to that of the token there: (B, T, E) -> (B, T, E)."""

    def __init__(self, context: int, width: int) -> None:
        """Make an embedding for each of T = `context` places."""
        super().__init__()
        self.embedding = nn.Embedding(context, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return x: (B, T, E) with the places."""
        places: Tensor = self.embedding(torch.arange(x.shape[1], device=x.device))
        return x + places


class CausalSoftmax(nn.Module):
    """Makes shares of how well tokens fit each one, (B, A, T, T), the same shape; those of later tokens are zero."""

    # Tensors of its output's size that it makes.
    tensors = 2

    def forward(self, fits: Tensor) -> Tensor:
        """Return the shares, which add up to 1 along the last axis."""
        later = torch.full(fits.shape[-2:], -math.inf, dtype=fits.dtype, device=fits.device).triu(1)  # (T, T)
        return (fits + later).softmax(-1)  # a sum takes a third of the time of a masked fill, and has no backward


class Attention(nn.Module):
    """Attention to the tokens up to each one (Vaswani et al. 2017, section 3.2.2), (B, T, E) -> (B, T, E).

    As plain products: on a CPU vmap runs torch's fused attention network by network.
    """

    # Tensors of its output's size that it makes beside those of its layers: the heads of queries, keys and values.
    tensors = 3

    def __init__(self, width: int, heads: int) -> None:
        """Make the products that give queries, keys and values, and that of the result."""
        super().__init__()
        self.heads = heads
        self.input = nn.Linear(width, 3 * width)
        self.softmax = CausalSoftmax()
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the result for x: (B, T, E)."""
        query, key, value = self.input(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, A, T, E / A)
        fits = (query / math.sqrt(query.shape[-1])) @ key.mT  # (B, A, T, T)
        seen = self.softmax(fits) @ value  # (B, A, T, E / A)
        out: Tensor = self.output(seen.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention and two layers with a GELU, each beside a shortcut and behind its normalization: (B, T, E), the same.

    dropout: the share of what each of both adds that a step drops.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """Make the layers; between the last two are 4 E units."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * width, width)
        self.drop1, self.drop2 = (Dropout(dropout) if dropout else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for x: (B, T, E)."""
        x = x + self.drop1(self.attention(self.norm1(x)))
        out: Tensor = x + self.drop2(self.fc2(self.act(self.fc1(self.norm2(x)))))
        return out


def transformer(
    input_shape: Sequence[int],
    num_classes: int,
    layers: int = 4,
    heads: int = 4,
    width: int = 128,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Return a transformer language model: tokens (B, T) -> logits of the next ones (B, T, V), V = num_classes.

    The shape of nanoGPT (Radford et al. 2019): blocks that normalize first, learned places, GELU, a normalization
    before the output layer, which has weights of its own. dropout: the share that a step drops of the embeddings, and
    of what attention and feed-forward layers add. Raises UserError where `heads` does not divide `width`, and for an
    input that is not a text.
    """
    if width % heads:
        raise UserError(f"model.heads={heads} does not divide model.width={width}")
    parts: Layers = [("embedding", nn.Embedding(num_classes, width))]
    parts.append(("positions", Positions(context_of(input_shape), width)))
    parts += [("drop", Dropout(dropout))] if dropout else []
    parts += [(f"block{number}", Block(width, heads, dropout)) for number in range(1, layers + 1)]
    parts += [("norm", nn.LayerNorm(width)), ("output", nn.Linear(width, num_classes))]
    return nn.Sequential(OrderedDict(parts))
