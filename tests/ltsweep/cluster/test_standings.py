"""`python -m ltsweep.status` on a stranger's study: every cell has its row, whatever the files of one of them hold."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ltsweep.cluster import ledger, slurm, watch
from ltsweep.cluster import standings as status
from ltsweep.grid import cell
from ltsweep.grid.cell import Cell
from ltsweep.grid.key import key
from ltsweep.store import reader
from ltsweep.store.folder import CellFolder

# Seconds after which a page counts as hanging.
HANG = 60


class Hangs(BaseException):
    """The page takes too long."""


def page(folder, *arguments):
    """Return the exit code, the output and the errors of the command; a traceback is raised."""

    def hang(*_):
        raise Hangs

    out, err, code = io.StringIO(), io.StringIO(), 0
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANG)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status.main([str(folder), *arguments])
    except SystemExit as ended:
        code = ended.code
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return code, out.getvalue(), err.getvalue()


def rows(folder):
    """Return key -> what `--json` says of a cell, whose output must be JSON without NaN."""
    code, out, err = page(folder, "--json")
    assert (code, err) == (0, "")

    def refuse(name):
        raise AssertionError(name)

    found = json.loads(out, parse_constant=refuse)
    return {one["key"]: one for one in found["cells"]}, found["note"]


def write(study, config, state, **fields):
    """Write a cell's records as a run leaves them; return its key."""
    made = Cell(config, key(config))
    folder = CellFolder(study, made.key)
    folder.plan(made)
    fields = {"versions": {"torch": "2.9.0"}, **fields}
    folder.set_status(state, stack=made.key, stack_keys=[made.key], **fields)
    folder.log("level  0")
    return made.key


@pytest.fixture(scope="module")
def config(compose):
    cell.register_resolver()
    return cell.from_config(compose("dataset=digits", "levels=3")).config


@pytest.fixture(scope="module")
def study(tmp_path_factory, config):
    """Return a study's folder, and the key of the cell that is running; two others have ended."""
    folder = tmp_path_factory.mktemp("status") / "s"
    write(folder, {**config, "seed": 1}, "done", level=3)
    write(folder, {**config, "seed": 2}, "failed", level=1, error="Traceback\n  x\nRuntimeError: [bold]boom[/bold]")
    running = write(folder, {**config, "seed": 3}, "running", level=2)
    ledger.make_folder(folder)
    ledger.add(folder, "here", {}, {}, {}, {"7": [running]})
    owner = {"name": "process 1 on x", "pid": 1, "boot": "x", "token": "y", "renewed": ".owner"}
    (folder / running / ".owner").write_text(json.dumps(owner))
    return folder, running


@pytest.fixture
def copied(study, tmp_path):
    """Return a copy of the study to change, and the same key."""
    shutil.copytree(study[0], tmp_path / "s")
    return tmp_path / "s", study[1]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch):
    monkeypatch.setattr(slurm, "cluster", lambda: None)


def test_an_own_study_is_shown_as_it_is(study):
    found, note = rows(study[0])
    assert sorted((one["cell"], one["status"], one["level"], one["levels"]) for one in found.values()) == [
        ("seed=1", "done", 3, 3),
        ("seed=2", "failed", 1, 3),
        ("seed=3", "running", 2, 3),
    ]
    assert note == "Slurm cluster here cannot be asked from here; what is shown is what the tasks wrote"
    code, out, err = page(study[0])
    assert (code, err) == (0, "")
    assert "RuntimeError: [bold]boom[/bold]\n" in "".join(line.rstrip() + "\n" for line in out.splitlines())
    assert f"{study[0]}: 3 cells, " in out


def test_cells_are_sorted_by_what_varies_and_tasks_are_named_where_there_are_any(tmp_path, config, study):
    folder = tmp_path / "s"
    for seed, init in ((10, "he_u"), (9, "xavier_u"), (9, "he_u"), (100, "he_u")):
        one = {**config, "seed": seed, "init": {**config["init"], "name": init}}
        write(folder, one, "failed" if seed == 100 else "done", level=3, error="no luck " * 30)
    labels = [f"seed={seed} init={init}" for seed, init in ((9, "he_u"), (9, "xavier_u"), (10, "he_u"), (100, "he_u"))]
    assert [one["cell"] for one in rows(folder)[0].values()] == labels
    lines = page(folder)[1].splitlines()
    assert [line.split("  ")[0] for line in lines[1:5]] == labels
    assert lines[0].split() == ["cell", "status", "level", "key"]
    assert f"logs {folder}/<key>/cell.log" in lines
    with_task = page(study[0])[1]
    assert with_task.splitlines()[0].split() == ["cell", "status", "level", "task", "key"]
    assert f"logs {study[0]}/<key>/cell.log, and of tasks {ledger.folder(study[0])}/<task>_0_log.err" in with_task


def test_versions_are_named_where_several_made_the_cells(tmp_path, config):
    folder = tmp_path / "s"
    for seed, version in enumerate(("0.3", "0.3", "0.4")):
        versions = {"ltsweep": version, "commit": f"{version[-1]}abcdef0", "code": version[-1] * 16}
        write(folder, {**config, "seed": seed}, "done", level=3, versions=versions)
    assert "made by ltsweep 0.3 (3abcdef): 2 cells; 0.4 (4abcdef): 1 cell" in page(folder)[1].splitlines()
    found = rows(folder)[0].values()
    assert [one["made_by"] for one in found] == ["0.3 (3abcdef)", "0.3 (3abcdef)", "0.4 (4abcdef)"]
    write(folder, {**config, "seed": 2}, "done", level=3, versions={"ltsweep": "0.3", "code": "3" * 16})
    assert "made by" not in page(folder)[1]


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_long_message_is_wrapped_to_the_terminal_and_nothing_of_it_is_lost(tmp_path, config, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    words = " ".join(f"word{number}" for number in range(60))
    for seed in range(12):
        write(tmp_path / "s", {**config, "seed": seed}, "failed", level=1, error=words)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in page(tmp_path / "s")[1].splitlines()]
    assert max(map(len, lines)) <= columns
    assert words in " ".join(" ".join(lines).split())
    assert [line.split()[0].removeprefix("seed=") for line in lines[1:13]] == [str(seed) for seed in range(12)]


ODD = {
    "fifo": os.mkfifo,
    "folder": os.mkdir,
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "itself": lambda path: path.symlink_to(path),
    "huge": lambda path: os.close(_truncated(path)),
    "empty": lambda path: path.write_bytes(b""),
    "bytes": lambda path: path.write_bytes(b"\xff\x00" * 10),
    "brackets": lambda path: path.write_text("[" * 100_000),
    "surrogate": lambda path: path.write_text('{"a": "\\ud800"}'),
    "aliases": lambda path: path.write_text("a: &a [1]\n" + "b: [*a, *a]\n"),
    "object": lambda path: path.write_text("!!python/object/apply:os.system [id]\n"),
    "gone": lambda path: None,
}


def _truncated(path):
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    os.truncate(file, 1 << 40)
    return file


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", ["config.yaml", "status.json"])
def test_a_cell_whose_record_is_no_file_of_ours_is_unreadable_and_the_others_are_shown(copied, name, make):
    folder, bad = copied
    before, _ = rows(folder)
    (folder / bad / name).unlink()
    make(folder / bad / name)
    found, _ = rows(folder)
    if (name, make) == ("status.json", ODD["gone"]):
        assert found[bad]["status"] == "pending"
    else:
        assert found[bad]["status"] == "unreadable"
        assert found[bad]["error"].startswith(f"{name} ")
    assert {one: row for one, row in found.items() if one != bad} == {
        one: row for one, row in before.items() if one != bad
    }
    code, out, err = page(folder)
    assert (code, err) == (0, "")
    assert out.replace("\n", "").isprintable()


@pytest.mark.parametrize("content", ["{}", "levels: 3.0", "levels: -1", "levels: .nan", "levels: 3\nseed: {a: [[x]]}"])
def test_a_config_whose_key_a_stranger_reckoned_is_shown_or_named(copied, content):
    folder, bad = copied
    own = key(yaml.safe_load(content))
    (folder / bad / "config.yaml").write_text(content)
    (folder / bad / "status.json").unlink()
    (folder / bad).rename(folder / own)
    found, _ = rows(folder)
    assert found[own]["status"] == ("pending" if "seed" in content else "unreadable")
    assert page(folder)[0] == 0


def test_configs_of_very_many_names_are_shown_without_labels(tmp_path, config):
    for seed in range(12):
        odd = {f"x{seed}_{number}": number for number in range(1_500)}
        write(tmp_path / "s", {**config, "seed": seed, "model": {**config["model"], **odd}}, "done", level=3)
    found, _ = rows(tmp_path / "s")
    assert {(one["cell"], one["status"]) for one in found.values()} == {("", "done")}


def test_a_cells_folder_that_is_a_link_is_not_followed(copied):
    folder, bad = copied
    (folder / bad).rename(folder.parent / bad)
    (folder / bad).symlink_to(folder.parent / bad)
    found, _ = rows(folder)
    assert found[bad]["status"] == "unreadable"
    assert "its folder is a symbolic link" in found[bad]["error"]


def test_a_cells_folder_that_is_none_is_named(copied):
    folder, bad = copied
    shutil.rmtree(folder / bad)
    (folder / bad).write_text("no folder")
    found, _ = rows(folder)
    assert found[bad]["status"] == "unreadable"
    assert "Not a directory" in found[bad]["error"]


def test_a_submission_that_cannot_be_read_is_named(copied):
    folder, _ = copied
    for number in range(6):
        (folder / f".submitit/{number}\x1b[2J.json").write_text("{}")
    _, out, _ = page(folder)
    assert out.count("its tasks are not known") == 4
    assert "and 2 more such files" in out
    assert "\x1b" not in out


def test_a_log_that_takes_no_line_ends_no_page(copied, monkeypatch):
    """The task of the running cell is gone, so the cell would be marked, with a line in its log."""
    folder, bad = copied
    monkeypatch.setattr(slurm, "cluster", lambda: "here")
    monkeypatch.setattr(slurm, "tasks", lambda user: {})
    monkeypatch.setattr(slurm, "_run", lambda *command, **_: slurm.subprocess.CompletedProcess(command, 1, "", ""))
    monkeypatch.setattr(watch, "_GRACE", 0.0)
    (folder / bad / ".owner").unlink()
    (folder / bad / "cell.log").unlink()
    (folder / bad / "cell.log").symlink_to(folder / "elsewhere")
    found, note = rows(folder)
    assert (found[bad]["status"], found[bad]["error"]) == ("failed", "task 7 Slurm does not know it any more")
    assert "cell.log cannot be written" in note
    assert not (folder / "elsewhere").exists()


TEXTS = st.sampled_from(
    ["", "x", "[red]x[/red]", "\x1b[2J", "a\nb", "-rf", "../../x", "${oc.env:HOME}", "é" * 500, "\u202e"]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([2**62, -1, 10**300, 1e308]), st.floats(), TEXTS, st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


def mutated(data, value):
    """Return a plain value with one place in it changed: another value, one more name, one name less."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(value)))
        rest = {one: inner for one, inner in value.items() if one != name}
        if data.draw(st.integers(0, 5)) == 0:
            return rest
        return {**rest, data.draw(st.one_of(st.just(name), TEXTS)): mutated(data, value[name])}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        return [*value[:-1], mutated(data, value[-1])]
    return data.draw(VALUES)


@given(st.data())
def test_the_page_is_shown_whatever_one_record_holds(study, tmp_path_factory, data):
    original, bad = study
    folder = tmp_path_factory.mktemp("mutated") / "s"
    shutil.copytree(original, folder)
    before, _ = rows(folder)
    (submission,) = (folder / ".submitit").glob("*.json")
    here = folder / bad
    path = data.draw(st.sampled_from([here / "status.json", here / "config.yaml", here / ".owner", submission]))
    content = path.read_bytes()
    if data.draw(st.booleans()):
        changed = bytearray(content)
        place = data.draw(st.integers(0, len(changed)))
        changed[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=10))
        path.write_bytes(changed)
    elif path.suffix == ".yaml":
        config = mutated(data, yaml.safe_load(content))
        path.write_bytes(yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass"))
        if isinstance(config, dict) and data.draw(st.booleans()):  # a stranger reckons the key too
            with contextlib.suppress(ValueError, TypeError):
                here.rename(here.with_name(key(config)))
                (here.with_name(key(config)) / "status.json").unlink()
    else:
        fields = mutated(data, json.loads(content))
        if isinstance(fields, dict) and "sha256" in fields and data.draw(st.booleans()):
            fields.pop("sha256")
            with contextlib.suppress(ValueError, TypeError):
                fields["sha256"] = reader.digest_of(fields)
        path.write_text(json.dumps(fields))
    found, _ = rows(folder)
    assert len(found) == 3
    for one in before.keys() - {bad}:
        left_out = {"cell"} if path.suffix == ".yaml" else set()  # which names vary, another cell decides too
        assert {k: v for k, v in found[one].items() if k not in left_out} == {
            k: v for k, v in before[one].items() if k not in left_out
        }
    code, out, err = page(folder)
    assert (code, err) == (0, "")
    assert out.replace("\n", "").isprintable()
    for one in found:
        assert sum(one in line for line in out.splitlines()) >= 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["lr=0.1"], "lr=0.1: this is for --resubmit-failed"),
        (["--allow", "x"], "this is for --resubmit-failed"),
        (["--resubmit-failed", "--allow", "x;y"], "--allow x;y is no name of a module"),
        (["--resubmit-failed", "--allow"], "argument --allow: expected one argument; --help lists the options"),
        (["--nope"], "unrecognized arguments: --nope; --help lists the options"),
        (["--resubmit-failed", "--config-dir", "nope"], "--config-dir nope is not a folder"),
    ],
)
def test_a_mistake_is_one_line(study, arguments, says):
    code, out, err = page(study[0], *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_settings_may_stand_before_and_behind_the_options(study):
    for arguments in (["lr=0.1", "--resubmit-failed"], ["--resubmit-failed", "lr=0.1"]):
        code, _, err = page(study[0], *arguments)
        assert code == 2
        assert err.startswith("ltsweep: lr=0.1: a cell is submitted again as it is")


def test_a_folder_without_cells_is_one_line(tmp_path):
    for folder in (tmp_path, tmp_path / "nope", Path("/dev/zero")):
        code, out, err = page(folder)
        assert (code, out, err.count("\n")) == (2, "", 1)
