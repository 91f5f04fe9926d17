"""Fractions are those of the counts; choices that prune alike are one."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from multirun_analysis.layers import WHOLE, by_layer
from multirun_analysis.load import Study, load
from multirun_analysis.view import View, choose


def test_fractions_are_those_of_a_plain_loop(mixed: Study) -> None:
    table = by_layer(mixed.levels, View(col=("lr",), hue=("init",)))
    expected = {}
    for row in mixed.levels.query("arm == 'ticket'").to_dict("records"):
        for layer, left, total in zip(row["layers"], row["layer_remaining"], row["layer_total"], strict=True):
            expected[layer.removesuffix(".weight"), row["level"]] = left / total
        expected[WHOLE, row["level"]] = row["weights_remaining"] / row["weights_total"]
    found = {(layer, level): mean for layer, level, mean in table[["layer", "level", "mean"]].itertuples(index=False)}
    assert found == pytest.approx(expected)
    assert list(table["layer"].cat.categories) == ["fc1", "fc2", "output", WHOLE]
    assert table["choice"].unique().tolist() == ["all 8 choices"]
    assert (table["low"] == table["high"]).all()


def test_choices_that_prune_alike_are_named_by_what_they_share(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for prune_rate, init in ((0.2, "xavier_n"), (0.2, "kaiming_n"), (0.5, "xavier_n"), (0.5, "kaiming_n")):
        write_cell(prune_rate=prune_rate, init=init, levels=2 if init == "xavier_n" else 1, epochs=1)
    study = load(tmp_path / "made_up")
    view = choose(study.cells.drop(columns="levels"))
    table = by_layer(study.levels, view)
    assert list(table["choice"].cat.categories) == ["prune_rate = 0.2", "prune_rate = 0.5"]
    assert table.groupby("choice", observed=True)["level"].max().tolist() == [2, 2]  # of those that went furthest


def test_a_few_of_many_methods_that_prune_alike_are_all_named(write_cell: Callable[..., str], tmp_path: Path) -> None:
    for method, init in itertools.product(("imp", "one_shot", "snip"), ("xavier_n", "kaiming_n")):
        write_cell(method=method, init=init, levels=1, epochs=1)
    study = load(tmp_path / "made_up")
    snip = study.levels["method"].eq("snip") & study.levels["level"].eq(1)
    one_more = [
        [n + 1 if own else n for n in left] for left, own in zip(study.levels["layer_remaining"], snip, strict=True)
    ]
    table = by_layer(study.levels.assign(layer_remaining=one_more), choose(study.cells))
    assert list(table["choice"].cat.categories) == ["method = imp, one_shot", "method = snip"]


def test_one_choice_needs_no_name(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=0, epochs=1)
    study = load(tmp_path / "made_up")
    assert by_layer(study.levels, choose(study.cells))["choice"].unique().tolist() == [""]
