"""The command on pictures of the user's own, with augmentation, and without scores of the training set."""

import numpy as np
import pytest
from PIL import Image

SHORT = ("device=cpu", "levels=1", "iterations=6", "batch_size=5")


@pytest.fixture
def pictures(tmp_path):
    """Return a folder of 20 + 4 pictures in two classes."""
    for number in range(24):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 128, (8, 8, 3), dtype=np.uint8) + np.uint8(100 * (number % 2))
        path = tmp_path / "leaves" / ("train" if number < 20 else "test") / ("ash", "oak")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "leaves"


def test_pictures_of_ones_own_are_trained_on(command, pictures):
    own = (f"dataset.root={pictures}", "dataset.input_shape=[3,8,8]", "dataset.num_classes=2", "validation=5")
    command.inside("-m", "dataset=image_folder", "dataset.augment=[],[crop,flip]", *own, *SHORT)
    cells = command.study().cells().values()
    assert [cell.status["status"] for cell in cells] == ["done"] * 2
    assert {cell.config["dataset"]["name"] for cell in cells} == {"image_folder"}
    (pictures / "test/ash/20.png").write_bytes(b"torn")
    ended = command.inside("dataset=image_folder", *own, *SHORT, "study=torn", code=2)
    assert ended.err.startswith(f"ltsweep: {pictures / 'test/ash/20.png'} is no picture of ")
    assert ended.err.count("\n") == 1
    assert not (command.folder / "multirun/torn").exists()


def test_without_scores_of_the_training_set_all_else_is_the_same(command):
    grid = ("-m", "dataset=digits", "evaluate_train=true,false,20", *SHORT)
    command.inside(*grid)
    tables = {str(cell.config["evaluate_train"]): cell.evaluations for cell in command.study().cells().values()}
    whole, none, sample = tables["True"], tables["False"], tables["20"]
    same = ["level", "iteration", "val_accuracy", "test_loss", "test_accuracy"]
    for table in (none, sample):
        assert table[same].equals(whole[same])
    assert none["train_loss"].isna().all()
    assert (sample["train_accuracy"].dropna() * 20 % 1).abs().max() < 1e-9
    assert list(sample["train_loss"].isna()) == list(whole["train_loss"].isna())


def test_of_fewer_test_examples_all_seeds_score_the_same_ones(command):
    """All else is what it is with the whole test set."""
    command.inside("-m", "dataset=digits", "evaluate_test=null,25", "seed=0,1", *SHORT)
    few = {
        cell.config["seed"]: cell.evaluations
        for cell in command.study().cells().values()
        if cell.config["evaluate_test"]
    }
    for seed, table in few.items():
        assert (table["test_accuracy"] * 25 % 1).abs().max() < 1e-9
        whole = command.study().cell(seed=seed, evaluate_test=None).evaluations
        same = ["iteration", "train_loss", "val_loss", "val_accuracy"]
        assert table[same].equals(whole[same])
        assert not table["test_loss"].equals(whole["test_loss"])


def test_a_streamed_folder_is_trained_on_whatever_the_decoders_and_a_broken_picture_is_named(command, pictures):
    (pictures / "test").rename(pictures / "val")
    own = (f"dataset.root={pictures}", "dataset.size=6", "dataset.resize=7", "dataset.num_classes=2", "validation=5")
    line = ("dataset=imagenet", *own, *SHORT, "method.controls=[reinit]", "evaluate_every=6")
    command.inside(*line, "dataset.decoders=0")
    command.inside(*line, "dataset.decoders=1", "study=other")
    command.study().assert_same_records(command.study("other"))  # under the same key
    (pictures / "val/ash/20.png").write_bytes(b"torn")
    ended = command.inside(*line, "dataset.decoders=0", "study=torn", code=1)
    assert f"{pictures / 'val/ash/20.png'} is no picture of " in " ".join(ended.out.split())
    ended = command.inside(*line, "dataset.decoders=two", "study=none", code=2)
    assert ended.err.startswith("ltsweep: dataset.decoders=two is out of range: ")
