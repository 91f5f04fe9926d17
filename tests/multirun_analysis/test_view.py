"""What varies, and where it goes in a figure."""

import dataclasses

import pandas as pd
import pytest

from multirun_analysis import view
from multirun_analysis.errors import AnalysisError
from multirun_analysis.load import Study
from multirun_analysis.making import Request


def cells(**columns: list[object]) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    return pd.DataFrame({"key": range(size), "status": "done", **columns})


def test_only_what_tells_cells_apart_varies() -> None:
    frame = cells(
        seed=[0, 1, 2, 3],
        init=["a", "a", "b", "b"],
        epochs=[5, 5, 5, 5],
        **{"init.gain": [1.0, 1.0, None, None], "model.activation": ["relu", "tanh", "relu", "tanh"]},
    )
    assert view.varying(frame) == ["init", "model.activation"]


def test_a_config_that_follows_from_the_model_does_not_vary() -> None:
    assert view.varying(cells(lr=[0.1, 0.1, 0.2], model=["x", "x", "y"])) == ["model"]


def test_a_study_varies_where_nothing_else_tells_cells_apart() -> None:
    assert view.varying(cells(study=["a", "a", "b"], init=["x", "y", "z"])) == ["init"]
    assert view.varying(cells(study=["a", "a", "b"], init=["x", "y", "y"])) == ["init", "study"]


def test_an_unreadable_cell_makes_nothing_vary() -> None:
    frame = cells(init=["a", "a", None]).assign(status=["done", "done", "unreadable"])
    assert view.varying(frame) == []


@pytest.mark.parametrize(
    ("columns", "row", "col", "hue"),
    [
        ({"init": ["a", "b"]}, (), (), ("init",)),
        ({"lr": [0.1, 0.2]}, (), (), ("lr",)),
        ({"lr": [1, 2, 1, 2], "init": ["a", "a", "b", "b"]}, (), ("lr",), ("init",)),
        ({"dataset": ["m", "c"], "epochs": [1, 1]}, ("dataset",), (), ()),
        ({"model": ["m", "m", "c", "c"], "dataset": ["x", "y", "x", "y"]}, ("dataset", "model"), (), ()),
        ({"init": [*"abcdefghij"], "seed": [*range(10)]}, (), (), ("init",)),
        ({"init": [*"abcde"] * 2, "method.scope": ["g"] * 5 + ["l"] * 5}, (), ("method.scope",), ("init",)),
    ],
)
def test_places_by_default(columns: dict[str, list[object]], row: object, col: object, hue: object) -> None:
    chosen = view.choose(cells(**columns))
    assert (chosen.row, chosen.col, chosen.hue) == (row, col, hue)


def test_learning_rates_alone_have_panels_where_there_are_controls_to_compare() -> None:
    assert view.choose(cells(lr=[0.1, 0.2]), controls=True) == view.View(col=("lr",))


def test_what_is_asked_for_comes_first_and_nothing_that_varies_is_lost(mixed: Study) -> None:
    assert view.choose(mixed.cells, hue=("lr",)) == view.View(hue=("lr", "init"))
    assert view.choose(mixed.cells, col=("init",)) == view.View(col=("init",), hue=("lr",))
    assert view.choose(mixed.cells, row=("seed",)) == view.View(row=("seed",), col=("lr",), hue=("init",))


def test_columns_that_are_averaged_over_have_no_place_and_each_seed_has_one_value() -> None:
    """A ticket of each seed's own, beside cells that have none."""
    sources = ["s/a@1", "s/b@1", None, None]
    hashes = ["x", "y", None, None]
    found = cells(**{"init": ["like", "like", "he_n", "he_n"], "init.source": sources, "init.source_sha256": hashes})
    one_each = found.assign(seed=[0, 1, 0, 1])
    assert view.choose(one_each).hue == ("init", "init.source")
    assert view.choose(one_each, over=("init.source",)) == view.View(hue=("init",), over=("init.source",))
    with pytest.raises(AnalysisError, match=r"--over init\.source: seed 0 has 2 cells in one line"):
        view.choose(found.assign(seed=[0, 0, 0, 1]), over=("init.source",))
    with pytest.raises(AnalysisError, match=r"init\.source is in --over, and cannot have a place too"):
        view.choose(one_each, over=("init.source",), hue=("init.source",))
    with pytest.raises(AnalysisError, match=r"no config column 'init\.sorce'"):
        view.choose(one_each, over=("init.sorce",))


def test_what_is_averaged_over_is_said_under_every_figure(mixed: Study) -> None:
    one = dataclasses.replace(mixed, cells=mixed.cells.query("lr == 0.1"))
    notes = [Request((), look=view.View(over=over)).view(one).note for over in ((), ("lr",))]
    assert ["Each seed has its own lr." in note for note in notes] == [False, True]


def test_an_unknown_column_is_an_error_that_names_the_nearest(mixed: Study) -> None:
    with pytest.raises(AnalysisError, match=r"no config column 'intt': did you mean init\? These vary here: init, lr"):
        view.choose(mixed.cells, hue=("intt",))


def test_labels_are_in_the_order_of_the_values_and_show_nulls() -> None:
    frame = pd.DataFrame({"lr": [0.1, 1.2e-3, 10.0, None], "init": ["b", "a", "a", "a"]})
    assert list(view.label(frame, ("lr",)).cat.categories) == ["0.0012", "0.1", "10", "null"]
    assert view.label(frame, ("init", "lr")).tolist() == ["b, 0.1", "a, 0.0012", "a, 10", "a, null"]
    assert view.label(frame, ()).tolist() == [""] * 4


SCHEDULES = {
    "lr": [0.1] * 3,
    "lr.name": ["step", "cosine", "constant"],
    "lr.gamma": [0.1, None, None],
    "lr.milestones": ["[0.5]", None, None],
    "lr.warmup": [0.0, 0.0, None],
}


def test_schedules_are_known_by_their_names() -> None:
    frame = cells(**SCHEDULES)
    assert view.varying(frame) == ["lr.name"]
    assert view.label(frame, ("lr.name",)).tolist() == ["step", "cosine", "constant"]


def test_a_field_that_some_choices_lack_is_named_where_it_is() -> None:
    frame = cells(**{name: [*values, values[0]] for name, values in SCHEDULES.items()})
    frame["lr.gamma"] = [0.1, None, None, 0.5]
    assert view.varying(frame) == ["lr.name", "lr.gamma"]
    assert view.label(frame, ("lr.name", "lr.gamma")).tolist() == [
        "step, gamma=0.1",
        "cosine",
        "constant",
        "step, gamma=0.5",
    ]
    assert view.described(frame, ("lr.name", "lr.gamma")).tolist()[:2] == [
        "lr.name=step lr.gamma=0.1",
        "lr.name=cosine",
    ]


def test_names_that_would_coincide_are_written_in_full() -> None:
    frame = cells(init=["a", "a"], **{"init.x.gain": [1.0, None], "init.y.gain": [None, 1.0]})
    columns = ("init", "init.x.gain", "init.y.gain")
    assert view.label(frame, columns).tolist() == ["a, 1, null", "a, null, 1"]
