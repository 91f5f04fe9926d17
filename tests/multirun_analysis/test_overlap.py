"""Overlaps as plain sets of positions count them, and chance as drawing again and again gives it."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from ltsweep.schema import DIVERGED, ticket_file
from ltsweep.store.tickets import pack
from multirun_analysis import densities
from multirun_analysis.load import load
from multirun_analysis.overlap import SEED, jaccard, mask_overlap, packed
from multirun_analysis.view import choose

SHAPES = {"fc1": (7, 9), "fc2": (5, 3)}

Write = Callable[..., str]


def masks(rng: np.random.Generator, counts: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return as many weights of each layer at random places."""
    found = {}
    for (name, shape), n in zip(SHAPES.items(), counts, strict=True):
        size = int(np.prod(shape))
        found[name] = np.isin(np.arange(size), rng.choice(size, n, replace=False)).reshape(shape)
    return found


def positions(of: dict[str, np.ndarray]) -> set[tuple[str, int]]:
    return {(name, int(at)) for name, mask in of.items() for at in np.flatnonzero(mask)}


def overlap(folder: Path) -> pd.DataFrame:
    study = load(folder)
    return mask_overlap(study, choose(study.cells))


def test_the_index_is_that_of_sets_of_positions() -> None:
    rng = np.random.default_rng(0)
    for one, other in itertools.product([(63, 15), (20, 4), (1, 0)], [(40, 15), (3, 9), (0, 1)]):
        left, right = masks(rng, one), masks(rng, other)
        a, b = positions(left), positions(right)
        index, _ = jaccard(packed(left), packed(right)) or (None, None)
        assert index == len(a & b) / len(a | b)


def test_chance_is_the_mean_over_random_masks() -> None:
    """Each layer has its own density, so that of all weights together would not do."""
    rng = np.random.default_rng(1)
    one, other = (30, 12), (10, 14)
    drawn = [jaccard(packed(masks(rng, one)), packed(masks(rng, other))) for _ in range(2000)]
    index, chance = np.array(drawn).T
    assert chance == pytest.approx(chance[0])
    assert chance[0] == pytest.approx((30 * 10 / 63 + 12 * 14 / 15) / (66 - 30 * 10 / 63 - 12 * 14 / 15))
    assert index.mean() == pytest.approx(chance[0], rel=0.02)  # a ratio's mean is near the ratio of means


def test_nothing_is_said_of_other_architectures_and_of_no_weights() -> None:
    full = masks(np.random.default_rng(0), (63, 15))
    assert jaccard(packed(full), packed({"fc1": full["fc1"]})) is None
    assert jaccard(packed(full), packed({**full, "fc2": full["fc2"].T})) is None
    none = packed({name: np.zeros_like(mask) for name, mask in full.items()})
    assert jaccard(none, none) is None


def test_pairs_differ_in_one_axis_alone(write_cell: Write, tmp_path: Path) -> None:
    keys = {
        (method, init, seed): write_cell(method=method, init=init, seed=seed, levels=2, epochs=1, tickets=True)
        for method, init, seed in itertools.product(("imp", "snip"), ("xavier_n", "kaiming_n"), (0, 1))
    }
    table = overlap(tmp_path / "made_up")
    assert list(table["axis"].cat.categories) == [SEED, "method", "init"]
    seeds = table[table["axis"].eq(SEED) & table["level"].eq(1)]
    assert seeds["line"].tolist() == ["imp, kaiming_n", "imp, xavier_n", "snip, kaiming_n", "snip, xavier_n"]
    assert seeds["n"].tolist() == [1] * 4
    inits = table[table["axis"].eq("init") & table["level"].eq(2)]
    assert inits[["panel", "line", "n"]].to_numpy().tolist() == [
        ["kaiming_n – xavier_n", "method=imp", 2],
        ["kaiming_n – xavier_n", "method=snip", 2],
    ]
    expected = []
    for seed in (0, 1):
        bits = []
        for init in ("kaiming_n", "xavier_n"):
            file = load_file(tmp_path / "made_up" / keys["snip", init, seed] / ticket_file(2))
            bits.append(np.concatenate([np.unpackbits(file[name]) for name in sorted(file)]).astype(bool))
        expected.append((bits[0] & bits[1]).sum() / (bits[0] | bits[1]).sum())
    row = inits[inits["line"].eq("method=snip")].iloc[0]
    assert [row["low"], row["mean"], row["high"]] == [min(expected), pytest.approx(np.mean(expected)), max(expected)]
    assert row["expected"] == pytest.approx(0.641 / (2 - 0.641), abs=0.01)


def test_each_field_of_one_choice_is_an_axis(write_cell: Write, tmp_path: Path) -> None:
    for rewind, scope in itertools.product(("init", "500it"), ("layerwise", "global")):
        write_cell(method__rewind=rewind, method__scope=scope, levels=1, epochs=1, tickets=True)
    table = overlap(tmp_path / "made_up")
    assert table[["axis", "panel", "line"]].to_numpy().tolist() == [
        ["method.rewind", "500it – init", "method.scope=global"],
        ["method.rewind", "500it – init", "method.scope=layerwise"],
        ["method.scope", "global – layerwise", "method.rewind=500it"],
        ["method.scope", "global – layerwise", "method.rewind=init"],
    ]


def test_many_values_are_each_paired_with_the_first(write_cell: Write, tmp_path: Path) -> None:
    for init in "abcdef":
        write_cell(init=f"{init}_n", levels=1, epochs=1, tickets=True)
    table = overlap(tmp_path / "made_up")
    said = sorted({*table["panel"], *table["line"]} - {""})
    assert said == [f"a_n – {init}_n" for init in "bcdef"]


def test_the_first_choices_and_seeds_are_read(write_cell: Write, tmp_path: Path) -> None:
    for n, seed in itertools.product(range(13), range(4)):
        write_cell(init=f"i{n:02d}_n", seed=seed, levels=1, epochs=1, tickets=n != 0)
    table = overlap(tmp_path / "made_up")
    assert table[["shown", "choices"]].drop_duplicates().to_numpy().tolist() == [[12, 13]]
    seeds = table[table["axis"].eq(SEED)]
    assert seeds["line"].tolist() == [f"i{n:02d}_n" for n in range(1, 13)]
    assert set(seeds["n"]) == {3}  # of three seeds


def test_diverged_cells_other_counts_and_other_architectures_are_in_no_pair(
    write_cell: Write, seal: Callable[..., None], tmp_path: Path
) -> None:
    write_cell(levels=2, epochs=1, tickets=True)
    write_cell(levels=2, epochs=1, tickets=True, seed=1, status=DIVERGED, last=1, error="loss is nan")
    write_cell(levels=2, epochs=1, tickets=True, prune_rate=0.5)
    assert overlap(tmp_path / "made_up").empty
    other = tmp_path / "made_up" / write_cell(levels=2, epochs=1, tickets=True, model="other")
    assert set(overlap(tmp_path / "made_up")["axis"]) == {"model"}
    for level in (1, 2):
        (other / ticket_file(level)).write_bytes(pack({"fc1.weight": np.ones((3, 5))}))
    seal(other, json.loads((other / "status.json").read_text()))
    assert overlap(tmp_path / "made_up").empty


def test_broken_masks_are_left_out_and_named(write_cell: Write, tmp_path: Path) -> None:
    write_cell(levels=2, epochs=1, tickets=True)
    broken = tmp_path / "made_up" / write_cell(levels=2, epochs=1, tickets=True, seed=1)
    (broken / ticket_file(2)).write_bytes(b"torn")
    table = overlap(tmp_path / "made_up")
    assert table["level"].tolist() == [1]
    (said,) = densities.left_out(table)
    assert said.startswith(f"{broken.name}: {ticket_file(2)} ")
