"""A part of the terminal that is drawn again and again, and leaves nothing behind when the terminal's width changes."""

import math
from collections.abc import Callable

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.live_render import LiveRender
from rich.segment import ControlType, Segment


class _Frame(LiveRender):
    """What is drawn, with the width of each of its lines: a terminal made narrower wraps them to several rows each.

    rich itself goes up as many rows as the frame had when it was drawn, so that its upper rows would stay.
    """

    def __init__(self, console: Console) -> None:
        super().__init__("")
        self._console = console
        self._widths: list[int] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the frame without blanks at their ends, of which a terminal may forget some."""
        segments = [part for part in super().__rich_console__(console, options) if isinstance(part, Segment)]
        lines = [_without_blanks(line) for line in Segment.split_lines(segments)]
        self._widths = [Segment.get_line_length(line) for line in lines]
        for number, line in enumerate(lines):
            yield from ([Segment.line()] if number else [])
            yield from line

    def position_cursor(self) -> Control:
        """Return what erases the frame, from its last row on, at the terminal's present width."""
        return self._erased(self._rows - 1)

    def restore_cursor(self) -> Control:
        """Return what erases the frame from the row below it."""
        return self._erased(self._rows)

    @property
    def _rows(self) -> int:
        return sum(max(1, math.ceil(width / self._console.width)) for width in self._widths)

    def _erased(self, up: int) -> Control:
        if not self._widths:
            return Control()
        erase = (ControlType.ERASE_IN_LINE, 2)
        return Control(ControlType.CARRIAGE_RETURN, erase, *((ControlType.CURSOR_UP, 1), erase) * up)


def _without_blanks(line: list[Segment]) -> list[Segment]:
    while line and not line[-1].text.strip():
        line = line[:-1]
    return [*line[:-1], Segment(line[-1].text.rstrip(), line[-1].style)] if line else []


def live(render: Callable[[], RenderableType], console: Console) -> Live:
    """Return a display of what `render` returns, drawn anew four times a second; when it is stopped, it goes away."""
    display = Live(get_renderable=render, console=console, refresh_per_second=4, transient=True)
    display._live_render = _Frame(console)
    return display
