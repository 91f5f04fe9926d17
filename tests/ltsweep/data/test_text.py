"""Texts as examples: their windows against counts made another way, their loss by a plain loop, and known entropies."""

import collections
import hashlib
import math
import os
import re
from pathlib import Path

import pytest
import torch

from ltsweep.data import Examples, characters, words
from ltsweep.data.examples import check_examples
from ltsweep.data.text import windows
from ltsweep.engine.problem import Draws
from ltsweep.engine.stack import Network
from ltsweep.engine.train import scored
from ltsweep.engine.trained import MaskedWeights
from ltsweep.errors import UserError
from ltsweep.init import draw, pytorch_default
from ltsweep.models import lstm
from ltsweep.prune import layers_of

LINES = ["to be or not", "to be that is the question", "", "the question is to be"]
FILES = ["train.txt", "valid.txt", "test.txt"]


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a text to train on and two others that have words of their own."""
    texts = ("\n".join(LINES) + "\n", "to be a question\n" * 4, "is the the\nend\n" * 3)
    for name, text in zip(FILES, texts, strict=True):
        (tmp_path / name).write_text(text)
    return tmp_path


def entropy(counts, of=None):
    """Return the mean of -log p over the tokens `of`, with p by `counts`, in nats."""
    total = sum(counts.values())
    of = counts if of is None else of
    return -sum(n * math.log(counts[one] / total) for one, n in of.items()) / sum(of.values())


def test_a_windows_labels_are_its_tokens_moved_on_by_one():
    x, y = windows(torch.arange(17), 5)
    assert x.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]
    assert torch.equal(y, x + 1)
    assert len(windows(torch.arange(16), 5)[0]) == 3
    assert len(windows(torch.arange(15), 5)[0]) == 2  # the last token has no label


def test_characters_are_numbered_in_order_and_the_end_is_the_test_text(folder):
    text = (folder / "train.txt").read_text()
    data = characters(folder, "train.txt", 6, test=0.25)
    kinds, cut = sorted(set(text)), int(0.75 * len(text))
    for x, y, part in ((data.train_x, data.train_y, text[:cut]), (data.test_x, data.test_y, text[cut:])):
        spelled = ["".join(kinds[i] for i in row) for row in x.tolist()]
        assert spelled == [part[i : i + 6] for i in range(0, len(part) - 6, 6)]
        assert ["".join(kinds[i] for i in row) for row in y.tolist()] == [
            part[i + 1 : i + 7] for i in range(0, len(part) - 6, 6)
        ]
    assert (data.headline.name, data.headline.better) == ("loss", "lower")
    assert data.held_out is None


def test_a_mark_of_byte_order_is_no_character(folder):
    text = (folder / "train.txt").read_text()
    (folder / "marked.txt").write_text(text, encoding="utf-8-sig")
    assert torch.equal(characters(folder, "marked.txt", 6).train_x, characters(folder, "train.txt", 6).train_x)


def test_a_token_that_no_embedding_has_is_one_line():
    x = torch.tensor([[0, 1, 2], [2, 1, 0]])
    data = Examples(x, x.clamp(max=1), x, x.clamp(max=1))
    with pytest.raises(UserError, match=r"^dataset=mine: train tokens run to 2, num_classes is 2$"):
        check_examples(data, "mine", [3], 2, [3])
    check_examples(data, "mine", [3], 3, [3])


@pytest.mark.parametrize("vocabulary", [2, 4, 7, 10])
def test_the_most_frequent_words_are_tokens_and_the_rest_unknown(folder, vocabulary):
    data = words(folder, FILES, vocabulary, context=4)
    every = [word for line in LINES for word in [*line.split(), "<eos>"]]
    counts = collections.Counter(every)
    ranked = sorted([*counts, "<unk>"], key=lambda word: -counts[word])  # of equals the first to come
    kept = ranked[:vocabulary] if "<unk>" in ranked[:vocabulary] else [*ranked[: vocabulary - 1], "<unk>"]

    def rows(text):
        read = [word if word in kept else "<unk>" for word in text]
        return [read[i : i + 4] for i in range(0, len(read) - 4, 4)]

    test = [word for line in (folder / "test.txt").read_text().splitlines() for word in [*line.split(), "<eos>"]]
    valid = ["to", "be", "a", "question", "<eos>"] * 4
    found = [[kept[i] for i in row] for row in data.train_x.tolist()]
    assert found == rows(every) + rows(valid)
    assert [[kept[i] for i in row] for row in data.test_x.tolist()] == rows(test)
    assert data.held_out.tolist() == [False] * len(rows(every)) + [True] * len(rows(valid))


def test_a_text_can_be_shortened_and_with_it_its_vocabulary(folder):
    data = words(folder, FILES, 5, context=2, tokens=5)  # to be or not <eos>
    assert (~data.held_out).sum() == 2
    assert data.train_x[:2].tolist() == [[0, 1], [2, 3]]  # all once
    with pytest.raises(UserError, match=r"^dataset\.vocabulary=7 is more than the 6 words of the training text$"):
        words(folder, FILES, 7, context=2, tokens=5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda at: characters(at, "none.txt", 4), r"none\.txt is not there, .* put none\.txt into .* LTSWEEP_DATA$"),
        (lambda at: characters(at, "train.txt", 4, sha256="0" * 64), r"train\.txt is another file: its SHA-256 is "),
        (lambda at: characters(at, "train.txt", 30), r"^dataset\.context=30 is too long: the test text has \d tokens$"),
        (lambda at: characters(at, "bytes", 2), r"bytes cannot be read: .*utf-8"),
        (lambda at: words(at, FILES, 99, 4), r"^dataset\.vocabulary=99 is more than the 10 words of the training"),
        (
            lambda at: words(at, FILES, 9, 4, tokens=50),
            r"^dataset\.tokens=50 is more than the 19 tokens of train",
        ),
        (lambda at: words(at, FILES[:2], 9, 4), r"^dataset\.files=.* is out of range: it is a list of three"),
    ],
)
def test_what_makes_no_text_is_one_line(folder, make, text):
    (folder / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=text) as refused:
        make(folder)
    assert "\n" not in str(refused.value)


def test_a_text_that_memory_does_not_hold_is_one_line(folder):
    with (folder / "large.txt").open("wb") as file:
        file.truncate(1 << 29)
    with pytest.raises(UserError, match=r"large\.txt has more than 268,435,456 bytes, the most of a text$"):
        characters(folder, "large.txt", 4)


def test_a_file_with_its_sha256_is_taken(folder):
    sha256 = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES]
    assert torch.equal(words(folder, FILES, 5, 4, sha256=sha256).train_x, words(folder, FILES, 5, 4).train_x)


@pytest.fixture(scope="module")
def published():
    """Return the folder of the published texts, as LTSWEEP_DATA names it; skip where they are not there."""
    folder = Path(os.environ.get("LTSWEEP_DATA", "data"))
    missing = [name for name in ("wikitext-2/train.txt", "tinyshakespeare/input.txt") if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"no {missing[0]} in {folder}; set LTSWEEP_DATA")
    return folder


def test_wikitext_2_has_its_published_counts(published, compose):
    """And the unigram log perplexity of 10,000 words, 6.106, as a network sees them."""
    texts = [(published / "wikitext-2" / name).read_text() for name in FILES]
    read = [re.sub(r"\n", " <eos> ", text).split() for text in texts]
    assert [len(one) for one in read] == [2_088_628, 217_646, 245_569]
    assert len(set(read[0])) == 33_278
    fields = compose("dataset=wikitext2").dataset
    data = words(published, fields.files, fields.vocabulary, fields.context, sha256=fields.sha256)
    windows_of = [(len(one) - 1) // 35 for one in read]
    assert int(data.held_out.sum()) == windows_of[1] == fields.validation
    assert [int((~data.held_out).sum()), len(data.test_x)] == [windows_of[0], windows_of[2]]
    counts = torch.bincount(data.train_x[~data.held_out].flatten(), minlength=10_000)
    assert len(counts) == 10_000
    share = counts.double() / counts.sum()
    assert float(-share[data.test_x].log().mean()) == pytest.approx(6.106, abs=0.001)


def test_tiny_shakespeare_has_its_published_counts(published, compose):
    text = (published / "tinyshakespeare/input.txt").read_text()
    assert (len(text), len(set(text))) == (1_115_394, 65)
    fields = compose("dataset=tiny_shakespeare").dataset
    data = characters(published, fields.file, fields.context, fields.test, fields.sha256)
    assert [len(data.train_x), len(data.test_x)] == [15_685, (111_540 - 1) // 64]
    assert int(data.train_y.max()) == 64
    assert entropy(collections.Counter(text)) == pytest.approx(3.313, abs=0.0005)
    share = torch.bincount(data.train_x.flatten()) / data.train_x.numel()
    assert float(-share[data.test_x].log().mean()) == pytest.approx(3.347, abs=0.001)  # its end differs


def state_of(model, networks):
    network, masks = Network(model), {layer.name: torch.ones(layer.shape) for layer in layers_of(model)}
    weights = [draw(model, pytorch_default, seed) for seed in range(networks)]
    return network, network.stack(weights, [masks] * networks, torch.device("cpu")), weights


def test_loss_and_accuracy_are_means_over_all_tokens():
    """By a plain loop over networks, windows and tokens, in training and in the scores of every split."""
    tokens = torch.randint(6, (5 * 40 + 1,), generator=torch.Generator().manual_seed(1))
    x, y = windows(tokens, 5)
    held_out = torch.arange(30) >= 22
    data = Examples(x[:30], y[:30], x[30:], y[30:], held_out=held_out)
    model = lstm((5,), 6, embedding=3, hidden=4)
    network, state, weights = state_of(model, 2)
    forward = scored(network, MaskedWeights(network), state)
    index = torch.tensor([[3, 7, 11], [0, 3, 9]])
    trained = data.loss(forward, {}, (index,))
    scores = data.evaluate(forward, {}, [Draws(seed, 0, 8, 1) for seed in range(2)])
    sampled = data.evaluate(forward, {}, [Draws(seed, 0, 8, 1, sample=7) for seed in range(2)])
    for c in range(2):
        model.load_state_dict(weights[c])

        def means(x, y):
            losses, right = [], 0
            for one, labels in zip(x, y, strict=True):
                for t, label in enumerate(labels.tolist()):
                    shares = model(one[None])[0, t].detach().softmax(0).tolist()
                    losses.append(-math.log(shares[label]))
                    right += shares[label] == max(shares)
            return sum(losses) / len(losses), right / len(losses)

        assert float(trained[c]) == pytest.approx(means(x[index[c]], y[index[c]])[0], rel=1e-5)
        for split, own in (("train", x[:22]), ("val", x[22:30]), ("test", x[30:])):
            place = {"train": y[:22], "val": y[22:30], "test": y[30:]}[split]
            loss, accuracy = means(own, place)
            assert scores[f"{split}_loss"][c] == pytest.approx(loss, rel=1e-5)
            assert scores[f"{split}_accuracy"][c] == pytest.approx(accuracy, rel=1e-6)
            assert split == "train" or sampled[f"{split}_loss"][c] == pytest.approx(loss, rel=1e-5)


def test_validation_examples_that_are_brought_are_held_out_for_every_seed():
    x, y = windows(torch.arange(121) % 7, 4)
    data = Examples(x[:20], y[:20], x[20:], y[20:], held_out=torch.arange(20) >= 15)
    stream = data.batches([Draws(seed, 1, 5, 1) for seed in range(3)], 5)
    epoch = torch.cat([next(stream)[0] for _ in range(3)], dim=1)
    assert epoch.sort(1).values.tolist() == [list(range(15))] * 3
    assert data.epoch(5, 5) == 3
    assert int(max(data._sample(Draws(seed, 1, 5, 1, sample=15)).max() for seed in range(3))) == 14


CHAIN = torch.tensor(
    [[0.80, 0.10, 0.05, 0.05], [0.05, 0.05, 0.85, 0.05], [0.30, 0.10, 0.10, 0.50], [0.10, 0.60, 0.10, 0.20]]
)


def chained(length, rng):
    """Return a text of the Markov chain, (length,)."""
    found = [0]
    for chance in torch.rand(length - 1, generator=rng).tolist():
        found.append(min(3, int((CHAIN[found[-1]].cumsum(0) < chance).sum())))
    return torch.tensor(found)


@pytest.fixture
def learned(make_program, make_member, run):
    """Return a function from a text to the test loss of an LSTM that has seen the first three quarters of it."""

    def learn(tokens):
        x, y = windows(tokens, 16)
        cut = 3 * len(x) // 4
        data = Examples(x[:cut], y[:cut], x[cut:], y[cut:])
        model = lstm((16,), 4, embedding=6, hidden=12, layers=1)
        changes = {"levels": 0, "steps": 250, "steps_per_epoch": 1000, "evaluate_every": 250, "evaluate_train": False}
        program = make_program(model, problem=data, layers=layers_of(model), batch_size=32, validation=32, **changes)
        return run(program, [make_member(program, "a", init=pytorch_default, lr=0.02)]).rows("a")[-1]["test_loss"]

    return learn


def test_a_markov_chain_is_learned_to_its_entropy_and_no_further(learned):
    """The entropy rate: the mean over the stationary distribution of the entropies of the rows."""
    rows = -(CHAIN * CHAIN.log()).sum(1)
    stationary = torch.linalg.matrix_power(CHAIN.double(), 100)[0].float()
    rate = float(stationary @ rows)
    squares = float(stationary @ (CHAIN * CHAIN.log().square()).sum(1))
    chance = math.sqrt(squares - rate**2) / math.sqrt(5_000)  # of the mean over the tokens of the test text
    loss = learned(chained(20_000, torch.Generator().manual_seed(3)))
    assert rate - 4 * chance < loss < 1.02 * rate + 4 * chance


def test_a_shuffled_text_is_not_predicted_below_its_unigram_entropy(learned):
    rng = torch.Generator().manual_seed(4)
    tokens = chained(20_000, rng)
    shuffled = tokens[torch.randperm(len(tokens), generator=rng)]
    floor = entropy(collections.Counter(tokens.tolist()))
    assert 0.995 * floor < learned(shuffled) < 1.02 * floor
