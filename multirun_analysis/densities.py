"""Densities of the initial weights of each layer: of all of them, and of those that survive pruning."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ltsweep.schema import INITIAL
from multirun_analysis import theory, tickets
from multirun_analysis.cell import config
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study
from multirun_analysis.view import View, label, readable

# Columns of `init_densities` and of `surviving`.
_COLUMNS = ["init", "layer", "value", "density", "theory", "width", "cells"]
_SURVIVORS = ["choice", "layer", "level", "remaining", "value", "density", "width", "cells", "seeds", "choices"]


def init_densities(study: Study, view: View, *, cells_per_choice: int = 5) -> pd.DataFrame:
    """Return the density of the initial weights of each layer, one histogram a choice of init.

    Columns: `init` (name of the choice)`, layer` (with its model where several vary)`, value` (middle of a
    bin)`, density` (a weight's probability in the bin / width)`, theory` (the density that weights are drawn from, its
    mean in the bin; null where it is not known)`, width, cells` (how many were pooled: one a seed, the first
    `cells_per_choice`). Bins are the same for all inits of a layer. Weights beyond four standard deviations are counted
    but have no bin. Cells whose file is missing or torn are passed over.
    """
    files = list(_files(study, view, cells_per_choice))
    ends: dict[str, float] = {}
    counts: dict[tuple[str, str], int] = {}
    for file in files:
        for layer, weights in file.weights():
            ends[layer] = max(ends.get(layer, 0.0), _end(weights))
            counts[layer, file.init] = counts.get((layer, file.init), 0) + weights.size
    found = []
    for file in files:
        for layer, weights in file.weights():
            edges = _edges(ends[layer], min(n for (name, _), n in counts.items() if name == layer))
            drawn_from = theory.bin_density(file.config, weights.shape, edges)
            found.append(_histogram(weights, edges).assign(init=file.init, layer=layer, theory=drawn_from))
    if not found:
        return pd.DataFrame(columns=_COLUMNS)
    layers, inits = list(ends), [init for init in files[0].inits if init in {file.init for file in files}]
    return (
        pd.concat(found)
        .assign(
            init=lambda df: pd.Categorical(df["init"], inits, ordered=True),
            layer=lambda df: pd.Categorical(df["layer"], layers, ordered=True),
        )
        .groupby(["init", "layer", "value", "width"], observed=True, sort=True)
        # Cells of one choice have equally many weights in a layer, so the mean density is the pooled one.
        .agg(density=("density", "mean"), theory=("theory", "mean"), cells=("density", "size"))
        .reset_index()[_COLUMNS]
    )


def surviving(
    study: Study, view: View, levels: Sequence[int], *, cells_per_choice: int = 3, most_choices: int = 12
) -> pd.DataFrame:
    """Return the density of those initial weights that remain at some levels, one histogram a choice and layer.

    Columns: `choice` (name of all that varies but for the seed)`, layer, level, remaining` (of the layer's
    weights)`, value, density, width, cells`: as in `init_densities`, each level by itself, so that its area is one;
    `seeds` (those pooled)`, choices` (how many the study has). Of the first `most_choices` choices with initial weights
    on the disk the first `cells_per_choice` seeds are pooled, as far as their masks are on the disk.
    """
    cells = readable(study.cells)
    order = _layers(study)
    named = cells.assign(_choice=label(cells, view.choice)).sort_values("seed", kind="stable")
    found: list[pd.DataFrame] = []
    for choice, those in named.groupby("_choice", observed=True):
        here = [(study.path / key, seed) for key, seed in those[["key", "seed"]].itertuples(index=False)]
        kept = list(itertools.islice((one for one in here if tickets.has_initial_weights(one[0])), cells_per_choice))
        if kept and len(found) < most_choices:
            paths = [path for path, _ in kept]
            survivors = _survivors(paths, levels, order.get(_key(study, paths[0]), []))
            found.append(survivors.assign(choice=choice, seeds=", ".join(str(seed) for _, seed in kept)))
    if not found:
        return pd.DataFrame(columns=_SURVIVORS)
    choices = [str(name) for name in named["_choice"].cat.categories]
    every = pd.concat(found, ignore_index=True)
    return every.assign(
        choice=pd.Categorical(every["choice"], choices, ordered=True).remove_unused_categories(),
        layer=pd.Categorical(every["layer"], list(dict.fromkeys(every["layer"])), ordered=True),
        choices=named["_choice"].nunique(),
    )[_SURVIVORS]


def _survivors(cells: Sequence[Path], levels: Sequence[int], order: Sequence[str]) -> pd.DataFrame:
    """Return the histograms of the cells of one choice, pooled."""
    pooled: dict[tuple[str, int], list[NDArray[Any]]] = {}
    total: dict[tuple[str, int], int] = {}
    ends: dict[str, float] = {}
    for cell in cells:
        initial = dict(tickets.initial_weights(cell, order))
        for layer, weights in initial.items():
            ends[layer] = max(ends.get(layer, 0.0), _end(weights))
        for level in levels:
            kept = {layer: np.ones(w.shape, dtype=bool) for layer, w in initial.items()}
            for layer, mask in (kept if level == 0 else tickets.masks(cell, level)).items():
                if layer in initial:
                    pooled.setdefault((layer, level), []).append(initial[layer][mask])
                    total[layer, level] = total.get((layer, level), 0) + mask.size
    found = []
    for layer, level in [(layer, level) for layer in ends for level in levels if (layer, level) in pooled]:
        weights = np.concatenate(pooled[layer, level])
        fewest = min(sum(map(len, parts)) for (name, _), parts in pooled.items() if name == layer)
        found.append(
            _histogram(weights, _edges(ends[layer], fewest, 61)).assign(
                layer=layer, level=level, cells=len(pooled[layer, level]), remaining=len(weights) / total[layer, level]
            )
        )
    return pd.concat(found)


def check_weights(found: pd.DataFrame) -> None:
    """Raise NothingToShow where a table above is empty: no initial weights are on the disk."""
    if found.empty:
        raise NothingToShow(f"no cell has its initial weights on the disk: {INITIAL}")


def outline(line: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return left edges and heights of a histogram's bins, from zero and back to zero, to be drawn as steps."""
    left = (line["value"] - line["width"] / 2).to_numpy()
    right = left[-1] + line["width"].iloc[-1]
    return np.array([left[0], *left, right]), np.array([0.0, *line["density"], 0.0])


class _File(NamedTuple):
    """The initial weights of one cell, and how its layers are named."""

    cell: Path
    init: str
    inits: list[str]
    prefix: str
    order: list[str]
    config: Mapping[str, object]

    def weights(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the name of each layer, with its model where several vary, and its weights."""
        for name, weights in tickets.initial_weights(self.cell, self.order):
            yield self.prefix + name, weights


def _files(study: Study, view: View, cells_per_choice: int) -> Iterator[_File]:
    """Yield the cells to read: of those that share model, init and seed, one."""
    cells = readable(study.cells)
    inits = view.of_group("init") or ("init",)
    models = view.of_group("model", "dataset")
    layers = _layers(study)
    named = cells.assign(_init=label(cells, inits), _model=label(cells, models))
    in_order = list(named["_init"].cat.categories)
    for names, choice in named.groupby(["_init", "_model"], observed=True):
        init, model = map(str, names)
        used: set[object] = set()
        for key, seed in choice[["key", "seed"]].itertuples(index=False):
            cell = study.path / key
            if len(used) < cells_per_choice and seed not in used and tickets.has_initial_weights(cell):
                used.add(seed)
                group = config(cell).get("init")
                known = group if isinstance(group, Mapping) else {}
                yield _File(cell, init, in_order, f"{model}: " if model else "", layers.get(key, []), known)


def _layers(study: Study) -> dict[str, list[str]]:
    """Return key -> the layers of its cell in the order of the network, for cells that have finished a level."""
    found = study.levels.drop_duplicates("key")
    return {key: list(names) for key, names in zip(found["key"].astype("str"), found["layers"], strict=True)}


def _key(study: Study, cell: Path) -> str:
    return cell.relative_to(study.path).as_posix()


def _end(weights: NDArray[Any]) -> float:
    """Return the absolute weight that the bins end at."""
    return min(float(np.abs(weights).max()), 4 * float(weights.std()))


def _edges(end: float, fewest: int, most: int = 121) -> NDArray[np.float64]:
    """Return the edges of the bins from -end to end, at most `most` of them, for at least `fewest` weights."""
    # An odd number of bins has one on zero; about sqrt(n) balance noise against width.
    bins = int(np.clip(np.sqrt(fewest), 21, most)) // 2 * 2 + 1
    return np.linspace(-(end or 1.0), end or 1.0, bins + 1)


def _histogram(weights: NDArray[Any], edges: NDArray[np.float64]) -> pd.DataFrame:
    counts, _ = np.histogram(weights, edges)
    width = float(edges[1] - edges[0])
    density = counts / (max(weights.size, 1) * width)
    return pd.DataFrame({"value": (edges[:-1] + edges[1:]) / 2, "density": density, "width": width})
