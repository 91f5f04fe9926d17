"""The sentences under a figure: how many seeds its means are over, and what it leaves out."""

from collections.abc import Sequence

import pandas as pd


def sentences(*parts: str) -> str:
    """Return the sentences that are not empty as one text."""
    return " ".join(filter(None, parts))


def seeds(counts: pd.Series) -> str:
    """Return how many seeds numbers are over, from the count of each: `3 seeds`, `2 to 3 seeds`, `1 seed`."""
    least, most = counts.min(), counts.max()
    n = f"{most:.0f}" if least == most else f"{least:.0f} to {most:.0f}"
    return f"{n} seed{'s' if most > 1 else ''}"


def over_seeds(counts: pd.Series, several: str) -> str:
    """Return the sentence `several` with the number of seeds in place of `{}`, or `One seed.` for a single one."""
    return several.format(seeds(counts)) if counts.max() > 1 else "One seed."


def beyond(n: int, what: str = "point") -> str:
    """Return the sentence on `n` triangles at the edge of a panel; empty where there are none."""
    return f"Triangles at the edge: {n} {what}{'s' if n > 1 else ''} beyond it." if n else ""


def broken(files: Sequence[str], most: int = 2) -> str:
    """Return the sentence on files that a figure leaves out because they are broken; empty where there are none."""
    more = f"; and {len(files) - most} more" if len(files) > most else ""
    return f"Broken and left out: {'; '.join(files[:most])}{more}." if files else ""
