"""Solid what two tickets share, dotted what chance gives; panels for each axis."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import mask_overlap as figure_file
from multirun_analysis.load import load
from multirun_analysis.view import choose

Write = Callable[..., str]


def test_lines_are_those_of_the_table(write_cell: Write, tmp_path: Path) -> None:
    for method, init, seed in itertools.product(("imp", "snip"), ("xavier_n", "kaiming_n"), range(3)):
        write_cell(method=method, init=init, seed=seed, levels=3, epochs=1, tickets=True)
    study = load(tmp_path / "made_up")
    view = choose(study.cells)
    table = figure_file.table(study, view)
    (figure,) = figure_file.draw(table, view)
    assert [ax.get_title() for ax in figure.axes] == [
        "another seed",
        "another method\nimp – snip",
        "another init\nkaiming_n – xavier_n",
    ]
    for ax, (_, rows) in zip(figure.axes, table.groupby("axis", observed=True), strict=True):
        drawn = [line.get_xydata().tolist() for line in ax.lines]
        expected = []
        for _, line in rows.groupby("line", observed=True):
            expected += [line[["remaining", name]].to_numpy().tolist() for name in ("mean", "expected")]
        assert drawn == expected
    (legend,) = figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said[:3] == ["another seed", "imp, kaiming_n", "imp, xavier_n"]
    assert said[-1] == "by chance"
    note = " ".join(figure.get_supxlabel().split())
    assert "the part that remains in both; dotted, for as many weights of each layer at random places." in note
    assert "Band from the least to the greatest pair of at most three seeds." in note
    assert "choices" not in note


def test_one_cell_has_no_overlap(write_cell: Write, tmp_path: Path) -> None:
    write_cell(levels=2, epochs=1, tickets=True)
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow, match=r"no two cells .* that differ in one thing alone"):
        figure_file.table(study, choose(study.cells))


def test_dense_networks_alone_have_no_overlap(write_cell: Write, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_cell(levels=0, epochs=1, seed=seed, tickets=True)
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow, match="have masks of the same number of weights"):
        figure_file.table(study, choose(study.cells))
