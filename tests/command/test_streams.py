"""A closed pipe or terminal ends no study: what it does not take is in the study's log, and one line says so."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

GRID = ("seed=0,1", "levels=2", "iterations=60", "dataset=digits", "device=cpu")
CLEAN = {name: value for name, value in os.environ.items() if name not in ("LTSWEEP_DATA", "HYDRA_FULL_ERROR")}
FULL = "cannot be written: No space left on device"


def shell(folder, line, module="ltsweep", **env):
    """Run a line of bash in which `$RUN` is the program; return its code, output and errors."""
    run = f"{sys.executable} -m {module}"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=folder, env={**CLEAN, "RUN": run, **env}, text=True,
        capture_output=True, timeout=300,
    )  # fmt: skip


def assert_done(command, name="default", cells=2):
    assert list(command.study(name).statuses().values()) == ["done"] * cells


def log_of(command):
    return (command.study().path / "study.log").read_text()


def test_a_reader_that_leaves_ends_nothing(command):
    ended = shell(command.folder, f"$RUN {' '.join(GRID)} workers=2 | head -c 1")
    assert (ended.returncode, ended.stdout) == (0, "m")
    said = "ltsweep: standard output cannot be written: Broken pipe; the rest is in multirun/default/study.log\n"
    assert ended.stderr == said
    assert_done(command)
    text = log_of(command)
    assert text.count("standard output cannot be written: Broken pipe; the rest:") == 1
    assert "2 done\nfigures  python -m multirun_analysis multirun/default\n" in text


def test_a_reader_of_both_that_leaves_ends_nothing(command):
    ended = shell(command.folder, f"$RUN {' '.join(GRID)} workers=1 2>&1 | head -c 1")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "m", "")
    assert_done(command)
    assert "the rest is in multirun/default/study.log" in log_of(command)
    assert "2 done" in log_of(command)


def test_a_full_disk_behind_the_output_is_named(command):
    ended = shell(command.folder, f"$RUN {' '.join(GRID)} workers=1 > /dev/full")
    said = f"ltsweep: standard output {FULL}; the rest is in multirun/default/study.log\n"
    assert (ended.returncode, ended.stderr) == (0, said)
    assert_done(command)
    assert "multirun/default: 2 cells, 2 to compute" in log_of(command)


def test_closed_streams_end_nothing(command):
    """No file of the study gets the number of a stream."""
    ended = shell(command.folder, f"$RUN {' '.join(GRID)} workers=2 <&- >&- 2>&-")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert_done(command)
    assert "2 done" in log_of(command)
    assert (command.study().path / ".lock").read_bytes() == b""


def test_a_failed_cell_is_the_exit_code_also_after_a_closed_pipe(command):
    (command.folder / "mine.py").write_text(
        "import torch\ndef bad(shape, rng):\n    print('x' * 100)\n"
        "    if shape[0] == 300:\n        raise ArithmeticError('no luck')\n    return torch.zeros(*shape)\n"
    )
    (command.folder / "own/init").mkdir(parents=True)
    (command.folder / "own/init/bad.yaml").write_text("name: bad\n_target_: mine.bad\n_partial_: true\n")
    line = f"$RUN --config-dir=own init=bad {' '.join(GRID)} workers=2 | head -c 1"
    ended = shell(command.folder, line, PYTHONPATH=".")
    assert ended.returncode == 1
    assert set(command.study().statuses().values()) == {"failed"}
    assert "ArithmeticError: no luck" in log_of(command)


@pytest.mark.parametrize(
    ("line", "code", "out", "err"),
    [
        ("$RUN --help | head -c 7", 0, "ltsweep", ""),
        ("$RUN --version > /dev/full", 1, "", f"ltsweep: standard output {FULL}\n"),
        ("$RUN nosuch=1 2> /dev/full", 2, "", ""),
        ("$RUN nosuch=1 2>&-", 2, "", ""),
    ],
)
def test_without_a_study_lost_output_is_an_error_unless_its_reader_left(command, line, code, out, err):
    ended = shell(command.folder, line)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, out, err)
    assert list(command.folder.iterdir()) == []


def test_a_status_whose_reader_leaves(command):
    command.inside(*GRID)
    before = command.study().snapshot()
    ended = shell(command.folder, "$RUN multirun/default | head -c 4", "ltsweep.status")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "cell", "")
    ended = shell(command.folder, "$RUN multirun/default > /dev/full", "ltsweep.status")
    assert (ended.returncode, ended.stderr) == (1, f"ltsweep: standard output {FULL}\n")
    ended = shell(command.folder, "$RUN multirun/default", "ltsweep.status", COLUMNS="0")
    assert "2 done" in ended.stdout
    assert command.study().snapshot() == before


def test_a_closed_terminal_ends_nothing(command, descendants):
    """The real thing: a terminal whose other end goes away, with its signal, in the middle of the live table."""
    import pty

    driver, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ltsweep", *GRID, "iterations=300", "workers=2", "stack_size=1"], cwd=command.folder,
        env={**CLEAN, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )  # fmt: skip
    command.started.append(process)
    os.close(theirs)
    seen = b""
    while b"test accuracy" not in seen:
        seen += os.read(driver, 10_000)
    command.until(process, lambda: command.level_reached("default", 0))
    family = descendants(process.pid)
    os.close(driver)
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(300) == 0
    assert any("spawn_main" in line for line in family.values())
    assert_done(command)
    text = log_of(command)
    assert "standard output cannot be written: Input/output error" in text
    assert "2 done\n" in text
    assert text.replace("\n", "").isprintable()
    # The table at the end, and at most the frame of the live one that met the end of the terminal.
    assert text.count("remaining  test accuracy") in (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["ltsweep", "ltsweep.status", "ltsweep.study"])
def test_ctrl_c_at_any_moment_of_the_start_is_one_line(command, module):
    """From the moment at which Python runs the program's own first line."""
    arguments = [*GRID, "iterations=100000", "workers=1"]
    if module != "ltsweep":
        arguments = [*["ls"] * (module == "ltsweep.study"), "multirun/default"]
        command.inside(*GRID)
    script = (
        "import os, runpy, signal, sys, threading, time\n"
        "threading.Timer(float(sys.argv.pop(1)), os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        f"runpy.run_module('{module}', run_name='__main__', alter_sys=True)\n"
    )
    for moment in (0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.6, 2.5):
        began = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-c", script, str(moment), *arguments], cwd=command.folder, env=CLEAN, text=True,
            capture_output=True, timeout=300,
        )  # fmt: skip
        if module != "ltsweep" and ended.returncode == 0:
            assert "2 done" in ended.stdout  # it was faster
            continue
        assert ended.returncode == 130, (moment, time.monotonic() - began, ended)
        assert re.fullmatch(r"\n?stopped.*\n", ended.stderr), (moment, ended.stderr)


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """Return the folder of a name that few terminals show; the first run there trains, and all print the table."""
    folder = tmp_path_factory.mktemp("strange")
    (folder / "own/init").mkdir(parents=True)
    (folder / "own/init/mine.yaml").write_text(
        "name: größe→\n_target_: ltsweep.init.xavier_uniform\n_partial_: true\n", encoding="utf-8"
    )
    return folder


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
     {"PYTHONIOENCODING": "latin-1"}],
    ids=str,
)  # fmt: skip
def test_a_terminal_of_few_characters_gets_the_others_as_escapes(strange, environment):
    own = ("--config-dir=own", "init=mine,xavier_u", "levels=0", "iterations=1", "dataset=digits", "device=cpu")

    def run(module, *arguments):
        return subprocess.run(
            [sys.executable, "-m", module, *arguments], cwd=strange, capture_output=True,
            env={**CLEAN, **environment, "FORCE_COLOR": "1", "COLUMNS": "100", "TERM": "xterm"},
        )  # fmt: skip

    for ended in (run("ltsweep", *own, "workers=1"), run("ltsweep.status", "multirun/default")):
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert b"\\u2192" in ended.stdout
    ended = run("ltsweep", *own, "init.gain=größe→")
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"ltsweep: init.gain=gr")
    assert ended.stderr.count(b"\n") == 1
