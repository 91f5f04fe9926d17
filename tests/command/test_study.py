"""`python -m ltsweep.study` on a study that the command made, as a user types it."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ltsweep.cluster import keeping
from ltsweep.store.hold import hold
from ltsweep.store.provenance import maker

GRID = ("-m", "init=xavier_u,kaiming_n", "seed=0,1", "levels=1", "iterations=4", "stack_size=2")


@pytest.fixture(scope="module")
def original(command_in, small, tmp_path_factory):
    """Return the folder of a finished study of four cells, in stacks of two."""
    command = command_in(tmp_path_factory.mktemp("study"))
    command.inside(*GRID, *small)
    return command.folder


@pytest.fixture
def command(original, command_in, tmp_path):
    """Return the command in a folder that holds a copy of the study."""
    shutil.copytree(original / "multirun", tmp_path / "multirun")
    return command_in(tmp_path)


@pytest.fixture
def run(command, capsys, monkeypatch):
    """Return a function: it runs a command of `python -m ltsweep.study` in the folder, and returns its lines."""
    monkeypatch.chdir(command.folder)

    def called(*arguments, code=0):
        with pytest.raises(SystemExit) as ended:
            keeping.main(arguments)
        said = capsys.readouterr()
        assert ended.value.code == code, said
        assert said.err.count("\n") == (code == 2)
        return said.err if code == 2 else said.out

    return called


def files(folder):
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_ls_says_what_is_in_it(run, command):
    before = files(command.folder)
    out = run("ls", "multirun/default")
    for key, folder in command.study().cells().items():
        (line,) = [line for line in out.splitlines() if key in line]
        config, versions = folder.config, folder.status["versions"]
        assert line.startswith(f"seed={config['seed']} init={config['init']['name']} ")
        assert (
            f"done    1 / 1  {sum(p.stat().st_size for p in folder.path.rglob('*') if p.is_file()) / 1e3:.0f} kB"
            in line
        )
        assert maker(versions) in line
        assert folder.status["started"][:16].replace("T", " ") in line
    assert "multirun/default: 4 cells, 4 done; " in out
    some = run("ls", "multirun/default", "--where", "seed == 1", "--where", "init == 'kaiming_n'")
    assert "multirun/default: 1 cell of 4, 1 done; " in some
    assert files(command.folder) == before


def test_rm_removes_what_it_is_told_and_the_command_computes_it_again(run, command, small):
    cells = command.study().cells()
    gone = {key for key, folder in cells.items() if folder.config["seed"] == 1}
    (command.study().path / "figures").mkdir()
    outside = command.folder / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (command.study().path / min(gone) / "link").symlink_to(outside)
    assert "--yes removes without" in run("rm", "multirun/default", "--where", "seed == 1", code=2)
    out = run("rm", "multirun/default", "--where", "seed == 1", "--yes")
    assert "removed 2 cells, " in out
    assert out.endswith("; 2 left\n")
    assert set(command.study().cells()) == set(cells) - gone
    assert (outside / "kept").exists()
    assert (command.study().path / "figures").exists()
    assert "4 cells, 2 already finished, 2 to compute" in command.inside(*GRID, *small).out
    assert "removed 4 cells" in run("rm", "multirun/default", "--all", "--yes")
    assert command.study().cells() == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rm", "multirun/default", "--yes"), "give one of the two"),
        (("rm", "multirun/default", "--all", "--where", "seed == 1", "--yes"), "give one of the two"),
        (("rm", "multirun/default", "--where", "seed == 7", "--yes"), "holds for none of the 4 cells; seed is 0, 1"),
        (("rm", "multirun/default", "--where", "sed == 7", "--yes"), "no config column 'sed': did you mean seed?"),
        (("rm", "multirun", "--all", "--yes"), "multirun holds no cells"),
        (("ls", "multirun/nope"), "multirun/nope is not a folder"),
        (("gc", "multirun/nope"), "multirun/nope is not a folder"),
        (("gc", "multirun"), "multirun holds no cells"),
        (("diff", "multirun/default", "multirun/nope"), "multirun/nope is not a folder"),
        (("sl", "multirun/default"), "invalid choice: 'sl'"),
        ((), "COMMAND; --help shows examples"),
        (("ls",), "STUDY; --help shows examples"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_lost(run, command, arguments, says):
    before = files(command.folder)
    assert says in run(*arguments, code=2)
    assert files(command.folder) == before


@pytest.mark.parametrize("command_name", ["ls", "rm", "gc", "diff"])
def test_the_help_of_each_teaches_with_an_example(run, command_name):
    assert f"example:\n  python -m ltsweep.study {command_name} multirun/default" in run(command_name, "--help")


def test_rm_refuses_cells_that_a_live_process_holds_and_links(run, command):
    keys = sorted(command.study().cells())
    study = command.study().path
    with hold(study):
        assert "is being computed by process" in run("rm", "multirun/default", "--all", "--yes", code=2)
    with hold(study / keys[2]):  # as a task does
        assert f"{keys[2]} is being computed by process" in run("rm", "multirun/default", "--all", "--yes", code=2)
    assert sorted(command.study().cells()) == keys
    assert set(command.study().statuses().values()) == {"done"}
    (study / keys[0]).rename(command.folder / "elsewhere")
    (study / keys[0]).symlink_to(command.folder / "elsewhere")
    assert "is a symbolic link" in run("rm", "multirun/default", "--all", "--yes", code=2)
    assert (command.folder / "elsewhere/status.json").exists()
    assert (study / keys[1] / "status.json").exists()


@pytest.mark.parametrize(("answer", "left"), [("y", 3), ("n", 4), ("", 4)])
def test_rm_asks_on_a_terminal(command, answer, left):
    key = min(command.study().cells())
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ltsweep.study", "rm", "multirun/default", "--where", f"key == '{key}'"],
        cwd=command.folder, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"COLUMNS": "60"},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 1000)
    os.write(ours, f"{answer}\n".encode())
    assert process.wait(60) == (0 if left == 3 else 1)
    os.close(ours)
    assert len(command.study().cells()) == left


def test_gc_drops_what_killed_processes_left(run, command, small):
    study = command.study().path
    keys = sorted(command.study().cells())
    status = command.study().cells()[keys[0]].status
    outside = command.folder / "outside"
    outside.mkdir()
    (outside / ".x.12").touch()
    made = {
        study / keys[0] / ".levels.parquet.4321": "half-written, by a killed process",
        study / keys[0] / "tickets" / ".init.safetensors.99": "half-written, by a killed process",
        study / ".stacks" / f"{status['stack']}.safetensors": "the checkpoint of a stack without an unfinished cell",
        study / keys[1] / ".broken": "set aside as broken: levels.parquet",
        study / keys[2] / ".owner": "the claim of a process that is gone",
        study / "0123456789abcdef": "the folder of no cell",
        study / ".owner": "the claim of a process that is gone",
    }
    owner = {"name": "process 1 on gone", "pid": 1, "boot": "another", "token": "x", "renewed": ".owner"}
    for path, what in made.items():
        if "broken" in what or "no cell" in what:
            path.mkdir()
            (path / ("levels.parquet" if "broken" in what else ".lock")).write_bytes(b"12345")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(owner) if path.name == ".owner" else "12345")
            os.utime(path, (1e9, 1e9))
    (study / keys[3] / "tickets").rename(command.folder / "tickets")
    (study / keys[3] / "tickets").symlink_to(outside)
    kept = study / "fedcba9876543210"  # of something that is not ours
    kept.mkdir()
    (kept / "notes.txt").touch()
    before = files(command.folder)
    dry = run("gc", "multirun/default", "--dry-run")
    assert files(command.folder) == before
    said = run("gc", "multirun/default")
    for out in (dry, said):
        lines = dict(line.split("  ", 1) for line in out.splitlines()[:-1])
        assert {study.parents[1] / path: rest.split("  ")[1] for path, rest in lines.items()} == made
    assert dry.splitlines()[-1].startswith("multirun/default: 7 leftovers, ")
    assert dry.splitlines()[-1].endswith(" would be removed")
    assert said.splitlines()[-1] == dry.splitlines()[-1].replace("would be removed", "removed")
    assert not any(os.path.lexists(path) for path in made)
    assert not (study / ".stacks").exists()
    assert (outside / ".x.12").exists()
    assert (kept / "notes.txt").exists()
    assert run("gc", "multirun/default") == "multirun/default: nothing removed\n"
    (study / keys[3] / "tickets").unlink()
    (command.folder / "tickets").rename(study / keys[3] / "tickets")
    assert "nothing to compute" in command.inside(*GRID, *small).out


def test_gc_keeps_what_an_unfinished_cell_or_a_live_process_needs(run, command):
    study = command.study().path
    (key, *_) = command.study().cells()
    path = study / key / "status.json"
    status = json.loads(path.read_text()) | {"status": "running"}
    path.write_text(json.dumps({name: value for name, value in status.items() if name != "sha256"}))
    (study / ".stacks").mkdir()
    (study / ".stacks" / f"{status['stack']}.safetensors").touch()
    (study / key / ".x.12").touch()
    with hold(study / key):
        assert run("gc", "multirun/default") == "multirun/default: nothing removed\n"
    assert "multirun/default: 1 leftover, 0 B, removed\n" in run("gc", "multirun/default")
    assert (study / ".stacks" / f"{status['stack']}.safetensors").exists()
    path.write_text("{")  # it cannot be known which stack it is in
    assert run("gc", "multirun/default") == "multirun/default: nothing removed\n"
    with hold(study):
        assert "is being computed by process" in run("gc", "multirun/default", code=2)
        assert "is being computed; " in run("gc", "multirun/default", "--dry-run", code=2)


def test_gc_drops_copies_of_code_that_made_no_cell(run, command):
    study = command.study().path
    (key, *_) = command.study().cells()
    path, copies = study / key / "status.json", study / ".sources"
    mine, gone = "a" * 64, "b" * 64
    status = json.loads(path.read_text()) | {"sources": {"mine": mine}}
    path.write_text(json.dumps({name: value for name, value in status.items() if name != "sha256"}))
    copies.mkdir()
    for name in (f"{mine}.py", f"{gone}.py", "notes.py", f".{gone}.py.12"):
        (copies / name).write_text("1")
        os.utime(copies / name, (1e9, 1e9))
    with hold(study / key):
        assert "code that made no cell" not in run("gc", "multirun/default", "--dry-run")
    said = run("gc", "multirun/default")
    assert "code that made no cell of this study" in said
    assert sorted(one.name for one in copies.iterdir()) == [f"{mine}.py", "notes.py"]
    path.write_text("{")  # it cannot be known which code it names
    assert run("gc", "multirun/default") == "multirun/default: nothing removed\n"
    assert (copies / f"{mine}.py").exists()


def test_diff_of_equal_studies(run, command, small):
    command.inside(*GRID, *small, "study=again", "workers=1")
    assert run("diff", "multirun/default", "multirun/again").endswith(
        "no difference but in the seconds that they took\n"
    )


def test_diff_names_lone_cells_with_the_nearest_and_the_largest_difference(run, command, small):
    other = command.study("other")
    shutil.copytree(command.study().path, other.path)
    run("rm", "multirun/other", "--where", "seed == 0", "--yes")
    command.inside(*GRID, *small, "study=other", "seed=2")
    cell = other.cell(seed=1, init="kaiming_n")
    table = pd.read_parquet(cell.path / "evaluations.parquet")
    row = table.index[-1]
    before = table.loc[row, "test_loss"]
    table.loc[row, "test_loss"] = np.float64(before + 7)
    table.loc[row, "test_accuracy"] += 0.001
    table.to_parquet(cell.path / "evaluations.parquet")
    status = cell.status
    status["files"].pop("evaluations.parquet")
    status.pop("sha256")
    (cell.path / "status.json").write_text(json.dumps(status))
    out = run("diff", "multirun/default", "multirun/other", code=1)
    assert "multirun/default: 4 cells; multirun/other: 4 cells; 2 in both\n" in out
    lone = command.study().cell(seed=0, init="xavier_u").path.name
    near = other.cell(seed=1, init="xavier_u").path.name
    assert f"{lone}  init=xavier_u seed=0" in out or f"{lone}  seed=0 init=xavier_u" in out
    assert f"; nearest there {near}: seed 0 here, 1 there\n" in out
    place = f"ticket, draw 0, level {table.loc[row, 'level']}, iteration {table.loc[row, 'iteration']}"
    assert f"1 row of evaluations.parquet, most in test_loss ({place}): {before:.6g} and {before + 7:.6g}\n" in out
    assert out.endswith("they differ: 4 cells in one alone, 1 with other records\n")


def test_a_strangers_study_costs_its_own_rows_alone(run, command):
    study = command.study().path
    one, two, three, _ = sorted(command.study().cells())
    (study / one / "config.yaml").write_text("!!python/object/apply:os.system ['touch hacked']")
    os.mkfifo(study / two / "evaluations.parquet.x")
    (study / two / "status.json").unlink()
    os.mkfifo(study / two / "status.json")
    (study / three / "levels.parquet").write_bytes(b"")
    out = run("ls", "multirun/default")
    assert "multirun/default: 4 cells, 2 unreadable, 2 done; " in out
    assert all(key in out for key in command.study().cells())
    shutil.copytree(study, command.folder / "multirun/copy", ignore=shutil.ignore_patterns("*.x", "status.json"))
    said = run("diff", "multirun/default", "multirun/copy", code=1)
    assert f"multirun/default/{two} cannot be read: status.json is not a regular file" in said
    run("gc", "multirun/default")
    assert "removed 2 cells" in run("rm", "multirun/default", "--where", "status == 'unreadable'", "--yes")
    assert not Path("hacked").exists()
