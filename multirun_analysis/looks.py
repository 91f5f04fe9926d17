"""The look of lines against the weights remaining: colours, markers, dashes, and the legend that names them."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from multirun_analysis import pages, panels, style
from multirun_analysis.schema import ticket_first
from multirun_analysis.view import View

# Choices in a panel where there is one arm, two, and more.
_MOST = (6, 4, 3)

# Greys of the median of dense scores, and of the choices behind.
GREY, BEHIND = "0.5", "0.82"

# Dense scores that a panel draws as a line each; of more it draws their median alone.
_FEW = 4


class Look:
    """Colour, marker and dashes of each line: by choice and arm, or by arm where there is one choice.

    parts: the choices of each panel, few enough to be told apart.
    """

    def __init__(self, df: pd.DataFrame, view: View) -> None:
        """Give each choice and arm of `lines.table(...)` its look."""
        self.title = ", ".join(view.hue)
        hues = [str(hue) for hue in df["hue"].cat.categories]
        self.arms = ticket_first(df["arm"].unique())
        self.by_arm = len(hues) == 1
        self.parts = [tuple(part) for part in pages.parts(hues, _MOST[min(len(self.arms), len(_MOST)) - 1])]
        looks = {
            name: look
            for names in ([self.arms] if self.by_arm else self.parts)
            for name, look in zip(names, style.looks(names), strict=True)
        }
        self.color = {name: color for name, (color, _) in looks.items()}
        self.marker = {name: marker for name, (_, marker) in looks.items()}
        self.dash = style.dashes(self.arms)
        self.bars = view.bars
        self.band_alpha = 0.18 if len(self.parts[0]) <= _FEW else 0.10
        self.few = len(self.arms if self.by_arm else self.parts[0]) <= _FEW
        self.dense = "dense" if self.few else "dense, median"

    def name(self, hue: str, arm: str) -> str:
        """Return the name by which a line has its colour and marker."""
        return arm if self.by_arm else hue

    def legend(self, shown: Iterable[str]) -> list[tuple[str, list[panels.Entry]]]:
        """Return the sections of the legend of some choices: they, the arms and the dense network."""
        choices = [] if self.by_arm else panels.by_part(self.title, self.parts, shown, self._choice)
        arms = [self._arm(arm) for arm in self.arms] if len(self.arms) > 1 else []
        dense = panels.several([_handle(color, "", ":", linewidth=0.9) for color in self._dense_colors()], self.dense)
        others = [_handle(BEHIND, "", "-", label="other choices")] if len(self.parts) > 1 else []
        return [*choices, ("arm", arms), ("", [dense, *others])]

    def _choice(self, hue: str) -> panels.Entry:
        return _handle(self.color[hue], self.marker[hue], "-", label=hue)

    def _arm(self, arm: str) -> panels.Entry:
        label = arm.replace("_", " ")
        if self.by_arm:
            return _handle(self.color[arm], self.marker[arm], self.dash[arm], label=label)
        handles = [_handle(self.color[hue], "", self.dash[arm]) for hue in self.parts[0]]
        return panels.several(handles, label)

    def _dense_colors(self) -> list[style.Color | str]:
        if not self.few:
            return [GREY]
        return [self.color[name] for name in (self.arms[:1] if self.by_arm else self.parts[0])]


def _handle(color: style.Color | str, marker: str, dash: style.Dash, **rest: Any) -> Line2D:
    return Line2D([], [], color=color, marker=marker, linestyle=dash, **rest)
