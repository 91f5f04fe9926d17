import dataclasses
import json
import math
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from ltsweep.errors import BrokenFileError, CannotWriteError, UserError
from ltsweep.grid.cell import Cell
from ltsweep.lottery.loop import LevelDone
from ltsweep.method.imp import IMP
from ltsweep.schema import FINISHED, READABLE, VERSION, ticket_file
from ltsweep.store import disk
from ltsweep.store.checkpoints import checkpoint_path, stack_name
from ltsweep.store.records import CellRecords, drop_unnamed
from ltsweep.store.repair import repair
from ltsweep.store.tables import as_parquet, rows_kept
from ltsweep.store.tickets import unpack

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
        save(cell_records, done[KEY, level], "running")
    return tmp_path / KEY, member.initial, done


def save(cell_records, done, status, **more):
    """Save a level as a stack does."""
    rows = {"evaluations": done.evaluations, "summaries": done.summaries, "next_masks": done.next_masks}
    arms = {f"{row['arm']}/{row['draw']}": done.level for row in done.summaries}
    cell_records.save_level(arms, status, None, **rows, **more)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


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
    assert cell_records.resume() is None


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
        masks = unpack(folder / ticket_file(level))
        assert all((masks[name] == mask.numpy()).all() for name, mask in done[KEY, level - 1].next_masks.items())
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
    cell_records.set_status("running", level=0, error="x", stack="abc" * 5 + "0")
    started = cell_records.status()["started"]
    cell_records.set_status("done")
    status = cell_records.status()
    assert (status["status"], status["level"], status["error"], status["stack"]) == ("done", 0, "x", "abc" * 5 + "0")
    assert status["started"] == started
    assert status["schema"] == VERSION


def test_a_write_that_fails_leaves_what_was_there_whole_and_nothing_beside_it(finished, no_room):
    folder, _, done = finished
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    cell_records = CellRecords(folder.parent, KEY)
    cell_records.resume()
    with (
        no_room(1000),
        pytest.raises(CannotWriteError, match=rf"^{folder}/evaluations.parquet cannot be written: File too large$"),
    ):
        save(cell_records, done[KEY, 2], "running")
    left = {name: (folder / name).read_bytes() for name in files(folder)}
    del left["tickets/level_03.safetensors"]  # written first, and counts with the status
    assert left == before
    save(cell_records, done[KEY, 2], "done")
    assert cell_records.status()["level"] == 2


def test_the_status_that_makes_a_level_count_is_written_last(finished, monkeypatch):
    folder, _, done = finished
    written, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (written.append(target.name), replace(self, target))[1])
    cell_records = CellRecords(folder.parent, KEY)
    cell_records.resume()
    save(cell_records, done[KEY, 2], "running")
    assert sorted(written) == ["evaluations.parquet", "level_03.safetensors", "levels.parquet", "status.json"]
    assert written[-1] == "status.json"


def test_forgetting_leaves_the_config_alone(finished):
    folder, _, _ = finished
    cell_records = CellRecords(folder.parent, KEY)
    cell_records.log("something")
    cell_records.forget()
    assert files(folder) == {"config.yaml"}
    assert cell_records.status() == {"status": "pending", "level": -1}
    assert cell_records.resume() is None


def test_the_log_grows(tmp_path, folder):
    folder.mkdir()
    for text in ("one", "two\n"):
        CellRecords(tmp_path, KEY).log(text)
    lines = (folder / "cell.log").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["one", "two"]


def test_a_log_that_is_a_second_name_of_another_file_leaves_that_as_it_is(tmp_path, folder):
    folder.mkdir()
    (tmp_path / "thesis.tex").write_text("three years of work\n")
    os.link(tmp_path / "thesis.tex", folder / "cell.log")
    for text in ("one", "two"):
        CellRecords(tmp_path, KEY).log(text)
    assert (tmp_path / "thesis.tex").read_text() == "three years of work\n"
    first, *lines = (folder / "cell.log").read_text().splitlines()
    assert first == "three years of work"
    assert [line.split("  ")[1] for line in lines] == ["one", "two"]
    assert files(folder) == {"cell.log"}


def test_a_checkpoint_is_dropped_by_the_record_of_its_own_stack_alone(tmp_path):
    keys = ["a" * 16, "b" * 16]
    name = stack_name(keys)
    path = checkpoint_path(tmp_path, name)
    path.parent.mkdir()
    path.touch()
    own = {"status": "done", "level": 2, "stack": name, "stack_keys": keys}
    for other in (own | {"stack_keys": ["c" * 16]}, own | {"stack_keys": []}, {"status": "done"}):
        drop_unnamed(tmp_path, [other])
        assert path.exists()
    drop_unnamed(tmp_path, [own])
    assert not path.exists()


# -- resuming


def test_a_cell_goes_on_from_the_ticket_of_a_level(finished):
    folder, initial, done = finished
    cell_records = CellRecords(folder.parent, KEY)
    weights, masks = cell_records.resume(), cell_records.masks(2)
    assert set(weights) == set(initial)
    assert all(torch.equal(weights[name], value) for name, value in initial.items())
    assert all(torch.equal(masks[name], mask) for name, mask in done[KEY, 1].next_masks.items())
    save(cell_records, done[KEY, 2], "running")
    rows = pq.read_table(folder / "evaluations.parquet").to_pylist()
    assert rows == [row for n in range(3) for row in done[KEY, n].evaluations]
    assert len(pq.read_table(folder / "levels.parquet")) == 1 + 2 + 2
    assert "tickets/level_03.safetensors" in files(folder)  # from which a longer run goes on


def test_rows_that_do_not_count_are_dropped(finished):
    """Killed after the rows were written and before the status was: the level is trained and written again."""
    folder, _, done = finished
    arms = {"ticket/0": 0}
    CellRecords(folder.parent, KEY).set_status("running", level=0, arms=arms)
    cell_records = CellRecords(folder.parent, KEY)
    cell_records.resume()
    assert cell_records.masks(2) is None
    assert all(torch.equal(cell_records.masks(1)[name], mask) for name, mask in done[KEY, 0].next_masks.items())
    save(cell_records, done[KEY, 1], "running")
    for name, kind in (("evaluations", "evaluations"), ("levels", "summaries")):
        rows = pq.read_table(folder / f"{name}.parquet").to_pylist()
        assert rows == [row for n in (0, 1) for row in getattr(done[KEY, n], kind)]


def test_a_control_that_is_added_later_leaves_the_tables_of_one_beside_the_ticket(finished, tmp_path):
    _, initial, done = finished
    later = CellRecords(tmp_path, "f" * 16)
    later.plan(Cell(CELL.config, "f" * 16))
    later.save_initial(initial)

    def part(level, ticket):
        one = done[KEY, level]
        rows = {
            kind: [row for row in getattr(one, kind) if (row["arm"] == "ticket") == ticket]
            for kind in ("evaluations", "summaries")
        }
        return dataclasses.replace(one, next_masks=one.next_masks if ticket else None, **rows)

    for level in (0, 1):
        save(later, part(level, True), "done")
    before = later.status()
    assert before["arms"] == {"ticket/0": 1}
    again = CellRecords(tmp_path, "f" * 16)
    assert again.resume() is not None
    save(again, part(1, False), "done")
    assert again.status()["arms"] == {"ticket/0": 1, "reinit/0": 1}
    assert again.status()["level"] == 1
    for name in ("evaluations", "levels"):
        one, other = (pq.read_table(tmp_path / key / f"{name}.parquet") for key in (KEY, "f" * 16))
        assert one.equals(other)
    for name in ("tickets/init.safetensors", "tickets/level_01.safetensors", "tickets/level_02.safetensors"):
        assert again.status()["files"][name] == before["files"][name]


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
    assert cell_records.resume() is None
    assert "its records cannot be gone on from" in (folder / "cell.log").read_text()
    save(cell_records, done[KEY, 0], "running")  # from the start: no row of before is kept
    assert pq.read_table(folder / "evaluations.parquet").to_pylist() == done[KEY, 0].evaluations


@pytest.mark.parametrize("arms", [{"ticket/0": 2}, {"ticket/0": 1, "reinit/0": 2}, {"ticket/0": 1, "reinit/1": 1}])
def test_rows_that_lack_a_level_that_counts_cannot_be_gone_on_from(finished, arms):
    folder, _, _ = finished
    shutil.copy(folder / "tickets/level_02.safetensors", folder / "tickets/level_03.safetensors")
    CellRecords(folder.parent, KEY).set_status("running", arms=arms)
    assert CellRecords(folder.parent, KEY).resume() is None


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
    bad = LevelDone(
        KEY, 0, [dict(level.evaluations[0], train_loss=math.nan)], [], level.summaries, level.next_masks, False
    )
    cell_records = CellRecords(tmp_path, "other")
    cell_records.plan(Cell(CELL.config, "other"))
    save(cell_records, bad, "running")
    (row,) = pq.read_table(tmp_path / "other/evaluations.parquet").to_pylist()
    assert math.isnan(row["train_loss"])
    assert row["test_loss"] == level.evaluations[0]["test_loss"]


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


# -- nothing wrong kept


def flips(content, count=300):
    """Return copies of `content`, each with one bit of it the other way round: some of its bits, evenly spread."""
    total = len(content) * 8
    for bit in range(0, total, max(1, total // count)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def repaired(folder):
    goes_on = CellRecords(folder.parent, KEY).status()["status"] not in FINISHED
    return repair(folder.parent, CELL, goes_on)


def test_nothing_is_found_where_nothing_is_wrong(finished):
    folder, _, done = finished
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    assert repaired(folder) == []
    cell_records = CellRecords(folder.parent, KEY)
    cell_records.resume()
    save(cell_records, done[KEY, 2], "done")
    assert repaired(folder) == []
    assert set(cell_records.status()["files"]) == {*files(folder)} - {"status.json"}
    assert before["config.yaml"] == (folder / "config.yaml").read_bytes()


@pytest.mark.parametrize("status", ["running", "failed", "done", "diverged"])
@pytest.mark.parametrize("name", ["status.json", *NEEDED])
@pytest.mark.parametrize("left", [0, 0.1, 0.99, "missing", "other"])
def test_a_broken_file_is_named_set_aside_and_its_cell_begun_again(finished, name, left, status):
    folder, _, _ = finished
    CellRecords(folder.parent, KEY).set_status(status)
    spoil(folder / name, left)
    if (name, left) == ("status.json", "missing"):
        assert repaired(folder) == []
        return
    spoilt = b"" if left == "missing" else (folder / name).read_bytes()
    (line,) = repaired(folder)
    assert line.startswith(f"{folder / name} ")
    assert line.endswith("its cell is computed again")
    assert line in (folder / "cell.log").read_text()
    if left != "missing":
        assert (folder / ".broken" / name.split("/")[-1]).read_bytes() == spoilt
        assert "set aside as .broken/" in line
    assert CellRecords(folder.parent, KEY).status() == {"status": "pending", "level": -1}
    assert {name for name in files(folder) if ".broken" not in name} == {"config.yaml", "cell.log"}
    assert repaired(folder) == []


@pytest.mark.parametrize("status", ["running", "done"])
def test_a_broken_config_is_set_aside_and_written_anew(finished, status):
    folder, _, _ = finished
    CellRecords(folder.parent, KEY).set_status(status)
    (folder / "config.yaml").write_text("seed: 1\n")
    (line,) = repaired(folder)
    assert line.endswith("it was set aside as .broken/config.yaml, and it was written anew")
    assert yaml.safe_load((folder / "config.yaml").read_text()) == CELL.config
    assert (folder / ".broken/config.yaml").read_text() == "seed: 1\n"
    found = CellRecords(folder.parent, KEY).status()
    assert (found["status"], found["level"]) == (status, 1)
    assert repaired(folder) == []


@pytest.mark.parametrize("status", ["running", "done"])
@pytest.mark.parametrize("name", ["tickets/init.safetensors", "tickets/level_02.safetensors"])
def test_no_bit_of_a_ticket_changes_unnoticed(finished, name, status):
    folder, _, _ = finished
    CellRecords(folder.parent, KEY).set_status(status)
    noted = CellRecords(folder.parent, KEY).status()
    content = (folder / name).read_bytes()
    tried = 0
    for flipped in flips(content):
        (folder / name).write_bytes(flipped)
        with pytest.raises(BrokenFileError, match="SHA-256"):
            disk.check(folder / name, noted["files"][name], thorough=status == "running")
        tried += 1
    assert tried >= 300
    assert len(repaired(folder)) == 1


def test_tables_of_two_problems_are_not_gone_on_from(finished):
    """Each is whole by itself; a table may be newer than its note, which is then no measure."""
    folder, _, _ = finished
    rows = rows_kept(folder / "levels.parquet", CellRecords(folder.parent, KEY).status()["arms"])
    other = [{name.replace("accuracy", "top1"): value for name, value in row.items()} for row in rows]
    (folder / "levels.parquet").write_bytes(as_parquet("levels.parquet", other))
    cell_records = CellRecords(folder.parent, KEY)
    assert cell_records.resume() is None
    assert "cannot be gone on from: has other scores than evaluations.parquet" in (folder / "cell.log").read_text()


@pytest.mark.parametrize("name", ["evaluations.parquet", "levels.parquet"])
def test_no_bit_of_a_table_that_is_gone_on_from_changes_a_number(finished, name):
    """A table may be newer than the status that counts its level, so it must be checked by itself."""
    folder, _, _ = finished
    arms = CellRecords(folder.parent, KEY).status()["arms"]
    content, rows = (folder / name).read_bytes(), rows_kept(folder / name, arms)
    noticed = 0
    for flipped in flips(content, 600):
        (folder / name).write_bytes(flipped)
        try:
            assert rows_kept(folder / name, arms) == rows
        except BrokenFileError:
            noticed += 1
    assert noticed > 200


def test_no_bit_of_a_status_changes_what_it_says(finished):
    folder, _, _ = finished
    status, content = CellRecords(folder.parent, KEY).status(), (folder / "status.json").read_bytes()
    for flipped in flips(content, 600):
        (folder / "status.json").write_bytes(flipped)
        found = CellRecords(folder.parent, KEY).status()
        assert found == {"status": "pending", "level": -1} or status.items() <= found.items()


def test_records_without_checksums_are_read_as_older_ones(finished):
    folder, _, done = finished
    status = json.loads((folder / "status.json").read_text())
    older = {name: value for name, value in status.items() if name not in ("files", "sha256")}
    (folder / "status.json").write_text(json.dumps(older))
    assert repaired(folder) == []
    cell_records = CellRecords(folder.parent, KEY)
    assert cell_records.resume() is not None
    save(cell_records, done[KEY, 2], "done")
    assert repaired(folder) == []
    assert pq.read_table(folder / "levels.parquet").num_rows == 5


@pytest.mark.parametrize(
    ("schema", "text"), [(VERSION + 1, "newer ltsweep .*update"), (READABLE[0] - 1, "older .*force=true")]
)
def test_records_of_another_version_are_refused_with_what_to_do(finished, schema, text):
    folder, _, _ = finished
    CellRecords(folder.parent, KEY).set_status("done", schema=schema)
    for act in (CellRecords(folder.parent, KEY).status, lambda: repaired(folder)):
        with pytest.raises(UserError, match=text) as caught:
            act()
        assert f"{folder}/status.json" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert ".broken" not in str(files(folder))


def test_what_killed_processes_were_writing_is_removed(finished):
    folder, _, _ = finished
    before = files(folder)
    for name in (".status.json.123", "tickets/.level_02.safetensors.4567", "tickets/.tmpAbC123"):
        (folder / name).write_bytes(b"half")
    assert repaired(folder) == []
    assert files(folder) == before


@pytest.mark.parametrize("name", ["", "tickets"])
def test_folders_that_are_links_are_refused(finished, tmp_path, name):
    folder, _, _ = finished
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=rf"^{str(folder / name).rstrip('/')} is a symbolic link"):
        CellRecords(folder.parent, KEY).check_folders()
    with pytest.raises(UserError, match=r"is a symbolic link"):
        CellRecords(folder.parent, KEY).save_initial({}) if name else CellRecords(folder.parent, KEY).plan(CELL)


@pytest.mark.parametrize("name", ["status.json", "config.yaml", "cell.log", *NEEDED])
@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_file_is_set_aside(finished, tmp_path, name, kind):
    folder, _, _ = finished
    elsewhere = tmp_path / "elsewhere"
    CellRecords(folder.parent, KEY).log("text")
    (folder / name).rename(elsewhere)
    content = elsewhere.read_bytes()
    if kind == "link":
        (folder / name).symlink_to(elsewhere)
    elif kind == "folder":
        (folder / name).mkdir()
    else:
        os.mkfifo(folder / name)
    (line,) = repaired(folder)
    assert "is not a re" in line  # gular file, adable file
    assert elsewhere.read_bytes() == content
    assert os.path.lexists(folder / ".broken" / name.split("/")[-1])


def test_a_log_that_is_a_link_is_not_written_through(finished, tmp_path):
    folder, _, _ = finished
    (folder / "cell.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotWriteError, match=r"cell.log cannot be written"):
        CellRecords(folder.parent, KEY).log("text")
    assert not (tmp_path / "elsewhere").exists()


# -- readings


def reading(level, value=0.5):
    return {"arm": "ticket", "draw": 0, "level": level, "iteration": 7, "name": "norm", "place": "fc", "at": None} | {
        "value": value
    }


@pytest.fixture
def measured(finished):
    """Add readings to level 1 alone of the cell of three levels."""
    folder, _, done = finished
    CellRecords(folder.parent, KEY).set_status("running", level=0, arms={"ticket/0": 0})
    cell_records = CellRecords(folder.parent, KEY)
    cell_records.resume()
    save(cell_records, done[KEY, 1], "running", readings=[reading(1)], measured=["norms"])
    return folder, done


def test_readings_are_a_table_only_where_there_are_any(finished, measured):
    folder, _ = measured
    assert pq.read_table(folder / "readings.parquet").to_pylist() == [reading(1)]
    status = CellRecords(folder.parent, KEY).status()
    assert "measured" not in status  # level 0 lacks it
    assert "readings.parquet" in status["files"]


def test_a_measurement_counts_when_every_level_has_it(tmp_path, finished):
    """Else a command that asks for it later could not tell that levels lack it."""
    _, _, done = finished
    for levels, expected in (
        ((["a", "b"], ["b", "a"], ["b"]), ["b"]),
        (([], ["a"], ["a"]), []),
        ((["a"], [], ["a"]), []),
    ):
        cell_records = CellRecords(tmp_path, f"{len(list(tmp_path.iterdir())):016x}")
        cell_records.plan(Cell(CELL.config, cell_records.folder.name))
        for level, names in enumerate(levels):
            save(cell_records, done[KEY, level], "running", measured=names)
        assert cell_records.status().get("measured", []) == expected


def test_readings_of_earlier_levels_are_kept(measured):
    folder, done = measured
    cell_records = CellRecords(folder.parent, KEY)
    assert cell_records.resume() is not None
    save(cell_records, done[KEY, 2], "done", readings=[reading(2, math.nan)], measured=["norms"])
    first, last = pq.read_table(folder / "readings.parquet").to_pylist()
    assert first == reading(1)
    assert math.isnan(last["value"])
    assert repaired(folder) == []


def test_readings_from_the_level_on_are_dropped(measured):
    folder, done = measured
    cell_records = CellRecords(folder.parent, KEY)
    cell_records.set_status("running", level=0, arms={"ticket/0": 0})
    cell_records.resume()
    assert cell_records.readings == []
    cell_records.save_initial({"w": torch.ones(1)})
    assert not (folder / "readings.parquet").exists()
    save(cell_records, done[KEY, 0], "running")
    assert "readings.parquet" not in files(folder)


@pytest.mark.parametrize("status", ["running", "done"])
@pytest.mark.parametrize("left", [0, 0.5, "missing", "other"])
def test_broken_readings_are_treated_as_the_other_tables(measured, left, status):
    folder, _ = measured
    CellRecords(folder.parent, KEY).set_status(status)
    spoil(folder / "readings.parquet", left)
    if status == "running":
        assert CellRecords(folder.parent, KEY).resume() is None
    (line,) = repaired(folder)
    assert line.startswith(f"{folder / 'readings.parquet'} ")
    assert line.endswith("its cell is computed again")
    assert repaired(folder) == []


# -- folders


def test_a_cell_fails_once_and_never_after_it_has_ended(tmp_path, folder):
    cell_records = CellRecords(tmp_path, KEY)
    cell_records.plan(CELL)
    assert cell_records.fail("the reason", "Traceback\nOSError: the reason")
    assert not cell_records.fail("another")
    status = cell_records.status()
    assert (status["status"], status["error"]) == ("failed", "the reason")
    assert "OSError: the reason" in (folder / "cell.log").read_text()
    assert "another" not in (folder / "cell.log").read_text()
    for ended in ("done", "diverged"):
        cell_records.set_status(ended)
        assert not cell_records.fail("another")
