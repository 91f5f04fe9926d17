"""What is hashed and kept of a user's own code."""

import hashlib
import importlib
import sys

import pytest

from ltsweep.store.sources import changed, keep, sources


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a function that writes files of a user's folder, which is on the path, and imports modules of it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def write(imported=(), **files):
        for name, text in files.items():
            path = folder / f"{name.replace('__init__', 'INIT').replace('__', '/').replace('INIT', '__init__')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        for name in imported:
            importlib.import_module(name)
        return folder

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def config(*targets):
    return {
        "init": {"name": "x", "_target_": targets[0]},
        "method": {"controls": [{"_target_": t} for t in targets[1:]]},
    }


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_named_module_and_what_it_imports_from_its_folder_are_hashed(own):
    folder = own(
        imported=["choices"],
        choices="import math, torch\nimport helper\nfrom deep import inner\ndef f(): from lazy import g\n",
        helper="import numpy\n", lazy="def g(): ...\n", other="",
        deep____init__="", deep__inner="from . import sibling\nfrom .sibling import x\n", deep__sibling="x = 1\n",
    )  # fmt: skip
    found = sources(config("choices.f"))
    assert set(found) == {"choices", "helper", "lazy", "deep", "deep.inner", "deep.sibling"}
    assert found["helper"] == sha256(folder / "helper.py")
    assert found["deep.sibling"] == sha256(folder / "deep/sibling.py")


def test_every_target_at_any_depth_is_looked_at_and_known_packages_are_not(own):
    own(imported=["one", "two"], one="f = 1\n", two="class A:\n    def make(): ...\n")
    assert set(sources(config("one.f", "two.A.make", "torch.nn.Linear", "ltsweep.init.xavier_normal"))) == {
        "one",
        "two",
    }
    assert sources(config("ltsweep.init.xavier_normal")) == {}


def test_of_an_installed_package_the_named_module_is_hashed_alone():
    import sklearn.datasets  # noqa: F401

    assert set(sources(config("sklearn.datasets.load_digits"))) == {"sklearn.datasets"}


def test_a_change_is_seen_and_named(own):
    folder = own(imported=["one"], one="import two\nf = 1\n", two="x = 1\n")
    before = sources(config("one.f"))
    assert changed(before, sources(config("one.f"))) == ""
    (folder / "two.py").write_text("x = 22\n")
    assert changed(before, sources(config("one.f"))) == "two"
    (folder / "one.py").write_text("f = 1\n")
    assert changed(before, sources(config("one.f"))) == "one, two"


def test_a_copy_of_each_file_is_kept_once(own, tmp_path):
    folder = own(imported=["one"], one="import two\nf = 1\n", two="x = 1\n")
    (tmp_path / "study").mkdir()
    for _ in range(2):
        keep(tmp_path / "study", config("one.f"))
    kept = {path.name: path.read_bytes() for path in (tmp_path / "study/.sources").iterdir()}
    assert kept == {f"{sha256(path)}.py": path.read_bytes() for path in folder.glob("*.py")}
    keep(tmp_path / "study", config("ltsweep.init.xavier_normal"))
    assert len(list((tmp_path / "study/.sources").iterdir())) == 2


@pytest.mark.parametrize("text", ["import nowhere.at.all\n", "from .. import above\n", "import sys\n"])
def test_what_cannot_be_found_is_left_out(own, text):
    own(one=f"try:\n    {text}except Exception:\n    pass\nf = 1\n", imported=["one"])
    assert set(sources(config("one.f"))) == {"one"}
