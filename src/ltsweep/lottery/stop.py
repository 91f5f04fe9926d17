"""When a level of a network ends before its last step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ltsweep.errors import UserError
from ltsweep.schema import SCORE
from ltsweep.words import shown

# (the scores of an evaluation, name -> C numbers, and the number of a network) -> whether its level ends there. It may
# have a method `check`, as below.
Stop = Callable[[Mapping[str, Sequence[float]], int], bool]


@dataclass(frozen=True)
class AtAccuracy:
    """At the first evaluation where a score is there: a loss of at most `threshold`, another of at least that."""

    threshold: float = 0.2
    score: str = "test_accuracy"

    def __post_init__(self) -> None:
        """Raise UserError for what is no score of any problem, or an accuracy that no network can have."""
        if not isinstance(self.score, str) or not SCORE.fullmatch(self.score):
            raise UserError(f"stop.score={shown(self.score)} is unknown; it is train_, val_ or test_ and a score")
        if self.score.endswith("accuracy") and not 0 < self.threshold <= 1:
            raise UserError(
                f"stop.threshold={shown(self.threshold)} cannot be reached: {self.score} is a number from 0 to 1"
            )

    def check(self, validation: int, evaluate_train: bool | int, better: Mapping[str, str]) -> None:
        """Raise UserError where the score is never taken, or is better the other way round.

        better: the end that is better, higher or lower, by the name of each score that the problem measures.
        """
        if self.score not in better:
            raise UserError(f"stop.score={shown(self.score)} is unknown; choose one of {', '.join(better)}")
        if (better[self.score] == "lower") != self.score.endswith("_loss"):
            raise UserError(f"stop.score={self.score}: only a loss is there when it is low; choose another score")
        if self.score.startswith("val") and not validation:
            raise UserError(
                f"stop.score={self.score} has no value with validation=0; take test_accuracy, or validation=N"
            )
        if self.score.startswith("train") and not evaluate_train:
            raise UserError(
                f"stop.score={self.score} has no value with evaluate_train=false; true scores the training set"
            )

    def __call__(self, scores: Mapping[str, Sequence[float]], c: int) -> bool:
        """Return whether network c is there; false where the score was not taken."""
        if self.score not in scores:
            return False
        value = scores[self.score][c]
        return value <= self.threshold if self.score.endswith("_loss") else value >= self.threshold
