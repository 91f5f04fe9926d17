"""The dynamics against gymnasium's, and what a step promises besides."""

import gymnasium
import numpy as np
import pytest
import torch

from ltsweep.data.environments import Acrobot, CartPole

KINDS = {"CartPole-v1": CartPole(), "Acrobot-v1": Acrobot()}

# Largest size of each number of a random state: some games end. At Acrobot's fastest, float32 is off by more than 1e-5.
SIZES = {"CartPole-v1": (2.6, 3.0, 0.25, 3.0), "Acrobot-v1": (np.pi, np.pi, 2 * np.pi, 4.5 * np.pi)}


def states(name, count, seed=0):
    """Return random states (count, S) as float32, and actions (count,)."""
    rng = np.random.default_rng(seed)
    sizes = np.array(SIZES[name])
    return rng.uniform(-sizes, sizes, (count, 4)).astype(np.float32), rng.integers(0, KINDS[name].actions, count)


@pytest.fixture(scope="module", params=KINDS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def oracle(name):
    return gymnasium.make(name).unwrapped


def test_a_step_is_gymnasiums(name, oracle):
    environment, (state, action) = KINDS[name], states(name, 3_000)
    moved, reward, ended = environment.step(torch.from_numpy(state), torch.from_numpy(action))
    seen = environment.observe(moved)
    assert seen.dtype == reward.dtype == moved.dtype == torch.float32
    for number in range(len(state)):
        oracle.reset()
        oracle.state = state[number].astype(np.float64)
        observation, paid, over, _, _ = oracle.step(int(action[number]))
        size = np.maximum(1, np.abs(observation))
        assert np.abs((seen[number].numpy() - observation) / size).max() < 1e-5
        assert (reward[number].item(), ended[number].item()) == (paid, over)
    assert 30 < ended.sum() < 2_900


def test_acrobots_rates_are_cut_as_gymnasiums():
    oracle, (state, action) = gymnasium.make("Acrobot-v1").unwrapped, states("Acrobot-v1", 300)
    state[:, 2:] *= 2
    rates = Acrobot().step(torch.from_numpy(state), torch.from_numpy(action))[0][:, 2:].numpy()
    for number in range(len(state)):
        oracle.reset()
        oracle.state = state[number].astype(np.float64)
        oracle.step(int(action[number]))
        assert np.abs(rates[number] - oracle.state[2:]).max() < 1e-3
    assert np.isclose(np.abs(rates), [4 * np.pi, 9 * np.pi]).sum(0).min() > 10


def test_games_start_as_gymnasiums(name, oracle):
    environment = KINDS[name]
    started = environment.reset(torch.linspace(0, 1, 41)[:, None].expand(-1, environment.starts))
    found = [oracle.reset(seed=seed) and np.array(oracle.state) for seed in range(300)]
    least, most = np.min(found), np.max(found)
    assert started.min() <= least < most <= started.max()
    assert started.max() - started.min() < 1.02 * (most - least)
    assert oracle.action_space.n == environment.actions
    assert oracle.observation_space.shape == (environment.inputs,) == environment.observe(started).shape[1:]


def test_leading_axes_change_no_bit(name):
    environment, (state, action) = KINDS[name], states(name, 24)
    state, action = torch.from_numpy(state), torch.from_numpy(action)
    flat = environment.step(state, action)
    folded = environment.step(state.view(2, 3, 4, -1), action.view(2, 3, 4))
    for left, right in zip(flat, folded, strict=True):
        assert torch.equal(left, right.reshape(left.shape))


def test_whole_games_of_cart_pole_have_gymnasiums_return():
    """Under a fixed policy, which pushes to where the pole leans."""
    environment, oracle = CartPole(), gymnasium.make("CartPole-v1").unwrapped
    u = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    state, going, returns = environment.reset(u), torch.ones(50, dtype=torch.bool), torch.zeros(50)
    while going.any():
        state, reward, ended = environment.step(state, (state[:, 2] > 0).long())
        returns, going = returns + reward * going, going & ~ended
    for start, expected in zip(environment.reset(u).double().numpy(), returns.tolist(), strict=True):
        oracle.reset()
        oracle.state, over, total = start, False, 0.0
        while not over:
            _, reward, over, _, _ = oracle.step(int(oracle.state[2] > 0))
            total += reward
        assert total == expected
    assert returns.min() < returns.max()
