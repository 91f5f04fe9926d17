"""Axes that show what they leave out, marks that can be read, and files that do not change."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multirun_analysis import panels, style

STEEP = [0.95 + 0.001 * i for i in range(30)]
FLAT = [0.975 + 0.0002 * i for i in range(30)]


@pytest.mark.parametrize(
    ("values", "metric", "low", "high"),
    [
        (STEEP, "test_accuracy", 0.95, 0.979),
        (FLAT, "test_accuracy", 0.9729, 0.9829),  # less than a point would show noise
        ([*STEEP, 0.098], "test_accuracy", 0.95, 0.979),  # a cell at chance does not squash the rest
        ([*STEEP, 0.91, 0.87], "test_accuracy", 0.87, 0.979),  # the fall of sparse networks is shown
        ([0.97, *[0.098] * 9], "test_accuracy", 0.098, 0.97),  # where most are at chance, all are shown
        ([0.072, 0.05], "test_accuracy", 0.05, 0.072),  # of two, neither is far
        ([0.072] * 3 + [0.05] * 3, "test_accuracy", 0.05, 0.072),
        ([0.0, 0.0], "early_stop_iteration", -0.5, 0.5),  # no axis of 1e-10
        ([0.1, 0.2, 0.3, 90.0], "train_loss", 0.1, 0.3),
        ([0.1, 0.2, 0.3, 90.0], "early_stop_iteration", 0.1, 90.0),
        ([*STEEP, float("nan"), float("inf")], "train_loss", 0.940388, 0.988612),  # a twentieth of the median
        ([0.010, 0.0101], "generalization_gap", 0.00505, 0.01505),
    ],
)
def test_an_axis_holds_all_but_far_values(values: list[float], metric: str, low: float, high: float) -> None:
    ends = panels.limits(values, metric)
    pad = 0.05 * (high - low)
    assert ends == pytest.approx((low - pad, high + pad), abs=1e-3 * (high - low))


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
        ([0.7**n for n in range(4)], ["100", "70", "49", "34.3"]),  # a short axis has more marks
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


def test_limits_of_the_users_own_come_first() -> None:
    look = style.Style(limits={"test_accuracy": (0.5, 1.0), "remaining": (0.02, 1.0)})
    assert panels.limits(FLAT, "test_accuracy", look) == (0.5, 1.0)
    assert panels.limits(FLAT, "val_accuracy", look) != (0.5, 1.0)
    ax = Figure().subplots()
    panels.percent_axis(ax, pd.Series([1.0, 0.5]), look)
    assert ax.get_xlim() == (1.0, 0.02)


def test_the_small_print_is_the_users_own() -> None:
    for said, shown in ((True, "One seed."), (False, ""), ("Ours.", "Ours.")):
        figure = Figure()
        panels.note(figure, "One seed.", style.Style(note=said))
        assert figure.get_supxlabel() == shown


def test_no_column_of_a_legend_ends_in_a_heading() -> None:
    figure = Figure(figsize=(12, 3.2))
    parts = [[Line2D([], [], label=f"init{6 * part + i:02d}") for i in range(6)] for part in range(5)]
    sections = [(f"part {part}", entries) for part, entries in enumerate(parts)]
    for columns in range(1, 9):
        names = panels.named(sections)
        headings = {heading for heading, _ in sections}
        for at in panels._breaks(names, headings, columns):
            names.insert(at, "")
        assert [name for name in names if name] == panels.named(sections)
        assert not any(part[-1] in headings for part in np.array_split(names, columns))
    panels.legend(figure, sections, style.SCREEN)
    figure.draw_without_rendering()
    shown = [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]
    assert shown == panels.named(sections)


@pytest.mark.parametrize(("last", "marks"), [(500_000, ["0", "200k", "400k"]), (4_000, ["0", "2000", "4000"])])
def test_a_long_axis_is_marked_in_thousands(last: int, marks: list[str]) -> None:
    ax = Figure().subplots()
    ax.plot([0, last], [0, 1])
    ax.set_xlim(0, last)
    panels.thousands(ax)
    ax.set_xticks([last * share // 10 for share in ((0, 4, 8) if last > 10_000 else (0, 5, 10))])
    ax.figure.draw_without_rendering()
    assert [text.get_text() for text in ax.get_xticklabels()] == marks
