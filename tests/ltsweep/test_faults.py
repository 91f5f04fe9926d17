"""One test for each fault that tools before this one had."""

import functools

import pytest
import torch

from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import ACTIVATIONS, Network
from ltsweep.engine.train import Group, scored, train
from ltsweep.engine.trained import MaskedWeights
from ltsweep.grid import cell
from ltsweep.init import draw, xavier_uniform
from ltsweep.method import IMP
from ltsweep.prune import count, layers_of, prune_layerwise, remove_lowest, uniform

ADAM = functools.partial(torch.optim.Adam, fused=True)
SGD = functools.partial(torch.optim.SGD, momentum=0.9, fused=True)


def trained(model, data, make_optimizer, masks=None, decay=0.0, lr=0.01, steps=1):
    """Train one network and return its weights before, its weights at every yield, and its masks."""
    masks = masks or {layer.name: torch.ones(layer.shape) for layer in layers_of(model)}
    network = Network(model)
    state = network.stack([draw(model, xavier_uniform, 0)], [masks], torch.device("cpu"))
    before = {name: value[0].clone() for name, value in state.params.items()}
    order = data.batches([Draws(0, 0, 0, 1)], len(data.train_y))
    group = Group(slice(0, 1), lambda step, steps: lr, {"weight_decay": decay})
    after = []
    for _ in train(network, MaskedWeights(network), state, data, order, make_optimizer, [group], steps):
        after.append({name: value[0].clone() for name, value in state.params.items()})
    return before, after, masks


def half(model, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return {layer.name: (torch.rand(layer.shape, generator=rng) < 0.5).float() for layer in layers_of(model)}


def plain_gradients(model, weights, data):
    """Return the gradients of the mean training loss at these weights, by the stock module."""
    model.load_state_dict(weights)
    torch.nn.functional.cross_entropy(model(data.train_x), data.train_y).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("level", ["dense", "pruned"])
def test_negative_weights_are_trained_as_positive_ones_are(data, tiny, level):
    """Elsewhere the gradient was zeroed where weight < eps: negative weights were frozen, in the dense round too."""
    before, (after,), masks = trained(tiny, data, ADAM, half(tiny) if level == "pruned" else None)
    gradients = plain_gradients(tiny, before, data)
    for name, mask in masks.items():
        for sign in (-1, 1):
            chosen = (mask == 1) & (before[name].sign() == sign) & (gradients[name] != 0)
            assert int(chosen.sum()) > 5
            # Adam's first step is the rate, up or down, wherever there is a gradient
            moved = (after[name] - before[name]).abs()[chosen]
            torch.testing.assert_close(moved, torch.full_like(moved, 0.01), rtol=0.01, atol=0)


@pytest.mark.parametrize("make_optimizer", [ADAM, SGD], ids=["adam", "sgd"])
def test_removed_weights_are_exactly_zero_under_weight_decay_and_momentum(data, tiny, make_optimizer):
    """Elsewhere "frozen" weights had no gradient but still moved, walked by coupled weight decay under Adam."""
    _, after, masks = trained(tiny, data, make_optimizer, half(tiny), decay=0.1, lr=0.05, steps=20)
    assert len(after) == 20
    for weights in after:
        for name, mask in masks.items():
            assert torch.equal(weights[name] != 0, mask != 0)


def test_every_round_rewinds_to_the_same_weights_and_biases(make_program, make_member, run, watched):
    """Elsewhere rewinding aliased the saved tensors, so that biases were trained copies from the second round on."""
    program = make_program(levels=3)
    member = make_member(program, "a", lr=0.1)
    member.initial["fc.bias"].uniform_(-1, 1)
    saved = {name: value.clone() for name, value in member.initial.items()}
    run(program, [member])
    assert len(watched) == 4
    for level in watched:
        for name, value in saved.items():
            assert torch.equal(level.params[name][0], value * level.masks.get(name, [1])[0])
            assert not torch.equal(level.trained[name][0], value)
            assert torch.equal(member.initial[name], value)


def test_the_dense_round_is_trained_at_the_rate_of_the_later_rounds(make_program, make_member, run):
    """Elsewhere the dense round had another learning rate than the rounds it was compared with."""
    program = make_program(make_optimizer=torch.optim.SGD)
    rows = run(program, [make_member(program, "a", lr=0.03)]).rows("a")
    assert [(row["level"], row["lr"]) for row in rows] == [
        (level, rate) for level in range(3) for rate in (None, 0.03, 0.03, 0.03)
    ]


def test_the_last_epoch_is_scored(make_program, make_member, run, watched, tiny):
    """Elsewhere the model was scored before each epoch, so the last epoch's training never showed."""
    program = make_program(steps=9, steps_per_epoch=3, evaluate_every=3, levels=0)
    rows = run(program, [make_member(program, "a")]).rows("a")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    tiny.load_state_dict({name: value[0] for name, value in watched[0].trained.items()})
    logits = tiny(program.problem.test_x)
    loss = torch.nn.functional.cross_entropy(logits, program.problem.test_y).item()
    assert rows[-1]["test_loss"] == pytest.approx(loss, rel=1e-5)


def test_the_reported_accuracy_is_not_the_best_one_on_the_test_data(make_program, make_member, run):
    """Elsewhere the best test accuracy of all epochs was reported."""
    program = make_program(steps=40, evaluate_every=1, levels=3)
    # at a rate this high, accuracy on 23 examples goes up and down
    done = run(program, [make_member(program, key, seed=seed, lr=0.5) for seed, key in enumerate("abc")]).done
    flattered = 0
    for level in done.values():
        (summary,), rows = level.summaries, {row["iteration"]: row for row in level.evaluations}
        assert summary["final_test_accuracy"] == rows[40]["test_accuracy"]
        assert summary["best_test_accuracy"] == rows[summary["best_iteration"]]["test_accuracy"]
        assert summary["early_stop_test_accuracy"] == rows[summary["early_stop_iteration"]]["test_accuracy"]
        highest = max(row["test_accuracy"] for row in rows.values())
        flattered += highest > max(v for n, v in summary.items() if n.endswith("test_accuracy"))
    assert flattered > 0


def test_every_test_example_is_scored_and_divided_by(data, tiny, monkeypatch):
    """Elsewhere the loader dropped the last batch while the sum was divided by the size of the whole set."""
    monkeypatch.setitem(ACTIVATIONS, "cpu", 16 * 10)  # chunks of 10 of the 23 test examples
    weights = draw(tiny, xavier_uniform, 0)
    network = Network(tiny)
    state = network.stack(
        [weights], [{layer.name: torch.ones(layer.shape) for layer in layers_of(tiny)}], torch.device("cpu")
    )
    tiny.load_state_dict(weights)
    right = tiny(data.test_x).argmax(1)
    # labels that the network gets right on the last, smaller chunk alone, then everywhere
    wrong = (right + 1) % 3
    last = torch.cat([wrong[:20], right[20:]])
    for labels, accuracy in ((last, 3 / 23), (right, 1.0), (wrong, 0.0)):
        part = type(data)(data.train_x, data.train_y, data.test_x, labels)
        forward = scored(network, MaskedWeights(network), state)
        assert part.evaluate(forward, {}, [Draws(0, 0, 0, 1)])["test_accuracy"] == [accuracy]


def test_exactly_k_weights_go_where_the_kth_is_tied():
    """Elsewhere k + 1 weights were pruned, or all that tie with the k-th."""
    scores = torch.tensor([[0.5, 0.1, 0.5, 0.2, 0.5, 0.5, 0.9, 0.5, 0.8, 0.5]])
    for k in range(11):
        assert int(remove_lowest(scores, torch.ones(1, 10), [k]).sum()) == 10 - k
        assert int(remove_lowest(torch.full((1, 10), 0.5), torch.ones(1, 10), [k]).sum()) == 10 - k
    pruned = prune_layerwise({"w": torch.zeros(1, 300, 784)}, {"w": torch.ones(1, 300, 784)}, [{"w": 0.2}])
    assert int(pruned["w"].sum()) == 188_160


@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_batch_norm_is_never_pruned_and_its_statistics_are_rewound(
    make_program, make_member, run, watched, tiny_bn, scope
):
    """Elsewhere the gammas of batch norm were pruned, and its running statistics were not rewound."""
    program = make_program(tiny_bn, method=IMP(scope=scope), levels=4)
    initial = draw(tiny_bn, xavier_uniform, 0)
    for name in initial:
        if name.startswith("bn") and name.endswith("weight"):
            initial[name].fill_(1e-6)  # the smallest of all magnitudes
    initial["bn1.running_mean"].fill_(0.5)
    initial["bn1.running_var"].fill_(2.0)
    run(program, [make_member(program, "a", initial=initial, rates=0.5, lr=1e-8)])
    assert len(watched) == 5
    for level in watched:
        assert set(level.masks) == {"conv1.weight", "conv2.weight", "output.weight"}
        assert level.params["bn1.weight"].count_nonzero() == 4
        assert level.trained["bn2.weight"].count_nonzero() == 5
        assert level.buffers["bn1.running_mean"].tolist() == [[0.5] * 4]
        assert level.buffers["bn1.running_var"].tolist() == [[2.0] * 4]
        assert level.buffers["bn1.num_batches_tracked"].tolist() == [0]


@pytest.mark.parametrize("make_optimizer", [ADAM, SGD], ids=["adam", "sgd"])
def test_a_sparse_network_stays_sparse_while_its_removed_weights_have_gradients(data, tiny, make_optimizer):
    """Elsewhere the mask was not applied again after the optimizer's step, and the network was dense again."""
    masks = half(tiny)
    before, after, _ = trained(tiny, data, make_optimizer, masks, steps=3)
    gradients = plain_gradients(tiny, before, data)
    for name, mask in masks.items():
        # a step without the mask would move them
        assert int(((gradients[name] != 0) & (mask == 0)).sum()) > 5
        for weights in after:
            assert int(weights[name].count_nonzero()) == int(mask.sum())


def test_a_changed_default_is_another_cell(compose):
    """Elsewhere a run's name hashed what was not default, so a new default gave old results a new meaning."""
    config = compose("dataset=digits")
    plain = cell.from_config(config)
    config.batch_size = 128  # as if the YAML said so: no override on the command line
    changed = cell.from_config(config)
    assert changed.key != plain.key
    assert compose("dataset=digits", "batch_size=128") == config
    assert cell.from_config(compose("dataset=digits", "batch_size=60")).key == plain.key  # the default, spelled out
    assert plain.config["batch_size"] == 60


def test_a_pruning_rate_is_the_share_that_is_removed(compose, make_program, make_member, run):
    """Elsewhere prune_rate meant the share kept in one place and the share removed in another."""
    assert count(0.2, 100) == 20
    pruned = prune_layerwise({"w": torch.rand(1, 100)}, {"w": torch.ones(1, 100)}, [{"w": 0.2}])
    assert int(pruned["w"].sum()) == 80
    program = make_program(levels=3)
    rate = compose("dataset=digits", "prune_rate=uniform", "prune_rate.value=0.2").prune_rate.value
    rows = run(program, [make_member(program, "a", rates=uniform(program.layers, rate))]).rows("a")
    remaining = {row["level"]: row["weights_remaining"] for row in rows}
    assert remaining == {0: 228, 1: 154 + 29, 2: 123 + 23, 3: 98 + 18}


def test_a_seed_gives_the_initialization_and_controls_are_paired_with_their_ticket(
    make_program, make_member, run, watched
):
    """Elsewhere the initialization had no seed, and controls were trained apart, on other batches and masks."""
    program = make_program(method=IMP(controls=["reinit", "random_mask"]), levels=1)
    for _ in range(2):
        run(program, [make_member(program, "a", seed=4)])
        torch.rand(10)  # the global stream is nobody's
    run(program, [make_member(program, "a", seed=5)])
    first, again, other = watched[:2], watched[2:4], watched[4:]
    for name in ("fc.weight", "output.weight"):
        for one, two in zip(first, again, strict=True):
            assert torch.equal(one.params[name], two.params[name])
        assert int((first[0].params[name] == other[0].params[name]).sum()) == 0
    _, sparse = first
    ticket, reinit, random_mask = range(3)
    assert all(torch.equal(index[ticket], index[arm]) for index in sparse.batches for arm in (reinit, random_mask))
    assert torch.equal(sparse.held_out[ticket], sparse.held_out[reinit])
    assert torch.equal(sparse.held_out[ticket], sparse.held_out[random_mask])
    for mask in sparse.masks.values():
        assert torch.equal(mask[ticket], mask[reinit])
        assert mask[ticket].sum() == mask[random_mask].sum()
