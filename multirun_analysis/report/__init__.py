"""The report of a study: what was run, what it answers, its curves and cells, on one HTML page that needs no network.

The same records give the same bytes: nothing on the page is of the time or the machine it is made on, but for the
versions of plotly and of this program. `page.html` is the template, `page.css` and `page.js` go into it as they are.
"""

import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import escape
from plotly.offline import get_plotlyjs

from ltsweep.schema import TICKET
from ltsweep.words import printable
from multirun_analysis import closing, epochs, lengths, metrics, runs, style, view
from multirun_analysis.claims import VERDICTS, Claim, judge
from multirun_analysis.load import Study
from multirun_analysis.metrics import Metric
from multirun_analysis.notes import sentences
from multirun_analysis.report import answers, choices, command, form, made_with, plots, words
from multirun_analysis.schema import UNENDED

# The name of the page in the folder of a study's figures.
FILE = "report.html"

# What the links to the figures stand between.
_LINKS = (b"<!-- figures -->", b"<!-- end of figures -->")

# Rows of a table of comparisons; the page says how many more there are.
MOST_ROWS = 400


def page(study: Study, claims: Sequence[Claim], out: Path, *, only: str = "") -> bytes:
    """Return the page of a study for the folder `out`, from which it links to the cells' folders.

    claims: those that get a verdict. only: a sentence on which cells are shown, where a filter was asked for.
    """
    verdicts = judge(runs.with_metrics(study, epochs.with_metrics(study, lengths.with_metrics(study))), claims)
    parts = metrics.parts(study.levels)
    contests = [choices.contests(part.levels, part.metric) for part in parts]
    every = zip(parts, contests, strict=True)
    tested = verdicts[verdicts["verdict"].ne("not tested")]
    asked = {claim.name: claim for claim in claims}
    name = ", ".join(study.cells["study"].unique()) if "study" in study.cells else study.path.resolve().name
    name = printable(name)  # a folder may be named by bytes that are no text
    commands = command.commands(study.cells, name)
    template = _environment().get_template("page.html")
    text = template.render(
        name=name,
        only=printable(sentences(only, closing.caveats(study.cells), closing.emptied(study.levels))),
        grid=_grid(study.cells),
        counts=list(closing.counts(study.cells).items()),
        left=_left(study.cells),
        made=made_with.read(study),
        work=study.cells["seconds"].sum(),
        tested=[(asked[str(name)], rows.to_dict("records")) for name, rows in tested.groupby("claim", sort=False)],
        untested=[(asked[row["claim"]], row) for row in verdicts.drop(tested.index).to_dict("records")],
        tally=[(verdict, int(verdicts["verdict"].eq(verdict).sum())) for verdict in VERDICTS],
        parts=[_part(number, part, areas, study.cells) for number, (part, (areas, _)) in enumerate(every)],
        unknown=metrics.unknown(study.levels),
        **_said_of(parts),
        cells=_cells(study, out, commands),
        own_choices=command.OWN if commands["command"].str.contains(command.OWN, regex=False).any() else "",
        apart=_apart(study.cells),
        troubled=closing.troubled(study.cells).to_dict("records"),
        data={"curves": plots.lines(study), "differences": plots.differences(parts, [at for _, at in contests])},
        css=_text("page.css"),
        js=_text("page.js"),
        plotly=get_plotlyjs(),
    )
    return linked(text.encode(), figures(out))


def figures(out: Path) -> list[str]:
    """Return the names of the figures that stand in a folder."""
    return sorted(path.name for path in out.glob("*") if path.suffix.removeprefix(".") in style.FORMATS)


def linked(page: bytes, names: Sequence[str]) -> bytes:
    """Return a page with links to figures beside it, in place of those that it has."""
    before, _, rest = page.partition(_LINKS[0])
    _, _, after = rest.partition(_LINKS[1])
    links = ", ".join(f'<a href="{quote(os.fsencode(name))}">{escape(printable(name))}</a>' for name in names)
    row = f"<dt>Figures</dt><dd>{links}</dd>" if names else ""
    return before + _LINKS[0] + row.encode() + _LINKS[1] + after


def source() -> str:
    """Return the page's template, style and script as one text: a change to it makes the page out of date."""
    return "".join(map(_text, ("page.html", "page.css", "page.js")))


def _environment() -> jinja2.Environment:
    """Return the environment of the template: text is escaped, and an unknown name is an error."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= form.FILTERS
    found.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":"), "allow_nan": False}
    return found


def _text(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _grid(cells: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Return the axes of the grid with their values, seeds last; for a study of one config its choices instead."""
    axes = _apart(cells) or [name for name in view.config_columns(cells) if "." not in name]
    readable = view.readable(cells)
    return [(name, [str(value) for value in view.label(readable, (name,)).cat.categories]) for name in axes]


def _apart(cells: pd.DataFrame) -> list[str]:
    """Return the columns that set cells apart, the seed among them."""
    return [*view.varying(cells), *(["seed"] if "seed" in cells and len(cells["seed"].drop_duplicates()) > 1 else [])]


def _left(cells: pd.DataFrame) -> int:
    """Return the number of cells that have not ended."""
    return int(cells["status"].isin(UNENDED).sum())


def _part(number: int, part: metrics.Part, areas: pd.DataFrame, cells: pd.DataFrame) -> dict[str, Any]:
    """Return what the page says of a part of the study: its answers, and the standing of its choices.

    areas: the first table of its `choices.contests`. id: what its tables' ids end in, nothing for the first.
    """
    metric, ended = part.metric, choices.ended(part.levels)
    own = cells[cells["key"].isin(part.levels["key"].astype("str"))] if part.name else cells
    whole = areas if len(ended) == len(part.levels) else choices.contests(ended, metric)[0]
    effects, standings = answers.effects(whole, metric), choices.standings(part.levels, metric)
    in_settings = answers.in_settings(areas, metric)
    return {
        "id": f"-{number}" if number else "",
        "name": part.name,
        "metric": metric,
        "headline": words.headline(effects, standings, metric),
        "silent": [axis for axis in view.varying(own) if axis not in set(effects["axis"])],
        "dependences": _dependences(whole, own, metric),
        "effects": _told(words.in_order(effects), metric),
        "in_settings": _told(in_settings.head(MOST_ROWS), metric),
        "left_out": max(0, len(in_settings) - MOST_ROWS),
        "standings": standings.to_dict("records"),
    }


def _said_of(parts: Sequence[metrics.Part]) -> dict[str, str]:
    """Return the words of the page that depend on which scores its parts have."""
    scores = dict.fromkeys(metrics.words(part.metric.name) for part in parts)
    scored = next(iter(scores)) if len(scores) == 1 else "test score"
    margins, seen = [], []
    for part in parts:
        known = metrics.of(part.metric.name)
        share = f"{100 * known.margin:g} % of the dense networks' mean" if known.relative else ""
        margins.append(share or f"{form.size(known.margin, known)}{form.unit(known)}")
        seen += [form.seen(known)] * (known.seen > 0)
    said = " or ".join(dict.fromkeys(margins)) or "a margin"
    least = " or ".join(dict.fromkeys(seen))
    return {"scored": scored.capitalize(), "means": scored.removeprefix("test "), "margins": said, "seen": least}


def _told(table: pd.DataFrame, metric: Metric) -> list[dict[str, Any]]:
    """Return the rows of a table of `answers.told`, with what each tells in words."""
    return [{**row, "tells": words.tells(row, metric)} for row in words.rows(table)]


def _dependences(areas: pd.DataFrame, cells: pd.DataFrame, metric: Metric) -> list[str]:
    """Return a sentence for each axis and another on which its effect may depend."""
    found = answers.dependences(areas, cells, metric)
    pairs = found.groupby(["axis", "other"], sort=False) if len(found) else ()
    return [
        words.dependence(rows, answers.leaders(areas, cells, str(axis), str(other), metric), metric)
        for (axis, other), rows in pairs
    ]


def _cells(study: Study, out: Path, commands: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row for each cell, in order of what sets them apart: its folder, how far it is, and its command."""
    labels = {name: view.label(study.cells, (name,)) for name in _apart(study.cells)}
    places = pd.DataFrame({name: label.cat.codes for name, label in labels.items()}, index=study.cells.index)
    order = places.sort_values(list(labels), kind="stable").index if labels else places.index
    cells = study.cells.loc[order].reset_index(drop=True)
    commands = commands.loc[order].reset_index(drop=True)
    apart = [label.loc[order].astype("str").tolist() for label in labels.values()]
    values = list(zip(*apart, strict=True)) if apart else [()] * len(cells)
    tickets = study.levels[study.levels["arm"].eq(TICKET)].sort_values("level").drop_duplicates("key", keep="last")
    scores = {
        str(key): form.score(value, metrics.of(name))
        for name, _, own in metrics.resolved(tickets, f"final_{metrics.DEFAULT}")
        for key, value in zip(own["key"], own[name], strict=True)
    }
    ends = tickets.set_index(tickets["key"].astype("str"))[["remaining"]].reindex(cells["key"]).reset_index(drop=True)
    rows = cells[["key", "status", "level", "seconds"]].astype({"status": "str"})
    rows = rows.assign(remaining=ends["remaining"], score=[scores.get(str(key), form.NONE) for key in cells["key"]])
    hrefs = [quote(os.fsencode(os.path.relpath(study.path / key, out))) + "/" for key in cells["key"]]
    rows = rows.assign(href=hrefs, apart=pd.Series(values, index=cells.index)).join(commands)
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
