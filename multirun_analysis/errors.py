"""The exceptions of the analysis: a mistake that its user can mend, and a figure with nothing to draw."""


class AnalysisError(ValueError):
    """A mistake its user can mend. The text says what is wrong and what to do instead, on one line."""


class NothingToShow(Exception):  # not an error: a study without controls has no figure of them
    """A study lacks the records for one figure. The text says which, on one line."""
