"""A saved ticket on another problem: its bits, counts, head and controls; refused where it does not fit."""

import itertools
import json
import math
import os
import shutil
import textwrap
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from ltsweep.cluster.local import compute
from ltsweep.command import register_resolvers
from ltsweep.errors import UserError
from ltsweep.grid.cell import from_config
from ltsweep.init import draw, xavier_normal
from ltsweep.lottery import loop
from ltsweep.run.build import make
from ltsweep.run.dense import dense_key
from ltsweep.run.prepare import prepare
from ltsweep.run.settings import Settings
from ltsweep.store.records import CellRecords

SMALL = ("dataset=digits", "model=mlp", "model.hidden=[20,12]", "iterations=6", "evaluate_every=3", "batch_size=30")
TO = ("method=transfer", "levels=1", "optimizer=sgd")
EVERY = ("random_ticket", "reinit", "random_mask", "shuffle", "sign_constant", "frozen")
THREE = ("dataset._target_=three.three", "dataset.name=three", "dataset.num_classes=3", "dataset.validation=50")


@pytest.fixture(scope="module")
def cell(compose):
    register_resolvers()
    return lambda *overrides: from_config(compose(*SMALL, *overrides))


@pytest.fixture(scope="module")
def made(cell, tmp_path_factory):
    """Return a folder with the study multirun/source, and the key of its one cell: three levels and kept weights."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "three.py").write_text(
        textwrap.dedent(
            """
            from ltsweep.data import digits


            def three(data_dir, augment):
                every = digits(data_dir)
                one, other = every.train_y < 3, every.test_y < 3
                return type(every)(every.train_x[one], every.train_y[one], every.test_x[other], every.test_y[other])
            """
        )
    )
    one = cell("levels=3", "init=he_n", "seed=7", "method.rewind=4it")
    compute(prepare([one], settings_in(folder, "source")))
    return folder, one.key


@pytest.fixture
def source(made, tmp_path, monkeypatch):
    """Return the folder of the source's one cell, in a copy of the studies from which commands are run."""
    folder, key = made
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return Path("multirun/source") / key


def settings_in(folder, study, **more):
    return Settings(folder / "multirun" / study, folder, device="cpu", workers=1, stack_size=4, **more)


def run(cells, study="target", **more):
    found = compute(prepare(cells, settings_in(Path(), study, **more)))
    assert {status["status"] for status in found.values()} == {"done"}
    return [CellRecords(Path("multirun") / study, one.key) for one in cells]


def ticket(source, level=2):
    return f"method.ticket=source/{source.name}@{level}"


def rows_of(records, file="levels.parquet"):
    return pq.read_table(records.folder / file).to_pylist()


def counts(masks):
    return [int(mask.count_nonzero()) for mask in masks.values()]


def files(folder):
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_weights_and_the_mask_are_the_tickets_to_the_bit(source, cell, watched):
    before = files(source.parent)
    theirs = CellRecords(source.parent, source.name)
    (records,) = run([cell(*TO, ticket(source))])
    assert same(records.initial(), theirs.initial())
    assert same(records.masks(1), theirs.masks(2))
    dense, level = watched
    for name, value in theirs.initial().items():
        assert torch.equal(dense.params[name][0], value)
        assert torch.equal(level.params[name][0], value * theirs.masks(2).get(name, torch.tensor(1.0)))
    rows = rows_of(records)
    assert [row["layer_remaining"] for row in rows] == [[1280, 240, 120], counts(theirs.masks(2))]
    assert rows[1]["weights_remaining"] == sum(counts(theirs.masks(2)))
    assert files(source.parent) == before


def test_a_ticket_may_start_where_its_rewinding_started(source, cell):
    theirs = CellRecords(source.parent, source.name)
    first, late = run([cell(*TO, ticket(source)), cell(*TO, ticket(source), "method.step=4")])
    assert same(late.initial(), theirs.weights(0, 4))
    assert same(late.masks(1), first.masks(1))
    assert not same(late.initial(), first.initial())


def test_other_classes_draw_the_output_layer_anew_and_leave_it_whole(source, cell):
    theirs = CellRecords(source.parent, source.name)
    cells = [cell(*TO, *THREE, ticket(source), f"seed={seed}") for seed in (0, 1)]
    for seed, records in enumerate(run(cells)):
        own, initial = draw(make(cells[0].config, "model"), xavier_normal, seed, "init"), records.initial()
        head = [name for name in initial if initial[name].shape != theirs.initial()[name].shape]
        assert len(head) == 2
        for name, value in initial.items():
            assert torch.equal(value, own[name] if name in head else theirs.initial()[name])
        masks, given = records.masks(1), theirs.masks(2)
        assert counts(masks) == [*counts(given)[:2], 3 * 12]
        assert all(torch.equal(mask, given[name]) for name, mask in masks.items() if name not in head)
        assert [row["layer_remaining"] for row in rows_of(records)] == [[1280, 240, 36], counts(masks)]


def test_every_control_has_the_tickets_counts_in_every_layer(source, cell):
    before = files(source.parent)
    theirs = CellRecords(source.parent, source.name)
    controls = f"method.controls=[{','.join(EVERY)}]"
    cells = [cell(*TO, *more, ticket(source), controls, "method.draws=2") for more in ((), THREE)]
    for head, records in zip((counts(theirs.masks(2))[2], 36), run(cells), strict=True):
        rows = [row for row in rows_of(records) if row["level"] == 1]
        assert {(row["arm"], row["draw"]) for row in rows} == {("ticket", 0), *itertools.product(EVERY, (0, 1))}
        assert all(row["layer_remaining"] == [*counts(theirs.masks(2))[:2], head] for row in rows)
        assert len({row["final_test_loss"] for row in rows}) > 6  # each is a network of its own
    assert files(source.parent) == before


def test_a_stopped_transfer_goes_on_to_the_same_bits(source, cell, monkeypatch):
    def cells():
        return [cell(*TO, *THREE, ticket(source), f"seed={seed}", "method.controls=[random_ticket]") for seed in (0, 1)]

    whole = run(cells(), "whole")
    train = loop.train_level
    for stop in (2, 5, 8, 12):  # events: a level has three evaluations, and a checkpoint after each step but its last
        left = [stop]

        def stopped(*given, left=left):
            for event in train(*given):
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
                yield event

        monkeypatch.setattr(loop, "train_level", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(cells(), f"stopped{stop}", checkpoint_every=0.0)
        monkeypatch.setattr(loop, "train_level", train)
        for one, other in zip(run(cells(), f"stopped{stop}"), whole, strict=True):
            for file in ("evaluations.parquet", "levels.parquet"):
                mine, others = ([{**row, "seconds": 0} for row in rows_of(each, file)] for each in (one, other))
                assert mine == others
            for file in ("init.safetensors", "level_01.safetensors"):
                assert (one.folder / "tickets" / file).read_bytes() == (other.folder / "tickets" / file).read_bytes()


def test_the_key_is_of_what_the_ticket_holds(source, cell, compose):
    first = cell(*TO, ticket(source))
    assert first.key != cell(*TO, ticket(source, 1)).key
    assert first.key == cell(*TO, ticket(source), "method.controls=[reinit]").key
    mask = source / "tickets/level_02.safetensors"
    os.utime(mask)
    assert cell(*TO, ticket(source)).key == first.key
    other = cell("levels=2", "seed=8", "init=he_n", "method.rewind=4it")
    run([other], "other")
    shutil.rmtree(source)  # another ticket by the same name
    shutil.copytree(Path("multirun/other") / other.key, source)
    status = json.loads((source / "status.json").read_text())
    renamed = {name: value for name, value in status.items() if name not in ("key", "sha256")}
    (source / "status.json").write_text(json.dumps(renamed))
    assert cell(*TO, ticket(source)).key != first.key
    with pytest.raises(
        UserError, match=r"^method\.ticket=source/.{16}@2 is not what it was: its SHA-256 is "
    ) as refused:
        prepare([first], settings_in(Path(), "target"))
    assert first.config["method"]["ticket_sha256"] in str(refused.value)
    assert not Path("multirun/target").exists()


def test_a_transfer_shares_its_level_0_with_no_other_method(source, cell):
    plain, moved = cell("levels=1", "seed=7", "init=he_n", "optimizer=sgd"), cell(*TO, ticket(source))
    assert dense_key(moved) is None is not dense_key(plain)
    for records in run([plain, moved]):
        assert "dense_of" not in records.status()


def test_a_study_is_found_from_elsewhere_too(source, cell, tmp_path, monkeypatch):
    one = cell(*TO, ticket(source))
    monkeypatch.chdir("/")
    compute(prepare([one], settings_in(tmp_path, "target")))
    assert CellRecords(tmp_path / "multirun/target", one.key).status()["status"] == "done"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("null", "method.ticket=null is no ticket: it is <study>/<key>@<level>, such as "),
        ("7", "method.ticket=7 is no ticket"),
        ("source/KEY", "method.ticket=source/KEY is no ticket"),
        ("../multirun/source/KEY@2", "method.ticket=../multirun/source/KEY@2 is no ticket"),
        ("/tmp/KEY@2", "method.ticket=/tmp/KEY@2 is no ticket"),
        ("../KEY@2", "method.ticket=../KEY@2 is no ticket"),
        ("none/KEY@2", "method.ticket=none/KEY@2: there is no study multirun/none"),
        ("source/0123456789abcdef@2", "multirun/source has no cell 0123456789abcdef; python -m ltsweep.study ls "),
        ("source/KEY@0", "cell KEY has no mask of level 0; its levels with a mask are 1 to 4"),
        ("source/KEY@5", "cell KEY has no mask of level 5; its levels with a mask are 1 to 4"),
    ],
)
def test_a_name_of_no_ticket_is_one_line(source, cell, name, says):
    with pytest.raises(UserError) as refused:
        cell(*TO, f"method.ticket={name.replace('KEY', source.name)}")
    assert says.replace("KEY", source.name) in str(refused.value)
    assert "\n" not in str(refused.value)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    facts = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


BREAK = {
    "a flipped bit in the mask": lambda folder: flip(folder / "tickets/level_02.safetensors"),
    "a flipped bit in the weights": lambda folder: flip(folder / "tickets/init.safetensors"),
    "no mask": lambda folder: (folder / "tickets/level_02.safetensors").unlink(),
    "half of the weights": lambda folder: os.truncate(folder / "tickets/init.safetensors", 99),
    "no status": lambda folder: (folder / "status.json").unlink(),
    "a torn status": lambda folder: os.truncate(folder / "status.json", 99),
    "a pipe": lambda folder: [(folder / "status.json").unlink(), os.mkfifo(folder / "status.json")],
    "a link": lambda folder: [folder.rename("aside"), folder.symlink_to(Path("aside").absolute())],
}


@pytest.mark.parametrize("how", BREAK)
def test_a_broken_ticket_is_one_line_before_any_work(source, cell, how):
    BREAK[how](source)
    with pytest.raises(UserError) as refused:
        prepare([cell(*TO, ticket(source))], settings_in(Path(), "target"))
    assert str(source) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not Path("multirun/target").exists()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model.hidden=[20,13]"], "its fc2.weight is float32 of shape [12, 20], and here float32 of shape [13, 20]"),
        (["model.hidden=[20]"], "its output.weight is float32 of shape [10, 12], and here float32 of shape [10, 20]"),
        (["+model.prunable=['fc*.weight']"], "output.weight can be pruned there alone"),
        (["levels=2"], "levels=2: method=transfer has two, 0 the dense network and 1 the ticket; add levels=1"),
        (["method.step=5"], "did not keep the weights of its dense network there; it kept those after 4"),
        (["method.step=a"], "method.step=a: cell "),
        (
            ["+method.score=snip"],
            "method=transfer prunes nothing, so it takes neither method.score nor method.remaining",
        ),
        (["+method.surprise=1"], "unexpected keyword argument 'surprise'"),
        (["+method.source=1"], "method.source is read from the files of method.ticket, and not given"),
    ],
)
def test_a_ticket_of_another_network_is_one_line_before_any_work(source, cell, overrides, says):
    with pytest.raises(UserError) as refused:
        prepare([cell(*TO, ticket(source), *overrides)], settings_in(Path(), "target"))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not Path("multirun/target").exists()


def test_a_network_of_other_layers_is_one_line(source, compose):
    one = from_config(compose("dataset=digits", "model=lenet5", *TO, ticket(source)))
    with pytest.raises(UserError, match=r"its conv1\.weight is absent, and here float32 of shape "):
        prepare([one], settings_in(Path(), "target"))


def test_a_source_without_kept_weights_says_so(source, cell):
    (plain,) = run([cell("levels=1")], "plain")
    with pytest.raises(UserError, match=r"; it kept none$"):
        cell(*TO, f"method.ticket=plain/{plain.folder.name}@1", "method.step=4")
    assert math.isfinite(rows_of(plain)[0]["final_test_loss"])
