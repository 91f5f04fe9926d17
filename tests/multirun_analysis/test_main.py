"""The command: what it writes, what it leaves as it is, and what it says to a mistake."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import multirun_analysis
from multirun_analysis import figures
from multirun_analysis.__main__ import main
from multirun_analysis.load import load
from multirun_analysis.making import Request

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
        (["--band", "sd"], "argument --band: invalid choice: 'sd'"),
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


@pytest.mark.parametrize(
    ("change", "options", "stale"),
    [
        (lambda study: None, ["--band", "se"], DRAWN),
        (_touch, [], DRAWN),
        (lambda study: shutil.rmtree(next(study.glob("[0-9a-f]" * 16))), [], DRAWN),
        (lambda study: (study / "figures" / "init_densities.png").unlink(), [], DRAWN[3:]),
        (lambda study: (study / "figures" / ".figures.json").write_text("{torn"), [], DRAWN),
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
    assert said.startswith(f"multirun_analysis: {study / 'taken' / 'levels.csv'}: cannot be written: ")
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
