"""Length scales of untrained networks: theory against simulations, averages against numbers computed by hand."""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ltsweep.schema import READINGS_FILE, STATUS
from ltsweep.store.tables import as_parquet, read
from multirun_analysis import lengths
from multirun_analysis.claims import Claim, judge
from multirun_analysis.errors import NothingToShow
from multirun_analysis.figures import length_scales
from multirun_analysis.lengths import DEPTH, ETA, GROWTH, LAYER, LOG, MEAN, VARIANCE, WIDTHS
from multirun_analysis.load import Study, load
from multirun_analysis.pairing import Side
from multirun_analysis.schema import LENGTHS
from multirun_analysis.view import choose

HE = {"_target_": "ltsweep.init.kaiming_normal", "gain": "relu"}
UNITS = [6, 9, 4, 12]


def simulated(std: Callable[[int, int], float], slope: float, networks: int = 100_000) -> np.ndarray:
    """Return M_j / M_0 of ReLU networks of UNITS, (networks, d), each weight normal."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(networks, UNITS[0]))
    first, found = np.square(x).mean(1), []
    for into, out in itertools.pairwise(UNITS):
        z = np.einsum("coi,ci->co", rng.normal(scale=std(into, out), size=(networks, out, into)), x)
        x = np.where(z > 0, z, slope * z)
        found.append(np.square(x).mean(1) / first)
    return np.stack(found, axis=1)


@pytest.mark.parametrize(
    ("init", "std", "slope"),
    [
        (HE, lambda into, out: math.sqrt(2 / into), 0.0),
        (HE | {"gain": 1.0}, lambda into, out: math.sqrt(1 / into), 0.1),
        ({"_target_": "ltsweep.init.xavier_normal", "gain": 1}, lambda into, out: math.sqrt(2 / (into + out)), 0.0),
    ],
)
def test_the_expectations_are_those_of_a_simulation(init: dict, std: Callable, slope: float) -> None:
    found, every = lengths.expected(init, UNITS, slope), simulated(std, slope)
    for j in range(3):
        error = every[:, j].std() / math.sqrt(len(every))
        assert found.growth[j] == pytest.approx(every[:, j].mean(), abs=5 * error)
        alive = np.log(every[every[:, -1] > 0, j]) if not slope else np.full(2, np.nan)
        assert found.log[j] == pytest.approx(alive.mean(), abs=5 * alive.std() / math.sqrt(len(every)), nan_ok=True)
    variance = every.var(1)
    error = variance.std() / math.sqrt(len(every))
    assert found.variance == pytest.approx(math.nan if slope else variance.mean(), abs=5 * error, nan_ok=True)


def test_the_closed_forms_of_the_literature() -> None:
    cut = HE | {"_target_": "ltsweep.init.truncated_normal"}
    assert lengths.expected(HE, [784] + [100] * 100).growth[-1] == pytest.approx(1)
    assert lengths.expected(cut, [784] + [10] * 10).growth[-1] == pytest.approx(0.773741**10, rel=1e-5)
    assert np.isnan(lengths.expected(cut, [784, 10]).log).all()
    assert lengths.expected(HE | {"gain": 2.0}, [784] + [10] * 10).growth[-1] == pytest.approx(2**10)
    xavier = {"_target_": "ltsweep.init.xavier_uniform", "gain": 1.0}
    assert lengths.expected(xavier, [784] + [20] * 5).growth[-1] == pytest.approx(784 / 804 / 2**4)
    assert np.isnan(lengths.expected({"_target_": "mine.own"}, [784, 10]).growth).all()
    low, high = lengths.residual_bounds(HE, 5, [1.0, 0.5])
    for bound, n in ((low, 5), (high, 1)):
        assert bound == pytest.approx((2 + 2 / math.sqrt(math.pi * n)) * (1.25 + 1 / math.sqrt(math.pi * n)))


@pytest.fixture
def measured(write_cell: Callable[..., str], tmp_path: Path) -> Callable[..., Study]:
    """Return a function: cells, each the fields of its config and the lengths of its layers, -> a study of them."""

    def made(*cells: tuple[dict[str, object], list[float]], units: int = 4) -> Study:
        own = {}
        for fields, values in cells:
            init = {"init": "kaiming_n", "init__gain": math.sqrt(2), "model": "mlp", "model__activation": "relu"}
            key = write_cell(levels=0, epochs=1, readings=("norm",), **(init | fields))
            own[key] = values
        study = load(tmp_path / "made_up")
        ones = study.readings.drop_duplicates("key")
        first = ones.set_index(ones["key"].astype("str"))
        rows = [
            {**first.loc[key].to_dict(), "iteration": 0, "name": name, "at": float(at), "value": value, "place": ""}
            for key, values in own.items()
            for at, length in enumerate(values)
            for name, value in (("length", length), ("units", units))
        ]
        return dataclasses.replace(study, readings=pd.DataFrame(rows))

    return made


def test_averages_over_networks_by_layer_with_the_dead_left_out_of_the_log(measured: Callable[..., Study]) -> None:
    study = measured(
        ({"seed": 0}, [2.0, 1.0, 4.0]), ({"seed": 1}, [1.0, 3.0, 0.5]), ({"seed": 2}, [1.0, 1.0, 0.0])
    )  # fmt: skip
    found = lengths.table(study, choose(study.cells))
    growth = found[found["quantity"].eq(GROWTH)].set_index(["average", "x"])
    assert set(growth["against"]) == {LAYER}
    assert growth["value"][MEAN].to_list() == pytest.approx([(0.5 + 3 + 1) / 3, (2 + 0.5 + 0) / 3])
    assert growth["value"][LOG].to_list() == pytest.approx([1.5 ** (1 / 3), 1.0])
    assert growth["dead"][LOG].to_list() == [0, 1]
    assert growth["least"][MEAN].to_list() == growth["most"][MEAN].to_list() == pytest.approx([1, 1])
    low, high = stats.t.interval(0.95, 1, loc=0, scale=stats.sem(np.log([2, 0.5])))
    assert [math.log(growth[end][LOG][2]) for end in ("low", "high")] == pytest.approx([low, high])
    variance = found[found["quantity"].eq(VARIANCE) & found["average"].eq(MEAN)]
    assert variance["value"].item() == pytest.approx(np.mean([np.var([0.5, 2]), np.var([3, 0.5]), np.var([1, 0])]))
    variation = lengths.per_cell(study)["variation"].to_list()
    assert variation == pytest.approx([np.var([1, 4]) / 2.5**2, np.var([3, 0.5]) / 1.75**2, np.var([1, 0]) / 0.5**2])
    (figure,) = length_scales.draw(found, choose(study.cells))
    assert len(figure.axes) == 4
    assert "up to 1 networks" in figure.get_supxlabel()


def test_networks_of_several_depths_are_drawn_at_their_last_layer(measured: Callable[..., Study]) -> None:
    cells = [
        ({"seed": seed, "model__depth": depth, "init__gain": gain}, [1.0, *[gain**j for j in range(1, depth + 1)]])
        for seed in (0, 1)
        for depth in (1, 3)
        for gain in (0.5, 2.0)
    ]
    study = measured(*cells)
    found = lengths.table(study, choose(study.cells))
    growth = found[found["quantity"].eq(GROWTH) & found["average"].eq(MEAN)]
    assert set(growth["against"]) == {DEPTH}
    assert set(found[found["quantity"].eq(VARIANCE)]["against"]) == {WIDTHS}
    rows = growth[["line", "x", "value", "least", "n"]].astype({"line": "str"}).values.tolist()
    expected = [[str(g), d, float(g) ** d, (float(g) ** 2 / 2) ** d, 2] for g in ("0.5", "2") for d in (1, 3)]
    assert [[line, x, value, n] for line, x, value, _, n in rows] == [[a, b, c, e] for a, b, c, _, e in expected]
    assert [row[3] for row in rows] == pytest.approx([row[3] for row in expected])


def test_residual_networks_are_drawn_against_the_sum_of_their_scales(measured: Callable[..., Study]) -> None:
    residual = {"model": "residual_mlp", "model__b": 0.5, "model__layers": 1}
    study = measured((residual | {"seed": 0}, [9.0, 2.0, 3.0, 8.0]), (residual | {"seed": 1}, [9.0, 1.0, 1.0, 2.0]))
    found = lengths.table(study, choose(study.cells))
    assert set(found["against"]) == {ETA}
    mean = found[found["average"].eq(MEAN)].iloc[0]
    assert (mean["x"], mean["value"]) == (0.75, 3.0)
    assert (mean["least"], mean["most"]) == pytest.approx(lengths.residual_bounds(HE, 4, [0.5, 0.25]))


def test_a_claim_can_be_about_lengths(measured: Callable[..., Study]) -> None:
    """The difference of logs, paired by seed; a dead network is in no pair."""
    ends = {"kaiming_n": 8.0, "xavier_n": 2.0}
    cells = [({"seed": seed, "init": init}, [1.0, 1.0, ends[init]]) for init in ends for seed in (0, 1, 2)]
    cells.append(({"seed": 3, "init": "kaiming_n"}, [1.0, 1.0, 0.0]))
    study = measured(*cells)
    sides = (Side({"init": "kaiming_n"}), Side({"init": "xavier_n"}))
    claim = Claim("c", "s", "t", (sides,), 1.0, "greater", metric="log_length_growth")
    (row,) = judge(lengths.with_metrics(study), [claim]).to_dict("records")
    assert (row["n"], row["effect"]) == (3, pytest.approx(math.log(4)))
    nothing = study.levels.assign(**dict.fromkeys(LENGTHS, np.nan))
    assert judge(nothing, [claim])["verdict"].item() == "not tested"


def test_a_study_without_lengths_has_no_figure_and_no_metric(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(levels=1, epochs=1, readings=("norm",))
    study = load(tmp_path / "made_up")
    with pytest.raises(NothingToShow, match=r"no length scales .* were measured: measure=\[lengths\]"):
        length_scales.table(study, choose(study.cells))
    assert lengths.with_metrics(study)[list(LENGTHS)].isna().all(axis=None)


def test_a_length_beyond_32_bits_is_read(
    write_cell: Callable[..., str], seal: Callable[..., None], tmp_path: Path
) -> None:
    """Of a depth of 200 with twice the variance of He it is 2^200, and its variance the square of that."""
    folder = tmp_path / "made_up" / write_cell(levels=0, epochs=1, readings=("length",))
    rows = [row | {"value": 2.0**400} for row in read(folder / READINGS_FILE).to_pylist()]
    (folder / READINGS_FILE).write_bytes(as_parquet(READINGS_FILE, rows))
    seal(folder, json.loads((folder / STATUS).read_text()))
    study = load(tmp_path / "made_up")
    assert study.cells["status"].item() == "done"
    assert study.readings["value"].max() == 2.0**400
