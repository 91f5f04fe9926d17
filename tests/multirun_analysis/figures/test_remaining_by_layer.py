"""A line a layer and a dashed one for the network."""

import pandas as pd

from multirun_analysis import layers
from multirun_analysis.figures import remaining_by_layer as figure_file
from multirun_analysis.layers import WHOLE
from multirun_analysis.load import Study
from multirun_analysis.view import View


def test_lines_are_those_of_the_table(mixed: Study) -> None:
    view = View(col=("lr",), hue=("init",))
    table = figure_file.table(mixed, view)
    (figure,) = figure_file.draw(table, view)
    (ax,) = figure.axes
    assert ax.get_title() == "all 8 choices"
    assert ax.get_yscale() == "log"
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == ["fc1, fc2, all", "output"]
    for layer, rows in table.groupby("layer", observed=True):
        assert lines[layer].get_xydata().tolist() == rows[["level", "mean"]].to_numpy().tolist()
    assert "Layers named together are within 2 % of each other." in figure.get_supxlabel()


def test_layers_that_coincide_in_one_panel_alone_are_both_seen() -> None:
    shares = {"a": {"fc1": 0.8, "fc2": 0.8, WHOLE: 0.8}, "b": {"fc1": 0.8, "fc2": 0.5, WHOLE: 0.8}}
    rows = [
        {"choice": choice, "layer": layer, "level": level, "mean": value, "low": value, "high": value, "n": 1}
        for choice, of in shares.items()
        for layer, share in of.items()
        for level in range(7)
        for value in [share**level]
    ]
    frame = pd.DataFrame(rows)
    names = ["fc1", "fc2", WHOLE]
    frame = frame.assign(
        choice=pd.Categorical(frame["choice"]), layer=pd.Categorical(frame["layer"], names, ordered=True)
    )
    (figure,) = figure_file.draw(frame, View())
    alike, apart = figure.axes
    assert [line.get_linestyle() for line in alike.lines] == ["-", "-", "--"]
    assert [line.get_markevery() for line in alike.lines] == [(0, 3), (1, 3), (2, 3)]
    # the whole network is dashed, and hides no layer
    assert [line.get_markevery() for line in apart.lines] == [None] * 3


def test_many_layers_have_panels_of_a_few_each() -> None:
    names = [f"conv{i}" for i in range(8)]
    rows = [
        {"choice": "", "layer": name, "level": level, "mean": value, "low": value, "high": value, "n": 1}
        for i, name in enumerate([*names, WHOLE])
        for level in range(3)
        for value in [(1 - 0.1 * i) ** level]
    ]
    frame = pd.DataFrame(rows)
    frame = frame.assign(
        choice=pd.Categorical(frame["choice"]), layer=pd.Categorical(frame["layer"], [*names, WHOLE], ordered=True)
    )
    (figure,) = figure_file.draw(layers.together(frame), View())
    assert [ax.get_title() for ax in figure.axes] == ["1–4 of 8", "5–8 of 8"]
    assert [[line.get_label() for line in ax.lines] for ax in figure.axes] == [
        [*names[:4], WHOLE],
        [*names[4:], WHOLE],
    ]


def test_a_long_list_of_layers_is_named_by_its_ends() -> None:
    names = [f"conv{i}" for i in range(8)]
    frame = pd.DataFrame(
        [{"choice": "a", "layer": name, "level": level, "mean": 0.8**level} for name in names for level in range(3)]
    ).assign(layer=lambda df: pd.Categorical(df["layer"], names, ordered=True))
    assert layers.together(frame)["layer"].unique().tolist() == ["conv0 to conv7 (8)"]
