"""What a user sees while a study runs: a live table on a terminal, a few plain lines elsewhere, a closing table."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ltsweep.grid.cell import Cell

# Rows that a table shows before it says how many more there are.
_ROWS = 16
# Seconds between plain lines about a study that goes on.
_EVERY = 20.0


@dataclass(frozen=True)
class Event:
    """One cell's news: `done` counts the steps of all its networks, `accuracy` is its ticket's test accuracy."""

    key: str
    status: str
    level: int = 0
    done: int = 0
    accuracy: float | None = None
    remaining: float | None = None


@dataclass(frozen=True)
class Note:
    """Something to tell the user that is no cell's progress, on one line."""

    text: str


def labels(cells: Sequence[Cell]) -> dict[str, str]:
    """Return key -> what tells a cell from the others of the study, such as `init=xavier_u lr=0.1`."""
    flat = {cell.key: _flat(cell.config) for cell in cells}
    names = dict.fromkeys(name for values in flat.values() for name in values)
    seen = {name: {json.dumps(values.get(name)) for values in flat.values()} for name in names}
    # A group's own fields go without saying when its choice is shown.
    varying = [name for name in names if len(seen[name]) > 1]
    shown = [n for n in varying if "." not in n or n.split(".")[0] not in varying or n.endswith(".value")]
    return {
        key: " ".join(f"{name.removesuffix('.value')}={values[name]}" for name in shown if name in values) or "the cell"
        for key, values in flat.items()
    }


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif name == "name":
            flat[prefix.rstrip(".")] = value
        elif name not in ("_target_", "_partial_"):
            flat[prefix + name] = value
    return flat


def duration(seconds: float) -> str:
    """Return 42 s, 3 min 20 s or 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class Display:
    """Shows a study from its plan to its closing table. Use as a context manager."""

    def __init__(self, cells: Sequence[Cell], totals: Mapping[str, tuple[int, int]], study: Path, force: bool) -> None:
        """Take the whole grid, and for each cell to compute key -> (network steps in all, of these done before)."""
        self.console = Console(highlight=False, soft_wrap=True)
        self.labels = labels(cells)
        self.levels = {cell.key: cell.config["levels"] for cell in cells}
        self.total = sum(total for total, _ in totals.values())
        self.done = {key: before for key, (_, before) in totals.items()}
        self.study = study
        self.latest: dict[str, Event] = {}
        self.counts: Counter[str] = Counter()
        self.spoke = time.monotonic()
        self._first: tuple[float, int] | None = None  # when the first news came, and the steps done by then
        self._announce(cells, totals, force)
        self._live = Live(get_renderable=self._table, console=self.console, refresh_per_second=4, transient=True)

    def _announce(self, cells: Sequence[Cell], totals: Mapping[str, tuple[int, int]], force: bool) -> None:
        """Say what is going to be computed."""
        ready = len(cells) - len(totals)
        resumed = sum(before > 0 for _, before in totals.values())
        kept = f", {ready} already finished" if ready else ""
        going_on = f", {resumed} of them from where they stopped" if resumed else ""
        again = " again" if force else ""
        plan = f"{len(totals)} to compute{again}{going_on}" if totals else "nothing to compute"
        self.console.print(f"{self.study}: {_cells(len(cells))}{kept}, {plan}")

    def __enter__(self) -> "Display":
        """Start the live table where there is a terminal."""
        if self.total and self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """Take the live table away."""
        self._live.stop()

    def note(self, text: str) -> None:
        """Print a line at once, above the live table."""
        self.console.print(text, markup=False)

    def show(self, event: Event | Note) -> None:
        """Take in one cell's news."""
        if isinstance(event, Note):
            self.note(event.text)
            return
        before = self.latest.get(event.key)
        if event.status == "failed" and before:
            event = Event(event.key, "failed", before.level, before.done, before.accuracy, before.remaining)
        self.latest[event.key] = event
        self.done[event.key] = max(event.done, self.done[event.key])
        if self._first is None:
            self._first = time.monotonic(), sum(self.done.values())
        if event.status != "running":
            self.counts[event.status] += 1
            self._say(f"{event.status:8}  {self.labels[event.key]}{_scores(event)}", always=len(self.done) <= 2 * _ROWS)
        else:
            self._say(f"{self._summary()}; {self.labels[event.key]} level {event.level}{_scores(event)}")

    def _say(self, line: str, always: bool = False) -> None:
        if self.console.is_terminal or (not always and time.monotonic() - self.spoke < _EVERY):
            return
        self.spoke = time.monotonic()
        self.console.print(line)

    def _summary(self) -> str:
        return f"{sum(self.counts.values())} of {_cells(len(self.done))} ended, {self._left()}"

    def _left(self) -> str:
        """Extrapolate from the first news on, so that the start of the processes is not taken for slow work."""
        done, now = sum(self.done.values()), time.monotonic()
        if self._first is None:
            return "starting"
        began, before = self._first
        if done == before or now - began < 2:
            return "time left not known yet"
        return f"{duration((now - began) * (self.total - done) / (done - before))} left"

    def _table(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading, side in (("cell", "left"), ("level", "right"), ("remaining", "right"), ("test accuracy", "right")):
            table.add_column(heading, justify=side, header_style="dim", no_wrap=True)  # type: ignore[arg-type]
        latest = [self.latest[key] for key in self.labels if key in self.latest]  # in the order of the grid
        running = [event for event in latest if event.status == "running"]
        for event in running[:_ROWS]:
            remaining = "" if event.remaining is None else f"{event.remaining:.1%}"
            accuracy = "" if event.accuracy is None else f"{event.accuracy:.4f}"
            table.add_row(self.labels[event.key], f"{event.level} / {self.levels[event.key]}", remaining, accuracy)
        if len(running) > _ROWS:
            table.add_row(f"and {len(running) - _ROWS} more", "", "", "")
        bar = ProgressBar(total=max(1, self.total), completed=sum(self.done.values()), width=40)
        ended = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        waiting = len(self.done) - len(running) - sum(self.counts.values())
        parts = (ended, f"{len(running)} running", f"{waiting} waiting" if waiting else "", self._left())
        return Group(Text(", ".join(part for part in parts if part)), Padding(bar, (0, 0, 1, 0)), table)


def closing_table(cells: Sequence[Cell], statuses: Mapping[str, Mapping[str, Any]], study: Path) -> None:
    """Print how every cell ended, why a failed one failed, and where to look next."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 400  # a log has no edge to wrap at
    names = labels(cells)
    counts = Counter(status["status"] for status in statuses.values())
    bad = {key: status for key, status in statuses.items() if status["status"] != "done"}
    rows = list(statuses.items()) if len(statuses) <= _ROWS else list(bad.items())[:_ROWS]
    if rows:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("cell", "status", "level", "key"):
            table.add_column(heading, header_style="dim", no_wrap=True)
        table.add_column("", overflow="fold")
        for key, status in rows:
            reason = (str(status.get("error") or "").strip().splitlines() or [""])[-1]
            table.add_row(names[key], status["status"], str(status["level"]), key, reason)
        console.print(table)
    if len(bad) > len(rows):
        console.print(f"and {len(bad) - len(rows)} more that are not done")
    console.print(", ".join(f"{count} {status}" for status, count in counts.items()))
    if bad:
        console.print(f"logs     {study}/<key>/cell.log")
    console.print(f"figures  python -m multirun_analysis {study}")


def _scores(event: Event) -> str:
    remaining = "" if event.remaining is None else f", {event.remaining:.1%} remaining"
    accuracy = "" if event.accuracy is None else f", test accuracy {event.accuracy:.4f}"
    return remaining + accuracy


def _cells(count: int) -> str:
    return f"{count:,} cell{'s' * (count != 1)}"
