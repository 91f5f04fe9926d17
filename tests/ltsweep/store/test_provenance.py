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


def test_every_folder_of_the_package_is_installed():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    listed = set(parser["options"]["packages"].split())
    source = ROOT / "src"
    folders = {path.parent for path in (source / "ltsweep").rglob("*.py")}
    assert {".".join(folder.relative_to(source).parts) for folder in folders} <= listed
