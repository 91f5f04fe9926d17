"""Standings and contests against plain loops over the rows."""

import itertools
import math
import statistics as stdlib
from collections.abc import Callable
from pathlib import Path

import pytest

from multirun_analysis import statistics
from multirun_analysis.load import Study, load
from multirun_analysis.report import choices


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
    areas, at_levels = choices.contests(mixed.levels)
    assert areas.groupby("axis").size().to_dict() == {"init": 6 * 2, "lr": 4, "arm": 8}
    row = areas.query("axis == 'init' and left_name == 'xavier_u' and right_name == 'kaiming_n'").iloc[1]
    assert row["setting"] == "lr=0.1"
    gaps = [
        area(mixed, init="xavier_u", lr=0.1, seed=seed, arm="ticket")
        - area(mixed, init="kaiming_n", lr=0.1, seed=seed, arm="ticket")
        for seed in range(3)
    ]
    assert row["difference"] == pytest.approx(stdlib.fmean(gaps))
    assert row["sd"] == pytest.approx(stdlib.stdev(gaps))
    assert row["n"] == 3
    assert row["seeds_for_size"] == statistics.seeds_needed(row["sd"], 0.001)
    assert len(at_levels) == (12 + 4) * 7 + 8 * 6


def test_a_winner_is_named_only_where_the_corrected_p_is_small(mixed: Study) -> None:
    areas, _ = choices.contests(mixed.levels)
    for row in areas.to_dict("records"):
        better = row["left_name"] if row["difference"] > 0 else row["right_name"]
        assert row["winner"] == (better if row["p_holm"] < 0.05 else "")
        assert row["p_holm"] >= row["p"]
    assert "ticket" in set(areas["winner"])


def test_standings_rank_every_choice_and_arm(mixed: Study) -> None:
    found = choices.standings(mixed.levels)
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
    areas, _ = choices.contests(load(tmp_path / "made_up").levels)
    assert len(areas) == 8
    assert set(areas["left_name"]) == {"0.01"}


@pytest.mark.parametrize("cells", [[], [{}], [{"levels": 0}, {"levels": 0, "seed": 1}]])
def test_nothing_to_compare_gives_empty_tables(
    write_cell: Callable[..., str], tmp_path: Path, cells: list[dict[str, object]]
) -> None:
    write_cell(status="pending", seed=9)
    for cell in cells:
        write_cell(**cell)
    levels = load(tmp_path / "made_up").levels
    assert all(table.empty for table in choices.contests(levels))
    assert len(choices.standings(levels)) == (1 if cells else 0)
