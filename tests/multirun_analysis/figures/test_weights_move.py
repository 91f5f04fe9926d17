"""How weights move: averages by hand of made-up readings, and since when a distribution is the trained one."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from multirun_analysis import movement
from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import weights_move
from multirun_analysis.load import Study, load
from multirun_analysis.view import choose

LAYER = "fc1.weight"


def measured(study: Study, values: Callable[[Mapping[str, object], int, int], Mapping[str, float]]) -> Study:
    """Return a study with readings of one layer, of each cell at the evaluations of levels 0 and 1.

    values: (cell, level, iteration) -> name of a reading, or a number for a quantile -> value.
    """
    cells = study.readings.drop_duplicates(["key"]).to_dict("records")
    rows = [
        {**cell, "level": level, "iteration": iteration, "place": LAYER, "value": value}
        | {"name": name if isinstance(name, str) else "quantile", "at": None if isinstance(name, str) else name}
        for cell in cells
        for level in (0, 1)
        for iteration in (917, 1834, 2751)
        for name, value in values(cell, level, iteration).items()
    ]
    return dataclasses.replace(study, readings=pd.DataFrame(rows))


def test_movement_is_the_mean_over_seeds_at_the_ends_of_levels(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for seed in (0, 1):
        write_cell(init="xavier_n", seed=seed, levels=1, epochs=3, readings=("norm",))
    study = load(tmp_path / "made_up")

    def values(cell: Mapping[str, object], level: int, iteration: int) -> dict[str, float]:
        seed = float(str(cell["seed"]))
        end = {"distance": 4.0 + 2 * seed, "sign_changes": 0.1 * (1 + seed), "large_at_start": 0.9 - 0.1 * level}
        begun = dict.fromkeys(end, 0.0) if iteration == 917 else end
        return {**begun, "start_correlation": 0.5, "norm": 2.0 if iteration == 917 else 9.0}

    found = movement.table(measured(study, values), choose(study.cells))
    assert set(found["layer"]) == {LAYER}
    assert set(found["n"]) == {2}
    by_name = {name: rows.sort_values("x", ascending=False) for name, rows in found.groupby("quantity")}
    assert set(by_name) == {"distance", "sign_changes", "start_correlation", "large_at_start"}
    assert by_name["distance"]["value"].tolist() == [2.5, 2.5]  # (4 + 6) / 2, over a norm of 2
    assert by_name["distance"][["low", "high"]].to_numpy().tolist() == [[2, 3]] * 2
    assert by_name["sign_changes"]["value"].tolist() == pytest.approx([0.15, 0.15])
    assert by_name["large_at_start"]["value"].tolist() == pytest.approx([0.9, 0.8])
    assert by_name["large_at_start"]["chance"].tolist() == pytest.approx([1.0, 0.8], abs=1e-3)
    assert by_name["distance"]["chance"].isna().all()
    (figure,) = weights_move.draw(found, choose(study.cells))
    assert "correlation with the start" in {ax.get_ylabel() for ax in figure.axes}


def test_a_distribution_is_closer_to_the_trained_one_from_then_on(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    write_cell(levels=1, epochs=3, readings=("norm",))
    study = load(tmp_path / "made_up")

    def values(cell: Mapping[str, object], level: int, iteration: int) -> dict[object, float]:
        spread = {917: 1.0, 1834: 3.5, 2751: 4.0}[iteration]  # 2.5 from the drawn one, 0.5 from the trained one
        return {"start_correlation": 0.5, 0.25: -spread, 0.75: spread}

    found = movement.table(measured(study, values), choose(study.cells))
    closer = found[found["quantity"].eq("closer")].set_index("x")["value"]
    assert closer.to_dict() == pytest.approx({1.0: 0, 2.0: 2.5 / 3, 3.0: 1})
    assert movement.since(found)["epoch"].tolist() == [2.0]
    (figure,) = weights_move.draw(found, choose(study.cells))
    assert "Closer to the trained distribution from epoch: fc1.weight 2." in figure.get_supxlabel().replace("\n", " ")


def test_of_one_moment_alone_is_drawn_what_it_tells(write_cell: Callable[..., str], tmp_path: Path) -> None:
    """At the ends all but the distance, which lacks the norm at the start; at the starts nothing."""
    write_cell(levels=1, epochs=3, readings=("norm",))
    study = load(tmp_path / "made_up")
    whole = measured(study, lambda *_: {"start_correlation": 0.5, "distance": 1.0, "norm": 2.0, "sign_changes": 0.1})
    ends, starts = (
        dataclasses.replace(study, readings=whole.readings[whole.readings["iteration"].eq(at)]) for at in (2751, 917)
    )
    found = movement.table(ends, choose(study.cells))
    assert set(found["quantity"]) == {"start_correlation", "sign_changes"}
    weights_move.draw(found, choose(study.cells))
    with pytest.raises(NothingToShow, match="weights were measured at no end of a level"):
        movement.table(starts, choose(study.cells))


def test_records_without_them_have_no_such_figure(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=1, epochs=1, readings=("norm",))
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow, match=r"no weights were measured: measure=\[weights\] does"):
        weights_move.table(study, choose(study.cells))
