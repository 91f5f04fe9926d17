"""Axes that show what they leave out, marks that can be read, and files that do not change."""

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multirun_analysis import panels, style

FLAT = [0.975 + 0.0002 * i for i in range(30)]


@pytest.mark.parametrize(
    ("values", "metric", "low", "high"),
    [
        (FLAT, "test_accuracy", 0.975, 0.9808),
        ([*FLAT, 0.098], "test_accuracy", 0.975, 0.9808),  # a cell at chance does not squash the rest
        ([*FLAT, 0.93, 0.90], "test_accuracy", 0.90, 0.9808),  # the fall of sparse networks is shown
        ([0.97, *[0.098] * 9], "test_accuracy", 0.098, 0.97),  # where most are at chance, all are shown
        ([0.1, 0.2, 0.3, 90.0], "train_loss", 0.1, 0.3),
        ([0.1, 0.2, 0.3, 90.0], "early_stop_iteration", 0.1, 90.0),
        ([*FLAT, float("nan"), float("inf")], "train_loss", 0.975, 0.9808),
    ],
)
def test_an_axis_holds_all_but_far_values(values: list[float], metric: str, low: float, high: float) -> None:
    ends = panels.limits(values, metric)
    pad = 0.05 * max(high - low, 0.01 * high)
    assert ends == pytest.approx((low - pad, high + pad), rel=0.01)


def test_an_axis_of_one_value_or_none_has_a_length() -> None:
    for values in ([], [0.5], [0.0]):
        low, high = panels.limits(values, "test_accuracy")
        assert low < high


def test_panels_share_an_axis_only_if_none_is_squashed() -> None:
    near, far = panels.Limits(0.97, 0.98), panels.Limits(0.1, 0.2)
    assert panels.share([near, panels.Limits(0.96, 0.98)]) == [panels.Limits(0.96, 0.98)] * 2
    assert panels.share([near, far]) == [near, far]


def test_points_beyond_an_axis_are_marked_at_its_edge_and_counted() -> None:
    ax = Figure().subplots()
    (line,) = ax.plot([1, 2, 3, 4], [0.1, 0.97, 0.98, 2.0])
    assert panels.clip(ax, [line], panels.Limits(0.96, 0.99)) == 2
    marks = {tuple(map(float, mark.get_xydata()[0])): mark.get_marker() for mark in ax.lines[1:]}
    assert marks == {(1.0, 0.96): "v", (4.0, 0.99): "^"}


@pytest.mark.parametrize(
    ("remaining", "marks"),
    [
        ([0.8**n for n in range(16)], ["100", "51.2", "26.2", "13.4", "6.9", "3.5"]),
        ([1.0, 0.5], ["100", "50"]),
        ([1.0], ["100"]),
        ([], ["100"]),
        ([*(0.8**n for n in range(16)), *(0.81**n for n in range(16))], ["100", "50", "20", "10", "5"]),
    ],
)
def test_percent_marks(remaining: list[float], marks: list[str]) -> None:
    ax = Figure().subplots()
    panels.percent_axis(ax, pd.Series(remaining, dtype=float))
    left, right = ax.get_xlim()
    assert left > 1.0 > right
    assert [ax.xaxis.get_major_formatter()(at, None) for at in ax.xaxis.get_major_locator()()] == marks


@pytest.mark.parametrize(
    ("rows", "cols", "width"),
    [(1, 1, panels.COLUMN), (1, 3, panels.PAGE), (2, 2, panels.PAGE), (3, 1, panels.PAGE), (6, 5, panels.PAGE)],
)
def test_paper_is_as_wide_as_a_column_or_a_page(rows: int, cols: int, width: float) -> None:
    figure, axes = panels.grid(range(rows), range(cols), ["xavier_u"] * 9, "paper")
    assert figure.get_figwidth() == width
    assert axes.shape == (rows, cols)


@pytest.mark.parametrize("look", ["screen", "paper"])
def test_a_long_legend_stays_within_its_figure_and_off_the_panels(look: str) -> None:
    names = [f"initialization_{i}" for i in range(40)]
    with style.rc(look):
        figure, axes = panels.grid([""], ["a", "b"], names, look)
        handles = [Line2D([], [], label=name) for name in names]
        panels.legend(figure, [("init", handles), ("arm", [Line2D([], [], label="ticket")])], look)
        panels.note(figure, "One seed. " * 20)
        figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert (box.x0, box.y0) >= (0, 0)
    assert (box.x1, box.y1) <= (figure.bbox.x1, figure.bbox.y1)
    assert not any(box.overlaps(ax.get_tightbbox()) for ax in axes.flat)
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "ticket"
