"""A look of the user's own: what each name does, and the line that a mistake is."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest

from multirun_analysis import style, style_file
from multirun_analysis.__main__ import main
from multirun_analysis.errors import AnalysisError

MINE = """\
font: DejaVu Serif
size: 8
note: false
limits: {test_accuracy: [0.9, 1], remaining: [0.02, 1]}
labels: {xavier_u: Glorot uniform, test accuracy: accuracy on the test set}
"""


def test_a_yaml_file_is_a_style(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    found = style_file.read([tmp_path / "mine.yaml"])
    assert (found.size, found.note) == (8.0, False)
    assert found.limits == {"test_accuracy": (0.9, 1.0), "remaining": (0.02, 1.0)}
    assert found.labels["xavier_u"] == "Glorot uniform"
    with style.rc(found):
        assert mpl.rcParams["font.family"] == ["DejaVu Serif", "DejaVu Sans"]
        assert mpl.rcParams["font.size"] == 8.0
    assert style_file.read([]) == style.SCREEN


def test_a_style_file_of_matplotlib_is_a_style_and_the_later_file_counts(tmp_path: Path) -> None:
    (tmp_path / "mine.mplstyle").write_text("# mine\nlines.linewidth: 3  # thick\naxes.grid : False\n")
    (tmp_path / "mine.yaml").write_text("size: 9\n")
    (tmp_path / "more.mplstyle").write_text("lines.linewidth: 4\n")
    found = style_file.read([tmp_path / name for name in ("mine.mplstyle", "mine.yaml", "more.mplstyle")])
    assert found.size == 9.0
    with style.rc(found):
        assert (mpl.rcParams["lines.linewidth"], mpl.rcParams["axes.grid"]) == (4.0, False)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "colour: red", "no 'colour': There are font, size, note, limits, labels"),
        ("a.yaml", "fonts: x", "no 'fonts': did you mean font? There are font, size, note, limits, labels"),
        ("a.yaml", "font: DejaVu San", "font: DejaVu San is no font of this machine; did you mean DejaVu Sans?"),
        ("a.yaml", "font: [1]", "font: [1] is no font of this machine; "),
        ("a.yaml", "size: large", "size: large is not a number of points from 3 to 40"),
        ("a.yaml", "size: true", "size: True is not a number of points from 3 to 40"),
        ("a.yaml", "note: 3", "note: 3 is not true, false, or a text in place of the small print"),
        ("a.yaml", "limits: {accuracy: [0, 1]}", "limits: no metric 'accuracy': "),
        ("a.yaml", "limits: {test_accuracy: [1, 0]}", "limits: test_accuracy: [1, 0] is not [low, high], two numbers"),
        ("a.yaml", "limits: {test_accuracy: [.nan, 1]}", "limits: test_accuracy: [nan, 1] is not [low, high], two n"),
        ("a.yaml", "limits: {remaining: [0, 1]}", "limits: remaining: [0, 1] are no fractions above 0, such as"),
        ("a.yaml", "limits: 3", "limits: 3 is no mapping, metric: [low, high]"),
        ("a.yaml", "labels: {a: 1}", "labels: a: 1 is no text"),
        ("a.yaml", "a: &b 1\nc: *b", "is not plain YAML: has an alias, and none is read"),
        ("a.yaml", "[", "is not plain YAML: "),
        ("a.yaml", "- a", "is not a mapping of names to values"),
        ("a.mplstyle", "lines.width: 3", "no setting 'lines.width' of matplotlib: did you mean lines.linewidth?"),
        ("a.mplstyle", "lines.linewidth: thick", "matplotlib refuses it: "),
        ("a.mplstyle", None, "no such file"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(AnalysisError) as error:
        style_file.read([tmp_path / name])
    assert str(error.value).startswith(f"--style-file {tmp_path / name}: {says}")
    assert "\n" not in str(error.value)


def test_the_command_takes_a_style_and_formats(
    write_cell: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cell(init="xavier_u", levels=2, epochs=1)
    write_cell(init="xavier_n", levels=2, epochs=1)
    (tmp_path / "mine.yaml").write_text(MINE)
    (tmp_path / "mine.mplstyle").write_text("svg.fonttype: none\n")
    out = tmp_path / "out"
    asked = [str(tmp_path / "made_up"), "--figures", "accuracy_vs_remaining", "--out", str(out), "--format", "svg,pdf"]
    own = ["--style-file", str(tmp_path / "mine.yaml"), "--style-file", str(tmp_path / "mine.mplstyle")]
    assert main([*asked, *own]) == 0
    names = ["accuracy_vs_remaining.pdf", "accuracy_vs_remaining.svg"]
    assert sorted(path.name for path in out.iterdir() if path.suffix in (".pdf", ".svg", ".png")) == names
    written = (out / "accuracy_vs_remaining.svg").read_text()
    assert "Glorot uniform" in written
    assert "accuracy on the test set" in written
    assert "One seed." not in written
    assert "DejaVu Serif" in written
    capsys.readouterr()
    assert main([*asked, *own]) == 0
    assert capsys.readouterr().out.count("up to date") == 2
    (tmp_path / "mine.yaml").write_text(MINE.replace("false", "true"))
    assert main([*asked, *own]) == 0
    assert capsys.readouterr().out.count("written") == 2
    assert "One seed." in (out / "accuracy_vs_remaining.svg").read_text()


def test_an_unknown_format_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--format", "jpg"]) == 2
    assert capsys.readouterr().err == "multirun_analysis: no format 'jpg': did you mean png? There are pdf, png, svg\n"


def test_the_example_of_the_docs_is_a_style(tmp_path: Path) -> None:
    section = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text().partition("A look of your own is")[2]
    block = [line for line in section.partition("All else that")[0].splitlines() if line.startswith("    ")]
    (tmp_path / "mine.yaml").write_text(textwrap.dedent("\n".join(block)))
    found = style_file.read([tmp_path / "mine.yaml"])
    assert set(found.limits) == {"test_accuracy", "remaining"}
    assert (found.size, found.note, found.labels["xavier_u"]) == (8.0, False, "Glorot uniform")
