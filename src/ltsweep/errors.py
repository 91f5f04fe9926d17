"""The one exception that is shown to a user as a line, without a traceback."""


class UserError(ValueError):
    """A mistake its user can mend. The text says what is wrong, where, and what is allowed, on one line."""
