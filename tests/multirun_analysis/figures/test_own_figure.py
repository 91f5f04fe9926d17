"""A figure from a file of one's own: drawn beside the shipped ones, drawn anew when edited, one line for a mistake."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import multirun_analysis
from multirun_analysis import figures
from multirun_analysis.__main__ import main

DOCS = Path(multirun_analysis.__file__).parents[1] / "docs" / "analysis.md"


@pytest.fixture
def study(write_cell: Callable[..., str], tmp_path: Path) -> Path:
    for seed in range(2):
        write_cell(seed=seed, levels=2, epochs=1, arms={"ticket": 1, "reinit": 1})
    return tmp_path / "made_up"


def documented() -> str:
    """Return the example of the docs: the first indented block of its section."""
    section = DOCS.read_text().partition("## A figure of your own")[2]
    lines = section.partition("\n    ")[2].splitlines()
    ends = next(i for i, line in enumerate(lines) if line and i and not line.startswith("    "))
    return textwrap.dedent("\n".join(["    " + lines[0], *lines[1:ends]]))


def draw(study: Path, asked: object, *options: object) -> int:
    return main([str(study), "--figures", str(asked), "--style", "screen", *map(str, options)])


def test_the_example_of_the_docs_is_drawn_beside_a_shipped_figure(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "seconds.py"
    mine.write_text(documented())
    for state in ("written", "up to date"):
        assert draw(study, f"accuracy_vs_remaining,{mine}") == 0
        said = capsys.readouterr().out
        for name in ("accuracy_vs_remaining", "seconds"):
            assert f"  {state:10}  {study / 'figures' / name}.png\n" in said
    assert not list(tmp_path.glob("__pycache__"))


def test_an_edited_figure_is_drawn_again_and_no_other_one(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "seconds.py"
    images = []
    for color in ("red", "tan"):  # as long, and within the second
        mine.write_text(documented().replace('marker="o"', f'marker="o", color="{color}"'))
        assert draw(study, f"{mine},early_stop_vs_remaining") == 0
        images.append((study / "figures" / "seconds.png").read_bytes())
    assert images[0] != images[1]
    said = capsys.readouterr().out
    assert said.count("written     " + str(study / "figures" / "seconds.png")) == 2
    assert said.count("written     " + str(study / "figures" / "early_stop_vs_remaining.png")) == 1


def test_what_it_lacks_is_listed_as_of_any_figure(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "norms.py"
    mine.write_text(
        "from multirun_analysis.errors import NothingToShow\n"
        "def table(study, view):\n"
        "    raise NothingToShow(f'{len(study.readings)} readings')\n"
        "def draw(df, view): ...\n"
    )
    assert draw(study, mine) == 0
    assert "nothing     norms: 0 readings\n" in capsys.readouterr().out


def test_a_dataclass_and_a_relative_path_do_as_well(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    kept = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    n: int\n"
    (tmp_path / "mine" / "seconds").write_text(kept + documented())
    monkeypatch.chdir(tmp_path)
    assert draw(study, "mine/seconds") == 0
    assert (study / "figures" / "seconds.png").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.py", None, "no such file; a figure of your own is a Python file"),
        ("torn.py", "def table(", "cannot be imported: SyntaxError: '(' was never closed (torn.py, line 1)"),
        ("needs.py", "import no_such_package", "cannot be imported: ModuleNotFoundError: No module named 'no_such_"),
        ("typo.py", "\nx = y", "cannot be imported: NameError: name 'y' is not defined (line 2)"),
        ("leaves.py", "raise SystemExit('bye')", "cannot be imported: SystemExit: bye"),
        ("half.py", "def table(study, view): ...", "has no function draw; a figure is table(study, view) and draw("),
        ("other.py", "table = 1\ndef draw(df, view): ...", "has no function table; a figure is table(study, view)"),
        ("heat_map.py", "", "there is a shipped figure heat_map; give the file another name"),
    ],
)
def test_a_mistake_is_one_line(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | None, says: str
) -> None:
    mine = tmp_path / name
    if content is not None:
        mine.write_text(content)
    assert draw(study, f"accuracy_vs_remaining,{mine}") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"multirun_analysis: {mine}: ")
    assert says in said
    assert said.count("\n") == 1
    assert not (study / "figures").exists()


def test_a_folder_and_two_files_of_one_name_are_mistakes(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "seconds.py", tmp_path / "a" / "seconds.py"):
        path.write_text(documented())
    assert draw(study, f"{tmp_path / 'seconds.py'},{tmp_path / 'a' / 'seconds.py'}") == 2
    assert "has the name of" in capsys.readouterr().err
    assert draw(study, tmp_path / "a") == 2
    assert "a: cannot be read: Is a directory" in capsys.readouterr().err


def test_what_is_no_figure_is_said(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("def table(study, view):\n    return study.levels\ndef draw(df, view):\n    return df.plot\n")
    assert draw(study, mine) == 2
    assert "draw returns PlotAccessor, and must return a matplotlib Figure\n" in capsys.readouterr().err


def test_names_and_paths_are_told_apart() -> None:
    assert not any(map(figures.is_path, figures.names()))
    assert all(map(figures.is_path, ("mine.py", "a/mine", "./mine", "/a/mine.py")))
    assert {figures.name(path) for path in ("mine.py", "a/mine", "a/mine.py", "mine")} == {"mine"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "few.py",
            "def table(study): ...\ndef draw(df, view): ...",
            "table failed: TypeError: table() takes 1 positional argument but 2 were given",
        ),
        (
            "column.py",
            "def table(study, view): return study.levels\ndef draw(df, view):\n    df['valu']",
            "draw failed: KeyError: 'valu' (line 3)",
        ),
    ],
)
def test_what_it_raises_while_drawing_is_one_line(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, says: str
) -> None:
    mine = tmp_path / name
    mine.write_text(content)
    assert draw(study, mine) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"multirun_analysis: {mine}: {says}")
    assert said.count("\n") == 1
