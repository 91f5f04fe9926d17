"""The whole package is hashed, and the whole package is installed: what a task is held against, and what it finds."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from ltsweep.store import provenance

ROOT = Path(__file__).parents[3]
WINGS = sorted(path.parent.name for path in provenance.PACKAGE.glob("*/__init__.py"))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a copy of the package, in a folder of its own, whose versions are asked for."""
    copy = tmp_path / "src/ltsweep"
    shutil.copytree(provenance.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "conf"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    yield copy
    provenance.versions.cache_clear()


def versions():
    provenance.versions.cache_clear()
    return provenance.versions()


def test_the_code_is_the_same_wherever_it_lies(package):
    assert len(WINGS) > 5
    assert versions()["code"] == versions()["code"]
    assert "commit" not in versions()


@pytest.mark.parametrize("file", ["schema.py", *(f"{wing}/__init__.py" for wing in WINGS)])
def test_a_changed_file_in_any_wing_is_changed_code(package, file):
    before = versions()
    with (package / file).open("a") as source:
        source.write("# changed\n")
    after = versions()
    assert after["code"] != before["code"]
    assert provenance.changed(before) == f"code was {before['code']}, is {after['code']}"


def test_a_new_file_is_changed_code(package):
    before = versions()["code"]
    (package / "store/new.py").touch()
    assert versions()["code"] != before


def test_the_commit_of_a_checkout_is_found(package, tmp_path):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "all")
    commit = git("rev-parse", "HEAD").strip()
    assert versions()["commit"] == commit
    (package / "schema.py").write_text("")
    assert versions()["commit"] == f"{commit}-dirty"


def test_makers_are_counted_by_their_code():
    old = {"ltsweep": "0.3", "commit": "abc1234def", "code": "1" * 16}
    same_code = {**old, "commit": "bcd2345efa"}
    edited = {"ltsweep": "0.3", "commit": "abc1234def-dirty", "code": "2" * 16}
    wheel = {"ltsweep": "0.4", "code": "3" * 16}
    bare = {"ltsweep": "0.4"}
    assert [provenance.maker(one) for one in (old, edited, wheel, bare, {"torch": "2.9.0"}, {})] == [
        "0.3 (abc1234)", "0.3 (source 2222222)", "0.4 (source 3333333)", "0.4", "", "",
    ]  # fmt: skip
    assert provenance.makers([wheel, edited, old, same_code, {}]) == [
        ("0.3 (abc1234)", 2),
        ("0.3 (source 2222222)", 1),
        ("0.4 (source 3333333)", 1),
    ]


def test_every_folder_of_the_package_is_installed():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    listed = set(parser["options"]["packages"].split())
    source = ROOT / "src"
    folders = {path.parent for path in (source / "ltsweep").rglob("*.py")}
    assert {".".join(folder.relative_to(source).parts) for folder in folders} <= listed
