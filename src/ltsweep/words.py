"""What a user or a record says, as words of a message: one line, bounded, printable on any terminal."""

import reprlib

# Characters of a value that a message quotes.
MOST = 160

_BOUNDED = reprlib.Repr()
_BOUNDED.maxlevel, _BOUNDED.maxdict, _BOUNDED.maxlist, _BOUNDED.maxtuple = 3, 12, 12, 12
_BOUNDED.maxstring = _BOUNDED.maxother = MOST

# Bits of a whole number above which Python may refuse to write it.
_BITS = 4096


def shown(value: object, most: int = MOST) -> str:
    """Return any value as a part of a line: whitespace as single spaces, unprintable characters as escapes.

    At most `most` characters, however large or deeply nested the value is; the last is then an ellipsis.
    """
    if isinstance(value, str):
        text = value[: 8 * most]
    elif isinstance(value, int) and value.bit_length() > _BITS:
        text = f"a number of about {value.bit_length() * 0.30103:,.0f} digits"
    else:
        try:
            text = _BOUNDED.repr(value)
        except Exception:  # a number of thousands of digits within it
            text = f"a {type(value).__name__}"
    text = printable(" ".join(text.split()))
    cut = len(text) > most or (isinstance(value, str) and len(value) > 8 * most)
    return text[: most - 1] + "…" if cut else text


def printable(text: str) -> str:
    """Return text with unprintable characters as escapes, ends of lines kept: a record may hold a terminal's codes."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape", "surrogatepass").decode()
        for one in text
    )
