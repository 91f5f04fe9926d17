"""The theoretical densities are those of scipy.stats, of area one, and what a large draw comes to."""

import math

import numpy as np
import pytest
from scipy import stats

from multirun_analysis.theory import bin_density

SHAPE = (300, 784)
EDGES = np.linspace(-0.5, 0.5, 2002)


def init(target: str, **values: object) -> dict[str, object]:
    return {"name": "any", "_target_": f"ltsweep.init.{target}", **values}


@pytest.mark.parametrize(
    ("group", "shape", "distribution"),
    [
        (init("xavier_uniform"), SHAPE, stats.uniform(-math.sqrt(6 / 1084), 2 * math.sqrt(6 / 1084))),
        (init("xavier_normal", gain=2.0), SHAPE, stats.norm(0, 2 * math.sqrt(2 / 1084))),
        (init("kaiming_uniform", fan_mode="fan_out"), SHAPE, stats.uniform(-0.1, 0.2)),
        (init("kaiming_normal", fan_mode="fan_in", gain="relu"), SHAPE, stats.norm(0, math.sqrt(2 / 784))),
        (
            init("kaiming_normal", gain="leaky_relu", negative_slope=0.05),
            SHAPE,
            stats.norm(0, math.sqrt(2 / 1.0025 / 784)),
        ),
        (init("kaiming_normal"), (64, 32, 3, 3), stats.norm(0, 1 / math.sqrt(288))),
        (init("kaiming_normal", fan_mode="fan_out"), (64, 32, 3, 3), stats.norm(0, 1 / math.sqrt(576))),
        (init("truncated_normal", gain="relu"), SHAPE, stats.truncnorm(-2, 2, 0, math.sqrt(2 / 784))),
        (init("pytorch_default"), SHAPE, stats.uniform(-1 / 28, 2 / 28)),
    ],
)
def test_known_initializations(group: dict[str, object], shape: tuple[int, ...], distribution: object) -> None:
    density = bin_density(group, shape, EDGES)
    widths = np.diff(EDGES)
    assert density * widths == pytest.approx(np.diff(distribution.cdf(EDGES)), abs=1e-12)
    assert (density * widths).sum() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("group", [init("orthogonal"), {"_target_": "mine.init"}, {}, init("xavier_normal", gain="x")])
def test_others_have_no_line(group: dict[str, object]) -> None:
    assert np.isnan(bin_density(group, SHAPE, EDGES)).all()
