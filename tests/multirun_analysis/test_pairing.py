"""Pairs are those that a plain loop over the rows finds, and nothing is paired that differs in anything else."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from multirun_analysis import pairing
from multirun_analysis.load import Study, load
from multirun_analysis.pairing import Side


def by_loop(study: Study, left: str, right: str) -> dict[tuple[float, int, int], float]:
    """Pair two inits of the mixed study by (lr, seed, level), cell by cell."""
    found: dict[tuple[float, int, int], dict[str, float]] = {}
    for row in study.levels.to_dict("records"):
        if row["arm"] == "ticket" and row["status"] in ("done", "running"):
            found.setdefault((row["lr"], row["seed"], row["level"]), {})[row["init"]] = row["final_test_accuracy"]
    return {at: of[left] - of[right] for at, of in found.items() if left in of and right in of}


def test_pairs_are_those_of_a_loop(mixed: Study) -> None:
    found = pairing.paired(
        pairing.scores(mixed.levels, "test_accuracy"),
        Side({"init": "xavier_u"}),
        Side({"init": "kaiming_u"}),
    )
    wanted = by_loop(mixed, "xavier_u", "kaiming_u")
    assert len(found) == len(wanted) == 2 * 3 * 7
    for row in found.to_dict("records"):
        lr = float(row["setting"].removeprefix("lr="))
        assert row["difference"] == pytest.approx(wanted[lr, row["seed"], row["level"]])


def test_failed_and_diverged_cells_are_in_no_pair_and_a_running_one_as_far_as_it_goes(mixed: Study) -> None:
    scores = pairing.scores(mixed.levels, "test_accuracy")
    assert set(scores["status"]) == {"done", "running"}
    one = {"init": "xavier_u", "lr": 0.1}
    dense = pairing.paired(scores, Side(one), Side(one, dense=True))
    assert dense.groupby("seed")["level"].max().to_dict() == {0: 6, 1: 6, 2: 6, 6: 1}


def test_arms_of_one_cell_are_paired_and_draws_averaged(mixed: Study) -> None:
    found = pairing.paired(pairing.scores(mixed.levels, "test_accuracy"), Side(), Side(arm="reinit"))
    assert found["level"].min() == 1
    assert found["setting"].nunique() == 8
    row = found.iloc[0]
    cell = mixed.levels.query("seed == @row.seed and level == @row.level and status == 'done'")
    cell = cell[("init=" + cell["init"].astype(str) + " lr=" + cell["lr"].map("{:.10g}".format)).eq(row["setting"])]
    draws = cell.loc[cell["arm"].eq("reinit"), "final_test_accuracy"].tolist()
    assert len(draws) == 2
    assert row["right"] == pytest.approx(sum(draws) / 2)


def test_dense_is_the_cells_own_level_0(mixed: Study) -> None:
    found = pairing.paired(pairing.scores(mixed.levels, "test_accuracy"), Side(), Side(dense=True))
    assert found.query("level == 0")["difference"].eq(0).all()
    assert found.groupby(["setting", "seed"])["right"].nunique().eq(1).all()


def test_what_follows_from_a_side_is_not_matched_but_what_varies_in_it_is(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    common = {"levels": 1, "epochs": 1}
    for gain in (1.0, 2.0):
        write_cell(init="xavier_n", init__gain=gain, **common)
        write_cell(init="kaiming_n", init__gain=gain, init__fan_mode="fan_in", **common)
    scores = pairing.scores(load(tmp_path / "made_up").levels, "test_accuracy")
    found = pairing.paired(scores, Side({"init": "xavier_n"}), Side({"init": "kaiming_n"}))
    assert found["setting"].unique().tolist() == ["init.gain=1", "init.gain=2"]
    one = {"init.gain": 1.0}
    found = pairing.paired(scores, Side({"init": "xavier_n"} | one), Side({"init": "kaiming_n", "init.gain": 2.0}))
    assert found["setting"].unique().tolist() == [""]


def test_other_pruning_rates_meet_where_as_many_weights_are_left(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    write_cell(prune_rate=0.2, levels=4, epochs=1)
    write_cell(prune_rate=0.36, levels=4, epochs=1)  # 0.8 * 0.8 = 0.64
    scores = pairing.scores(load(tmp_path / "made_up").levels, "test_accuracy")
    found = pairing.paired(scores, Side({"prune_rate": 0.2}), Side({"prune_rate": 0.36}))
    assert found["level"].tolist() == [0, 2, 4]


def test_levels_that_end_early_pair_as_far_as_both_go(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(init="xavier_n", levels=4, epochs=1)
    write_cell(init="kaiming_n", levels=4, epochs=1, last=2, status="running")
    write_cell(init="kaiming_n", levels=4, epochs=1, seed=1)
    scores = pairing.scores(load(tmp_path / "made_up").levels, "test_accuracy")
    found = pairing.paired(scores, Side({"init": "xavier_n"}), Side({"init": "kaiming_n"}))
    assert found[["seed", "level"]].to_numpy().tolist() == [[0, 0], [0, 1], [0, 2]]


def test_nothing_in_common_gives_no_pairs(mixed: Study) -> None:
    scores = pairing.scores(mixed.levels, "test_accuracy")
    for other in (Side({"init": "orthogonal"}), Side({"no.such": 1}), Side(arm="random_mask")):
        found = pairing.paired(scores, Side({"init": "xavier_u"}), other)
        assert found.empty
        assert list(found) == ["setting", "seed", "key", "level", "remaining", "left", "right", "difference"]
    assert pairing.scores(mixed.levels.iloc[:0], "test_accuracy").empty


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({"a": 1}, [0]),
        ({"a": [1, 2]}, [0, 1]),
        ({"a": None}, [2]),
        ({"b": "relu"}, [0]),
        ({"b": 2}, [1]),
        ({"a": 1, "b": "relu"}, [0]),
        ({"a": 1, "b": 2}, []),
        ({"c": True}, [0, 1]),
    ],
)
def test_values_hold_as_numbers_text_and_null(values: dict[str, object], kept: list[int]) -> None:
    df = pd.DataFrame(
        {"a": [1.0, 2.0, None], "b": pd.Series(["relu", "2.0", "3"], dtype="category"), "c": [True, True, False]}
    )
    assert df.index[pairing.holds(df, values)].tolist() == kept
