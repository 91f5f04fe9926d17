"""The initial weights under the masks, as plain numpy counts them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ltsweep.store.tickets import pack
from multirun_analysis import densities
from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import surviving_weights as figure_file
from multirun_analysis.load import Study, load
from multirun_analysis.view import View, choose

VIEW = View(hue=("init",), remaining=(1.0, 0.27))


@pytest.fixture(scope="module")
def one_rate(mixed: Study) -> Study:
    """The cells of one learning rate."""
    return dataclasses.replace(mixed, cells=mixed.cells[mixed.cells["lr"] < 0.01])


def test_densities_are_of_the_weights_that_the_masks_keep(one_rate: Study, mixed_folder: Path) -> None:
    table = figure_file.table(one_rate, VIEW)
    assert table["level"].unique().tolist() == [0, 6]
    assert table["weights"].unique().tolist() == ["100 % (dense)", "26.3 %"]
    weights = []
    for key in one_rate.cells.query("init == 'xavier_n'")["key"]:
        initial = load_file(mixed_folder / key / "tickets" / "init.safetensors")["fc2.weight"]
        bits = np.unpackbits(load_file(mixed_folder / key / "tickets" / "level_06.safetensors")["fc2.weight"])
        weights.append(initial.ravel()[bits[: initial.size] == 1])
    weights = np.concatenate(weights)
    rows = table.query("choice == 'xavier_n' and layer == 'fc2' and level == 6")
    assert rows["remaining"].unique() == pytest.approx([len(weights) / (3 * 30000)])
    for row in rows.to_dict("records"):
        inside = (weights >= row["value"] - row["width"] / 2) & (weights < row["value"] + row["width"] / 2)
        assert row["density"] == pytest.approx(inside.sum() / (len(weights) * row["width"]), abs=0.02 / row["width"])
    # Pruned by magnitude of the initial weights, as made up here: none near zero is left.
    assert rows.loc[rows["value"].abs().idxmin(), "density"] == 0.0


def test_a_row_a_choice_a_column_a_layer_a_line_a_level(one_rate: Study) -> None:
    table = figure_file.table(one_rate, VIEW)
    (figure,) = figure_file.draw(table, VIEW)
    assert [ax.get_title() for ax in figure.axes[:4]] == [
        "init = kaiming_n\nfc1",
        "init = kaiming_n\nfc2",
        "init = kaiming_n\noutput",
        "init = kaiming_u\nfc1",
    ]
    assert len(figure.axes) == 12
    here = table.query("choice == 'kaiming_u' and layer == 'fc1'")
    for line, (name, rows) in zip(figure.axes[3].lines, here.groupby("weights", observed=True), strict=True):
        assert line.get_label() == name
        assert line.get_ydata()[1:-1].tolist() == rows["density"].tolist()


def test_the_small_print_says_which_seeds_and_choices_and_why(
    write_cell: Callable[..., str], tmp_path: Path, one_rate: Study
) -> None:
    (figure,) = figure_file.draw(figure_file.table(one_rate, VIEW), VIEW)
    said = " ".join(figure.get_supxlabel().split())
    assert "Seeds 0, 1, 2 pooled, the first 3 whose initial weights are on the disk." in said
    assert "choices" not in said
    assert "levels" not in said  # they were asked for
    for n in range(13):
        write_cell(init=f"init{n:02d}_n", seed=n, levels=1, epochs=1, tickets=n != 1)
    study = load(tmp_path / "made_up")
    view = choose(study.cells)
    table = figure_file.table(study, view)
    assert table["choice"].unique().tolist() == [f"init{n:02d}_n" for n in (0, *range(2, 13))]
    said = " ".join(figure_file.draw(table, view)[0].get_supxlabel().split())
    assert said.startswith("Page 1 of 3.")
    assert "Of each choice the first 1 seed whose initial weights are on the disk." in said
    assert "12 of 13 choices, the first in the order of init that have such weights; --where chooses." in said
    assert "4 levels at most, evenly spread; --remaining chooses." in said


def test_masks_that_are_broken_leave_their_level_out_and_are_named(
    write_cell: Callable[..., str], seal: Callable[..., None], tmp_path: Path
) -> None:
    cell = tmp_path / "made_up" / write_cell(levels=3, epochs=1, tickets=True)
    study = load(tmp_path / "made_up")
    masks = {"fc1.weight": np.ones((784, 300)), "fc2.weight": np.ones((100, 300))}
    (cell / "tickets" / "level_02.safetensors").unlink()
    (cell / "tickets" / "level_03.safetensors").write_bytes(pack(masks))
    table = figure_file.table(study, choose(study.cells))
    assert table["level"].unique().tolist() == [0, 1]
    note = figure_file.draw(table, choose(study.cells))[0].get_supxlabel().replace("\n", " ")
    assert f"Broken and left out: {cell.name}: tickets/level_02.safetensors is missing; {cell.name}: tickets/" in note
    seal(cell, json.loads((cell / "status.json").read_text()))
    table = figure_file.table(study, choose(study.cells))
    assert table["level"].unique().tolist() == [0, 1]
    assert densities.left_out(table) == [
        f"{cell.name}: tickets/level_03.safetensors has a mask of fc1 of another shape than its weights"
    ]


def test_without_tickets_there_is_nothing_to_show(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=1, epochs=1)
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow, match="no cell has its initial weights on the disk"):
        figure_file.table(study, choose(study.cells))
