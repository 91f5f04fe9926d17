"""Densities of the initial weights of each layer: of all of them, and of those that survive pruning."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ltsweep.errors import BrokenFileError
from ltsweep.schema import INITIAL, ticket_file
from multirun_analysis import notes, theory, tickets
from multirun_analysis.cell import config
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study
from multirun_analysis.view import View, label, readable

# Least end of the bins: within it, all weights count as alike.
_LEAST = 1e-30

# Name of the broken files among a table's attributes.
_BROKEN = "broken"

# Columns of `init_densities` and of `surviving`.
_COLUMNS = ["init", "layer", "value", "density", "theory", "width", "cells"]
_SURVIVORS = ["choice", "layer", "level", "remaining", "value", "density", "width", "cells", "seeds", "choices"]


def init_densities(study: Study, view: View, *, cells_per_choice: int = 5) -> pd.DataFrame:
    """Return the density of the initial weights of each layer, one histogram a choice of init.

    Columns: `init` (name of the choice)`, layer` (with its model where several vary)`, value` (middle of a
    bin)`, density` (a weight's probability in the bin / width)`, theory` (the density that weights are drawn from, its
    mean in the bin; null where it is not known)`, width, cells` (how many were pooled: one a seed, the first
    `cells_per_choice`). Bins are the same for all inits of a layer. Weights beyond four standard deviations are counted
    but have no bin. Cells without a file are passed over, broken files too; `left_out` of the table names these.
    """
    broken: list[str] = []
    files = []
    ends: dict[str, float] = {}
    counts: dict[tuple[str, str], int] = {}
    for file, its_weights in _files(study, view, cells_per_choice, broken):
        files.append(file)
        for layer, weights in file.named(its_weights):
            ends[layer] = max(ends.get(layer, 0.0), _end(weights))
            counts[layer, file.init] = counts.get((layer, file.init), 0) + weights.size
    found = []
    for file in files:
        for layer, weights in file.named(_weights(study, file.key, file.order, broken)):
            edges = _edges(ends[layer], min(n for (name, _), n in counts.items() if name == layer))
            drawn_from = theory.bin_density(file.config, weights.shape, edges)
            found.append(_histogram(weights, edges).assign(init=file.init, layer=layer, theory=drawn_from))
    if not found:
        return leaving_out(pd.DataFrame(columns=_COLUMNS), broken)
    layers, inits = list(ends), [init for init in files[0].inits if init in {file.init for file in files}]
    table = (
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
    return leaving_out(table, broken)


def surviving(
    study: Study, view: View, levels: Sequence[int], *, cells_per_choice: int = 3, most_choices: int = 12
) -> pd.DataFrame:
    """Return the density of those initial weights that remain at some levels, one histogram a choice and layer.

    Columns: `choice` (name of all that varies but for the seed)`, layer, level, remaining` (of the layer's
    weights)`, value, density, width, cells`: as in `init_densities`, each level by itself, so that its area is one;
    `seeds` (those pooled)`, choices` (how many the study has). Of the first `most_choices` choices with initial weights
    on the disk the first `cells_per_choice` seeds are pooled, as far as their masks are on the disk. Broken files are
    passed over, and `left_out` of the table names them.
    """
    cells = readable(study.cells)
    order = _layers(study)
    broken: list[str] = []
    cells = cells if "seed" in cells else cells.assign(seed=0)
    named = cells.assign(_choice=label(cells, view.choice)).sort_values("seed", kind="stable")
    found: list[pd.DataFrame] = []
    for choice, those in named.groupby("_choice", observed=True):
        seeds: dict[str, object] = dict(those[["key", "seed"]].itertuples(index=False))
        there = (key for key in seeds if _weights(study, key, [], broken))
        kept = list(itertools.islice(there, cells_per_choice)) if len(found) < most_choices else []
        survivors = _survivors(study, kept, levels, order.get(kept[0], []), broken) if kept else pd.DataFrame()
        if len(survivors):
            found.append(survivors.assign(choice=choice, seeds=", ".join(str(seeds[key]) for key in kept)))
    if not found:
        return leaving_out(pd.DataFrame(columns=_SURVIVORS), broken)
    choices = [str(name) for name in named["_choice"].cat.categories]
    every = pd.concat(found, ignore_index=True)
    table = every.assign(
        choice=pd.Categorical(every["choice"], choices, ordered=True).remove_unused_categories(),
        layer=pd.Categorical(every["layer"], list(dict.fromkeys(every["layer"])), ordered=True),
        choices=named["_choice"].nunique(),
    )[_SURVIVORS]
    return leaving_out(table, broken)


def _survivors(
    study: Study, keys: Sequence[str], levels: Sequence[int], order: Sequence[str], broken: list[str]
) -> pd.DataFrame:
    """Return the histograms of the cells of one choice, pooled; add to `broken` the files that are."""
    pooled: dict[tuple[str, int], list[NDArray[Any]]] = {}
    total: dict[tuple[str, int], int] = {}
    ends: dict[str, float] = {}
    for key in keys:
        initial = _weights(study, key, order, broken)
        for layer, weights in initial.items():
            ends[layer] = max(ends.get(layer, 0.0), _end(weights))
        for level in levels:
            kept = {layer: np.ones(w.shape, dtype=bool) for layer, w in initial.items()}
            for layer, mask in (kept if level == 0 else _masks(study, key, level, initial, broken)).items():
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
    return pd.concat(found) if found else pd.DataFrame(columns=_SURVIVORS)


def left_out(table: pd.DataFrame) -> list[str]:
    """Return the broken files that a table of this file does without, each with its cell and why."""
    return list(getattr(table, "attrs", {}).get(_BROKEN, ()))  # a figure of one's own may have a table of any kind


def leaving_out(table: pd.DataFrame, broken: Sequence[str]) -> pd.DataFrame:
    """Return a table that knows the broken files that it does without, for `left_out`."""
    table.attrs[_BROKEN] = list(dict.fromkeys(broken))
    return table


def _weights(study: Study, key: str, order: Sequence[str], broken: list[str]) -> tickets.Weights:
    """Return the initial weights of a cell; none where there is no file or, added to `broken`, a broken one."""
    try:
        return tickets.initial_weights(study.path / key, order)
    except BrokenFileError as error:
        broken.append(f"{key}: {error}")
        return {}


def _masks(
    study: Study, key: str, level: int, initial: tickets.Weights, broken: list[str]
) -> dict[str, NDArray[np.bool_]]:
    """Return the masks of a cell's level; none where there is no file or, added to `broken`, a broken one."""
    try:
        found = tickets.masks(study.path / key, level)
        for layer in found.keys() & initial.keys():
            if found[layer].shape != initial[layer].shape:
                raise BrokenFileError(f"{ticket_file(level)} has a mask of {layer} of another shape than its weights")
    except BrokenFileError as error:
        broken.append(f"{key}: {error}")
        return {}
    return found


def check_weights(found: pd.DataFrame) -> None:
    """Raise NothingToShow where a table above is empty: no initial weights are on the disk."""
    if found.empty:
        raise NothingToShow(
            notes.sentences(f"no cell has its initial weights on the disk: {INITIAL}", *left_out(found)[:1])
        )


def outline(line: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return left edges and heights of a histogram's bins, from zero and back to zero, to be drawn as steps."""
    left = (line["value"] - line["width"] / 2).to_numpy()
    right = left[-1] + line["width"].iloc[-1]
    return np.array([left[0], *left, right]), np.array([0.0, *line["density"], 0.0])


class _File(NamedTuple):
    """A cell with initial weights, and how its layers are named."""

    key: str
    init: str
    inits: list[str]
    prefix: str
    order: list[str]
    config: Mapping[str, object]

    def named(self, weights: tickets.Weights) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the name of each layer, with its model where several vary, and its weights."""
        for name, values in weights.items():
            yield self.prefix + name, values


def _files(
    study: Study, view: View, cells_per_choice: int, broken: list[str]
) -> Iterator[tuple[_File, tickets.Weights]]:
    """Yield the cells to read, with their weights: of those that share model, init and seed, one."""
    cells = readable(study.cells)
    cells = cells if "seed" in cells else cells.assign(seed=0)
    inits = view.of_group("init") or tuple(name for name in ("init",) if name in cells)
    models = view.of_group("model", "dataset")
    layers = _layers(study)
    named = cells.assign(_init=label(cells, inits), _model=label(cells, models))
    in_order = list(named["_init"].cat.categories)
    for names, choice in named.groupby(["_init", "_model"], observed=True):
        init, model = map(str, names)
        used: set[object] = set()
        for key, seed in choice[["key", "seed"]].itertuples(index=False):
            if len(used) >= cells_per_choice or seed in used:
                continue
            order = layers.get(key, [])
            if weights := _weights(study, key, order, broken):
                used.add(seed)
                group = config(study.path / key).get("init")
                known = group if isinstance(group, Mapping) else {}
                yield _File(key, init, in_order, f"{model}: " if model else "", order, known), weights


def _layers(study: Study) -> dict[str, list[str]]:
    """Return key -> the layers of its cell in the order of the network, for cells that have finished a level."""
    found = study.levels.drop_duplicates("key")
    return {key: list(names) for key, names in zip(found["key"].astype("str"), found["layers"], strict=True)}


def _end(weights: NDArray[Any]) -> float:
    """Return the absolute weight that the bins end at."""
    return min(float(np.abs(weights).max()), 4 * float(weights.std()))


def _edges(end: float, fewest: int, most: int = 121) -> NDArray[np.float64]:
    """Return the edges of the bins from -end to end, at most `most` of them, for at least `fewest` weights."""
    # An odd number of bins has one on zero; about sqrt(n) balance noise against width.
    bins = int(np.clip(np.sqrt(fewest), 21, most)) // 2 * 2 + 1
    end = end if end > _LEAST else 1.0
    return np.linspace(-end, end, bins + 1)


def _histogram(weights: NDArray[Any], edges: NDArray[np.float64]) -> pd.DataFrame:
    counts, _ = np.histogram(weights, edges)
    width = float(edges[1] - edges[0])
    density = counts / (max(weights.size, 1) * width)
    return pd.DataFrame({"value": (edges[:-1] + edges[1:]) / 2, "density": density, "width": width})
