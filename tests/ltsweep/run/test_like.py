"""Weights drawn like those of a finished cell: its bits, its moments, and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ltsweep.cluster.local import compute
from ltsweep.command import register_resolvers
from ltsweep.errors import UserError
from ltsweep.grid.cell import from_config
from ltsweep.init import Like, draw
from ltsweep.models import mlp
from ltsweep.run.prepare import prepare
from ltsweep.run.settings import Settings
from ltsweep.store.records import CellRecords

SMALL = ("dataset=digits", "model=mlp", "model.hidden=[40,12]", "iterations=6", "evaluate_every=3", "batch_size=30")
LAYERS = ("fc1.weight", "fc2.weight", "output.weight")


def settings_in(folder, study):
    return Settings(folder / "multirun" / study, folder, device="cpu", workers=1, stack_size=4)


@pytest.fixture(scope="module")
def cell(compose):
    register_resolvers()
    return lambda *overrides: from_config(compose(*SMALL, *overrides))


@pytest.fixture(scope="module")
def made(cell, tmp_path_factory):
    """Return a folder with the study multirun/source: a cell that kept its trained weights, and one that kept none."""
    folder = tmp_path_factory.mktemp("made")
    kept, none = cell("levels=1", "init=he_n", "method.rewind=6it"), cell("levels=0", "init=he_n", "seed=1")
    compute(prepare([kept, none], settings_in(folder, "source")))
    return folder, CellRecords(folder / "multirun/source", kept.key), none.key


@pytest.fixture
def like(made, cell, monkeypatch):
    """Return a function: level and fields -> a cell that draws like the source; commands are run in its folder."""
    folder, source, _ = made
    monkeypatch.chdir(folder)

    def like(level=0, *fields):
        name = f"init.source=source/{source.folder.name}@{level}"
        return cell("init=like", name, "levels=0", *fields)

    return like


def run(cells, study):
    found = compute(prepare(cells, settings_in(Path(), study)))
    assert {status["status"] for status in found.values()} == {"done"}
    return [CellRecords(Path("multirun") / study, one.key).initial() for one in cells]


def test_iid_draws_from_the_layer_shuffle_permutes_it_and_normal_has_its_moments(made, like):
    trained = made[1].weights(0, 6)
    cells = [like(0, f"init.draw={how}") for how in ("iid", "shuffle", "normal")]
    assert len({one.key for one in cells}) == 3
    iid, shuffled, normal = run(cells, "three")
    for name in LAYERS:
        values, n = trained[name].flatten(), trained[name].numel()
        assert torch.isin(iid[name], values).all()
        share = len(iid[name].unique()) / n  # with replacement 1 - 1/e of all are drawn
        assert share == pytest.approx(1 - np.exp(-1), abs=4 / np.sqrt(n))
        assert torch.equal(shuffled[name].flatten().sort().values, values.sort().values)
        assert not torch.equal(shuffled[name], trained[name])
        std = float(values.std())
        assert float(normal[name].mean()) == pytest.approx(float(values.mean()), abs=5 * std / np.sqrt(n))
        assert float(normal[name].std()) == pytest.approx(std, rel=5 / np.sqrt(2 * n))
        assert not torch.isin(normal[name], values).any()
    for weights in (iid, shuffled, normal):
        assert not any(value.any() for name, value in weights.items() if name.endswith("bias"))


def test_seeds_draw_other_weights_and_the_same_again(like):
    one, other = run([like(0, "seed=3"), like(0, "seed=4")], "seeds")
    (again,) = run([like(0, "seed=3")], "again")
    assert torch.equal(one["fc1.weight"], again["fc1.weight"])
    assert not torch.equal(one["fc1.weight"], other["fc1.weight"])


def test_of_a_later_level_the_weights_that_its_mask_leaves(made, like):
    source = made[1]
    (drawn,) = run([like(1, "method.controls=[reinit]", "levels=1")], "masked")
    for name in LAYERS:
        survivors = source.weights(0, 6)[name][source.masks(1)[name] > 0]
        assert torch.isin(drawn[name], survivors).all()


def test_the_same_are_the_weights_of_the_ticket_with_zeros_where_its_mask_has_none(made, like):
    source = made[1]
    begun, trained = run([like(1, "init.draw=same", "init.step=0"), like(0, "init.draw=same", "seed=7")], "same")
    for name in LAYERS:
        assert torch.equal(begun[name], source.initial()[name] * source.masks(1)[name])
        assert torch.equal(trained[name], source.weights(0, 6)[name])


def test_scores_are_trained_over_the_frozen_weights_of_a_ticket_alone(made, like):
    """Masked weights are zero, so that scores that are like them begin at zero and never move."""
    popup = ("method=edge_popup", "method.score_init=signed_like_weight", "method.remaining=[0.5,0.2]", "levels=2")
    cell = like(1, "init.draw=same", "init.step=0", *popup)
    run([cell], "popup")
    record = CellRecords(Path("multirun/popup"), cell.key)
    for level, share in ((1, 0.5), (2, 0.2)):
        found, ticket = record.masks(level), made[1].masks(1)
        for name in LAYERS:
            assert int(found[name].sum()) == round(share * found[name].numel())
            assert not (found[name] * (1 - ticket[name])).any()
    assert not torch.equal(record.masks(2)["fc1.weight"], record.masks(1)["fc1.weight"])


def test_the_key_is_of_what_the_source_holds(made, like):
    assert like(0).key != like(1).key
    assert like(0).config["init"]["source_sha256"] == like(0, "init.step=6").config["init"]["source_sha256"]


@pytest.mark.parametrize(
    ("level", "fields", "text"),
    [
        (3, (), r"init\.source=source/\w+@3: cell \w+ has no mask of level 3; its levels with a mask are 1 to 2"),
        (0, ("init.step=5",), r"init\.step=5: cell \w+ did not keep the weights .* there; it kept those after 6"),
        (0, ("init.draw=copy",), r"init\.draw=copy is out of range: init\.draw is one of iid, shuffle, normal, same"),
        (0, ("model.hidden=[30,12]",), r"init\.source=.* is of another network: its fc1\.weight is of shape \[40, "),
        (
            0,
            ("model.hidden=[40,12,5]",),
            r"init\.source=.* is of another network: its fc3\.weight is absent, and here of shape",
        ),
        (
            1,
            ("init.draw=shuffle",),
            r"init\.source=.* leaves \d+ of the 2560 weights of fc1\.weight, too few .* @0 has",
        ),
    ],
)
def test_what_cannot_be_drawn_is_one_line(like, level, fields, text):
    def ask():
        prepare([like(level, *fields)], settings_in(Path(), "refused"))

    with pytest.raises(UserError, match=f"^{text}") as caught:
        ask()
    assert "\n" not in str(caught.value)
    assert not Path("multirun/refused").exists()


def test_a_source_that_kept_no_trained_weights_and_one_that_is_none_are_refused(made, cell, like):
    with pytest.raises(UserError, match=r"^init\.source=.* kept no trained weights; a cell with method\.rewind=5ep"):
        cell("init=like", f"init.source=source/{made[2]}@0")
    with pytest.raises(UserError, match=r"^init\.source=null is no ticket: it is <study>/<key>@<level>"):
        cell("init=like")
    with pytest.raises(UserError, match=r"^init\.source=none/0123456789abcdef@0: there is no study"):
        cell("init=like", "init.source=none/0123456789abcdef@0")


def test_a_source_that_changed_is_refused(made, like):
    one = like(0)
    changed = {**one.config, "init": {**one.config["init"], "source_sha256": "0" * 64}}
    with pytest.raises(UserError, match=r"is not what it was: .* without init\.source_sha256 the command"):
        prepare([dataclasses.replace(one, config=changed)], settings_in(Path(), "refused"))


def test_a_layer_at_a_time_cannot_be_asked_of_it():
    with pytest.raises(UserError, match="layers of a whole network alone"):
        Like()((3, 2), torch.Generator())
    values = torch.tensor([1.0, 2.0])
    init = Like(weights={f"{name}.weight": ((1,), values) for name in ("fc1", "fc2", "output")}, draw="iid")
    drawn = draw(mlp((4,), 3, (5, 6)), init, 0, "init")
    assert set(drawn["fc2.weight"].unique().tolist()) == {1.0, 2.0}
