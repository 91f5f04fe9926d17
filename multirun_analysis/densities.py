"""Densities of the initial weights of each layer, from `tickets/init.safetensors`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from multirun_analysis.load import Study
from multirun_analysis.view import View, label

_COLUMNS = ["init", "layer", "value", "density", "width", "cells"]


def init_densities(study: Study, view: View, *, cells_per_choice: int = 5) -> pd.DataFrame:
    """Table the density of the initial weights of each layer, one histogram a choice of init.

    Columns: `init` (name of the choice)`, layer` (with its model where several vary)`, value` (middle of a
    bin)`, density` (a weight's probability in the bin / width)`, width, cells` (how many were pooled: one a
    seed, the first `cells_per_choice`). Bins are the same for all inits of a layer. Weights beyond four
    standard deviations are counted but have no bin. Cells whose file is missing or torn are passed over.
    """
    files = list(_files(study, view, cells_per_choice))
    ends: dict[str, float] = {}
    counts: dict[tuple[str, str], int] = {}
    for file in files:
        for layer, weights in file.weights():
            end = min(float(np.abs(weights).max()), 4 * float(weights.std()))
            ends[layer] = max(ends.get(layer, 0.0), end)
            counts[layer, file.init] = counts.get((layer, file.init), 0) + weights.size
    found = [
        _histogram(weights, ends[layer], min(n for (name, _), n in counts.items() if name == layer)).assign(
            init=file.init, layer=layer
        )
        for file in files
        for layer, weights in file.weights()
    ]
    if not found:
        return pd.DataFrame(columns=_COLUMNS)
    layers, inits = list(ends), [init for init in files[0].inits if init in {file.init for file in files}]
    return (
        pd.concat(found)
        .assign(
            init=lambda df: pd.Categorical(df["init"], inits, ordered=True),
            layer=lambda df: pd.Categorical(df["layer"], layers, ordered=True),
        )
        .groupby(["init", "layer", "value", "width"], observed=True, sort=True)["density"]
        # Cells of one choice have equally many weights in a layer, so the mean density is the pooled one.
        .agg(density="mean", cells="size")
        .reset_index()[_COLUMNS]
    )


class _File(NamedTuple):
    path: Path
    init: str
    inits: list[str]
    prefix: str
    order: list[str]

    def weights(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Give name and values of each matrix and kernel, in the order of the network as far as that is known."""
        place = {name.removesuffix(".weight"): i for i, name in enumerate(self.order)}
        with safe_open(self.path, framework="numpy") as file:
            found = {name.removesuffix(".weight"): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for name in sorted(found, key=lambda name: (place.get(name, len(place)), name)):
            if found[name].ndim >= 2:  # biases and normalization start at constants
                yield self.prefix + name, found[name]


def _files(study: Study, view: View, cells_per_choice: int) -> Iterator[_File]:
    """Choose the cells to read: of those that share model, init and seed one is enough."""
    cells = study.cells[study.cells["status"].ne("unreadable")]
    inits = tuple(name for name in view.columns if name.split(".")[0] == "init") or ("init",)
    models = tuple(name for name in view.columns if name.split(".")[0] in {"model", "dataset"})
    layers = study.levels.drop_duplicates("key").set_index("key")["layers"].to_dict()
    named = cells.assign(_init=label(cells, inits), _model=label(cells, models))
    for names, choice in named.groupby(["_init", "_model"], observed=True):
        init, model = map(str, names)
        used: set[object] = set()
        for key, seed in choice[["key", "seed"]].itertuples(index=False):
            path = study.path / key / "tickets" / "init.safetensors"
            if len(used) < cells_per_choice and seed not in used and _is_whole(path):
                used.add(seed)
                inits_in_order = list(named["_init"].cat.categories)
                yield _File(path, init, inits_in_order, f"{model}: " if model else "", list(layers.get(key, [])))


def _is_whole(path: Path) -> bool:
    try:
        with safe_open(path, framework="numpy"):
            return True
    except (OSError, SafetensorError):
        return False


def _histogram(weights: NDArray[Any], end: float, fewest: int) -> pd.DataFrame:
    # An odd number of bins has one on zero; about sqrt(n) balance noise against width.
    bins = int(np.clip(np.sqrt(fewest), 21, 121)) // 2 * 2 + 1
    counts, edges = np.histogram(weights, bins, range=(-(end or 1.0), end or 1.0))
    width = float(edges[1] - edges[0])
    return pd.DataFrame(
        {"value": (edges[:-1] + edges[1:]) / 2, "density": counts / (weights.size * width), "width": width}
    )
