"""Standings and contests against plain loops over the rows."""

import itertools
import math
import statistics as stdlib
from collections.abc import Callable
from pathlib import Path

import pytest

from multirun_analysis.load import Study, load
from multirun_analysis.metrics import of
from multirun_analysis.report import choices

ACCURACY = of("test_accuracy")


def area(study: Study, **where: object) -> float:
    """Average final test accuracy over the log of the weights remaining, by a sum of trapezoids."""
    rows = [
        row
        for row in study.levels.to_dict("records")
        if row["status"] == "done" and all(row[name] == value for name, value in where.items())
    ]
    points = []
    for level in sorted({row["level"] for row in rows}):
        here = [row for row in rows if row["level"] == level]
        points.append((-math.log(here[0]["remaining"]), stdlib.fmean(row["final_test_accuracy"] for row in here)))
    total = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))
    return total / (points[-1][0] - points[0][0])


def test_contests_are_those_of_a_loop(mixed: Study) -> None:
    areas, at_levels = choices.contests(mixed.levels, ACCURACY)
    pairs = areas.drop_duplicates([*choices.PAIR, "setting"])
    assert pairs.groupby("axis").size().to_dict() == {"init": 6 * 2, "lr": 4, "arm": 8}
    assert areas.groupby("axis")["tests"].first().to_dict() == {"init": 6, "lr": 1, "arm": 1}
    rows = areas.query("axis == 'init' and left_name == 'xavier_u' and right_name == 'kaiming_n'")
    rows = rows[rows["setting"].eq("lr=0.1")].set_index("seed")["difference"]
    for seed in range(3):
        own, other = (area(mixed, init=init, lr=0.1, seed=seed, arm="ticket") for init in ("xavier_u", "kaiming_n"))
        assert rows[seed] == pytest.approx(own - other)
    assert len(at_levels) == ((12 + 4) * 7 + 8 * 6) * 3


def test_contests_are_over_the_range_that_all_choices_share(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for init, levels in (("xavier_u", 6), ("xavier_n", 6), ("kaiming_u", 3)):
        for seed in range(2):
            write_cell(init=init, seed=seed, levels=levels, epochs=1)
    study = load(tmp_path / "made_up")
    areas, _ = choices.contests(study.levels.drop(columns="levels"), ACCURACY)
    assert len(areas) == 3 * 2
    floor = study.levels.query("level == 3")["remaining"].iloc[0]
    assert areas["remaining"].tolist() == pytest.approx([floor] * 6)
    found = choices.standings(study.levels.drop(columns="levels"), ACCURACY).set_index("choice")
    assert found["floor"].tolist() == pytest.approx([floor] * 3)
    assert found["to"].nunique() == 2


def test_while_a_study_runs_the_cells_that_are_done_answer(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(status="running", last=1, levels=3, epochs=1)
    assert len(choices.ended(load(tmp_path / "made_up").levels)) == 2
    write_cell(seed=1, levels=3, epochs=1)
    assert choices.ended(load(tmp_path / "made_up").levels)["seed"].unique().tolist() == [1]


def test_standings_rank_every_choice_and_arm(mixed: Study) -> None:
    found = choices.standings(mixed.levels, ACCURACY)
    assert found["arm"].tolist() == ["ticket"] * 8 + ["reinit"] * 8
    for arm in ("ticket", "reinit"):
        assert found.loc[found["arm"].eq(arm), "area"].is_monotonic_decreasing
    row = found.query("arm == 'ticket' and choice == 'init=kaiming_u lr=0.0012'").iloc[0]
    own = {"init": "kaiming_u", "lr": 1.2e-3, "arm": "ticket"}
    assert row["area"] == pytest.approx(stdlib.fmean(area(mixed, **own, seed=seed) for seed in range(3)))
    dense = mixed.levels.query("init == 'kaiming_u' and lr == 0.0012 and level == 0")["final_test_accuracy"]
    assert row["dense"] == pytest.approx(dense.mean())
    assert row["n"] == 3


def test_many_choices_are_compared_with_the_leading_one_alone(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for step in range(9):
        for seed in range(2):
            write_cell(lr=0.01 * (step + 1), seed=seed, levels=1, epochs=1)
    areas, _ = choices.contests(load(tmp_path / "made_up").levels, ACCURACY)
    assert len(areas) == 8 * 2
    assert set(areas["left_name"]) == {"0.01"}
    assert set(areas["tests"]) == {9 * 8 // 2}  # the leading one was looked for among all


@pytest.mark.parametrize("cells", [[], [{}], [{"levels": 0}, {"levels": 0, "seed": 1}]])
def test_nothing_to_compare_gives_empty_tables(
    write_cell: Callable[..., str], tmp_path: Path, cells: list[dict[str, object]]
) -> None:
    write_cell(status="pending", seed=9)
    for cell in cells:
        write_cell(**cell)
    levels = load(tmp_path / "made_up").levels
    assert all(table.empty for table in choices.contests(levels, ACCURACY))
    assert len(choices.standings(levels, ACCURACY)) == (1 if cells else 0)
