"""The checks of `benchmarks/soak_kills.py` see what they are there for: torn files, other files, a stamp that lies."""

import importlib.util
import json
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def kills():
    path = Path(__file__).parents[2] / "benchmarks/soak_kills.py"
    spec = importlib.util.spec_from_file_location("soak_kills", path)
    module = importlib.util.module_from_spec(spec)
    before = dict(os.environ)
    try:
        spec.loader.exec_module(module)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return module


@pytest.mark.parametrize("name", ["status.json", "levels.parquet", "init.safetensors", "config.yaml"])
def test_a_torn_file_is_seen_and_a_half_written_one_beside_it_is_not(kills, tmp_path, name):
    (tmp_path / f".{name}.123").write_bytes(b"")
    kills.check_whole(tmp_path)
    (tmp_path / name).write_bytes(b"" if name == "config.yaml" else b"{")
    with pytest.raises(kills.WrongError, match=name):
        kills.check_whole(tmp_path)


@pytest.mark.parametrize("left", ["a/.broken", ".stacks", "a/.levels.parquet.123"])
def test_what_a_killed_command_leaves_is_seen(kills, tmp_path, left):
    (tmp_path / "a").mkdir()
    kills.check_clean(tmp_path)
    (tmp_path / left).mkdir()
    with pytest.raises(kills.WrongError, match="left behind"):
        kills.check_clean(tmp_path)


def test_a_stamp_that_lies_is_seen(kills, tmp_path):
    figures = tmp_path / "figures"
    figures.mkdir()
    wanted, made = [], []
    for records in ("one", "other"):
        (figures / "a.png").write_text(records)
        (figures / ".figures.json").write_text(json.dumps({"a.png": {"made_from": records, "says": ""}}))
        wanted.append(kills.outputs(tmp_path))
        made.append(kills.stamped(tmp_path))
        kills.check_stamp(tmp_path, wanted, made)
    (figures / "a.png").write_text("one")
    with pytest.raises(kills.WrongError, match="the stamp says"):
        kills.check_stamp(tmp_path, wanted, made)
    (figures / "a.png").write_text("torn")
    with pytest.raises(kills.WrongError, match=r"a\.png is not"):
        kills.check_stamp(tmp_path, wanted, made)
    (figures / "a.png").unlink()
    kills.check_stamp(tmp_path, wanted, made)


def test_other_records_are_seen(kills):
    kills.check_same({"levels.parquet": "1"}, {"levels.parquet": "1"})
    for other in ({"levels.parquet": "2"}, {}, {"levels.parquet": "1", "more": "1"}):
        with pytest.raises(kills.WrongError, match="differ"):
            kills.check_same(other, {"levels.parquet": "1"})
