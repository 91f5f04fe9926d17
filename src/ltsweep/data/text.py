"""Texts as examples: windows of tokens, and of each token the next one as its label. Nothing is downloaded.

Letters: N windows, T tokens of a window.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ltsweep.data.examples import Examples
from ltsweep.data.labelled import LOSS
from ltsweep.errors import UserError
from ltsweep.words import shown

# Tokens that no file needs to have: the end of a line, and any word that is not of the vocabulary.
END, UNKNOWN = "<eos>", "<unk>"
# Bytes of a file, which is whole in memory, a list of words of it too.
_MOST_BYTES = 1 << 28


class Text(Examples):
    """Windows of a text, x (N, T), and the token after each of theirs, y (N, T). The loss chooses the best model."""

    headline = LOSS


def characters(data_dir: Path, file: str, context: int, test: float = 0.1, sha256: str | None = None) -> Text:
    """Return windows of the characters of `data_dir`/`file`; the last share `test` of them is the test text.

    A token is the place of its character among all of the file, in order. context: T. sha256: of the file, if it is to
    be checked. Raises UserError where the file is not there, is another, is not UTF-8, or fills no window.
    """
    text = _read(data_dir, [file], [sha256])[0]
    places = {character: place for place, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([places[character] for character in text])
    cut = int(len(text) * (1 - test))
    parts = [*windows(tokens[:cut], context, "training"), *windows(tokens[cut:], context, "test")]
    return Text(*parts)


def words(
    data_dir: Path,
    files: Sequence[str],
    vocabulary: int,
    context: int,
    tokens: int | None = None,
    sha256: Sequence[str] | None = None,
) -> Text:
    """Return windows of the words of three files in `data_dir`: the training, the validation and the test text.

    Words stand between blanks; `<eos>` ends each line. The tokens are the `vocabulary` most frequent words of the
    training text, of equals those that come first; all others are `<unk>`, which is always one of them. context: T.
    tokens: the training text is cut after so many, and the vocabulary is of those. sha256: of the files, if they are to
    be checked.

    Raises UserError as `characters`, for a vocabulary larger than the text's, and for more tokens than it has.
    """
    if isinstance(files, str) or len(files) != 3:
        raise UserError(f"dataset.files={shown(files)} is out of range: it is a list of three, train, validation, test")
    train, *others = map(_words, _read(data_dir, files, sha256 or [None] * 3))
    if tokens is not None and tokens > len(train):
        raise UserError(f"dataset.tokens={tokens} is more than the {len(train)} tokens of {shown(files[0])}")
    train = train[:tokens]
    counts = Counter(train)
    counts[UNKNOWN] += 0
    if vocabulary > len(counts):
        raise UserError(f"dataset.vocabulary={vocabulary} is more than the {len(counts)} words of the training text")
    ranked = [word for word, _ in counts.most_common(vocabulary)]
    if UNKNOWN not in ranked:
        ranked[-1] = UNKNOWN
    places = {word: place for place, word in enumerate(ranked)}
    unknown = places[UNKNOWN]
    (x, y), (val_x, val_y), (test_x, test_y) = (
        windows(torch.tensor([places.get(word, unknown) for word in text]), context, name)
        for name, text in zip(("training", "validation", "test"), (train, *others), strict=True)
    )
    return Text(
        torch.cat([x, val_x]),
        torch.cat([y, val_y]),
        test_x,
        test_y,
        held_out=torch.arange(len(x) + len(val_x)) >= len(x),
    )


def windows(tokens: Tensor, context: int, name: str = "") -> tuple[Tensor, Tensor]:
    """Return the windows x of a text, (N, T), and y, (N, T), which is x moved on by one token.

    Windows do not overlap, and what is left at the end is unused. name: of the text, for the error where it is shorter
    than a window and the token after it.
    """
    count = (len(tokens) - 1) // context
    if count < 1:
        raise UserError(f"dataset.context={context} is too long: the {name} text has {len(tokens)} tokens")
    x, y = (tokens[first : first + count * context].view(count, context) for first in (0, 1))
    return x, y


def _words(text: str) -> list[str]:
    return [word for line in io.StringIO(text) for word in (*line.split(), END)]


def _read(data_dir: Path, files: Sequence[str], sha256: Sequence[str | None]) -> list[str]:
    """Return the texts of files. Raises UserError where one is missing, has another SHA-256, or is not UTF-8."""
    help_line = f"put {', '.join(map(shown, files))} into {data_dir}, or set data_dir or LTSWEEP_DATA"
    texts = []
    for file, expected in zip(files, sha256, strict=True):
        path = Path(data_dir) / file
        if not path.is_file():
            raise UserError(f"{path} is not there, and texts are not downloaded; {help_line}")
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise UserError(f"{path} has more than {_MOST_BYTES:,} bytes, the most of a text")
            content = path.read_bytes()
            texts.append(content.decode("utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read: {shown(str(error))}") from error
        found = hashlib.sha256(content).hexdigest()
        if expected not in (None, found):
            raise UserError(f"{path} is another file: its SHA-256 is {found}, and should be {expected}; {help_line}")
    return texts
