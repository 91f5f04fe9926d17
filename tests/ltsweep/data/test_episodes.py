"""Advantage actor-critic on episodes: its loss by plain loops over games, and its games in a stack."""

import dataclasses
import functools
import math

import gymnasium
import numpy as np
import pytest
import torch

from ltsweep.data.environments import Acrobot, CartPole
from ltsweep.data.episodes import Episodes, advantages, chosen
from ltsweep.engine import train as train_module
from ltsweep.engine.look import Look, Stage
from ltsweep.engine.problem import Draws, Part
from ltsweep.engine.stack import Forward, Network
from ltsweep.engine.train import Group, scored, snapshot, train
from ltsweep.engine.trained import MaskedWeights
from ltsweep.errors import UserError
from ltsweep.grid.cell import from_config
from ltsweep.init import draw, pytorch_default
from ltsweep.models import mlp
from ltsweep.optim import constant
from ltsweep.prune import layers_of
from ltsweep.run import together
from ltsweep.run.build import check_outputs, load_data

CPU = torch.device("cpu")
MODEL = mlp((4,), 3, (24, 16))
SWING = mlp((6,), 4, (8,))
ADAM = functools.partial(torch.optim.Adam, fused=True)

CART = Episodes(
    CartPole(),
    limit=200,
    horizon=4,
    discount=0.99,
    trace=0.95,
    entropy=0.01,
    value=0.5,
    reward_scale=0.01,
    updates=10,
    episodes=20,
)


def started(problem, seeds, model=MODEL, batch_size=32, share=1.0, networks=1):
    """Return a network, its state as a level starts with a share of its weights, and the draws of a cell a seed."""
    network, cells = Network(model), [Draws(seed, 0, 10, networks) for seed in seeds]
    weights = [draw(model, pytorch_default, seed) for seed in seeds for _ in range(networks)]
    rng = torch.Generator().manual_seed(0)
    mask = {layer.name: (torch.rand(layer.shape, generator=rng) < share).float() for layer in layers_of(model)}
    state = network.stack(weights, [mask] * len(weights), CPU)
    state.memory.update(problem.memory(cells, batch_size))
    return network, state, cells


def steps(problem, network, state, cells, count, first=0, saved=None, batch_size=32, lr=0.01):
    """Train, and yield the steps done and the optimizer."""
    groups = [Group(slice(0, sum(cell.networks for cell in cells)), functools.partial(constant, value=lr), {})]
    order = problem.batches(cells, batch_size, first)
    yield from train(network, MaskedWeights(network), state, problem, order, ADAM, groups, count, first, saved)


def trained(*arguments, **named):
    """Train to the end, and return a copy of the last snapshot."""
    for _, optimizer in steps(*arguments, **named):
        last = optimizer
    return {name: value.clone() for name, value in snapshot(arguments[1], arguments[2], last).items()}


def loss_by_loops(problem, weights, memory, u):
    """Return the loss of one network, and its memory after: one game after the other, one number at a time.

    weights: name -> array. memory: of this network. u: (T, N, 5). The games are gymnasium's.
    """
    layers = [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in ("fc1", "fc2", "output")]
    oracle = gymnasium.make("CartPole-v1").unwrapped

    def outputs(state):
        value = np.asarray(state, dtype=np.float64)
        for number, (weight, bias) in enumerate(layers):
            value = weight @ value + bias
            value = np.maximum(value, 0) if number < 2 else value
        return value

    terms, after, kinds = [], [], set()
    for game in range(u.shape[1]):
        state, age = memory["state"][game], int(memory["age"][game])
        earned, last, ended = float(memory["earned"][game]), float(memory["last"][game]), 0
        played = []  # delta, value, log pi(a), H, whether the episode is over
        for t in range(u.shape[0]):
            out = outputs(state)
            pi = np.exp(out[:2]) / np.exp(out[:2]).sum()
            action = 0 if u[t, game, 0] < pi[0] else 1
            oracle.reset()
            oracle.state = np.asarray(state, dtype=np.float64)
            _, reward, fell, _, _ = oracle.step(action)
            age, earned = age + 1, earned + reward
            over = fell or age >= problem.limit
            kinds.add((fell, over))
            bootstrap = 0.0 if fell else outputs(oracle.state)[2]
            delta = problem.reward_scale * reward + problem.discount * bootstrap - out[2]
            played.append((delta, out[2], math.log(pi[action]), -float(pi @ np.log(pi)), over))
            state = oracle.state
            if over:
                ended, last, age, earned = ended + 1, earned, 0, 0.0
                state = 0.1 * u[t, game, 1:] - 0.05
        after.append((state, age, earned, last, ended))

        def advantage(t, played=played):
            delta, *_, over = played[t]
            if over or t + 1 == len(played):
                return delta
            return delta + problem.discount * problem.trace * advantage(t + 1)

        for t, (_, value, log_pi, entropy, _) in enumerate(played):
            gain, target = advantage(t), value + advantage(t)
            # Gain and target are numbers: what is differentiated is -log pi, V and H.
            terms.append(-log_pi * gain + problem.value * (value - target) ** 2 - problem.entropy * entropy)
    return np.mean(terms), after, kinds


@pytest.mark.parametrize("trace", [0.0, 0.9, 1.0])
def test_the_loss_is_that_of_plain_loops(trace):
    """Over games that go on, that fall, and that reach their limit; each in three networks of its own."""
    problem = dataclasses.replace(CART, limit=6, trace=trace)
    network, state, cells = started(problem, (0, 1, 2), batch_size=48)
    memory = state.memory
    rng = torch.Generator().manual_seed(1)
    memory["age"].copy_(torch.randint(0, 5, memory["age"].shape, generator=rng))
    memory["earned"].copy_(memory["age"])
    memory["state"][..., 2] = 0.2 * (2 * torch.rand(memory["age"].shape, generator=rng) - 1)
    memory["state"][..., 3] = 2 * memory["state"][..., 2].sign()
    (u,) = next(problem.batches(cells, 48))
    assert u.shape == (3, 4, 12, 5)
    before = {name: value.clone().numpy() for name, value in memory.items()}
    found = problem.loss(Forward(network, state.params, {}, training=True), memory, (u,))
    for c in range(3):
        weights = {name: value[c].double().numpy() for name, value in state.params.items()}
        own = {name: value[c] for name, value in before.items()}
        expected, after, kinds = loss_by_loops(problem, weights, own, u[c].double().numpy())
        assert kinds == {(False, False), (True, True), (False, True)}
        assert found[c].item() == pytest.approx(expected, rel=1e-5, abs=1e-7)
        states, ages, earned, last, ended = zip(*after, strict=True)
        assert np.allclose(memory["state"][c], states, atol=1e-5)
        assert memory["age"][c].tolist() == list(ages)
        assert memory["earned"][c].tolist() == list(earned)
        np.testing.assert_array_equal(memory["last"][c], last)
        assert (memory["games"][c].item(), memory["steps"][c].item()) == (sum(ended), 48)
    assert torch.equal(memory["loss"], found)


def test_the_gradient_is_that_of_the_policy_and_the_value_alone():
    """Advantage and target are numbers: against a loss that is written with these numbers."""
    network, state, cells = started(CART, (3,))
    leaves = {name: value.clone().requires_grad_() for name, value in state.params.items()}
    (u,), start = next(CART.batches(cells, 32)), {name: value.clone() for name, value in state.memory.items()}
    CART.loss(Forward(network, leaves, {}, training=True), state.memory, (u,)).sum().backward()
    weights = {name: value[0].double().requires_grad_() for name, value in state.params.items()}
    total, games = 0.0, 8
    for game in range(games):
        now, played = start["state"][0, game], []
        for t in range(4):
            outputs = functional(weights, now.double())
            action = chosen(outputs[:2].detach().float(), u[0, t, game, 0])
            now, reward, fell = CART.environment.step(now, action)
            after = functional(weights, now.double())[2].item()
            played.append((outputs, action, 0.01 * reward.item() + 0.99 * after * (not fell) - outputs[2].item(), fell))
        assert not any(fell for *_, fell in played)  # so early in a game
        for t, (outputs, action, *_) in enumerate(played):
            gain = sum((0.99 * 0.95) ** k * played[t + k][2] for k in range(4 - t))
            log_pi = outputs[:2].log_softmax(0)
            target = outputs[2].item() + gain
            total = total - log_pi[action] * gain + 0.5 * (outputs[2] - target) ** 2
            total = total + 0.01 * (log_pi.exp() * log_pi).sum()
    (total / (4 * games)).backward()
    for name, leaf in leaves.items():
        torch.testing.assert_close(leaf.grad[0].double(), weights[name].grad, rtol=1e-4, atol=1e-7)


def functional(weights, x):
    for name in ("fc1", "fc2"):
        x = (weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]).relu()
    return weights["output.weight"] @ x + weights["output.bias"]


def test_advantages_stop_at_an_end_and_bootstrap_at_a_limit():
    """One game of three steps; values 1, 2, 4 and 8, no reward, discount 1/2. By hand."""
    values, after = torch.tensor([[[1.0], [2.0], [4.0]]]), torch.tensor([[[2.0], [4.0], [8.0]]])
    no, rewards = torch.zeros(1, 3, 1, dtype=torch.bool), torch.zeros(1, 3, 1)
    second = no.clone()
    second[0, 1] = True

    def found(fell, over, trace):
        return advantages(rewards, values, after, fell, over, 0.5, trace).flatten().tolist()

    assert found(no, no, 0.0) == found(no, no, 1.0) == [0.0, 0.0, 0.0]
    assert found(second, second, 0.0) == [0.0, -2.0, 0.0]
    assert found(second, second, 1.0) == [-1.0, -2.0, 0.0]
    assert found(no, second, 1.0) == [0.0, 0.0, 0.0]
    after[0, 2] = 10
    assert found(no, no, 1.0) == [0.25, 0.5, 1.0]
    assert found(no, second, 1.0) == [0.0, 0.0, 1.0]


def test_actions_are_drawn_by_their_probabilities():
    logits = torch.tensor([0.1, 0.2, 0.7]).log()
    u = torch.linspace(0, 1, 100_001)[:-1]
    drawn = chosen(logits.expand(len(u), 3), u)
    assert drawn.bincount().tolist() == pytest.approx([10_000, 20_000, 70_000], abs=2)
    assert bool((drawn.diff() >= 0).all())
    assert chosen(torch.tensor([math.nan] * 3), torch.tensor(0.5)) in (0, 1, 2)


@pytest.fixture(scope="module")
def whole():
    """Return the snapshot after 20 updates of three pruned networks, and the state at step 9."""
    network, state, cells = started(CART, (0, 1, 2), share=0.6)
    for step, optimizer in steps(CART, network, state, cells, 20):
        if step == 9:
            middle = {name: value.clone() for name, value in snapshot(network, state, optimizer).items()}
        for name, mask in state.masks.items():
            assert not state.params[name][mask == 0].any()
    return {name: value.clone() for name, value in snapshot(network, state, optimizer).items()}, middle


def test_an_update_is_replayed_to_the_bit(whole, monkeypatch):
    calls, call = [], Network.__call__
    monkeypatch.setattr(Network, "__call__", lambda *args, **how: (calls.append(0), call(*args, **how))[1])
    replayed = trained(CART, *started(CART, (0, 1, 2), share=0.6), 20)
    assert len(calls) == 2 * 6  # the first as written, the second recorded: of four steps, what they reached, and all
    monkeypatch.setattr(train_module, "replayed", train_module.as_written)
    written = trained(CART, *started(CART, (0, 1, 2), share=0.6), 20)
    assert len(calls) == 2 * 6 + 20 * 6
    for name, value in whole[0].items():
        assert torch.equal(value, written[name]), name
        assert torch.equal(value, replayed[name]), name


def test_a_level_goes_on_from_a_snapshot_to_the_bit(whole):
    ended, middle = whole
    network, state, cells = started(CART, (0, 1, 2), share=0.6)
    again = trained(CART, network, state, cells, 20, first=9, saved=middle)
    assert again.keys() == ended.keys()
    for name, value in ended.items():
        assert torch.equal(value, again[name]), name
    assert {name for name in ended if name.startswith("memory/")} == {
        f"memory/{name}" for name in ("state", "age", "earned", "last", "steps", "games", "loss")
    }
    assert ended["memory/steps"].tolist() == [20 * 32] * 3


def test_a_network_plays_alone_as_in_a_stack(whole):
    for c in range(3):
        alone = trained(CART, *started(CART, (c,), share=0.6), 20)
        for name, value in whole[0].items():
            if name.startswith(("params", "memory")):
                torch.testing.assert_close(value[c], alone[name][0], rtol=1e-3, atol=1e-4, equal_nan=True)


def test_tickets_and_controls_share_their_numbers_and_twins_do_not():
    draws = Draws(5, 1, 10, 3, orders=("", "", "twin/0"))
    (u,), memory = next(CART.batches([draws], 32)), CART.memory([draws], 32)
    assert torch.equal(u[0], u[1])
    assert not torch.equal(u[0], u[2])
    assert torch.equal(memory["state"][0], memory["state"][1])
    assert not torch.equal(memory["state"][0], memory["state"][2])
    (later,) = next(CART.batches([dataclasses.replace(draws, level=2)], 32))
    assert not torch.equal(u[0], later[0])


def test_an_evaluation_plays_the_same_episodes_again():
    network, state, cells = started(CART, (0, 1), networks=2)
    forward = scored(network, MaskedWeights(network), state)
    found = CART.evaluate(forward, state.memory, cells, ("train", "val", "test"))
    assert found.keys() == {"train_loss", "train_return", "val_return", "test_return", "steps", "games"}
    assert all(math.isnan(value) for value in found["train_return"])  # before any game is finished
    assert all(math.isfinite(value) for value in found["train_loss"])  # and before any update
    assert found["steps"] == found["games"] == [0, 0, 0, 0]
    for split in ("val", "test"):
        first, second, third, fourth = found[f"{split}_return"]
        assert first == second  # of equal weights
        assert third == fourth != first
    assert found["val_return"] != found["test_return"]
    elsewhere = [dataclasses.replace(cell, level=7) for cell in cells]
    assert CART.evaluate(forward, state.memory, elsewhere, ("test",))["test_return"] == found["test_return"]
    none = CART.evaluate(forward, state.memory, [dataclasses.replace(cell, validation=0) for cell in cells], ("val",))
    assert all(math.isnan(value) for value in none["val_return"])


@pytest.mark.parametrize(
    ("name", "problem", "model", "action"),
    [
        ("CartPole-v1", dataclasses.replace(CART, episodes=60), MODEL, 1),
        ("Acrobot-v1", dataclasses.replace(CART, environment=Acrobot(), limit=150, episodes=30), SWING, 2),
    ],
)
def test_a_constant_policy_has_gymnasiums_mean_return(name, problem, model, action):
    network, state, cells = started(problem, (0,), model)
    for value in state.params.values():
        value.zero_()
    state.params["output.bias"][0, action] = 50
    forward = scored(network, MaskedWeights(network), state)
    (found,) = problem.evaluate(forward, state.memory, cells, ("test",))["test_return"]
    oracle, returns = gymnasium.make(name, max_episode_steps=problem.limit), []
    for seed in range(60):
        oracle.reset(seed=seed)
        total, ended = 0.0, False
        while not ended:
            _, reward, fell, limit, _ = oracle.step(action)
            total, ended = total + reward, fell or limit
        returns.append(total)
    spread = np.std(returns) * math.sqrt(1 / 60 + 1 / problem.episodes)
    assert abs(found - np.mean(returns)) <= 4 * spread


def test_a_hundred_and_fifty_updates_are_learned_from():
    """A player by chance holds the pole for some 20 steps."""
    network, state, cells = started(CART, (0, 1, 2), mlp((4,), 3, (64,)), batch_size=128)
    forward = scored(network, MaskedWeights(network), state)
    before = CART.evaluate(forward, state.memory, cells, ("test",))["test_return"]
    for _ in steps(CART, network, state, cells, 150, batch_size=128):
        pass
    after = CART.evaluate(forward, state.memory, cells, ("train", "test"))
    assert min(after["test_return"]) > 1.5 * max(before)
    assert np.mean(after["test_return"]) > 3 * np.mean(before)
    assert min(after["train_return"]) > 1.5 * max(before)
    assert all(math.isfinite(value) for value in after["train_loss"])


def test_a_network_that_diverges_leaves_its_neighbours(whole):
    network, state, cells = started(CART, (0, 1, 2), share=0.6)
    for value in state.params.values():
        value[1] = math.nan
    ended = trained(CART, network, state, cells, 20)
    for name, value in whole[0].items():
        if name.startswith(("params", "memory")):
            assert torch.equal(value[::2].nan_to_num(), ended[name][::2].nan_to_num()), name
    found = CART.evaluate(scored(network, MaskedWeights(network), state), state.memory, cells, ("train", "test"))
    assert [math.isfinite(value) for value in found["train_loss"]] == [True, False, True]
    assert all(math.isfinite(value) for value in found["test_return"])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("batch_size=130",), r"^batch_size=130 is not divisible by dataset\.horizon=4: "),
        (("validation=1001",), r"^validation=1001 is more than 1,000, the most episodes of dataset=cartpole$"),
        (("evaluate_train=false",), r"^evaluate_train=false: .* only true is allowed$"),
        (("evaluate_train=7",), r"^evaluate_train=7: .* only true is allowed$"),
        (("evaluate_test=7",), r"^evaluate_test=7: .* dataset\.episodes=7 plays so many$"),
        (("label_smoothing=0.1",), r"^label_smoothing=0\.1: dataset=cartpole has no labels to smooth$"),
        (("dataset.input_shape=[5]",), r"^dataset=cartpole: input_shape=\[5\] num_classes=3 are \[4\] and 3 by its "),
        (("dataset.num_classes=2",), r"^dataset=cartpole: .*num_classes=2 are \[4\] and 3 by its environment"),
        (("dataset.environment=pong",), r"^dataset\.environment=pong is no environment; .* ltsweep\.data\.CartPole$"),
        (("+dataset.augment=[flip]",), r"^dataset: .*augment"),
    ],
)
def test_what_games_have_not_is_one_line(compose, tmp_path, overrides, says):
    cell = from_config(compose("dataset=cartpole", "model=mlp", "batch_size=128", *overrides))
    with pytest.raises(UserError, match=says) as refused:
        load_data([cell], tmp_path)
    assert "\n" not in str(refused.value)


def test_games_are_not_divided_among_processes(compose, tmp_path, monkeypatch):
    grid = [from_config(compose("dataset=acrobot", "model=mlp", "batch_size=128"))]
    data = load_data(grid, tmp_path)
    together.check_together(grid, data)
    monkeypatch.setattr(together, "part", lambda: Part(0, 2))
    with pytest.raises(UserError, match=r"^dataset=acrobot: its games are not divided among torchrun's 2 processes; "):
        together.check_together(grid, data)


def test_the_yamls_are_the_published_games(compose, tmp_path):
    """With validation=0 too, where nothing is chosen by it."""
    for name, environment, limit in (("cartpole", CartPole, 200), ("acrobot", Acrobot, 500)):
        cell = from_config(compose(f"dataset={name}", "model=mlp", "batch_size=128", "validation=0"))
        (problem,) = load_data([cell], tmp_path).values()
        assert isinstance(problem.environment, environment)
        assert (problem.limit, problem.horizon, problem.reward_scale, problem.discount) == (limit, 4, 0.01, 0.99)
        check_outputs([cell])


def test_what_a_measurement_looks_at_is_each_observation_of_the_update():
    """Not the starts alone, of which there are as many as games: 2 games of 4 steps are 8 examples."""
    network, state, cells = started(CART, (0, 1))
    seen = Look(0, 0, state, [], Stage(network, CART, cells)).inputs(8)
    assert seen.shape == (2, 8, 4)
    assert len(seen[0].unique(dim=0)) == 8
