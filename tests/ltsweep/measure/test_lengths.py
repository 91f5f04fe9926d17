"""Length scales against plain loops, and their means over many networks against exact expectations."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import digamma
from scipy.stats import binom
from torch import nn

from ltsweep.engine.look import Look, Stage
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network
from ltsweep.errors import UserError
from ltsweep.init import draw, kaiming_normal, truncated_normal, xavier_normal
from ltsweep.measure.lengths import Lengths
from ltsweep.method import IMP
from ltsweep.models import mlp, residual_mlp

PIXELS = 49
he_normal = partial(kaiming_normal, gain="relu")


@pytest.fixture
def measured(make_data):
    """Return a function: a model, an init and networks -> name and place of a reading -> its values, (networks,)."""
    problem = make_data(shape=(1, 7, 7))

    def measured(model, init, networks, **fields):
        initial = [draw(model, init, seed, "init") for seed in range(networks)]
        network = Network(model)
        state = network.stack(initial, [{} for _ in initial], torch.device("cpu"))
        draws = [Draws(seed, 0, 0, 1) for seed in range(networks)]
        look = Look(0, 0, state, initial, Stage(network, problem, draws), arms=["ticket/0"])
        return {(one.name, one.at): one.values.numpy() for one in Lengths(**fields)(look)}

    return measured


@pytest.mark.parametrize("name", ["tiny", "tiny_bn"])
@pytest.mark.parametrize("inputs", ["real", "unit", "gaussian"])
def test_each_layer_is_the_mean_square_of_its_activations(request, name, inputs, make_program, make_member, run):
    """By a plain loop over networks, which takes the inputs from the stream of each cell."""
    model = request.getfixturevalue(name)
    given = {}

    class Noting(Lengths):
        def _inputs(self, look):
            given["x"] = super()._inputs(look)
            return given["x"]

    method = IMP(controls=["reinit"])
    program = make_program(
        model, method=method, levels=1, steps=0, evaluate_every=None, measurements={"l": Noting(inputs, 4)}
    )
    members = [make_member(program, "a"), make_member(program, "b", seed=1)]
    done = run(program, members).done
    places = [place for place in ("act", "act1", "act2") if hasattr(model, place)]
    for c, key in enumerate("ab"):
        rows = [row for row in done[key, 1].readings if row["arm"] == "ticket" and row["name"] == "length"]
        assert [(row["place"], row["at"]) for row in rows] == list(zip(["", *places], range(3), strict=False))
        own = copy.deepcopy(model).eval()
        masks = done[key, 0].next_masks
        own.load_state_dict({n: v * masks.get(n, 1) for n, v in members[c].initial.items()})
        x = given["x"][2 * c]  # the ticket and its control see the same
        assert torch.equal(x, given["x"][2 * c + 1])
        expected = [x.square().mean().item()]
        for number in range(len(own)):
            if list(own._modules)[number] in places:
                expected.append(own[: number + 1](x).square().mean().item())
        assert [row["value"] for row in rows] == pytest.approx(expected, rel=1e-5)
        (variance,) = [
            row["value"] for row in done[key, 1].readings if (row["arm"], row["name"]) == ("ticket", "length_variance")
        ]
        assert variance == pytest.approx(np.var(expected[1:]), rel=1e-4, abs=1e-12)
        if inputs == "real":
            data = program.problem.train_x.flatten(1)
            assert all((data == picture.flatten()).all(1).any() for picture in x)
        if inputs == "unit":
            assert x.flatten(1).norm(dim=1).tolist() == pytest.approx([1] * 4)
    assert not torch.equal(given["x"][0], given["x"][2])  # each cell has its own


def test_gaussian_inputs_have_mean_0_and_variance_1(measured):
    found = measured(mlp((1, 7, 7), 3, (4,)), he_normal, 200, inputs="gaussian")
    assert found["length", 0].mean() == pytest.approx(1, abs=5 * math.sqrt(2 / PIXELS / 200))


DEPTH, WIDTH, NETWORKS = 4, 25, 1000
CUT = 0.773741  # of the variance


@pytest.mark.parametrize(
    ("init", "mean"),
    [
        (he_normal, 1.0),
        (partial(truncated_normal, gain="relu"), CUT**DEPTH),
        (partial(truncated_normal, gain=1.6077448), 1.0),
        (kaiming_normal, 2.0**-DEPTH),
        (partial(kaiming_normal, gain=2.0), 2.0**DEPTH),
        (xavier_normal, PIXELS / (PIXELS + WIDTH) * 2.0 ** -(DEPTH - 1)),
    ],
    ids=["he", "he truncated", "he truncated, restored", "lecun", "he doubled", "xavier"],
)
def test_the_mean_over_networks_is_the_exact_expectation(measured, init, mean):
    """M^2 has the mean (1 + 5/n)^d, 2.1 here, so that 1,000 networks tell: 5 standard errors are 0.16 of the mean."""
    found = measured(mlp((1, 7, 7), 3, [WIDTH], depth=DEPTH), init, NETWORKS)
    growth = found["length", DEPTH] / found["length", 0]
    error = mean * math.sqrt(((1 + 5 / WIDTH) ** DEPTH - 1) / NETWORKS)
    assert growth.mean() == pytest.approx(mean, abs=5 * error)
    assert 5 * error < 0.17 * mean


def test_the_mean_of_the_log_is_that_of_its_chi_squares(measured):
    """Of n outputs k are active, binomially often, and their squares sum to chi^2 of k degrees of freedom."""
    n, depth, networks = 12, 20, 400
    found = measured(mlp((1, 7, 7), 3, [n], depth=depth), he_normal, networks)
    growth = found["length", depth] / found["length", 0]
    k = np.arange(1, n + 1)
    weights = binom.pmf(k, n, 0.5) / (1 - 0.5**n)
    log = math.log(2 / n) + math.log(2) + digamma(k / 2)
    mean = (weights * log).sum()
    alive = np.log(growth[growth > 0])
    assert np.log(growth[growth > 0]).mean() == pytest.approx(depth * mean, abs=5 * alive.std() / math.sqrt(networks))
    assert depth * mean < -4  # though the mean itself is 1
    dead = 1 - (1 - 0.5**n) ** depth
    assert (growth == 0).mean() == pytest.approx(dead, abs=5 * math.sqrt(dead / networks))


def test_a_residual_network_grows_as_a_simulation_of_its_recursion_does(measured):
    depth, units, b, networks = 8, 5, 0.75, 1000
    found = measured(residual_mlp((1, 7, 7), 3, depth, units=units, b=b), he_normal, networks)
    alive = found["length", 1] > 0  # of a first layer of five, one in 32 is dead
    growth = found["length", depth + 1][alive] / found["length", 1][alive]
    rng = np.random.default_rng(0)
    f = np.maximum(rng.normal(size=(50_000, units)), 0)
    f = f[(f > 0).any(1)]
    start = np.square(f).mean(1)
    for number in range(1, depth + 1):
        w = rng.normal(size=(len(f), units, units)) * math.sqrt(2 / units)
        f = f + b**number * np.maximum(np.einsum("cij,cj->ci", w, f), 0)
    simulated = np.square(f).mean(1) / start
    assert growth.mean() == pytest.approx(simulated.mean(), abs=5 * simulated.std() / math.sqrt(len(growth)))
    eta = b ** np.arange(1, depth + 1)
    least, most = (np.prod(1 + 2 * eta / math.sqrt(math.pi * n) + eta**2) for n in (units, 1))
    assert least < simulated.mean() < most


def test_a_network_in_a_stack_is_measured_as_alone(measured):
    model = mlp((1, 7, 7), 3, [20], depth=30)
    many, one = (measured(model, he_normal, networks) for networks in (7, 1))
    for name, values in one.items():
        assert many[name][:1] == pytest.approx(values, rel=1e-5)


def test_a_hundred_layers_neither_vanish_nor_overflow(measured):
    """2^-200 is no 32-bit float."""
    found = measured(mlp((1, 7, 7), 3, [8], depth=200, width=3), partial(kaiming_normal, gain=1.0), 2)
    assert (found["length", 200] > 0).all()
    assert (found["length", 200] < 1e-45).all()


class Unusual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(49, 4), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.act(self.act(self.first(x.flatten(1)))))


def test_layers_by_name_and_a_module_that_is_called_twice(measured):
    assert [at for name, at in measured(Unusual(), he_normal, 2) if name == "length"] == [0, 1, 2]
    lengths = Lengths(layers=["first", "l*"])
    assert lengths.places(Unusual()) == ["first", "last"]
    found = measured(Unusual(), he_normal, 2, layers=["first"])
    assert [at for name, at in found if name == "length"] == [0, 1]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"inputs": "all"}, "inputs=all is out of range: it is one of real, unit, gaussian"),
        ({"examples": 0}, "examples=0 is out of range"),
        ({"layers": []}, "layers=.* is out of range"),
        ({"layers": "act1"}, "layers=act1 is out of range"),
        ({"moments": ["later"]}, "moments=.* is out of range: it is a list of start, evaluation, end"),
    ],
)
def test_values_out_of_range_are_refused(fields, text):
    with pytest.raises(UserError, match=rf"^measure\.lengths\.{text}"):
        Lengths(**fields)


def test_a_layer_that_a_model_lacks_is_refused_with_the_nearest():
    with pytest.raises(
        UserError, match=r"^measure\.lengths\.layers: the model has no module frist; did you mean first\?"
    ):
        Lengths(layers=["frist"]).check(Unusual())
    with pytest.raises(UserError, match=r"name its layers, such as measure\.lengths\.layers=\[0\]$"):
        Lengths().check(nn.Sequential(nn.Linear(2, 2)))
