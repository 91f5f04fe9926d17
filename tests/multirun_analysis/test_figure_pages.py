"""A figure of several pages: numbered files that are listed, made anew when one is gone, and removed when fewer."""

from collections.abc import Callable
from pathlib import Path

import pytest

from multirun_analysis.__main__ import main

FIGURE = """
from matplotlib.figure import Figure

def table(study, view):
    return study.cells

def draw(df, view):
    return [Figure(figsize=(1, 1)) for _ in range({pages})]
"""


def listed(said: str) -> list[tuple[str, str]]:
    """Return state and file name of each line of the closing list."""
    lines = [line.split() for line in said.splitlines() if line.endswith((".png", ".pdf"))]
    return [(words[0], Path(words[-1]).name) for words in lines]


def test_pages_are_numbered_listed_and_removed(
    write_cell: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cell(levels=1, epochs=1)
    mine, out = tmp_path / "mine.py", tmp_path / "made_up" / "figures"
    asked = [str(tmp_path / "made_up"), "--figures", str(mine)]

    def pages(count: int) -> list[tuple[str, str]]:
        mine.write_text(FIGURE.format(pages=count))
        assert main(asked) == 0
        return listed(capsys.readouterr().out)

    names = ["mine.png", "mine_2.png", "mine_3.png", "mine.pdf"]
    assert pages(3) == [("written", name) for name in names]
    assert [state for state, _ in pages(3)] == ["up"] * 4
    (out / "mine_2.png").unlink()
    assert sorted(pages(3)) == sorted([*[("written", name) for name in names[:3]], ("up", "mine.pdf")])
    assert [name for _, name in pages(2)] == ["mine.png", "mine_2.png", "mine.pdf"]
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == ["mine.pdf", "mine.png", "mine_2.png"]
    assert [name for _, name in pages(1)] == ["mine.png", "mine.pdf"]
    assert not (out / "mine_2.png").exists()


def test_no_page_at_all_is_a_mistake(
    write_cell: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cell(levels=1, epochs=1)
    (tmp_path / "mine.py").write_text(FIGURE.format(pages=0))
    assert main([str(tmp_path / "made_up"), "--figures", str(tmp_path / "mine.py")]) == 2
    assert "draw returns list, and must return a matplotlib Figure" in capsys.readouterr().err
