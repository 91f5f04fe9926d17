"""A study on the terminal: a live table, or a few plain lines where there is no terminal; and a closing table."""

import dataclasses
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar

from ltsweep.grid.cell import Cell
from ltsweep.schema import DONE, FAILED, LEVELS_FILE, RUNNING, headline_of
from ltsweep.show.cells import CellTable, Row, score_texts
from ltsweep.show.events import News
from ltsweep.show.labels import Varying, count_cells, duration, last_line, varying
from ltsweep.show.live import live
from ltsweep.show.page import WIDE, Column, page, plain

# Rows of the live table at most; then it says how many more cells there are. Of its frame, other lines than rows.
_ROWS, _OTHER = 16, 6
# Cells of a study up to which the closing table has a row for each; of more it names those that are not done.
_ENDED_ROWS = 100
# Seconds between plain lines on a study that is running: rare enough for a log.
_EVERY = 20.0
# Seconds of news before the time left is extrapolated from them.
_ENOUGH = 2.0


def _scores(headlines: Iterable[str]) -> list[Column]:
    """Return the columns of what remains and of the score, named after the headlines of the cells in the table."""
    names = " / ".join(sorted({name for name in headlines if name}))
    return [("remaining", "right"), (f"test {names or 'score'}", "right")]


class LiveTable:
    """A `Watcher` that keeps a table of the running cells, the share of steps done and the time left."""

    def __init__(self, again: bool = False) -> None:
        """Write to standard output; `again`: the plan says that cells are computed again."""
        self.console = page()
        self.again = again
        self.latest: dict[str, News] = {}
        self.done: dict[str, int] = {}  # key -> optimizer steps of all its networks
        self._total = 0
        self._names = Varying([], {})
        self._printed: list[str] = []
        self._levels: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._spoke = time.monotonic()
        self._first: tuple[float, int] | None = None  # time of the first news, and the steps done by then
        self._live: Live | None = None

    def announce(self, study: Path, cells: Sequence[Cell], totals: Mapping[str, tuple[int, int]]) -> None:
        """Print the plan; start the live table if there is a terminal, and something to compute."""
        self._names = varying(cells)
        self._levels = {cell.key: cell.config["levels"] for cell in cells}
        self._total = sum(total for total, _ in totals.values())
        self.done = {key: before for key, (_, before) in totals.items()}
        self._print_plan(study, cells, totals)
        if self._total and self._is_live:
            self._live = live(self.render, lambda: plain("\n".join(self._printed)), self.console)
            self._live.start()

    def show(self, news: News) -> None:
        """Take one cell's progress."""
        before = self.latest.get(news.key)
        if news.status == FAILED and before:  # such news say no more than that
            news = dataclasses.replace(before, status=FAILED)
        self.latest[news.key] = news
        self.done[news.key] = max(news.done, self.done[news.key])
        if self._first is None:
            self._first = time.monotonic(), sum(self.done.values())
        label = self._names.label(news.key)
        if news.status == RUNNING:
            self.say(f"{self._summary()}; {label} level {news.level}{_scores_of(news)}")
        else:
            self._counts[news.status] += 1
            self.say(f"{news.status:8}  {label}{_scores_of(news)}", always=len(self.done) <= 2 * _ROWS)

    def note(self, text: str) -> None:
        """Print a line at once, above the live table."""
        self._printed.append(text)
        self.console.print(plain(text))

    def close(self) -> None:
        """Take the live table away."""
        if self._live is not None:
            self._live.stop()

    def say(self, line: str, always: bool = False) -> None:
        """Print a line where there is no terminal; unless `always`, only some time after the last one."""
        if self._is_live or (not always and time.monotonic() - self._spoke < _EVERY):
            return
        self._spoke = time.monotonic()
        self.console.print(plain(line))

    def render(self) -> RenderableType:
        """Return the table as it stands: counts, the bar, the running cells."""
        if not self._is_live and self._live is not None:  # the terminal was closed, and a log holds no frames
            return plain("")
        latest = [self.latest[key] for key in self._levels if key in self.latest]  # in the order of the grid
        running = [news for news in latest if news.status == RUNNING]
        most = max(1, min(_ROWS, self.console.height - _OTHER))
        rows = [self._row(news) for news in running[:most]]
        more = f"and {len(running) - most} more" if len(running) > most else ""
        bar = ProgressBar(total=max(1, self._total), completed=sum(self.done.values()), width=40)
        ended = ", ".join(f"{count} {status}" for status, count in self._counts.items())
        waiting = len(self.done) - len(running) - sum(self._counts.values())
        parts = (ended, f"{len(running)} running", f"{waiting} waiting" if waiting else "", self._left())
        counts = plain(", ".join(part for part in parts if part))
        columns: list[Column] = [("level", "right"), *_scores(news.headline for news in latest)]
        return Group(
            counts, Padding(bar, (0, 0, 1, 0)), CellTable(self._names, columns, rows, ("level", "remaining"), more)
        )

    @property
    def _is_live(self) -> bool:
        """Return whether there is a terminal, and it still takes text."""
        return self.console.is_terminal and getattr(self.console.file, "error", None) is None

    def _row(self, news: News) -> Row:
        level = f"{news.level} / {self._levels[news.key]}"
        return Row(news.key, (level, *score_texts(news.remaining, news.score)))

    def _print_plan(self, study: Path, cells: Sequence[Cell], totals: Mapping[str, tuple[int, int]]) -> None:
        """Print how many cells there are, and how many of them are to be computed."""
        ready = len(cells) - len(totals)
        resumed = sum(before > 0 for _, before in totals.values())
        kept = f", {ready} already finished" if ready else ""
        going_on = f", {resumed} of them from where they stopped" if resumed else ""
        again = " again" if self.again else ""
        plan = f"{len(totals)} to compute{again}{going_on}" if totals else "nothing to compute"
        self.note(f"{study}: {count_cells(len(cells))}{kept}, {plan}")

    def _summary(self) -> str:
        return f"{sum(self._counts.values())} of {count_cells(len(self.done))} ended, {self._left()}"

    def _left(self) -> str:
        """Return the time left, extrapolated from the first news on, since starting the processes is not work."""
        done, now = sum(self.done.values()), time.monotonic()
        if self._first is None:
            return "starting"
        began, before = self._first
        if done == before or now - began < _ENOUGH:
            return "time left not known yet"
        return f"{duration((now - began) * (self._total - done) / (done - before))} left"


def closing_table(cells: Sequence[Cell], statuses: Mapping[str, Mapping[str, Any]], study: Path) -> None:
    """Print how each cell ended, with the scores of its ticket, why a failed one failed, and where to look next."""
    console = page(WIDE)
    counts = Counter(status["status"] for status in statuses.values())
    bad = {key: status for key, status in statuses.items() if status["status"] != DONE}
    ended = list(statuses.items()) if len(statuses) <= _ENDED_ROWS else list(bad.items())[:_ENDED_ROWS]
    if ended:
        found = [_ended_row(key, status, study) for key, status in ended]
        rows = [row for row, _ in found]
        scores = _scores(headline for _, headline in found)
        columns: list[Column] = [("status", "left"), ("level", "left"), *scores, ("key", "left")]
        spare = ("key", "level", *(() if bad else ("status",)), "remaining")
        console.print(CellTable(varying(cells), columns, rows, spare), soft_wrap=False)
    lines = [", ".join(f"{count} {status}" for status, count in counts.items())]
    if len(bad) > len(ended):
        lines.insert(0, f"and {len(bad) - len(ended)} more that are not done")
    if bad:
        lines.append(f"logs     {study}/<key>/cell.log")
    console.print(plain("\n".join([*lines, f"figures  python -m multirun_analysis {study}"])))


def _ended_row(key: str, status: Mapping[str, Any], study: Path) -> tuple[Row, str]:
    """Return a cell's row, and its headline, empty where no level of it can be read."""
    from ltsweep.store import tables  # loads pyarrow, which is slow, and the live table needs no tables

    ticket, scores, headline = tables.ticket_at(study / key / LEVELS_FILE, status["level"]), ("", ""), ""
    if ticket is not None:
        remaining, headline = ticket["weights_remaining"] / ticket["weights_total"], headline_of(ticket)
        scores = score_texts(remaining, ticket[f"final_test_{headline}"])
    facts = (status["status"], str(max(0, status["level"])), *scores, key)
    return Row(key, facts, last_line(status.get("error"))), headline


def _scores_of(news: News) -> str:
    remaining, score = score_texts(news.remaining, news.score)
    return f", {remaining} remaining" * bool(remaining) + f", test {news.headline} {score}" * bool(score)
