"""Tables with a row a cell, in as many columns as the terminal has room for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding

from ltsweep.show.labels import Varying
from ltsweep.show.page import Column, plain, table
from ltsweep.words import shown

# Characters of a cell's label and of a reason.
_LABEL, _REASON = 200, 600
# Columns of any table with all its text on one line.
_ANY = 1_000_000


@dataclass(frozen=True)
class Row:
    """A cell by its key, the texts of the columns, and a message that may be long, such as why it failed."""

    key: str
    facts: Sequence[str]
    message: str = ""


@dataclass(frozen=True)
class CellTable:
    """A table of cells: what varies, then columns of facts.

    Where there is room, a cell's label and its message are in its row. Where there is less, what varies has columns
    under headings, messages follow the table, and the columns of `spare` are left out, one after the other.
    more: a line below. names: of keys that it does not know, the label is empty.
    """

    names: Varying
    columns: Sequence[Column]
    rows: Sequence[Row]
    spare: Sequence[str] = ()
    more: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the first of the layouts that fits, or the last, whose labels are wrapped."""
        for layout in self._layouts():
            found = layout
            if Measurement.get(console, options.update(max_width=_ANY), layout[0]).maximum <= options.max_width:
                break
        yield from found

    def _layouts(self) -> Iterator[list[RenderableType]]:
        messages = any(row.message for row in self.rows)
        more = [plain(self.more)] if self.more else []
        yield [self._table(messages=messages), *more]
        below = [*more, *self._messages()]
        for count in range(len(self.spare) + 1):
            yield [self._table(self.spare[:count]), *below]
            if self.names.titles:
                yield [self._table(self.spare[:count], in_columns=True), *below]
        yield [self._table(self.spare, wrapped=True), *below]

    def _table(
        self, without: Sequence[str] = (), messages: bool = False, in_columns: bool = False, wrapped: bool = False
    ) -> RenderableType:
        kept = [i for i, (heading, _) in enumerate(self.columns) if heading not in without]
        first: list[Column] = [("cell", "fold" if wrapped else "left")]
        if in_columns:
            first = [(title, "left") for title in self.names.titles]
        last: list[Column] = [("", "fold")] if messages else []
        columns = [*first, *(self.columns[i] for i in kept), *last]
        rows = []
        for row in self.rows:
            cell = self.names.texts(row.key) if in_columns else [self._label(row.key)]
            rows.append([*cell, *(row.facts[i] for i in kept), *([shown(row.message, _REASON)] if messages else [])])
        return table(columns, rows)

    def _label(self, key: str) -> str:
        return shown(self.names.label(key), _LABEL) if key in self.names.values else ""

    def _messages(self) -> Iterator[RenderableType]:
        """Yield each message once, under the keys and labels of its cells."""
        for message in dict.fromkeys(row.message for row in self.rows if row.message):
            for row in self.rows:
                if row.message == message:
                    yield plain(f"{row.key}  {self._label(row.key)}".rstrip())
            yield Padding(plain(shown(message, _REASON)), (0, 0, 0, 2))


def score_texts(remaining: float | None, score: float | None) -> tuple[str, str]:
    """Return the share of weights that remain and a score as a table shows them, empty for None."""
    return "" if remaining is None else f"{remaining:.1%}", "" if score is None else score_text(score)


def score_text(score: float) -> str:
    """Return a score as tables and logs show it: an accuracy and a loss by four places, a return of games by one."""
    return f"{score:.4f}" if not abs(score) >= 10 else f"{score:.1f}"
