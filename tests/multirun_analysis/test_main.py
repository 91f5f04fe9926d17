"""The command: what it writes, what it leaves as it is, and what it says to a mistake."""

import ast
import contextlib
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import multirun_analysis
from ltsweep.store.tables import as_parquet
from multirun_analysis import disk, figures, pairing, statistics
from multirun_analysis.__main__ import main
from multirun_analysis.load import load
from multirun_analysis.making import Request
from multirun_analysis.pairing import Side

ROOT = Path(multirun_analysis.__file__).parents[1]
DRAWN = ["accuracy_vs_remaining.pdf", "accuracy_vs_remaining.png", "init_densities.pdf", "init_densities.png"]
QUICK = ["--figures", "accuracy_vs_remaining,init_densities", "--style", "paper,screen"]


@pytest.fixture(scope="module")
def drawn_once(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., str]) -> tuple[Path, str]:
    """Two small cells that differ in their inits, their figures, and what the command said."""
    study = tmp_path_factory.mktemp("multirun") / "small"
    for init in ("xavier_n", "kaiming_n"):
        write(study, init=init, levels=1, epochs=1, tickets=True)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main([str(study), *QUICK]) == 0
    return study, said.getvalue()


@pytest.fixture
def study(drawn_once: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of `drawn_once`, times of change included, that a test can spoil."""
    return shutil.copytree(drawn_once[0], tmp_path / "small")


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "multirun_analysis", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def started(*arguments: object, **more: Any) -> subprocess.Popen[str]:
    """Start the command; its output is text."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", "errors": "surrogateescape"}
    words = [sys.executable, "-m", "multirun_analysis", *map(str, arguments)]
    return subprocess.Popen(words, cwd=ROOT, **(pipes | more))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in (".pdf", ".png")}


def states(output: str) -> dict[str, str]:
    """Read the closing lines `  <state>  <path>` as {file name: state}."""
    lines = [line.strip().rsplit("  ", 1) for line in output.splitlines() if line.endswith((".pdf", ".png"))]
    return {Path(path).name: state.strip() for state, path in lines}


def test_two_processes_write_the_same_bytes(study: Path, tmp_path: Path) -> None:
    run = command(study, *QUICK, "--out", tmp_path / "again")
    assert (run.returncode, run.stderr) == (0, "")
    assert files(tmp_path / "again") == files(study / "figures")
    assert list(files(tmp_path / "again")) == DRAWN


def test_what_is_not_done_is_listed_with_its_reason(
    mixed_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(mixed_folder), "--figures", "accuracy_vs_remaining", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{mixed_folder}: 29 cells: 24 done, 1 running, 1 pending, 1 failed, 1 diverged, 1 unread")
    assert "failed      init=xavier_u lr=0.1 seed=3  RuntimeError: out of memory\n" in said


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    run = command(tmp_path / "gone")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"multirun_analysis: {tmp_path / 'gone'}: no such folder;")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--hue", "intt"], "no config column 'intt': did you mean init? These vary here: init"),
        (
            ["--figures", "training_curve"],
            "no figure 'training_curve': did you mean training_curves? There are",
        ),
        (["--metric", "accuracy"], "no metric 'accuracy': it is one of"),
        (["--style", "poster"], "no style 'poster': There are paper, screen"),
        (["--export", "cvs"], "no format 'cvs': did you mean csv? There are csv, parquet"),
        (["--where", "sede < 3"], "--where 'sede < 3': no config column 'sede': did you mean seed?"),
        (["--axes", "init"], "--axes takes two config columns, such as init,lr, not init"),
        (["--axes", "lr,lr"], "--axes takes two config columns, such as init,lr, not lr,lr"),
        (["--axes", "init,lrr"], "no config column 'lrr': did you mean lr?"),
        (["--remaining", "20"], "--remaining takes fractions above 0 and up to 1, such as 0.2; 20 is none"),
        (["--together"], "--together needs a folder for the figures of all studies: --out FOLDER"),
    ],
)
def test_a_wrong_option_says_what_is_right(
    study: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main([str(study), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"multirun_analysis: {says}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--band", "iqr"], "argument --band: invalid choice: 'iqr'"),
        (["--remaining", "x"], "argument --remaining: invalid list of numbers value: 'x'"),
        (["--hue"], "argument --hue: expected one argument"),
    ],
)
def test_what_the_parser_refuses_is_one_line_too(
    study: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(study), *arguments])
    said = capsys.readouterr().err
    assert said.startswith(f"multirun_analysis: {says}")
    assert said.count("\n") == 1


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(word in said for word in ("examples:", "--hue", "--metric", *figures.names()))


def test_the_second_run_writes_nothing_and_says_so(
    study: Path, drawn_once: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    times = {path: path.stat().st_mtime_ns for path in (study / "figures").iterdir()}
    assert main([str(study), *QUICK]) == 0
    assert states(drawn_once[1]) == dict.fromkeys(DRAWN, "written")
    assert states(capsys.readouterr().out) == dict.fromkeys(DRAWN, "up to date")
    assert times == {path: path.stat().st_mtime_ns for path in (study / "figures").iterdir()}


def _touch(study: Path) -> None:
    path = next(study.glob("*/status.json"))
    os.utime(path, ns=(1, 1))


def _stamp(content: bytes) -> Callable[[Path], object]:
    return lambda study: (study / "figures" / ".figures.json").write_bytes(content)


def _flip_a_letter(study: Path) -> None:
    """Change what the stamp says of the cells, and nothing that it notes of files."""
    path = study / "figures" / ".figures.json"
    path.write_text(path.read_text().replace(" cells: ", " calls: "))


def _pipe_for_a_stamp(study: Path) -> None:
    (study / "figures" / ".figures.json").unlink()
    os.mkfifo(study / "figures" / ".figures.json")


def _endless_stamp(study: Path) -> None:
    (study / "figures" / ".figures.json").unlink()
    (study / "figures" / ".figures.json").symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("change", "options", "stale"),
    [
        (lambda study: None, ["--band", "se"], DRAWN),
        (_touch, [], DRAWN),
        (lambda study: shutil.rmtree(next(study.glob("[0-9a-f]" * 16))), [], DRAWN),
        (lambda study: (study / "figures" / "init_densities.png").unlink(), [], DRAWN[3:]),
        (lambda study: (study / "figures" / "init_densities.png").write_bytes(b"another picture"), [], DRAWN[3:]),
        (lambda study: os.utime(study / "figures" / "init_densities.png", ns=(1, 1)), [], []),
        *(
            (_stamp(content), [], DRAWN)
            for content in (b"{torn", b"[" * 9999, b'{"files": {"cells": 3}}', b'{"files": 1}')
        ),
        (_stamp(b'{"files": {"cells": {"made_from": ["x"], "says": 10}}}'), [], DRAWN),
        (_flip_a_letter, [], DRAWN),
        (_pipe_for_a_stamp, [], DRAWN),
        (_endless_stamp, [], DRAWN),
    ],
)
def test_only_what_is_out_of_date_is_written(
    study: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], None],
    options: list[str],
    stale: list[str],
) -> None:
    change(study)
    assert main([str(study), *QUICK, *options]) == 0
    found = states(capsys.readouterr().out)
    assert found == {name: "written" if name in stale else "up to date" for name in DRAWN}


def test_what_a_killed_analysis_was_writing_is_removed(study: Path) -> None:
    (study / "figures" / ".init_densities.png.4711").write_bytes(b"half")
    (study / "figures" / "mine.png.4711").write_bytes(b"kept")
    assert main([str(study), *QUICK]) == 0
    assert not (study / "figures" / ".init_densities.png.4711").exists()
    assert (study / "figures" / "mine.png.4711").exists()


def test_a_second_analysis_into_one_folder_waits_and_its_stamp_is_true(study: Path) -> None:
    out = study / "figures"
    arguments = [str(study), *QUICK, "--band", "se"]
    with disk.hold(out):
        run = started(*arguments)
        assert run.stderr
        assert (
            run.stderr.readline() == f"multirun_analysis: {out} is being written by another analysis; waiting for it\n"
        )
        assert main([str(study), "--figures", "none", "--no-report"]) == 0  # what is up to date is not waited for
        # Meanwhile the first one writes its own picture over the place of the second's.
        disk.write(out / "init_densities.png", b"the first one's")
    said, _ = run.communicate(timeout=300)
    assert states(said) == dict.fromkeys(DRAWN, "written")
    assert (out / "init_densities.png").read_bytes()[:4] == b"\x89PNG"
    disk.write(out / "init_densities.png", b"the first one's")
    again = command(*arguments)
    assert states(again.stdout) == {name: "written" if name == DRAWN[3] else "up to date" for name in DRAWN}


def test_a_folder_of_figures_that_is_a_link_is_refused_unless_asked_for(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "figures").rename(tmp_path / "elsewhere")
    (study / "figures").symlink_to(tmp_path / "elsewhere")
    assert main([str(study), *QUICK]) == 2
    assert capsys.readouterr().err == (
        f"multirun_analysis: {study / 'figures'}: a symbolic link; --out names a folder that may be one\n"
    )
    assert main([str(study), *QUICK, "--out", str(study / "figures")]) == 0


def test_what_a_figure_leaves_out_is_listed_whenever_it_is(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = sorted(study.glob("*/tickets/init.safetensors"))[0]
    broken.write_bytes(broken.read_bytes()[:500])
    for _ in range(2):
        assert main([str(study), *QUICK]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"{study}: 2 cells: 2 done\n")
        assert said.count(f"  left out    {broken.parent.parent.name}: tickets/init.safetensors holds 500 bytes") == 1


def test_a_study_that_prunes_all_its_weights_stops_at_its_last_level_with_some(
    write_cell: Callable[..., str], seal: Callable[..., None], tmp_path: Path
) -> None:
    study = tmp_path / "made_up"
    for init, seed in itertools.product(("xavier_n", "kaiming_n"), range(2)):
        cell = study / write_cell(
            init=init, seed=seed, levels=4, epochs=2, tickets=True, arms={"ticket": 1, "reinit": 1}
        )
        for name in ("evaluations.parquet", "levels.parquet"):
            rows = pq.read_table(cell / name).to_pylist()
            for row in rows:
                if row["level"] >= 3:
                    row["weights_remaining"] = 0
                if row["level"] >= 2 and "layers" in row:
                    row["layer_remaining"] = [0, row["layer_remaining"][1], 0]
            (cell / name).write_bytes(as_parquet(name, rows))
        seal(cell, json.loads((cell / "status.json").read_text()))
    run = command(study, "--export", "csv", "--style", "screen")  # with warnings as errors
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.count("no weights remain from level 3 on\n") == 4
    assert run.stdout.count("  written  ") == 13
    assert set(pd.read_csv(study / "figures" / "levels.csv")["level"]) == {0, 1, 2, 3, 4}
    loaded = load(study)
    assert "Of 4 cells no weights remain, from level 3 on at the earliest: not shown." in Request(()).view(loaded).note
    areas = statistics.area(pairing.paired(pairing.scores(loaded.levels, "test_accuracy"), Side(), Side(dense=True)))
    assert np.isfinite(areas["left"]).all()
    assert set(areas["level"]) == {2}


def test_the_locale_changes_nothing_but_what_a_terminal_can_show(study: Path, tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\xff\n"))
    shutil.copytree(study, strange)
    shutil.rmtree(strange / "figures")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    pages = []
    for name, more in (("utf", {"PYTHONUTF8": "1"}), ("ascii", plain)):
        run = started(strange, "--figures", "none", "--report", "--out", tmp_path / name, env=os.environ | more)
        said, wrong = run.communicate(timeout=300)
        assert (run.returncode, wrong) == (0, "")
        pages.append((tmp_path / name / "report.html").read_bytes())
    assert "caf\\udce9\\udcff" in said
    assert pages[0] == pages[1]
    gone = started(strange / "gone", env=os.environ | plain)
    said, wrong = gone.communicate(timeout=300)
    assert (gone.returncode, said, wrong.count("\n")) == (2, "", 1)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has loaded is read from /proc")
@pytest.mark.parametrize("moment", ["numpy", "pandas", "scipy", "drawing"])
def test_ctrl_c_at_any_moment_is_one_line(study: Path, moment: str) -> None:
    run = started(study, "--out", study / "other", start_new_session=True)
    loaded = Path(f"/proc/{run.pid}/maps")
    while not ((study / "other" / ".lock").exists() if moment == "drawing" else f"/{moment}/" in loaded.read_text()):
        time.sleep(0.002)
    run.send_signal(signal.SIGINT)
    said, wrong = run.communicate(timeout=300)
    assert (said, run.returncode, wrong) == ("", 130, "\nmultirun_analysis: interrupted; what was written stays\n")
    assert not list((study / "other").glob(".*.*[0-9]"))  # nothing half-written


def test_a_closed_pipe_and_a_full_disk_behind_the_output_are_no_traceback(study: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    run = started(study, *QUICK, stdout=write)
    os.close(write)
    assert (run.communicate(timeout=300)[1], run.returncode) == ("", 141)
    with open("/dev/full", "wb") as full:
        run = started(study, *QUICK, stdout=full)
    says = "multirun_analysis: the output cannot be written: No space left on device; the files are there\n"
    assert (run.communicate(timeout=300)[1], run.returncode) == (says, 2)


def test_no_text_is_opened_in_the_locales_encoding() -> None:
    for path in sorted(Path(multirun_analysis.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
                *("open", "read_text", "write_text"),
            ):
                named = {word.arg for word in node.keywords}
                assert "encoding" in named or ast.unparse(node.func) == "os.open", (path, node.lineno)


def test_one_figure_of_two_studies_in_a_folder_each(
    study: Path, mixed_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--figures", "init_densities", "--style", "screen", "--out", str(tmp_path / "out")]
    assert main([str(study), str(mixed_folder), *options]) == 0
    assert capsys.readouterr().out.count("  written  ") == 2
    for name in ("small", "mixed"):
        assert list(files(tmp_path / "out" / name)) == ["init_densities.png"]


def test_two_studies_together_are_one(
    study: Path, mixed_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--together", "--figures", "none", "--export", "parquet", "--where", "status == 'done'"]
    assert main([str(study), str(mixed_folder), *options, "--out", str(tmp_path / "out")]) == 0
    assert f"{study}, {mixed_folder}: 26 cells: 26 done\n" in capsys.readouterr().out
    levels = pd.read_parquet(tmp_path / "out" / "levels.parquet")
    assert {name.rpartition("/")[2]: size for name, size in levels.groupby("study").size().items()} == {
        "small": 2 * 2,
        "mixed": 24 * (7 + 2 * 6),
    }


def test_a_filter_is_said_under_the_figure_and_makes_it_anew(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--figures", "none", "--export", "csv", "--out", str(tmp_path)]
    for where, state in {"init == 'xavier_n'": "written", "init != 'kaiming_n'": "written"}.items():
        assert main([str(study), *options, "--where", where]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"{study}: 1 cell: 1 done\n  {state}  ")
        assert main([str(study), *options, "--where", where]) == 0
        assert capsys.readouterr().out.count("up to date") == 2
    assert set(pd.read_csv(tmp_path / "levels.csv")["init"]) == {"xavier_n"}
    request = Request((), where="init == 'xavier_n'")
    assert request.view(load(study)).note == "Only cells where init == 'xavier_n'."


def test_what_has_nothing_to_show_is_said_once_and_not_written(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in study.glob("*/tickets/init.safetensors"):
        path.unlink()
    for _ in range(2):
        assert main([str(study), *QUICK]) == 0
        said = capsys.readouterr().out
        assert said.count("nothing     init_densities: no cell has its initial weights on the disk") == 1
        assert list(files(study / "figures")) == DRAWN[:2]  # what was drawn before is gone


def test_where_all_cells_failed_only_what_shows_them_is_drawn(
    write_cell: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for init in ("xavier_n", "kaiming_n"):
        write_cell(init=init, levels=3, epochs=1, status="diverged", last=1)
    names = ["accuracy_vs_remaining", "heat_map", "remaining_by_layer", "training_curves"]
    assert main([str(tmp_path / "made_up"), "--figures", ",".join(names)]) == 0
    said = capsys.readouterr().out
    assert said.count(": no cell has finished a level but failed or diverged ones\n") == 3
    assert list(files(tmp_path / "made_up" / "figures")) == DRAWN[:2]


def test_readings_are_exported_where_there_are_any_and_only_there(
    study: Path, write: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--figures", "none", "--export", "csv", "--out", str(tmp_path)]
    for _ in range(2):
        assert main([str(study), *options]) == 0
        assert "  nothing     readings: no cell has readings" in capsys.readouterr().out
        assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["evaluations.csv", "levels.csv"]
    write(study, init="xavier_u", levels=1, epochs=1, readings=("norm",))
    assert main([str(study), *options]) == 0
    assert capsys.readouterr().out.count("  written  ") == 3
    readings = pd.read_csv(tmp_path / "readings.csv")
    assert readings.groupby("name").size().to_dict() == {"norm": 2 * 4}
    assert set(readings["init"]) == {"xavier_u"}


def test_a_folder_that_cannot_be_written_is_one_line(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "taken").write_text("")
    assert main([str(study), "--figures", "none", "--export", "csv", "--out", str(study / "taken")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"multirun_analysis: {study / 'taken'}: cannot be written: ")
    assert said.endswith("; --out names another folder\n")


def test_a_study_that_has_no_records_yet_has_a_table_and_no_figures(
    write_cell: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cell(status="pending")
    for _ in range(2):
        assert main([str(tmp_path / "made_up"), "--no-report"]) == 0
        said = capsys.readouterr().out
        assert "1 cell: 1 pending" in said
        found = [line.strip().partition(":")[0].split() for line in said.splitlines()[3:]]
        assert found == [["nothing", name] for name in figures.names()]
    assert files(tmp_path / "made_up" / "figures") == {}
