import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from safetensors.torch import load_file

from ltsweep import records
from ltsweep.cell import SCHEMA, Cell
from ltsweep.errors import UserError
from ltsweep.folder import claim
from ltsweep.levels import Checkpoint, LevelDone
from ltsweep.method import IMP
from ltsweep.records import CellRecords, load_checkpoint, load_masks, save_checkpoint, save_masks

KEY = "0123456789abcdef"
CELL = Cell({"seed": 0, "levels": 2, "lr": {"name": "constant", "value": 0.1}}, KEY)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / KEY


@pytest.fixture
def finished(tmp_path, make_program, make_member, run):
    """Write two finished levels of a cell of three, and return its folder, what was saved, and what a run gave."""
    program = make_program(method=IMP(controls=["reinit"]), levels=2)
    member = make_member(program, KEY)
    done = run(program, [member]).done
    cell_records = CellRecords(tmp_path, KEY)
    cell_records.plan(CELL)
    cell_records.save_initial(member.initial)
    for level in (0, 1):
        cell_records.save_level(done[KEY, level], "running", None)
    return tmp_path / KEY, member.initial, done


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# -- masks


@given(
    st.dictionaries(
        st.sampled_from(["fc1.weight", "conv1.weight", "output.weight", "a", "z"]),
        npst.arrays("float32", npst.array_shapes(min_dims=1, max_dims=4, max_side=7), elements=st.sampled_from([0, 1])),
        min_size=1,
    )
)
def test_masks_come_back_as_they_were(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("masks") / "level_01.safetensors"
    masks = {name: torch.from_numpy(array) for name, array in arrays.items()}
    save_masks(masks, path)
    loaded = load_masks(path)
    assert set(loaded) == set(masks)
    for name, mask in masks.items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], mask)


@pytest.mark.parametrize("shape", [(1,), (8,), (9,), (300, 784), (3, 5, 7)])
def test_a_mask_takes_one_bit_a_weight(tmp_path, shape):
    path = tmp_path / "mask.safetensors"
    save_masks({"w": (torch.rand(shape) < 0.5).float()}, path)
    content = path.read_bytes()
    (header,) = struct.unpack("<Q", content[:8])
    assert header < 300
    assert len(content) - 8 - header == math.ceil(math.prod(shape) / 8)


def test_the_first_weight_is_the_highest_bit(tmp_path):
    path = tmp_path / "mask.safetensors"
    save_masks({"w": torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]])}, path)
    assert load_file(path)["w"].tolist() == [0b10000011, 0b10000000]


def test_masks_are_those_of_any_layout_in_memory(tmp_path):
    mask = (torch.rand(6, 5) < 0.5).float()
    save_masks({"w": mask.T.contiguous().T}, tmp_path / "mask.safetensors")
    assert torch.equal(load_masks(tmp_path / "mask.safetensors")["w"], mask)


def test_loaded_masks_keep_the_order_of_the_layers(tmp_path):
    """Ties in global pruning go by position over all layers, so a resumed cell must see them in the same order."""
    for i in range(5):
        names = [f"layer{(7 * i + 3 * j) % 10}.weight" for j in range(10)]
        assert len(set(names)) == 10
        save_masks({name: torch.ones(2) for name in names}, tmp_path / "masks.safetensors")
        assert list(load_masks(tmp_path / "masks.safetensors")) == names


# -- writing


def test_a_planned_cell_is_a_config_and_a_pending_status(tmp_path, folder):
    cell_records = CellRecords(tmp_path, KEY)
    assert cell_records.status() == {"status": "pending", "level": -1}
    assert not folder.exists()  # looking writes nothing
    cell_records.plan(CELL)
    assert files(folder) == {"config.yaml", "status.json"}
    assert yaml.safe_load((folder / "config.yaml").read_text()) == CELL.config
    status = cell_records.status()
    assert (status["status"], status["level"], status["levels"], status["key"]) == ("pending", -1, 2, KEY)
    assert cell_records.resume(1) is None


def test_planning_again_keeps_what_is_done(finished):
    folder, _, _ = finished
    CellRecords(folder.parent, KEY).plan(CELL)
    assert CellRecords(folder.parent, KEY).status()["level"] == 1


def test_a_finished_level_is_on_the_disk_as_it_was(finished):
    folder, initial, done = finished
    assert files(folder) == {
        "config.yaml", "status.json", "evaluations.parquet", "levels.parquet",
        "tickets/init.safetensors", "tickets/level_01.safetensors", "tickets/level_02.safetensors",
    }  # fmt: skip
    for name, kind in (("evaluations", "evaluations"), ("levels", "summaries")):
        rows = pq.read_table(folder / f"{name}.parquet").to_pylist()
        assert rows == [row for level in (0, 1) for row in getattr(done[KEY, level], kind)]
    saved = load_file(folder / "tickets/init.safetensors")
    assert set(saved) == set(initial)
    assert all(torch.equal(saved[name], value) for name, value in initial.items())
    for level in (1, 2):
        masks = load_masks(folder / f"tickets/level_{level:02d}.safetensors")
        assert all(torch.equal(masks[name], mask) for name, mask in done[KEY, level - 1].next_masks.items())
    status = json.loads((folder / "status.json").read_text())
    spent = [row["seconds"] for level in (0, 1) for row in done[KEY, level].summaries]  # each arm's own training
    assert (status["status"], status["level"], status["error"]) == ("running", 1, None)
    assert status["seconds"] == pytest.approx(sum(spent))
    assert len(spent) > 2


def test_every_field_of_a_row_reaches_the_disk(finished):
    folder, _, done = finished
    for name, kind in (("evaluations", "evaluations"), ("levels", "summaries")):
        assert set(pq.read_schema(folder / f"{name}.parquet").names) == set(getattr(done[KEY, 1], kind)[0])


def test_a_status_keeps_the_fields_not_given(tmp_path):
    cell_records = CellRecords(tmp_path, KEY)
    cell_records.plan(CELL)
    cell_records.set_status("running", level=0, error="x", stack="abc")
    started = cell_records.status()["started"]
    cell_records.set_status("done")
    status = cell_records.status()
    assert (status["status"], status["level"], status["error"], status["stack"]) == ("done", 0, "x", "abc")
    assert status["started"] == started
    assert status["schema"] == SCHEMA


@pytest.mark.parametrize("moment", ["while writing", "before the move"])
def test_a_write_that_fails_leaves_the_old_file_whole_and_nothing_beside_it(finished, monkeypatch, moment):
    folder, _, done = finished
    before = {name: (folder / name).read_bytes() for name in files(folder)}

    def fail(*_, **__):
        raise OSError("disk full")

    if moment == "while writing":
        monkeypatch.setattr(records.pq, "write_table", lambda table, path: (path.write_bytes(b"half"), fail()))
    else:
        monkeypatch.setattr("os.fsync", fail)
    cell_records = CellRecords(folder.parent, KEY)
    cell_records.resume(2)
    with pytest.raises(OSError, match="disk full"):
        cell_records.save_level(done[KEY, 2], "running", None)
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before


def test_the_status_that_makes_a_level_count_is_written_last(finished, monkeypatch):
    folder, _, done = finished
    written, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (written.append(target.name), replace(self, target))[1])
    cell_records = CellRecords(folder.parent, KEY)
    cell_records.resume(1)
    cell_records.save_level(done[KEY, 1], "running", None)
    assert sorted(written) == ["evaluations.parquet", "level_02.safetensors", "levels.parquet", "status.json"]
    assert written[-1] == "status.json"


def test_forgetting_leaves_the_config_alone(finished):
    folder, _, _ = finished
    cell_records = CellRecords(folder.parent, KEY)
    cell_records.log("something")
    cell_records.forget()
    assert files(folder) == {"config.yaml"}
    assert cell_records.status() == {"status": "pending", "level": -1}
    assert cell_records.resume(1) is None


def test_the_log_grows(tmp_path, folder):
    folder.mkdir()
    for text in ("one", "two\n"):
        CellRecords(tmp_path, KEY).log(text)
    lines = (folder / "cell.log").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["one", "two"]


# -- resuming


def test_a_cell_goes_on_from_the_ticket_of_a_level(finished):
    folder, initial, done = finished
    cell_records = CellRecords(folder.parent, KEY)
    weights, masks = cell_records.resume(2)
    assert set(weights) == set(initial)
    assert all(torch.equal(weights[name], value) for name, value in initial.items())
    assert all(torch.equal(masks[name], mask) for name, mask in done[KEY, 1].next_masks.items())
    cell_records.save_level(done[KEY, 2], "running", None)
    rows = pq.read_table(folder / "evaluations.parquet").to_pylist()
    assert rows == [row for n in range(3) for row in done[KEY, n].evaluations]
    assert len(pq.read_table(folder / "levels.parquet")) == 1 + 2 + 2
    assert "tickets/level_03.safetensors" not in files(folder)


def test_rows_from_the_level_on_are_dropped(finished):
    """Killed after the rows were written and before the status was: the level is trained and written again."""
    folder, _, done = finished
    cell_records = CellRecords(folder.parent, KEY)
    _, masks = cell_records.resume(1)
    assert all(torch.equal(masks[name], mask) for name, mask in done[KEY, 0].next_masks.items())
    cell_records.save_level(done[KEY, 1], "running", None)
    for name, kind in (("evaluations", "evaluations"), ("levels", "summaries")):
        rows = pq.read_table(folder / f"{name}.parquet").to_pylist()
        assert rows == [row for n in (0, 1) for row in getattr(done[KEY, n], kind)]


NEEDED = ("evaluations.parquet", "levels.parquet", "tickets/init.safetensors", "tickets/level_02.safetensors")


def spoil(path, left):
    content = path.read_bytes()
    if left == "missing":
        path.unlink()
    else:
        path.write_bytes(b"\x00garbage" * 100 if left == "other" else content[: int(left * len(content))])


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("left", [0, 0.1, 0.5, 0.99, "missing", "other"])
def test_a_torn_file_cannot_be_gone_on_from_and_the_log_says_so(finished, name, left):
    folder, _, done = finished
    spoil(folder / name, left)
    cell_records = CellRecords(folder.parent, KEY)
    assert cell_records.resume(2) is None
    assert "level 2 cannot be gone on from" in (folder / "cell.log").read_text()
    cell_records.save_level(done[KEY, 0], "running", None)  # from the start: no row of before is kept
    assert pq.read_table(folder / "evaluations.parquet").to_pylist() == done[KEY, 0].evaluations


def test_rows_that_lack_a_finished_level_cannot_be_gone_on_from(finished):
    folder, _, _ = finished
    (folder / "tickets/level_02.safetensors").rename(folder / "tickets/level_03.safetensors")
    assert CellRecords(folder.parent, KEY).resume(3) is None


CHECKPOINT = Checkpoint(
    level=2,
    step=7,
    seconds=0.1,
    rows={"a": [{"arm": "ticket", "train_loss": 0.1, "val_loss": math.inf}], KEY: []},
    tensors={"params/w": torch.rand(3, 4, 5).mT, "optimizer/0/step": torch.tensor(7.0), "buffers/n": torch.arange(3)},
)


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    save_checkpoint(tmp_path, "stack", CHECKPOINT)
    found = load_checkpoint(tmp_path, "stack")
    assert (found.level, found.step, found.seconds, found.rows) == (2, 7, 0.1, CHECKPOINT.rows)
    assert list(found.rows) == list(CHECKPOINT.rows)
    assert set(found.tensors) == set(CHECKPOINT.tensors)
    for name, tensor in CHECKPOINT.tensors.items():
        assert torch.equal(found.tensors[name], tensor)
        assert found.tensors[name].dtype == tensor.dtype
    assert load_checkpoint(tmp_path, "other") is None


def test_a_checkpoint_with_rows_that_are_nan_comes_back(tmp_path):
    save_checkpoint(tmp_path, "stack", Checkpoint(0, 1, 0.0, {KEY: [{"val_loss": math.nan}]}, {"w": torch.ones(1)}))
    assert math.isnan(load_checkpoint(tmp_path, "stack").rows[KEY][0]["val_loss"])


@pytest.mark.parametrize("left", [0, 0.1, 0.5, 0.99, "missing", "other"])
def test_a_torn_checkpoint_is_none(tmp_path, left):
    save_checkpoint(tmp_path, "stack", CHECKPOINT)
    spoil(tmp_path / ".stacks/stack.safetensors", left)
    assert load_checkpoint(tmp_path, "stack") is None


def test_a_torn_status_reads_as_nothing_done_wherever_it_is_cut(finished):
    folder, _, _ = finished
    content = (folder / "status.json").read_bytes()
    for size in range(len(content) - 2):
        (folder / "status.json").write_bytes(content[:size])
        assert CellRecords(folder.parent, KEY).status() == {"status": "pending", "level": -1}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[]", b"3", b"null", b'{"status": "done"}', b'{"level": 3}'])
def test_a_status_of_something_else_reads_as_nothing_done(tmp_path, folder, content):
    folder.mkdir()
    (folder / "status.json").write_bytes(content)
    assert CellRecords(tmp_path, KEY).status() == {"status": "pending", "level": -1}
    CellRecords(tmp_path, KEY).plan(CELL)
    assert CellRecords(tmp_path, KEY).status()["levels"] == 2


def test_a_level_whose_loss_is_nan_can_be_read_back(tmp_path, finished):
    _, _, done = finished
    level = done[KEY, 0]
    bad = LevelDone(KEY, 0, [dict(level.evaluations[0], train_loss=math.nan)], level.summaries, level.next_masks, False)
    cell_records = CellRecords(tmp_path, "other")
    cell_records.plan(Cell(CELL.config, "other"))
    cell_records.save_level(bad, "running", None)
    (row,) = pq.read_table(tmp_path / "other/evaluations.parquet").to_pylist()
    assert math.isnan(row["train_loss"])
    assert row["test_loss"] == level.evaluations[0]["test_loss"]


# -- the claim on a study

HOLDER = """
import sys
from pathlib import Path
from ltsweep.folder import claim
with claim(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Return a process that holds a study until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "study")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_study_held_by_another_process_is_refused_and_free_when_that_process_dies(tmp_path, holder):
    study = tmp_path / "study"
    for _ in range(2):
        with (
            pytest.raises(UserError, match=rf"{study} is being computed by process {holder.pid} on ") as caught,
            claim(study),
        ):
            pass
        assert "\n" not in str(caught.value)
    with claim(tmp_path / "other"):
        pass
    holder.kill()
    holder.wait()
    with claim(study):
        assert f"process {os.getpid()}" in (study / ".owner").read_text()


def test_a_claim_ends_with_its_block_even_by_an_exception(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="inside"), claim(tmp_path / "study"):
            raise RuntimeError("inside")
    with claim(tmp_path / "study"), pytest.raises(UserError, match="is being computed by"), claim(tmp_path / "study"):
        pass


def test_a_refused_claim_does_not_take_the_holders_name_away(tmp_path):
    with claim(tmp_path):
        for _ in range(2):
            with pytest.raises(UserError, match=f"process {os.getpid()}"), claim(tmp_path):
                pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written .*study=NAME$"), claim(tmp_path / "file/study"):
        pass


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "3",
        "null",
        '"x"',
        '{"status": "done", "level": null}',
        '{"status": "done", "level": 3, "stack": {}}',
    ],
)
def test_a_foreign_status_reads_as_nothing_done(tmp_path, text):
    (tmp_path / KEY).mkdir()
    (tmp_path / KEY / "status.json").write_text(text)
    assert CellRecords(tmp_path, KEY).status() == {"status": "pending", "level": -1}
