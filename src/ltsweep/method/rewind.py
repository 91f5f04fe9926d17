"""Rewinding: which weights a level starts from, which are kept for that, and at which step its schedule goes on."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ltsweep.engine.stack import Tensors
from ltsweep.errors import UserError
from ltsweep.method.axes import Length, Past, Rewind
from ltsweep.words import shown


class ToInit:
    """Every level starts from the initial weights and buffers (Frankle & Carbin 2019, section 2)."""

    def keep(self, level: int, length: Length) -> Collection[int]:
        """Return the steps of a level after which the ticket's weights are kept."""
        return ()

    def first(self, level: int, length: Length) -> int:
        """Return the step that a level begins with: of its batches, and of its schedule."""
        return 0

    def clock(self, level: int, step: int, steps: int) -> int:
        """Return the step at which the schedule of a level's learning rate is read."""
        return step

    def start(self, past: Past) -> Tensors:
        """Return the weights and buffers from which the ticket starts a level, name -> (*shape)."""
        return past.initial


@dataclass(frozen=True)
class ToStep(ToInit):
    """Later levels start from the dense network's weights after some steps (Frankle et al. 2020, section 2).

    number: of iterations or, where `epochs`, of epochs. Batches and schedule go on from there.
    """

    number: int
    epochs: bool

    def steps(self, length: Length) -> int:
        """Return the iterations of the dense network after which its weights are taken."""
        return self.number * length.epoch if self.epochs else self.number

    def keep(self, level: int, length: Length) -> Collection[int]:
        """Return the one step of level 0. Raises UserError where level 0 is shorter."""
        step = self.steps(length)
        if step > length.steps:
            raise UserError(
                f"method.rewind={self.number}{'ep' if self.epochs else 'it'} is iteration {step}, "
                f"and a level has {length.steps}"
            )
        return (step,) if level == 0 and step else ()

    def first(self, level: int, length: Length) -> int:
        """Return that step for later levels."""
        return self.steps(length) if level else 0

    def start(self, past: Past) -> Tensors:
        """Return the dense network's weights and buffers after that step."""
        step = self.steps(past.length)
        return past.kept(0, step) if past.level and step else past.initial


class ToRate(ToInit):
    """Every level goes on from the weights of the level before, and the learning rate begins anew.

    Learning-rate rewinding of Renda et al. 2020, section 2.
    """

    def keep(self, level: int, length: Length) -> Collection[int]:
        """Return the last step."""
        return (length.steps,)

    def start(self, past: Past) -> Tensors:
        """Return the weights and buffers at the end of the level before."""
        return past.kept(past.level - 1, past.length.steps) if past.level else past.initial


class FineTuning(ToRate):
    """Every level goes on from the weights of the level before, at the last rate (Renda et al. 2020, section 2)."""

    def clock(self, level: int, step: int, steps: int) -> int:
        """Return the last step for later levels."""
        return steps - 1 if level else step


@dataclass(frozen=True)
class Own(ToInit):
    """A function of the user's own, from the past to the weights and buffers from which a level starts."""

    function: Callable[[Past], Tensors]

    def start(self, past: Past) -> Tensors:
        """Return what the function returns."""
        return self.function(past)


_NAMED: dict[str, Rewind] = {"init": ToInit(), "weights": FineTuning(), "lr": ToRate()}


def rewind(given: object) -> Rewind:
    """Return the rewinding of that name, or of a function of the user's own. Raises UserError for an unknown name."""
    if isinstance(given, str):
        if given in _NAMED:
            return _NAMED[given]
        if at := re.fullmatch(r"([0-9]{1,9})(it|ep)", given):
            return ToStep(int(at[1]), at[2] == "ep")
    elif isinstance(given, ToInit):
        return given
    elif callable(given):
        return Own(given)
    raise UserError(
        f"method.rewind={shown(given)} is unknown; choose init, an iteration (500it) or an epoch (1ep) of the dense "
        "network, weights (fine-tuning at the last learning rate), lr (learning-rate rewinding), "
        "or name a function of your own by _target_"
    )
