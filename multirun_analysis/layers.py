"""The weights that pruning leaves of each layer, and the choices that prune alike."""

import itertools

import pandas as pd

from ltsweep.schema import TICKET
from multirun_analysis import curves
from multirun_analysis.schema import COUNTED
from multirun_analysis.tickets import layer_name
from multirun_analysis.view import View, label

# Name of the whole network among the layers.
WHOLE = "all"

# Fractions that differ by a smaller part than this are one line of a figure; layers that a line's name lists.
_NEAR, _FEW = 0.02, 4

_Values = dict[tuple[str, int], tuple[float, ...]]


def by_layer(levels: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return the fraction of each layer's weights that remain at each level of the tickets.

    Columns: `choice, layer, level, mean, low, high, n`, over seeds; the layer `WHOLE` is the whole network. A layer
    has no rows at levels that leave nothing of it. Choices that prune alike, as all do that differ in their
    initialization under layerwise pruning, are one, named by the values that they share (`prune_rate = 0.2`).
    """
    counted = levels[levels["status"].isin(COUNTED) & levels["arm"].eq(TICKET)]
    named = counted.assign(choice=label(counted, view.choice))[
        ["choice", "level", "remaining", "layers", "layer_remaining", "layer_total"]
    ]
    each = named.explode(["layers", "layer_remaining", "layer_total"], ignore_index=True).dropna(subset="layers")
    fractions = each.assign(
        layer=[layer_name(name) for name in each["layers"]],
        fraction=each["layer_remaining"].astype(float) / each["layer_total"].astype(float),
    )
    fractions = fractions[fractions["fraction"].gt(0)]  # a log axis has no place for a layer that is gone
    whole = named.assign(layer=WHOLE, fraction=named["remaining"])
    layers = [*fractions["layer"].drop_duplicates(), WHOLE]
    both = pd.concat([fractions, whole])[["choice", "layer", "level", "fraction"]]
    both = both.assign(layer=pd.Categorical(both["layer"], layers, ordered=True))
    shares = counted[list(view.choice)].assign(choice=named["choice"].astype("str")).drop_duplicates("choice")
    return _merge_alike(curves.bands(both, ["choice", "layer", "level"], "fraction", view.band), shares)


def together(found: pd.DataFrame) -> pd.DataFrame:
    """Return `by_layer(...)` with layers whose lines cannot be told apart as one, named `fc1, fc2`.

    Those are layers whose means differ by less than 2 % at every level of every choice.
    """
    means = _means(found)
    groups: list[list[str]] = []
    for layer in map(str, found["layer"].cat.categories):
        near = [group for group in groups if _near(means[group[0]], means[layer])]
        near[0].append(layer) if near else groups.append([layer])
    names = {group[0]: _listed(group) for group in groups}
    rows = found[found["layer"].isin(list(names))]
    named = pd.Categorical(rows["layer"].astype("str").map(names), list(names.values()), ordered=True)
    return rows.assign(layer=named).reset_index(drop=True)


def some_coincide(found: pd.DataFrame) -> bool:
    """Return whether two layers of a table such as `by_layer(...)` cannot be told apart.

    The whole network does not count: it is dashed, and hides no layer.
    """
    means = _means(found[found["layer"].ne(WHOLE)])
    return any(_near(means[one], means[other]) for one, other in itertools.combinations(means.columns, 2))


def _means(found: pd.DataFrame) -> pd.DataFrame:
    return found.pivot_table("mean", ["choice", "level"], "layer", observed=True)


def _near(one: pd.Series, other: pd.Series) -> bool:
    both = pd.concat([one, other], axis=1).dropna()
    return len(both) > 0 and bool(((both.iloc[:, 0] / both.iloc[:, 1] - 1).abs() < _NEAR).all())


def _listed(layers: list[str]) -> str:
    if len(layers) <= _FEW:
        return ", ".join(layers)
    whole = [WHOLE] if layers[-1] == WHOLE else []
    own = layers[: len(layers) - len(whole)]
    return ", ".join([f"{own[0]} to {own[-1]} ({len(own)})", *whole])


def _merge_alike(found: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
    """Return one of each group of choices whose values are equal at all levels they share: the one that went furthest.

    `shares` has a row for each choice, with its values.
    """
    values: dict[str, _Values] = {
        str(choice): {
            (str(layer), int(level)): tuple(round(value, 9) for value in spread)
            for layer, level, *spread in rows[["layer", "level", "mean", "low", "high"]].itertuples(index=False)
        }
        for choice, rows in found.groupby("choice", observed=True, sort=True)
    }
    alike: dict[str, list[str]] = {}
    for choice in sorted(values, key=lambda choice: -len(values[choice])):
        like = next((one for one in alike if _agree(values[one], values[choice])), choice)
        alike.setdefault(like, []).append(choice)
    names = {choice: _named(alike[choice], shares) for choice in values if choice in alike}
    rows = found[found["choice"].isin(list(names))]
    renamed = pd.Categorical(rows["choice"].astype("str").map(names), list(names.values()), ordered=True)
    return rows.assign(choice=renamed).reset_index(drop=True)


def _agree(one: _Values, other: _Values) -> bool:
    shared = one.keys() & other.keys()
    return bool(shared) and all(one[at] == other[at] for at in shared)


def _named(alike: list[str], shares: pd.DataFrame) -> str:
    """Return a name for choices that are alike: values that they have and others do not, or the first of them."""
    if len(alike) == len(shares):
        return "" if len(alike) == 1 else f"all {len(alike)} choices"
    if len(alike) == 1:
        return alike[0]
    those = shares[shares["choice"].isin(alike)]
    told, here = [], pd.Series(True, index=shares.index)
    for name in shares.columns.drop("choice"):
        values = list(label(those, (name,)).cat.categories)
        if len(values) < shares[name].nunique(dropna=False) and len(values) <= _FEW:
            told.append(f"{name} = {', '.join(values)}")
            here &= label(shares, (name,)).astype("str").isin(values)
    # Unless others have these values too, as where pruning rates differ and the choices of one went equally far.
    return ", ".join(told) if told and here.sum() == len(alike) else f"{alike[0]} and {len(alike) - 1} more"
