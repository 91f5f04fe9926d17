import math

import pytest

from ltsweep.grid.cell import Cell
from ltsweep.show.labels import duration, labels, last_line, varying


def made(**groups):
    lr = {"name": "constant", "_target_": "ltsweep.optim.constant", "value": 0.1}
    config = {"seed": 0, "levels": 2, "lr": lr, "init": {"name": "xavier_u", "_target_": "x", "gain": 1.0}}
    return config | groups


def texts(*configs):
    return list(labels([Cell(config, str(i)) for i, config in enumerate(configs)]).values())


def test_a_cell_is_known_by_what_varies():
    assert texts(made(), made(seed=1)) == ["seed=0", "seed=1"]
    assert texts(made()) == ["the cell"]


def test_what_a_model_takes_of_its_data_set_is_not_said_twice():
    games = ({"name": name, "num_classes": outputs} for name, outputs in (("cartpole", 3), ("acrobot", 4)))
    cells = [made(dataset=game, model={"name": "mlp", "num_classes": game["num_classes"]}) for game in games]
    assert texts(*cells) == ["dataset=cartpole", "dataset=acrobot"]


def test_a_sha256_is_shown_where_what_it_is_of_does_not_tell():
    one, same, other = ({"name": "transfer", "ticket": n, "ticket_sha256": s} for n, s in ("aa", "bb", "ac"))
    assert texts(made(method=one), made(method=same)) == ["method.ticket=a", "method.ticket=b"]
    assert texts(made(method=one), made(method=other)) == ["method.ticket_sha256=a", "method.ticket_sha256=c"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("constant", 0.1), ("constant", 0.2), ["lr=0.1", "lr=0.2"]),
        (("constant", 0.1), ("cosine", 0.1), ["lr=constant", "lr=cosine"]),
        (("constant", 0.1), ("cosine", 0.2), ["lr=constant lr=0.1", "lr=cosine lr=0.2"]),
        (("constant", 0.1), ("layers", None), ["lr=constant lr=0.1", "lr=layers"]),
    ],
)
def test_a_numbered_group_shows_its_value_or_its_name_or_both(first, second, expected):
    assert texts(*(made(lr={"name": name, "value": value}) for name, value in (first, second))) == expected


def test_cells_are_sorted_by_their_values_numbers_as_numbers():
    lrs = (10, 9, 1.2e-3, 0.1, True, math.nan, "a", None, [2])
    cells = [Cell(made(seed=10 * (i % 2), lr={"name": "x", "value": lr}), str(i)) for i, lr in enumerate(lrs)]
    found = varying(cells)
    ordered = sorted(cells, key=lambda cell: found.place(cell.key))
    assert [cell.config["seed"] for cell in ordered] == [0] * 5 + [10] * 4
    values = [str(cell.config["lr"]["value"]) for cell in ordered]
    assert values == ["0.0012", "10", "True", "[2]", "a", "0.1", "9", "nan", "None"]
    assert found.place("of another study") > found.place("8")


def test_fields_of_a_choice_go_without_saying():
    other = {"name": "signed", "_target_": "y", "scale": 2.0}
    assert texts(made(), made(init=other)) == ["init=xavier_u", "init=signed"]
    wide = {"name": "xavier_u", "_target_": "x", "gain": 2.0}
    assert texts(made(), made(init=wide)) == ["init.gain=1.0", "init.gain=2.0"]
    warm = {"name": "cosine", "value": 0.1, "warmup": 5}
    assert texts(made(), made(lr=warm)) == ["lr=constant", "lr=cosine"]
    assert texts(made(lr=warm), made(lr=warm | {"warmup": 6})) == ["lr.warmup=5", "lr.warmup=6"]


def test_fields_that_differ_within_a_choice_are_shown_where_there_are_any():
    step = {"name": "step", "value": 0.1, "milestones": [0.5]}
    found = texts(made(lr=step | {"gamma": 0.1}), made(lr=step | {"gamma": 0.5}), made())
    assert found == ["lr=step lr.gamma=0.1", "lr=step lr.gamma=0.5", "lr=constant"]


def test_a_list_is_written_as_on_the_command_line():
    methods = ({"name": "imp", "controls": controls} for controls in ([], ["reinit", "random_mask"]))
    assert texts(*(made(method=method) for method in methods)) == [
        "method.controls=[]",
        "method.controls=[reinit,random_mask]",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(41.6, "42 s"), (200, "3 min 20 s"), (3599.9, "1 h 00 min"), (7500, "2 h 05 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_an_error_is_named_by_its_last_line():
    assert last_line("Traceback\n  x\nRuntimeError: y\n") == "RuntimeError: y"
    assert last_line(None) == ""
