"""Episodes of an environment: the problem of a player that is to earn the most reward in a game (A2C).

Letters: C networks of a stack, N games side by side, T steps of each game in an update, A actions, S numbers of a
state, U uniform numbers that a start takes, E episodes of an evaluation.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ltsweep.data.environments import Environment
from ltsweep.engine.problem import ALL, Asked, Batch, Draws, Part, Score, by_order
from ltsweep.engine.replay import replayed
from ltsweep.engine.stack import Forward, Tensors
from ltsweep.errors import UserError
from ltsweep.rng import generator
from ltsweep.words import shown

_CPU = torch.device("cpu")

# Most episodes of an evaluation, which all are played side by side.
MOST = 1_000


@dataclass(frozen=True)
class Episodes:
    """Games of an environment, played by the networks themselves, and learned by advantage actor-critic.

    Mnih et al. 2016 (section 4 and algorithm S3), all games in step. The first A outputs of a network are the logits of
    the actions, the next is the value V of the state, and others are not used. An update of N * T examples plays T
    steps of N games, and a game that has ended starts anew at once. Its loss is

        mean(-log pi(a) * advantage) + value * mean((V - target)^2) - entropy * mean(H(pi)).

    limit: steps after which an episode ends, without being lost: the value of the state there still counts. horizon: T.
    discount, trace: as `advantages` says. reward_scale: a factor of rewards in the loss, and in no score. updates: the
    steps of an epoch. episodes: those of the test score.
    """

    environment: Environment
    limit: int
    horizon: int
    discount: float
    trace: float
    entropy: float
    value: float
    reward_scale: float
    updates: int
    episodes: int
    device: torch.device = _CPU

    scores: ClassVar[tuple[Score, ...]] = (Score("loss", "lower", ("train",)), Score("return", "higher"))
    headline: ClassVar[Score] = scores[1]
    counts: ClassVar[tuple[str, ...]] = ("steps", "games")

    def check(self, asked: Asked) -> None:
        """Raise UserError for what episodes have not."""
        name, size = asked.dataset, asked.batch_size
        shape, outputs = [self.environment.inputs], self.environment.actions + 1
        if list(asked.input_shape) != shape or asked.num_classes != outputs:
            raise UserError(
                f"dataset={name}: input_shape={shown(list(asked.input_shape))} num_classes={asked.num_classes} are "
                f"{shape} and {outputs} by its environment: an output for each action, and one for the value"
            )
        if size % self.horizon:
            raise UserError(
                f"batch_size={size} is not divisible by dataset.horizon={self.horizon}: an update of dataset={name} "
                f"plays so many steps of each of its games"
            )
        if asked.validation > MOST:
            raise UserError(f"validation={asked.validation} is more than {MOST:,}, the most episodes of dataset={name}")
        if asked.evaluate_train is not True:
            raise UserError(
                f"evaluate_train={str(asked.evaluate_train).lower()}: the training score of dataset={name} is of games "
                "that were played anyway; only true is allowed"
            )
        if asked.evaluate_test is not None:
            raise UserError(
                f"evaluate_test={asked.evaluate_test}: dataset={name} has no fixed test examples; "
                f"dataset.episodes={asked.evaluate_test} plays so many"
            )
        if asked.label_smoothing:
            raise UserError(f"label_smoothing={asked.label_smoothing}: dataset={name} has no labels to smooth")
        if asked.processes > 1:
            raise UserError(
                f"dataset={name}: its games are not divided among torchrun's {asked.processes} processes; "
                "without torchrun, several cells train side by side"
            )

    def to(self, device: torch.device) -> "Episodes":
        """Return the problem whose games are played on a device."""
        return replace(self, device=device)

    def epoch(self, batch_size: int, validation: int) -> int:
        """Return the number of updates in an epoch."""
        return self.updates

    def memory(self, cells: Sequence[Draws], batch_size: int) -> Tensors:
        """Return N = batch_size / T games as they start, rounded up.

        state (C, N, S), and of each game (C, N): age, the steps so far; earned, the rewards so far; last, the return of
        the last finished episode, nan before. Of each network (C,): steps and games that it has played, and the loss of
        its last update.
        """
        every, places = by_order(cells)
        games = -(-batch_size // self.horizon)
        u = [torch.rand(games, self.environment.starts, generator=cell.generator(o, "start")) for cell, o in every]
        state = self.environment.reset(torch.stack(u).index_select(0, places).to(self.device))
        networks, numbers = state.shape[:1], state.shape[:2]
        return {
            "state": state,
            "age": torch.zeros(numbers, dtype=torch.int64, device=self.device),
            "earned": torch.zeros(numbers, device=self.device),
            "last": torch.full(numbers, torch.nan, device=self.device),
            "steps": torch.zeros(networks, dtype=torch.int64, device=self.device),
            "games": torch.zeros(networks, dtype=torch.int64, device=self.device),
            "loss": torch.full(networks, torch.nan, device=self.device),
        }

    def batches(self, cells: Sequence[Draws], batch_size: int, first: int = 0, part: Part = ALL) -> Iterator[Batch]:
        """Yield uniform numbers (C, T, N, 1 + U) without end: of each step the action's, and those of a new start."""
        every, places = by_order(cells)
        shape = self.horizon, -(-batch_size // self.horizon), 1 + self.environment.starts
        streams = [cell.generator(order, "play") for cell, order in every]

        def drawn() -> Iterator[list[Tensor]]:
            while True:
                yield [torch.rand(shape, generator=stream) for stream in streams]

        for each in islice(drawn(), first, None):
            yield (torch.stack(each).index_select(0, places).to(self.device),)

    def ones(self) -> Tensor:
        """Return one observation of ones, (1, numbers)."""
        return torch.ones(1, self.environment.inputs, device=self.device)

    def loss(self, forward: Forward, memory: Tensors, batch: Batch) -> Tensor:
        """Play T steps of each game, which changes `memory` in place, and return the loss of each network, (C,)."""
        playing = replace(forward, training=False)
        with torch.no_grad():
            seen, actions, rewards, reached, fell, over = self._play(playing, memory, batch[0])
            # The values of the states reached, before any new start.
            after = self._split(playing(self.environment.observe(reached).flatten(1, 2)))[1].view_as(rewards)
        outputs = forward(seen.flatten(1, 2))  # (C, T * N, A + 1)
        logits, values = self._split(outputs.view(*rewards.shape, -1))
        gain = advantages(self.reward_scale * rewards, values.detach(), after, fell, over, self.discount, self.trace)
        log_pi = logits.log_softmax(-1)
        policy = -log_pi.gather(-1, actions[..., None])[..., 0] * gain
        error = (values - (values.detach() + gain)).square()
        entropy = -(log_pi.exp() * log_pi).sum(-1)
        loss = (policy + self.value * error - self.entropy * entropy).mean((1, 2))
        memory["loss"].copy_(loss.detach())
        return loss

    def _play(self, forward: Forward, memory: Tensors, u: Tensor) -> tuple[Tensor, ...]:
        """Play T steps of N games in `memory`, by uniform numbers u (C, T, N, 1 + U).

        Returns of each step, (C, T, N, ...): what was seen, action, reward, state reached, and two booleans: whether
        the environment has ended the game there, and whether that or the limit has.
        """
        state, age, earned, last = (memory[name].clone() for name in ("state", "age", "earned", "last"))
        played = []
        for numbers in u.unbind(1):  # (C, N, 1 + U)
            seen = self.environment.observe(state)
            action = chosen(self._split(forward(seen))[0], numbers[..., 0])
            reached, reward, fell = self.environment.step(state, action)
            age, earned = age + 1, earned + reward
            over = fell | (age >= self.limit)
            played.append((seen, action, reward, reached, fell, over))
            state = torch.where(over[..., None], self.environment.reset(numbers[..., 1:]), reached)
            last = torch.where(over, earned, last)
            age, earned = age.where(~over, 0), earned.where(~over, 0.0)
        for name, value in {"state": state, "age": age, "earned": earned, "last": last}.items():
            memory[name].copy_(value)
        stacked = tuple(torch.stack(each, dim=1) for each in zip(*played, strict=True))
        memory["steps"].add_(u[0, ..., 0].numel())
        memory["games"].add_(stacked[-1].sum((1, 2)))
        return stacked

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (..., A) and the values (...) of outputs (..., A + 1 or more)."""
        actions = self.environment.actions
        return outputs[..., :actions], outputs[..., actions]

    @torch.no_grad()
    def evaluate(
        self, forward: Forward, memory: Tensors, cells: Sequence[Draws], splits: Collection[str]
    ) -> dict[str, list[float]]:
        """Return the mean return of fresh episodes, `validation` and `episodes` of them, with sampled actions.

        Their starts and random numbers are the cell's own, and the same at each evaluation of every level. train_return
        is the mean over the games of training, each with its last finished episode; nan before the first. train_loss is
        that of the last update; before the first, that of an update which is not made.
        """
        found: dict[str, list[float]] = {name: memory[name].tolist() for name in self.counts}
        loss = memory["loss"]
        if not memory["steps"].any():
            size = self.horizon * memory["state"].shape[1]
            loss = self.loss(forward, self.memory(cells, size), next(self.batches(cells, size)))
        found["train_loss"] = loss.double().tolist()
        if "train" in splits:
            found["train_return"] = memory["last"].double().nanmean(1).tolist()
        counts = {"val": cells[0].validation, "test": self.episodes}
        for split in ("val", "test"):
            if split in splits:
                found[f"{split}_return"] = self._returns(forward, cells, split, counts[split]).double().mean(1).tolist()
        return found

    def _returns(self, forward: Forward, cells: Sequence[Draws], split: str, count: int) -> Tensor:
        """Return the returns of so many fresh episodes of each network, (C, E)."""
        streams = [generator(cell.seed, "episodes", split) for cell in cells]
        networks = torch.tensor([cell.networks for cell in cells])

        def drawn(*shape: int) -> Tensor:
            each = [torch.rand(shape, generator=stream) for stream in streams]
            return torch.stack(each).repeat_interleave(networks, dim=0).to(self.device)

        state = self.environment.reset(drawn(count, self.environment.starts))
        returns = torch.zeros(state.shape[:2], device=self.device)
        going = torch.ones_like(returns, dtype=torch.bool)

        def play(batch: Batch) -> None:
            action = chosen(self._split(forward(self.environment.observe(state)))[0], batch[0])
            reached, reward, fell = self.environment.step(state, action)
            state.copy_(reached)
            returns.add_(reward.where(going, 0))
            going.logical_and_(~fell)

        step = replayed(play, self.device)
        for _ in range(self.limit):
            if not going.any():
                break
            step((drawn(count),))
        return returns


def chosen(logits: Tensor, u: Tensor) -> Tensor:
    """Return an action for each uniform number: the first whose cumulative probability is above it. (..., A), (...)."""
    below = logits.softmax(-1).cumsum(-1)[..., :-1]
    return (u[..., None] >= below).sum(-1)


def advantages(
    rewards: Tensor, values: Tensor, after: Tensor, fell: Tensor, over: Tensor, discount: float, trace: float
) -> Tensor:
    """Return the advantages of T steps, (C, T, N), by generalized advantage estimation (Schulman et al. 2016, eq. 16).

    Of each step delta = reward + discount * V(s') - V(s), where `after` has V(s') and `fell` takes it to be 0. The
    advantage is delta + discount * trace * that of the next step, which counts 0 where the episode is `over`: with
    trace 0 the error of one step, with 1 that of all steps to the end or the horizon.
    """
    deltas = rewards + discount * after * ~fell - values
    found = [deltas[:, -1]]
    for delta, ends in zip(deltas[:, :-1].unbind(1)[::-1], over[:, :-1].unbind(1)[::-1], strict=True):
        found.append(delta + discount * trace * found[-1] * ~ends)
    return torch.stack(found[::-1], dim=1)


def games(data_dir: Path, environment: Environment, **settings: Any) -> Episodes:
    """Return the problem of playing an environment; its other settings are the fields of `Episodes`. Needs no files.

    Raises UserError where `environment` is none.
    """
    if not all(hasattr(environment, name) for name in ("starts", "inputs", "actions", "reset", "step", "observe")):
        raise UserError(
            f"dataset.environment={shown(environment)} is no environment; it is {{_target_: NAME}}, such as "
            "ltsweep.data.CartPole"
        )
    return Episodes(environment, **settings)
