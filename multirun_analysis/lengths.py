"""Length scales of untrained networks: their means over networks, and what theory expects of them.

M_j is the mean square of the activations of layer j, M_0 that of the input (Hanin & Rolnick 2018). Letters: n_j units
of layer j, d layers.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import digamma, gammaln, stdtrit

from ltsweep.schema import TICKET
from multirun_analysis import theory
from multirun_analysis.cell import config
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, check_readings
from multirun_analysis.schema import COUNTED, LENGTHS
from multirun_analysis.view import View, label

# Quantities that are drawn: growth is M_j / M_0, or M_j / M_1 of a residual network, whose first layer is no module;
# variance that of M_1 to M_d over the layers of a network, over M_0 squared; variation the same over the square of
# their mean, which tells how a network's layers differ where the lengths fall or grow on the whole.
GROWTH, VARIANCE, VARIATION = "growth", "variance", "variation"

# Ways to average over networks: the mean, and e to the mean of the log, of networks that are not dead.
MEAN, LOG = "mean", "log"

# What a quantity is drawn against.
DEPTH, LAYER, ETA, WIDTHS = "hidden layers d", "layer j", "sum of the scales of the modules", "sum of 1 / width"

_Array = NDArray[np.float64]


class Expected(NamedTuple):
    """Exact expectations over the draws of the weights; nan where none is known.

    growth: E[M_j / M_0] for j from 1 to d. log: E[log(M_j / M_0)] of networks that are not dead. variance: that of
    VARIANCE.
    """

    growth: _Array
    log: _Array
    variance: float


def expected(init: Mapping[str, object], units: Sequence[int], slope: float = 0.0) -> Expected:
    """Return what a fully connected network of (leaky) ReLU layers without biases is expected to have.

    init: its config group. units: n_0 of the input to n_d. Of layer j a unit is N(0, s^2 M_{j-1}), s^2 = n_{j-1} times
    the variance of a weight, so that E[M_j / M_{j-1}] = s^2 (1 + slope^2) / 2. With normal weights and a slope of 0,
    M_j / M_{j-1} is s^2 / n_j times a chi^2 whose degrees of freedom are binomial, and the rest follows.
    """
    n = np.asarray(units, dtype=np.float64)
    shapes = [(int(out), int(into)) for into, out in itertools.pairwise(n)]
    scale = np.array([theory.variance(init, shape) * shape[1] for shape in shapes])
    growth = np.cumprod(scale * ((1 + slope**2) / 2), dtype=np.float64)
    if slope or not theory.is_normal(init):
        return Expected(growth, np.full(len(growth), np.nan), math.nan)
    log = np.cumsum(np.log(scale) + np.array([_log_of_layer(out) for out, _ in shapes]), dtype=np.float64)
    square = np.cumprod((scale / 2) ** 2 * (1 + 5 / n[1:]))  # E[M_j^2] / M_0^2
    d = len(growth)
    # For i < j, E[M_i M_j] = E[M_i^2] E[M_j] / E[M_i].
    both = [square[min(i, j)] * growth[max(i, j)] / growth[min(i, j)] for i in range(d) for j in range(d)]
    return Expected(growth, log, float(square.mean() - np.mean(both)))


def _log_of_layer(n: int) -> float:
    """Return E[log(chi^2_k / n)] for k active units of n, binomially many, of which there is one at least."""
    k = np.arange(1, n + 1)
    log_weight = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) - n * math.log(2)
    weight = np.exp(log_weight) / -math.expm1(-n * math.log(2))
    return float((weight * (math.log(2 / n) + digamma(k / 2))).sum())


def residual_bounds(init: Mapping[str, object], units: int, scales: Sequence[float]) -> tuple[float, float]:
    """Return bounds of E[M_L / M_1] of a residual network of modules of one ReLU layer of `units` units.

    The module's mean output is s |f| / sqrt(2 pi n) in each unit, and the sum of f, which is not negative, is between
    |f| and sqrt(n) |f|. s^2: as in `expected`. Exact where weights are normal, else as close as their sums are.
    """
    s2, eta = theory.variance(init, (units, units)) * units, np.asarray(scales)
    low, high = (float(np.prod(1 + 2 * eta * math.sqrt(s2 / (2 * math.pi * n)) + eta**2 * s2 / 2)) for n in (units, 1))
    return low, high


def of_cells(study: Study, statuses: Sequence[str] = COUNTED) -> pd.DataFrame:
    """Return the length scales of each network before training: one row for each (key, at).

    Columns: `key, at` (layer j, 0 for the input)`, length` (M_j)`, units` (n_j)`. Tickets of cells of these statuses.
    Raises NothingToShow where none were measured.
    """
    check_readings(study)
    rows = study.readings
    rows = rows[rows["name"].isin(["length", "units"]) & rows["arm"].eq(TICKET) & rows["status"].isin(statuses)]
    rows = rows[rows["level"].eq(0) & rows["iteration"].eq(0)]
    if rows.empty:
        raise NothingToShow("no length scales of untrained networks were measured: measure=[lengths] does")
    found = rows.assign(key=rows["key"].astype("str"), name=rows["name"].astype("str"))
    by_name = {name: found[found["name"].eq(name)].set_index(["key", "at"])["value"] for name in ("length", "units")}
    return pd.DataFrame(by_name).reset_index()


def per_cell(study: Study, statuses: Sequence[str] = COUNTED) -> pd.DataFrame:
    """Return one row a network: `key, d, growth, variance, variation, widths` (sum of 1 / n_j)."""
    residual = _residual(study)
    rows = [
        {"key": key, **_summary(one, base=int(key in residual))}
        for key, one in of_cells(study, statuses).groupby("key", sort=False)
    ]
    return pd.DataFrame(rows)


def _summary(one: pd.DataFrame, base: int) -> dict[str, float]:
    lengths = one.sort_values("at")["length"].to_numpy()
    start, inner = lengths[base], lengths[base + 1 :]
    alive = start > 0 and len(inner)
    return {
        "d": len(inner),
        "growth": inner[-1] / start if alive else math.nan,
        "variance": float(np.var(inner)) / start**2 if alive else math.nan,
        "variation": float(np.var(inner) / np.mean(inner) ** 2) if alive and inner.any() else math.nan,
        "widths": float((1 / one.loc[one["at"].gt(base), "units"]).sum()),
    }


def with_metrics(study: Study) -> pd.DataFrame:
    """Return the levels table with the columns LENGTHS: null where nothing was measured, or the network is dead."""
    levels = study.levels.assign(**dict.fromkeys(LENGTHS, np.nan))
    try:
        cells = per_cell(study).set_index("key")
    except NothingToShow:
        return levels
    keys = levels["key"].astype("str")
    for metric, quantity in zip(LENGTHS, (GROWTH, VARIANCE, VARIATION), strict=True):
        values = keys.map(cells[quantity]).astype("float64").where(levels["arm"].eq(TICKET) & levels["level"].eq(0))
        levels[metric] = np.log(values.where(values > 0))
    return levels


def table(study: Study, view: View) -> pd.DataFrame:
    """Return the averages over networks of one choice: growth against depth, and variance against the widths.

    Columns: `panel, line` (names of the choice; the depth is in neither)`, quantity, average, against, x, value, low,
    high` (the 95 % interval of the mean of the log, else nan)`, least, most` (theory; equal where it is exact)`, n,
    dead` (networks without any signal, which have no log).
    """
    layers = of_cells(study)
    apart = tuple(name for name in view.row if name != "model.depth")
    lines = tuple(name for name in view.choice if name not in (*apart, "model.depth"))
    cells = study.cells[study.cells["key"].isin(layers["key"])]
    cells = cells.assign(panel=label(cells, apart), line=label(cells, lines))
    summary = per_cell(study).merge(cells.astype({"key": "str"})[["key", "panel", "line"]], on="key")
    residual = _residual(study)
    rows: list[dict[str, Any]] = []
    for panel, here in summary.groupby("panel", observed=True, sort=True):
        each = len(here["d"].unique()) == 1
        wider = len(here["widths"].round(9).unique()) > 1
        for (line, _), group in here.groupby(["line", "d"], observed=True, sort=True):
            known = _Known.of(study, layers, str(group["key"].iloc[0]), residual)
            place = {"panel": panel, "line": line}
            for quantity, against, x, values, theories in known.drawn(layers, group, each=each, wider=wider):
                for average, bounds in zip((MEAN, LOG), theories, strict=True):
                    rows.append(place | _averaged(quantity, average, against, x, values, bounds))
    found = pd.DataFrame(rows)
    return found.assign(panel=pd.Categorical(found["panel"], cells["panel"].cat.categories, ordered=True)).assign(
        line=pd.Categorical(found["line"], cells["line"].cat.categories, ordered=True)
    )


def _averaged(
    quantity: str, average: str, against: str, x: float, values: _Array, bounds: tuple[float, float]
) -> dict[str, Any]:
    there = values[np.isfinite(values)]
    alive = there[there > 0]
    low = high = math.nan
    if average == MEAN:
        value = float(there.mean()) if len(there) else math.nan
    else:
        logs = np.log(alive)
        middle = float(logs.mean()) if len(logs) else math.nan
        away = stdtrit(len(logs) - 1, 0.975) * logs.std(ddof=1) / math.sqrt(len(logs)) if len(logs) > 1 else math.nan
        value, low, high = (math.exp(one) for one in (middle, middle - away, middle + away))
    return {
        "quantity": quantity, "average": average, "against": against, "x": x, "value": value, "low": low, "high": high,
        "least": bounds[0], "most": bounds[1], "n": len(values), "dead": len(values) - len(alive),
    }  # fmt: skip


_UNKNOWN = (math.nan, math.nan)
_Drawn = tuple[str, str, float, _Array, tuple[tuple[float, float], tuple[float, float]]]


class _Known(NamedTuple):
    """What all networks of one choice and depth have in common.

    units: n_0 to n_d. scales: of the modules of a residual network, empty for others. expected: None where not known.
    """

    units: list[int]
    scales: list[float]
    init: Mapping[str, object]
    one_layer: bool
    expected: Expected | None

    @classmethod
    def of(cls, study: Study, layers: pd.DataFrame, key: str, residual: Mapping[str, float]) -> "_Known":
        units = [int(n) for n in layers[layers["key"].eq(key)].sort_values("at")["units"]]
        found = config(study.path / key)
        model, init = _group(found, "model"), _group(found, "init")
        if key in residual:
            scales = [residual[key] ** number for number in range(1, len(units) - 1)]
            plain = model.get("layers") == 1 and model.get("activation") == "relu"
            return cls(units, scales, init, plain, None)
        chain = model.get("name") in ("mlp", "lenet_300_100")
        slope = float(model.get("negative_slope", 0)) if model.get("activation") == "leaky_relu" else 0.0
        return cls(units, [], init, False, expected(init, units, slope) if chain else None)

    def drawn(self, layers: pd.DataFrame, group: pd.DataFrame, *, each: bool, wider: bool) -> "list[_Drawn]":
        """Return quantity, axis, x, values of the networks, and (least, most) of theory for mean and mean of log.

        each: growth at each layer in place of the last. wider: variance against the widths in place of the depth.
        """
        final, d = group["growth"].to_numpy(), int(group["d"].iloc[0])
        if self.scales:
            bounds = residual_bounds(self.init, self.units[-1], self.scales) if self.one_layer else _UNKNOWN
            return [(GROWTH, ETA, sum(self.scales), final, (bounds, _UNKNOWN))]
        theories = [(_UNKNOWN, _UNKNOWN)] * d
        variance = _UNKNOWN
        if self.expected:
            logs = np.exp(self.expected.log)
            theories = [((m, m), (g, g)) for m, g in zip(self.expected.growth, logs, strict=True)]
            variance = (self.expected.variance,) * 2
        found: list[_Drawn] = [(GROWTH, DEPTH, d, final, theories[-1])]
        if each:
            mine = layers[layers["key"].isin(group["key"])].set_index(["key", "at"])["length"]
            start = mine.xs(0.0, level="at")
            of_layer = [(mine.xs(float(j), level="at") / start).to_numpy() for j in range(1, d + 1)]
            found = [(GROWTH, LAYER, j, of_layer[j - 1], theories[j - 1]) for j in range(1, d + 1)]
        against, x = (WIDTHS, float(group["widths"].iloc[0])) if wider else (DEPTH, d)
        return [*found, (VARIANCE, against, x, group["variance"].to_numpy(), (variance, _UNKNOWN))]


def _residual(study: Study) -> dict[str, float]:
    """Return key -> b of the cells whose layers are modules of a residual network."""
    cells = study.cells
    if "model.b" not in cells:
        return {}
    own = cells[cells["model"].astype("str").eq("residual_mlp")]
    return dict(zip(own["key"].astype("str"), own["model.b"].astype("float64"), strict=True))


def _group(found: Mapping[str, object], name: str) -> Mapping[str, Any]:
    group = found.get(name)
    return group if isinstance(group, Mapping) else {}
