"""The LSTM language model.

Letters: B windows a batch, T tokens of a window, E numbers of an embedding, H hidden units, V kinds of tokens.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ltsweep.models.dropout import Dropout
from ltsweep.models.parts import Layers, context_of


class LSTM(nn.Module):
    """One layer (Hochreiter & Schmidhuber 1997), (B, T, inputs) -> (B, T, H); each window begins with a state of zero.

    Not nn.LSTM, for which vmap has no rule. The rows of a weight are those of the input, forget and output gates and of
    the new values, so that the three sigmoids are one. nn.LSTM's second bias, a sum with the first, is left out.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        """Make the products with the input and with the state."""
        super().__init__()
        self.hidden = hidden
        self.input = nn.Linear(inputs, 4 * hidden)
        self.recurrent = nn.Linear(hidden, 4 * hidden, bias=False)
        self.gate, self.value = nn.Sigmoid(), nn.Tanh()  # modules, so that memory is reckoned with them

    def forward(self, x: Tensor) -> Tensor:
        """Return the states (B, T, H) for x: (B, T, inputs)."""
        given = self.input(x)  # (B, T, 4H), of all steps at once
        state = cell = torch.zeros_like(given[:, 0, : self.hidden])  # (B, H)
        states = []
        for own in given.unbind(1):
            gates, new = (own + self.recurrent(state)).split([3 * self.hidden, self.hidden], dim=1)
            take, keep, show = self.gate(gates).chunk(3, dim=1)
            cell = keep * cell + take * self.value(new)
            state = show * self.value(cell)
            states.append(state)
        return torch.stack(states, 1)


def lstm(
    input_shape: Sequence[int],
    num_classes: int,
    embedding: int = 128,
    hidden: int = 128,
    layers: int = 2,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Return an LSTM language model: tokens (B, T) -> logits of the next ones (B, T, V), V = num_classes.

    An embedding, layers of `hidden` units, and an output layer with weights of its own. dropout: the share of the
    states between two layers that a step drops. Raises UserError for an input that is not a text.
    """
    context_of(input_shape)
    parts: Layers = [("embedding", nn.Embedding(num_classes, embedding))]
    for number in range(1, layers + 1):
        parts += [(f"drop{number - 1}", Dropout(dropout))] if dropout and number > 1 else []
        parts.append((f"lstm{number}", LSTM(hidden if number > 1 else embedding, hidden)))
    return nn.Sequential(OrderedDict([*parts, ("output", nn.Linear(hidden, num_classes))]))
