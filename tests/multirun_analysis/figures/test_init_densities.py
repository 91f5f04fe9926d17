"""Densities are those of the files: pooled over seeds, normalized, one histogram an init and layer."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from multirun_analysis import style
from multirun_analysis.densities import init_densities
from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import init_densities as figure_file
from multirun_analysis.load import Study, load
from multirun_analysis.view import View, choose

VIEW = View(col=("lr",), hue=("init",))


def test_a_density_is_the_share_of_weights_in_a_bin(mixed: Study, mixed_folder: Path) -> None:
    table = init_densities(mixed, VIEW)
    assert list(table["layer"].cat.categories) == ["fc1", "fc2", "output"]
    cells = mixed.cells.query("init == 'xavier_n' and status == 'done'").drop_duplicates("seed")
    weights = np.concatenate(
        [load_file(mixed_folder / key / "tickets" / "init.safetensors")["fc2.weight"].ravel() for key in cells["key"]]
    )
    rows = table.query("init == 'xavier_n' and layer == 'fc2'")
    assert set(rows["cells"]) == {3}
    for row in rows.to_dict("records"):
        inside = np.abs(weights - row["value"]) < row["width"] / 2
        assert row["density"] == pytest.approx(inside.sum() / (len(weights) * row["width"]), rel=1e-3)


def test_nearly_all_weights_have_a_bin_and_zero_is_in_the_middle_of_one(mixed: Study) -> None:
    for _, rows in init_densities(mixed, VIEW).groupby(["init", "layer"], observed=True):
        assert 0.998 < (rows["density"] * rows["width"]).sum() <= 1.0 + 1e-9
        assert rows["value"].abs().min() == pytest.approx(0.0, abs=1e-9)
        assert len(rows) % 2 == 1


def test_the_theoretical_density_is_what_the_weights_come_to(mixed: Study) -> None:
    for (_, layer), rows in init_densities(mixed, VIEW).groupby(["init", "layer"], observed=True):
        n = {"fc1": 300 * 784, "fc2": 300 * 100, "output": 1000}[layer] * rows["cells"].iloc[0]
        p = rows["theory"] * rows["width"]
        away = (rows["density"] - rows["theory"]).abs() * rows["width"]
        # Five binomial standard deviations, and a lone weight far out.
        assert (away <= 5 * (p * (1 - p) / n) ** 0.5 + np.maximum(1e-4, 1.5 / n)).all()


def test_lines_are_outlines_of_the_bins(mixed: Study) -> None:
    table = figure_file.table(mixed, VIEW)
    (figure,) = figure_file.draw(table, VIEW)
    with style.rc():
        figure.draw_without_rendering()
    assert [ax.get_title() for ax in figure.axes] == ["fc1", "fc2", "output"]
    for ax, (_, panel) in zip(figure.axes, table.groupby("layer", observed=True), strict=True):
        drawn_from = [line for line in ax.lines if line.get_label() == "_theory"]
        for line, (_, rows) in zip(drawn_from, panel.groupby("init", observed=True), strict=True):
            assert line.get_xydata().tolist() == rows[["value", "theory"]].to_numpy().tolist()
        drawn = [line for line in ax.lines if line.get_label() != "_theory"]
        for line, (init, rows) in zip(drawn, panel.groupby("init", observed=True), strict=True):
            assert line.get_label() == init
            assert line.get_ydata()[1:-1].tolist() == rows["density"].tolist()
            assert line.get_xdata()[1:-1] == pytest.approx((rows["value"] - rows["width"] / 2).tolist())


def test_the_peaks_of_a_constant_init_are_cut_and_marked(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for init in ("xavier_n", "xavier_u", "const_t"):
        write_cell(init=init, levels=0, epochs=1, tickets=True)
    study = load(tmp_path / "made_up")
    (figure,) = figure_file.draw(figure_file.table(study, choose(study.cells)), choose(study.cells))
    assert all(ax.get_ylim()[1] < 20 for ax in figure.axes)
    assert figure.get_supxlabel().split("\n")[0].endswith("Triangles at the edge: 6 bins beyond it.")


def test_gains_of_one_init_are_told_apart(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for gain in (1.0, 2.0):
        write_cell(init__gain=gain, levels=0, epochs=1, tickets=True)
    study = load(tmp_path / "made_up")
    assert init_densities(study, choose(study.cells))["init"].cat.categories.tolist() == ["1", "2"]


def test_missing_files_are_passed_over_and_broken_ones_named(
    write_cell: Callable[..., str], seal: Callable[..., None], tmp_path: Path
) -> None:
    keys = [write_cell(seed=seed, levels=0, epochs=1, tickets=seed > 0) for seed in range(3)]
    torn = tmp_path / "made_up" / keys[1] / "tickets" / "init.safetensors"
    torn.write_bytes(torn.read_bytes()[:500])
    study = load(tmp_path / "made_up")
    assert set(study.cells["status"]) == {"done"}  # the numbers stay
    table = init_densities(study, choose(study.cells))
    assert set(table["cells"]) == {1}
    says = f"{keys[1]}: tickets/init.safetensors holds 500 bytes, and "
    note = figure_file.draw(table, choose(study.cells))[0].get_supxlabel().replace("\n", " ")
    assert f"Broken and left out: {says}" in note
    other = tmp_path / "made_up" / keys[2]
    (other / "tickets" / "init.safetensors").unlink()
    seal(other, json.loads((other / "status.json").read_text()))
    assert init_densities(study, choose(study.cells)).empty
    with pytest.raises(NothingToShow, match=f"no cell has its initial weights on the disk: .*{says}"):
        figure_file.table(study, choose(study.cells))
