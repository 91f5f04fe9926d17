"""Environments: the dynamics of games as pure functions of tensors, any number of games at once.

Letters: S numbers of a state, O numbers of an observation; "..." any leading axes. All numbers are float32 and in SI
units; angles are radians. A time limit is no part of the dynamics.
"""

import math
from typing import ClassVar, Protocol

import torch
from torch import Tensor


class Environment(Protocol):
    """The dynamics of one kind of game."""

    starts: ClassVar[int]  # uniform numbers that a start takes
    inputs: ClassVar[int]  # numbers of an observation, O
    actions: ClassVar[int]  # they are the whole numbers below this one

    def reset(self, u: Tensor) -> Tensor:
        """Return the states in which games start, (..., S), by uniform numbers from 0 to 1, (..., starts)."""
        ...

    def step(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next states (..., S), the rewards (...), and whether the games have ended there, booleans (...).

        state: (..., S). action: int64 (...).
        """
        ...

    def observe(self, state: Tensor) -> Tensor:
        """Return what a player sees of states, (..., O)."""
        ...


class CartPole:
    """A pole on a cart that is pushed left (0) or right (1): Barto, Sutton & Anderson 1983, appendix, no friction.

    A state is the cart's place and speed, and the pole's angle from upright and its rate. Each step is rewarded by 1,
    the one too in which the pole falls beyond 12 degrees or the cart runs beyond 2.4 m.
    """

    starts: ClassVar[int] = 4
    inputs: ClassVar[int] = 4
    actions: ClassVar[int] = 2

    _gravity, _force, _seconds = 9.8, 10.0, 0.02
    _cart, _pole, _half = 1.0, 0.1, 0.5  # kg, kg, half the pole's length in m
    _track, _fallen = 2.4, math.radians(12)

    def reset(self, u: Tensor) -> Tensor:
        """Return states with each number between -0.05 and 0.05."""
        return 0.1 * u - 0.05

    def step(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Move all numbers by Euler's method, each at its rate before the step."""
        place, speed, angle, turn = state.unbind(-1)
        whole, moment = self._cart + self._pole, self._pole * self._half
        push = (self._force * (2 * action - 1) + moment * turn**2 * angle.sin()) / whole
        twist = (self._gravity * angle.sin() - angle.cos() * push) / (
            self._half * (4 / 3 - self._pole * angle.cos() ** 2 / whole)
        )
        rates = torch.stack([speed, push - moment * twist * angle.cos() / whole, turn, twist], dim=-1)
        moved = state + self._seconds * rates
        ended = (moved[..., 0].abs() > self._track) | (moved[..., 2].abs() > self._fallen)
        return moved, torch.ones_like(place), ended

    def observe(self, state: Tensor) -> Tensor:
        """Return the states themselves."""
        return state


class Acrobot:
    """Two links that hang from a bar, with a torque of -1, 0 or 1 at the joint between them: actions 0, 1 and 2.

    Sutton & Barto 1998, section 11.3: links of 1 kg and 1 m, their centres in the middle, moments of inertia 1. A state
    is the first link's angle from hanging, the second's from the first, and the two rates. Each step costs 1 but the
    last, in which the tip is more than 1 m above the bar.
    """

    starts: ClassVar[int] = 4
    inputs: ClassVar[int] = 6
    actions: ClassVar[int] = 3

    _gravity, _seconds = 9.8, 0.2
    _fastest = (4 * math.pi, 9 * math.pi)  # rad/s, beyond which rates are cut

    def reset(self, u: Tensor) -> Tensor:
        """Return states with each number between -0.1 and 0.1."""
        return 0.2 * u - 0.1

    def step(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Move the links by one step of the fourth-order Runge-Kutta method, under a constant torque."""
        torque, h = (action - 1).to(state.dtype), self._seconds
        k1 = self._rates(state, torque)
        k2 = self._rates(state + h / 2 * k1, torque)
        k3 = self._rates(state + h / 2 * k2, torque)
        k4 = self._rates(state + h * k3, torque)
        first, second, turn1, turn2 = (state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)).unbind(-1)
        limit1, limit2 = self._fastest
        whole = [(angle + math.pi).remainder(2 * math.pi) - math.pi for angle in (first, second)]
        moved = torch.stack([*whole, turn1.clamp(-limit1, limit1), turn2.clamp(-limit2, limit2)], dim=-1)
        ended = -first.cos() - (first + second).cos() > 1
        return moved, ended.to(state.dtype) - 1, ended

    def observe(self, state: Tensor) -> Tensor:
        """Return cosine and sine of each angle, and the two rates."""
        first, second, turn1, turn2 = state.unbind(-1)
        return torch.stack([first.cos(), first.sin(), second.cos(), second.sin(), turn1, turn2], dim=-1)

    def _rates(self, state: Tensor, torque: Tensor) -> Tensor:
        """Return the rates of change of states, (..., S), where m = l = I = 1 and the centres are at 1/2."""
        first, second, turn1, turn2 = state.unbind(-1)
        d1 = 3.5 + second.cos()
        d2 = 1.25 + second.cos() / 2
        phi2 = self._gravity / 2 * (first + second).sin()
        phi1 = phi2 + 1.5 * self._gravity * first.sin() - (turn2**2 / 2 + turn2 * turn1) * second.sin()
        twist2 = (torque + d2 / d1 * phi1 - turn1**2 / 2 * second.sin() - phi2) / (1.25 - d2**2 / d1)
        return torch.stack([turn1, turn2, -(d2 * twist2 + phi1) / d1, twist2], dim=-1)
