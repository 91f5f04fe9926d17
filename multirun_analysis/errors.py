"""What the analysis cannot do: a mistake its user can mend, or a figure for which there is nothing to draw."""


class AnalysisError(ValueError):
    """What was asked for cannot be done; the message is one line and says what to do instead."""


class NothingToShow(Exception):  # no error: a study without controls has no figure of them
    """A study has nothing for one figure; the message is one line and says what it lacks."""
