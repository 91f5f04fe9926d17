"""A part of the terminal that is drawn again and again, and leaves nothing behind when the terminal's size changes."""

from collections.abc import Callable

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.live_render import LiveRender
from rich.segment import ControlType


class _Frame(LiveRender):
    """What is drawn. After a change of size the screen is cleared, and what stood above is printed again.

    A narrower terminal wraps the lines of the last frame, to a number of rows that a program cannot know: tmux tells of
    the new width some time after it has wrapped them. So rich would leave the upper ones.
    """

    def __init__(self, console: Console, above: Callable[[], RenderableType]) -> None:
        super().__init__("")
        self._console, self._above = console, above
        self._size: ConsoleDimensions | None = None
        self._is_cleared = False

    def position_cursor(self) -> Control:
        """Return what erases the last frame, or the screen."""
        before, self._size = self._size, self._console.size
        self._is_cleared = before not in (None, self._size)
        return Control(ControlType.HOME, ControlType.CLEAR) if self._is_cleared else super().position_cursor()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines above the frame where they were erased, and those of the frame."""
        if self._is_cleared:
            yield self._above()
        yield from super().__rich_console__(console, options)


def live(render: Callable[[], RenderableType], above: Callable[[], RenderableType], console: Console) -> Live:
    """Return a display of what `render` returns, drawn anew four times a second; when it is stopped, it goes away.

    above: what was printed since the display was started, and just before.
    """
    display = Live(get_renderable=render, console=console, refresh_per_second=4, transient=True)
    display._live_render = _Frame(console, above)
    return display
