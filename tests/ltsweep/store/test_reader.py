"""A study's files from a stranger: what they say is refused before anything acts on it."""

import copy
import hashlib
import json
import os
import shutil

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ltsweep.errors import BrokenFileError, UserError
from ltsweep.grid.cell import Cell
from ltsweep.grid.key import key
from ltsweep.schema import FINISHED, READABLE, STATUSES, VERSION
from ltsweep.store import disk, reader
from ltsweep.store.folder import NOT_BEGUN, CellFolder
from ltsweep.store.records import forget
from ltsweep.store.repair import repair

CONFIG = {"seed": 0, "levels": 2, "lr": {"name": "constant", "value": 0.1}, "betas": [0.9, 0.999], "iterations": None}
KEY = key(CONFIG)
CELL = Cell(CONFIG, KEY)
FILE = [3, 1, "0" * 64]
# A status as a stack writes it, without a checksum of its own: older records have none.
STATUS = {
    "schema": VERSION,
    "level": 2,
    "error": None,
    "seconds": 1.5,
    "started": "2026-01-01T00:00:00+00:00",
    "status": "done",
    "updated": "2026-01-01T00:00:00+00:00",
    "levels": 2,
    "arms": {"ticket/0": 2},
    "key": KEY,
    "files": {"config.yaml": FILE, "tickets/init.safetensors": FILE, "tickets/level_02.safetensors": FILE},
    "stack": "0123456789abcdef",
    "stack_cells": 2,
    "device": "cpu",
    "versions": {"torch": "2.15.0"},
    "hardware": {"cpu": "a processor", "cores": 2, "gpu": None},
    "measured": ["weights"],
}


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a planned cell in a study, beside which lie somebody's files."""
    for bait in ("thesis.tex", "model.safetensors", "study/notes.txt"):
        (tmp_path / bait).parent.mkdir(exist_ok=True)
        (tmp_path / bait).write_text("mine")
    CellFolder(tmp_path / "study", KEY).plan(CELL)
    return tmp_path / "study" / KEY


def written(folder, **changes):
    """Write a status without a checksum of its own."""
    fields = {name: value for name, value in (STATUS | changes).items() if value is not ...}
    (folder / "status.json").write_text(json.dumps(fields))


def outside(folder):
    """Return what lies beside a study's cells, file -> content."""
    root = folder.parent.parent
    return {
        path: path.read_text() for path in root.rglob("*") if path.is_file() and not path.is_relative_to(folder)
    }  # fmt: skip


def test_a_status_as_it_is_written_is_read(folder):
    written(folder)
    assert reader.status(folder) == STATUS
    fields = STATUS | {"unknown": [1, {"a": None}]}
    written(folder, **fields, sha256=reader.digest_of(fields))
    assert reader.status(folder) == fields


NAMES = [
    "../../thesis.tex", "../notes.txt", "/etc/hostname", "..", ".", "", "status.json", "cell.log", "tickets",
    "tickets/../../../../thesis.tex", "tickets/level_1.safetensors", "tickets/level_01.safetensors\n", "tickets//x",
    ".broken/config.yaml", "config.yaml\x00", "tickets/level_00001.safetensors",
]  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_none_of_a_cells_is_never_touched(folder, name, status):
    name = str(folder.parent.parent / "thesis.tex") if name == "/etc/hostname" else name
    before = outside(folder)
    written(folder, status=status, files={name: [1, 2, "0" * 64]})
    (line,) = repair(folder.parent, CELL, True)
    assert line.startswith(f"{folder}/status.json is not a status: ")
    assert outside(folder) == before
    assert CellFolder(folder.parent, KEY).status() == NOT_BEGUN


@pytest.mark.parametrize(
    "stack", ["/abs/model", "../../model", "..", "", "0123456789ABCDEF", "0123456789abcdef\n", 1, []]
)
def test_a_stack_is_sixteen_digits(folder, stack):
    written(folder, status="running", level=0, stack=stack)
    before = outside(folder)
    with pytest.raises(BrokenFileError, match=r"is not a status: .* at `\$\.stack`"):
        reader.status(folder)
    forget(folder.parent, [CELL])
    assert outside(folder) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "finished"}, {"status": ...}, {"level": ...}, {"schema": ...}, {"level": 10**30}, {"level": True},
        {"level": -2}, {"levels": 10**30}, {"levels": "2"}, {"seconds": 10**400}, {"seconds": -1}, {"seconds": "x"},
        {"error": {"a": 1}}, {"error": "x" * 2_000_000}, {"files": []}, {"files": {"config.yaml": None}},
        {"files": {"config.yaml": [1, 2]}}, {"files": {"config.yaml": ["1", 2, "0" * 64]}},
        {"files": {"config.yaml": [-1, 2, "0" * 64]}}, {"files": {"config.yaml": [1, 2, "0" * 63]}},
        {"files": {"config.yaml": [1, 2, "0" * 64, 4]}}, {"versions": {"torch": 2}}, {"versions": []},
        {"hardware": {"cores": []}}, {"measured": "weights"}, {"measured": [1]}, {"stack_cells": 0},
        {"key": "f" * 16}, {"key": 1}, {"device": 5}, {"updated": 5}, {"schema": "1"}, {"schema": None},
        {"other": 10**400}, {"stack_keys": ["../x"]},
    ],
    ids=range(35),
)  # fmt: skip
def test_a_status_of_another_shape_is_broken(folder, changes):
    written(folder, **changes)
    with pytest.raises(BrokenFileError) as error:
        reader.status(folder)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300
    repair(folder.parent, CELL, False)
    assert CellFolder(folder.parent, KEY).status() == NOT_BEGUN


TEXTS = [
    b"", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"\x00" * 100, b"NaN", b"1" * 5_000, b'{"a": "\\ud800"}',
    b"{" + b'"a": [' * 500 + b"]" * 500 + b"}", b'"text"', b"[]", b"null",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_is_no_json_or_nested_without_end_is_broken(folder, text):
    (folder / "status.json").write_bytes(text)
    with pytest.raises(BrokenFileError):
        reader.status(folder)


YAMLS = [
    "[" * 100_000, "- " * 50_000 + "a", "{a: " * 20_000, "a: &x 1\nb: *x\n", "&x [*x]",
    "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]", "!!python/object/apply:os.system [touch /tmp/ran]",
    "a: !!python/name:os.system", "a: !!binary aGk=", "a: 2001-01-01", "a: !own 1", "1: 2", "? [a]\n: 1", "a: \x07",
    "a: " + "1" * 5_000, "- a", "text", "", "a: [\n", "b: " + "x" * (2 << 20), "a: [" + "1, " * 30_000 + "]",
]  # fmt: skip


@pytest.mark.parametrize("text", YAMLS, ids=range(len(YAMLS)))
def test_yaml_that_is_no_plain_mapping_is_broken(folder, text):
    (folder / "config.yaml").write_text(text)
    with pytest.raises(BrokenFileError) as error:
        reader.mapping(folder / "config.yaml")
    assert len(str(error.value)) < 300


def test_a_config_is_that_of_the_key_in_its_folders_name(folder):
    assert reader.config(folder) == CONFIG
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"seed": 1}))
    with pytest.raises(
        BrokenFileError, match=r"^is not the config of this cell: the key of what it holds is [0-9a-f]+$"
    ):
        reader.config(folder)


@pytest.mark.parametrize("name", ["status.json", "config.yaml"])
@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder", "sparse", "dangling"])
def test_nothing_but_a_regular_file_is_opened(folder, name, kind):
    path = folder / name
    path.rename(folder / "real")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 100 << 30)
    else:
        path.symlink_to({"device": "/dev/zero", "link": folder / "real", "dangling": folder / "none"}[kind])
    for read in (reader.status, reader.config):
        if (read is reader.status) == (name == "status.json"):
            with pytest.raises(BrokenFileError, match=r"^(is not a re|holds 107,374,182,400 bytes)"):
                read(folder)


def test_a_newer_record_is_refused_whatever_else_it_says(folder):
    written(folder, schema=VERSION + 1, files={"new/file": []})
    with pytest.raises(UserError, match="newer ltsweep"):
        reader.status(folder)
    written(folder, schema=10**300)
    with pytest.raises((UserError, BrokenFileError)) as error:
        reader.status(folder)
    assert len(str(error.value)) < 400


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutated(draw):
    """Draw a real status of which some value, at any depth, was replaced, renamed or removed."""
    fields = copy.deepcopy(STATUS)
    for _ in range(draw(st.integers(1, 3))):
        node, where = fields, draw(st.sampled_from(sorted(STATUS)))
        while isinstance(node.get(where), dict) and node[where] and draw(st.booleans()):
            node, where = node[where], draw(st.sampled_from(sorted(node[where])))
        change = draw(st.sampled_from(["replace", "rename", "remove"]))
        value = node.pop(where, None)
        if change == "replace":
            node[where] = draw(PLAIN)
        elif change == "rename":
            node[draw(st.text(max_size=30))] = value
    return fields


@given(fields=mutated(), sealed=st.booleans())
def test_a_mutated_status_is_read_as_what_it_must_be_or_set_aside(tmp_path_factory, fields, sealed):
    root = tmp_path_factory.mktemp("root")
    (root / "thesis.tex").write_text("mine")
    folder = root / "study" / KEY
    CellFolder(folder.parent, KEY).plan(CELL)
    text = json.dumps(fields | ({"sha256": reader.digest_of(fields)} if sealed else {}))
    (folder / "status.json").write_text(text)
    try:
        found = CellFolder(folder.parent, KEY).status()
        lines = repair(folder.parent, CELL, False)
    except UserError:
        assert fields.get("schema") not in READABLE
        return
    msgspec.convert(CellFolder(folder.parent, KEY).status() | {"schema": VERSION}, reader.Status)
    assert found["status"] in STATUSES
    # A finished status names files that are not there: set aside, or it names none.
    assert lines or not (found["status"] in FINISHED and found.get("files"))
    assert {path.name for path in root.iterdir()} == {"study", "thesis.tex"}
    shutil.rmtree(root)


def test_a_large_file_is_hashed_part_by_part(tmp_path):
    content = os.urandom((3 << 20) + 7)
    (tmp_path / "file").write_bytes(content)
    assert disk.sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
