"""Every aggregate is computed again by plain loops over the rows."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirun_analysis import curves, view
from multirun_analysis.errors import AnalysisError, NothingToShow
from multirun_analysis.load import Study, load

VIEW = view.View(col=("lr",), hue=("init",))


def spread_of(values: list[float], band: str) -> tuple[float, float, float]:
    mean = math.fsum(values) / len(values)
    if band == "minmax":
        return mean, min(values), max(values)
    error = statistics.stdev(values) / (1 if band == "sd" else math.sqrt(len(values))) if len(values) > 1 else 0.0
    if band == "ci":  # Student's t at 97.5 %, from a printed table
        error *= {2: 12.706205, 3: 4.302653, 4: 3.182446, 5: 2.776445, 6: 2.570582}.get(len(values), 0.0)
    return mean, mean - error, mean + error


@pytest.mark.parametrize("band", curves.BANDS)
@pytest.mark.parametrize("metric", ["test_accuracy", "train_loss", "early_stop_iteration"])
def test_means_and_bands_are_those_of_a_plain_loop(mixed: Study, metric: str, band: str) -> None:
    table = curves.accuracy_vs_remaining(mixed.levels, view.View(col=("lr",), hue=("init",), metric=metric, band=band))
    column = metric if metric in mixed.levels else f"final_{metric}"
    cells = defaultdict(list)
    for row in mixed.levels.to_dict("records"):
        if row["status"] in ("done", "running"):
            cells[f"{row['lr']:g}", row["init"], row["arm"], row["level"], row["key"]].append(row[column])
    lines = defaultdict(list)
    for (*line, _), draws in cells.items():
        lines[tuple(line)].append(math.fsum(draws) / len(draws))
    means = table[table["cell"].eq("")]
    assert len(means) == len(lines)
    for row in means.to_dict("records"):
        values = lines[row["col"], row["hue"], row["arm"], row["level"]]
        assert (row["mean"], row["low"], row["high"]) == pytest.approx(spread_of(values, band))
        assert row["n"] == len(values)
        most = max(len(v) for (*at, _), v in lines.items() if at == [row["col"], row["hue"], row["arm"]])
        assert row["cells"] == most


def test_remaining_is_that_of_the_level(mixed: Study) -> None:
    table = curves.accuracy_vs_remaining(mixed.levels, VIEW)
    exact = mixed.levels.groupby("level")["remaining"].first()
    assert table["remaining"].tolist() == pytest.approx(exact[table["level"]].tolist())


def test_failed_and_diverged_cells_are_on_their_own(mixed: Study) -> None:
    table = curves.accuracy_vs_remaining(mixed.levels, VIEW)
    alone = table[table["cell"].ne("")]
    stopped = mixed.levels[mixed.levels["status"].isin(["failed", "diverged"])]
    assert sorted(alone["cell"].unique()) == sorted(stopped["key"].unique())
    assert sorted(alone["mean"]) == sorted(stopped["final_test_accuracy"])
    assert (table.loc[table["cell"].eq("") & table["arm"].eq("ticket"), "n"].max()) == 4  # 3 done and 1 running


def test_training_curves_are_those_of_a_plain_loop(mixed: Study) -> None:
    table = curves.training_curves(mixed.evaluations, VIEW, ["test_accuracy", "val_loss"], levels=[0, 4])
    lines = defaultdict(list)
    for row in mixed.evaluations.to_dict("records"):
        if row["status"] in ("done", "running") and row["arm"] == "ticket" and row["level"] in (0, 4):
            for score in ("test_accuracy", "val_loss"):
                name = f"{row['init']}, {row['lr']:g}"
                lines[name, row["level"], row["iteration"], score].append(row[score])
    assert len(table) == len(lines)
    for row in table.to_dict("records"):
        values = lines[row["choice"], row["level"], row["iteration"], row["score"]]
        assert (row["mean"], row["low"], row["high"]) == pytest.approx(spread_of(values, "minmax"))
        assert row["n"] == len(values)


def test_scores_that_are_all_null_have_no_rows(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(validation=0, levels=1, epochs=2)
    study = load(tmp_path / "made_up")
    table = curves.training_curves(study.evaluations, view.View(), ["test_accuracy", "val_loss"])
    assert table["score"].unique().tolist() == ["test_accuracy"]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), st.sampled_from(list(curves.BANDS)))
def test_bands_of_any_values(values: list[float], band: str) -> None:
    row = curves.bands(pd.DataFrame({"a": 0, "x": [*values, float("nan")]}), ["a"], "x", band).iloc[0]
    mean, low, high = spread_of(values, band)
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((mean, low, high), abs=1e-6, rel=1e-5)
    assert row["n"] == len(values)


def test_draws_weigh_their_cell_once() -> None:
    frame = pd.DataFrame({"key": ["a", "a", "a", "b"], "arm": "reinit", "x": [1.0, 2.0, 3.0, 10.0]})
    cells = curves.mean_of_draws(frame, ["arm"], ["x"])
    assert cells["x"].tolist() == [2.0, 10.0]
    assert curves.bands(cells, ["arm"], "x")["mean"].tolist() == [6.0]


def test_a_draw_without_a_score_leaves_its_cell_without_one() -> None:
    frame = pd.DataFrame({"key": ["a", "a", "b"], "arm": "reinit", "x": [1.0, float("nan"), 10.0]})
    found = curves.bands(curves.mean_of_draws(frame, ["arm"], ["x"]), ["arm"], "x")
    assert (found["mean"].item(), found["n"].item()) == (10.0, 1)


def test_a_huge_study_has_the_means_of_its_parts(mixed: Study) -> None:
    done = mixed.levels[mixed.levels["status"].eq("done")].astype({"key": "str"})
    copies = [done.assign(key=done["key"] + f"-{i}") for i in range(40)]  # 960 cells
    table = curves.accuracy_vs_remaining(pd.concat(copies, ignore_index=True), VIEW)
    one = curves.accuracy_vs_remaining(done, VIEW)
    assert table["mean"].tolist() == pytest.approx(one["mean"].tolist())
    assert table["n"].tolist() == [40 * n for n in one["n"]]


def test_the_gap_is_training_less_test_accuracy(mixed: Study) -> None:
    levels = curves.final(mixed.levels)
    for gap, row in zip(levels["generalization_gap"], mixed.levels.to_dict("records"), strict=True):
        assert gap == row["final_train_accuracy"] - row["final_test_accuracy"]


def test_a_cell_is_seen_at_its_nearest_level_or_not_at_all(mixed: Study) -> None:
    for wanted in (1.0, 0.75, 0.5, 0.2, 0.1):
        found = curves.at_remaining(mixed.levels, "test_accuracy", wanted)
        expected = {}
        for row in mixed.levels.to_dict("records"):
            away = abs(math.log(row["remaining"] / wanted))
            # The running cell has come to 80 %: it counts at 100 %, and not at 75 %, where it is yet to come.
            counts = row["status"] == "done" or (row["status"] == "running" and wanted == 1.0)
            counts = counts and row["arm"] == "ticket" and away <= math.log(1.5)
            if counts and away < expected.get(row["key"], (math.inf,))[0]:
                expected[row["key"]] = away, row["level"], row["final_test_accuracy"]
        got = {
            key: (level, value)
            for key, level, value in found[["key", "level", "test_accuracy"]].itertuples(index=False)
        }
        assert got == {key: (level, value) for key, (_, level, value) in expected.items()}
    assert found.empty  # no cell has come near 10 %


def test_metrics_that_cannot_be_drawn_say_so(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(validation=0, levels=1, epochs=1)
    levels = load(tmp_path / "made_up").levels
    with pytest.raises(AnalysisError, match=r"no metric 'accuracy': it is one of .*test_accuracy"):
        curves.accuracy_vs_remaining(levels, view.View(metric="accuracy"))
    for metric, name in {"val_loss": "val loss", "early_stop_iteration": "early stop iteration"}.items():
        with pytest.raises(NothingToShow, match=rf"{name} has no value in these records .validation=0"):
            curves.check_metric(levels, metric)
    curves.check_metric(levels, "test_accuracy")
    with pytest.raises(AnalysisError, match="no band 'iqr': it is one of minmax, sd, se, ci"):
        curves.accuracy_vs_remaining(levels, view.View(band="iqr"))
