"""The columns of tables follow from what a problem measures, and a table without one of them is noticed."""

import contextlib

import pytest

from ltsweep.schema import (
    EVALUATIONS,
    EVALUATIONS_FILE,
    LEVELS,
    LEVELS_FILE,
    SCORES,
    columns_of,
    evaluation_columns,
    headline_of,
    is_nullable,
    level_columns,
    scores_of,
)

GAMES = ("train_loss", "train_return", "val_return", "test_return", "steps", "games")
KINDS = [(SCORES, "accuracy"), (SCORES, "loss"), (GAMES, "return")]


def test_those_of_classification_are_what_they_were():
    arm = ["arm", "draw", "level", "weights_remaining", "weights_total"]
    scores = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy"]
    assert list(EVALUATIONS) == [*arm, "epoch", "iteration", *scores, "lr", "seconds"]
    best = ["best_iteration", "best_val_accuracy", "best_test_accuracy"]
    early = ["early_stop_iteration", "early_stop_val_loss", "early_stop_test_accuracy"]
    layers = ["layers", "layer_remaining", "layer_total"]
    finals = [f"final_{score}" for score in scores]
    assert list(LEVELS) == [*arm, "iterations", *finals, *best, *early, "seconds", *layers]


def test_games_have_no_early_stop():
    levels = level_columns(GAMES, "return")
    assert [name for name in levels if name.startswith("early_stop")] == []
    assert [name for name in levels if name.startswith("best")] == [
        "best_iteration",
        "best_val_return",
        "best_test_return",
    ]
    assert levels["final_games"] == "int64"
    assert {name for name in levels if is_nullable(name)} == {
        "final_train_loss",
        "final_train_return",
        "best_iteration",
        "best_val_return",
        "best_test_return",
    }


@pytest.mark.parametrize(("scores", "headline"), KINDS)
def test_a_table_tells_what_is_measured_in_whatever_order(scores, headline):
    for file, columns in (
        (EVALUATIONS_FILE, evaluation_columns(scores)),
        (LEVELS_FILE, level_columns(scores, headline)),
    ):
        assert set(scores_of(columns)) == set(scores)
        assert columns_of(file, columns) == columns
        assert columns_of(file, [*reversed(columns), "index"]).keys() == columns.keys()
    assert headline_of(level_columns(scores, headline)) == headline


@pytest.mark.parametrize(("scores", "headline"), KINDS)
@pytest.mark.parametrize("file", [EVALUATIONS_FILE, LEVELS_FILE])
def test_a_column_that_is_lost_or_called_otherwise_is_noticed(file, scores, headline):
    columns = list(evaluation_columns(scores) if file == EVALUATIONS_FILE else level_columns(scores, headline))
    for place, name in enumerate(columns):
        for instead in ([], [f"{name}x"], [f"x{name}"]):
            there = [*columns[:place], *instead, *columns[place + 1 :]]
            with contextlib.suppress(ValueError):
                assert not set(columns_of(file, there)) <= set(there), name


@pytest.mark.parametrize(
    "names", [(), SCORES[1:], ("train_loss",), ("train_loss", "val_return"), (*GAMES[:4], "games")]
)
def test_scores_of_no_problem(names):
    with pytest.raises(ValueError, match="not the scores of a problem"):
        scores_of(names)
