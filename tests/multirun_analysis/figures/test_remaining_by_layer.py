"""A line a layer and a dashed one for the network."""

from multirun_analysis.figures import remaining_by_layer as figure_file
from multirun_analysis.load import Study
from multirun_analysis.view import View


def test_lines_are_those_of_the_table(mixed: Study) -> None:
    view = View(col=("lr",), hue=("init",))
    table = figure_file.table(mixed, view)
    figure = figure_file.draw(table, view)
    (ax,) = figure.axes
    assert ax.get_title() == "all 8 choices"
    assert ax.get_yscale() == "log"
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == ["fc1", "fc2", "output", "all"]
    for layer, rows in table.groupby("layer", observed=True):
        assert lines[layer].get_xydata().tolist() == rows[["level", "mean"]].to_numpy().tolist()
    assert [lines[layer].get_linestyle() for layer in lines] == ["-", "-", "-", "--"]
