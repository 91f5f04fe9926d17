"""The one error that the analysis raises for a mistake its user can mend."""


class AnalysisError(ValueError):
    """What was asked for cannot be done; the message is one line and says what to do instead."""
