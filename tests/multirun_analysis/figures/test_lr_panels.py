"""A panel for each learning rate and choice, a line for each arm."""

from collections.abc import Callable
from pathlib import Path

import pytest

from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import lr_panels as figure_file
from multirun_analysis.load import Study, load
from multirun_analysis.view import View, choose


def test_tickets_stand_beside_their_controls(mixed: Study) -> None:
    view = choose(mixed.cells)
    table = figure_file.table(mixed, view)
    (figure,) = figure_file.draw(table, view)
    inits = ("kaiming_n", "kaiming_u", "xavier_n", "xavier_u")
    assert [ax.get_title() for ax in figure.axes] == [
        f"init = {init}  ·  lr = {lr}" for init in inits for lr in ("0.0012", "0.1")
    ]
    for arm in ("ticket", "reinit"):
        line = next(line for line in figure.axes[2].lines if line.get_label() == f"|{arm}")
        rows = mixed.levels.query(f"init == 'kaiming_u' and lr < 0.01 and arm == '{arm}'")
        cells = rows.groupby(["level", "key"], observed=True)["final_test_accuracy"].mean()
        assert line.get_ydata().tolist() == pytest.approx(cells.groupby("level").mean().tolist())


def test_without_controls_there_is_nothing_to_show(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=1, epochs=1)
    with pytest.raises(NothingToShow, match=r"no controls to compare tickets with; method.controls=\[reinit\] trains"):
        figure_file.table(load(tmp_path / "made_up"), View())
