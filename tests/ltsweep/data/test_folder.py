"""Pictures of the user's own: what is read, from a folder and from a .zip, and what is refused in one line."""

import hashlib
import io
import os
import shutil
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ltsweep.data import folder as folder_module
from ltsweep.data import image_folder
from ltsweep.errors import UserError

SHAPE = (3, 6, 8)


def picture(value, size=(6, 8), mode="RGB"):
    rng = np.random.default_rng(value)
    pixels = rng.integers(0, 256, (*size, 3) if mode == "RGB" else size, dtype=np.uint8)
    return Image.fromarray(pixels, mode)


def content(image, form="PNG"):
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


@pytest.fixture
def root(tmp_path):
    """Return a folder of seven pictures in two classes, and names that are passed over."""
    for number, name in enumerate(("train/cat/b", "train/cat/a", "train/ant/c", "train/ant/d", "train/ant/e")):
        put(tmp_path / f"own/{name}.png", content(picture(number)))
    put(tmp_path / "own/test/cat/z.png", content(picture(5)))
    put(tmp_path / "own/test/ant/y.png", content(picture(6)))
    put(tmp_path / "own/train/.DS_Store", b"")
    put(tmp_path / "own/train/cat/.hidden", b"")
    put(tmp_path / "own/README.txt", b"")
    return tmp_path / "own"


def put(path, what):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(what)


@pytest.fixture
def zipped(root):
    """Return the same as a .zip, beside the folder."""
    return shutil.make_archive(str(root), "zip", root)


def load(root, shape=SHAPE, **more):
    return image_folder(root.parent, root.name, shape, **more)


@pytest.mark.parametrize("kind", ["folder", "zip", "absolute"])
def test_pictures_are_read_in_order_with_the_place_of_their_class(root, zipped, kind):
    found = {"folder": "own", "zip": "own.zip", "absolute": str(root)}[kind]
    data = image_folder(root.parent if kind != "absolute" else "elsewhere", found, SHAPE, mean=[0.1, 0.2, 0.3])
    assert data.train_y.tolist() == [0, 0, 0, 1, 1]  # ant, cat
    assert data.test_y.tolist() == [0, 1]
    for x, numbers in ((data.train_x, (2, 3, 4, 1, 0)), (data.test_x, (6, 5))):
        assert x.dtype == torch.uint8
        assert np.array_equal(x, [np.asarray(picture(number)).transpose(2, 0, 1) for number in numbers])
    assert float(data.inputs(data.test_x)[0, 2, 0, 0]) == pytest.approx(float(data.test_x[0, 2, 0, 0]) / 255 - 0.3)


def test_grey_pictures_become_coloured_and_coloured_grey(root):
    put(root / "train/cat/grey.png", content(picture(9, mode="L")))
    coloured = load(root).train_x[5]
    assert np.array_equal(coloured, np.stack([np.asarray(picture(9, mode="L"))] * 3))
    grey = load(root, (1, 6, 8)).train_x
    assert np.array_equal(grey[0, 0], np.asarray(picture(2).convert("L")))


def test_size_resizes_the_shorter_side_and_takes_the_middle(root):
    put(root / "test/cat/wide.jpg", content(picture(7, (10, 30)), "JPEG"))
    data = load(root, (3, 4, 4), size=4)
    assert data.test_x.shape == (3, 3, 4, 4)
    with Image.open(root / "test/cat/wide.jpg") as opened:
        expected = ImageOps.fit(opened.convert("RGB"), (4, 4), Image.Resampling.BILINEAR)
    assert np.array_equal(data.test_x[1], np.asarray(expected).transpose(2, 0, 1))
    same = picture(8, (4, 4))
    put(root / "test/cat/zz.png", content(same))
    assert np.array_equal(load(root, (3, 4, 4), size=4).test_x[3], np.asarray(same).transpose(2, 0, 1))


def test_links_to_files_are_files(root, tmp_path):
    put(tmp_path / "elsewhere.png", content(picture(0)))
    (root / "train/ant/f.png").symlink_to(tmp_path / "elsewhere.png")
    assert len(load(root).train_y) == 6


def refused(root, *arguments, **more):
    with pytest.raises(UserError) as caught:
        load(root, *arguments, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    assert refused(tmp_path / "none").startswith(f"{tmp_path / 'none'} is not there; put it there, or set ")
    for missing in (None, " "):
        with pytest.raises(UserError, match=r"^dataset.root is needed: "):
            image_folder(tmp_path, missing, SHAPE)
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty") == f"{tmp_path / 'empty'} has no pictures in train/<class>/"


def test_a_class_of_test_alone_is_named(root):
    put(root / "test/dog/x.png", content(picture(0)))
    assert refused(root) == f"{root}: test has the class dog, and train does not"
    shutil.rmtree(root / "test")
    assert refused(root) == f"{root} has no pictures in test/<class>/"


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize(
    ("what", "says"),
    [
        (b"", "is no picture of JPEG, PNG, "),
        (b"not a picture", "is no picture of JPEG, PNG, "),
        (content(picture(0))[:-40], "cannot be read: "),
        (content(picture(0, (60, 80)), "JPEG")[:-800], "cannot be read: "),
        (content(picture(0, (8, 6))), "is 8 high and 6 wide, dataset.input_shape says 6 and 8; "),
    ],
    ids=["empty", "text", "png", "jpeg", "size"],
)
def test_a_picture_that_cannot_be_read_is_named(root, what, says, kind):
    put(root / "train/cat/bad.png", what)
    more = {"shape": (3, 6, 6), "size": 6} if b"JFIF" in what else {}
    if kind == "zip":
        path = shutil.make_archive(str(root), "zip", root)
        text = refused(root.with_suffix(".zip"), **more)
        assert text.startswith(f"{path}: train/cat/bad.png {says}")
    else:
        assert refused(root, **more).startswith(f"{root / 'train/cat/bad.png'} {says}")


def test_a_pipe_a_folder_and_a_file_too_large_are_named(root, monkeypatch):
    os.mkfifo(root / "train/cat/pipe.png")
    assert refused(root) == f"{root / 'train/cat/pipe.png'} cannot be read: it is not a file"
    (root / "train/cat/pipe.png").unlink()
    (root / "train/cat/more").mkdir()
    assert refused(root) == f"{root / 'train/cat/more'} is a folder; pictures lie in train/<class>/ and test/<class>/"
    (root / "train/cat/more").rmdir()
    put(root / "train/stray.png", b"")
    assert refused(root).startswith(f"{root / 'train/stray.png'} is no folder; pictures lie in ")
    (root / "train/stray.png").unlink()
    load(root)
    monkeypatch.setattr(folder_module, "_MOST_BYTES", 100)
    assert "cannot be read: it is larger than " in refused(root)


def test_a_small_file_of_too_many_pixels_is_named(root, monkeypatch):
    monkeypatch.setattr(folder_module, "_MOST_PIXELS", 1_000)
    put(root / "train/cat/bomb.png", content(Image.new("RGB", (40, 30))))
    assert refused(root, (3, 6, 6), size=6).endswith("bomb.png cannot be read: it has 1,200 pixels, more than 1,000")
    monkeypatch.undo()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # of which PIL warns, and at the double of which it raises
    assert "bomb.png cannot be read: Image size (1200 pixels) exceeds limit" in refused(root, (3, 6, 6), size=6)


def test_a_zip_that_is_none_or_another_or_of_another_form_is_one_line(root, zipped, tmp_path):
    path = tmp_path / "own.zip"
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    load(path, sha256=found)
    assert refused(path, sha256="0" * 64) == f"{path} is another file: its SHA-256 is {found}, and should be {'0' * 64}"
    assert refused(root, sha256="0" * 64).startswith(f"{root} is no .zip; ")
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr("train/stray.png", b"")
    assert refused(path) == f"{path}: train/stray.png lies elsewhere than in train/<class>/ and test/<class>/"
    path.write_bytes(b"PK not a zip")
    assert refused(path).startswith(f"{path} cannot be read as a .zip: ")


@pytest.mark.parametrize("shape", [[2, 6, 8], [6, 8], [3, 6, 8, 1]])
def test_a_shape_that_no_picture_has_is_one_line(root, shape):
    assert refused(root, shape).startswith(f"dataset.input_shape={shape} is not that of a picture here; ")
    assert "dataset.input_shape=[3,7,7]" in refused(root, SHAPE, size=7)


def test_an_interrupt_while_reading_is_one(root, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module, "_pixels", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(root)
