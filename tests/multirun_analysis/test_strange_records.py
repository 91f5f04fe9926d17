"""Records of strangers: whatever a file holds, every cell is listed, and the others keep their numbers."""

import contextlib
import copy
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from ltsweep.grid.key import key
from ltsweep.schema import TABLES
from ltsweep.store.tables import SCHEMAS
from multirun_analysis import claims, closing, export, figures
from multirun_analysis.errors import NothingToShow
from multirun_analysis.load import Study, load, with_weights
from multirun_analysis.making import Request
from multirun_analysis.report import page
from multirun_analysis.schema import RENAMED

Seal = Callable[..., None]

TEXTS = [
    "",
    "x" * 300,
    "<script>alert(1)</script>",
    "$\\frac{$",
    "\x1b[2J\n\ta",
    "日本",
    "_x",
    "row",
    "nan",
    "1e999",
    "a,b",
]
NUMBERS = [0, -1, 1, 2**63 - 1, 2**63, 10**30, 10**400, 0.0, 1e-320, 1e300, math.inf, -math.inf, math.nan]
PLAIN = st.recursive(
    st.sampled_from([None, True, False, *TEXTS, *NUMBERS]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "a", *TEXTS]), inner, max_size=3)
    ),
    max_leaves=5,
)
DEEP = json.loads("[" * 60 + "]" * 60)
PLACES = [
    "seed",
    "levels",
    "epochs",
    "init",
    "lr",
    "model",
    "method",
    "dataset",
    "row",
    "value",
    "config",
    "hydra.x",
    "key",
]
FIELDS = ["status", "level", "schema", "error", "seconds", "levels", "key", "versions", "hardware", "started", "stack"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., str]) -> Path:
    """Three cells; the last is the one that is changed."""
    folder = tmp_path_factory.mktemp("multirun") / "strange"
    for init, seed in (("xavier_n", 0), ("kaiming_n", 0), ("xavier_n", 1)):
        write(folder, init=init, seed=seed, levels=3, epochs=2, tickets=True, arms={"ticket": 1, "reinit": 1})
    return folder


@pytest.fixture(scope="module")
def before(study: Path) -> Study:
    return load(study)


def victim(study: Path) -> Path:
    frame = load(study).cells
    return study / frame.loc[frame["seed"].eq(1), "key"].iloc[0]


def change_config(cell: Path, data: Any, seal: Seal) -> None:
    config = yaml.safe_load((cell / "config.yaml").read_text())
    place = data.draw(st.sampled_from(PLACES))
    value = data.draw(PLAIN | st.just(DEEP))
    if isinstance(config.get(place), dict) and data.draw(st.booleans()):
        config[place][data.draw(st.sampled_from(["name", "value", "gain", "negative_slope", *TEXTS]))] = value
    else:
        config[place] = value
    if data.draw(st.booleans()):
        config.pop(data.draw(st.sampled_from(["seed", "lr", "init", "levels"])), None)
    (cell / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    moved = cell.rename(cell.with_name(key(config)))
    seal(moved, json.loads((moved / "status.json").read_text()) | {"key": moved.name})


def change_status(cell: Path, data: Any, seal: Seal) -> None:
    status = json.loads((cell / "status.json").read_text())
    value = data.draw(PLAIN | st.just(DEEP) | st.sampled_from(["done", "running", "failed", "diverged", "pending"]))
    status[data.draw(st.sampled_from(FIELDS))] = value
    if data.draw(st.booleans()):
        seal(cell, status)
        return
    status.pop("sha256")
    status["files"][data.draw(st.sampled_from(["levels.parquet", "../x", "tickets/init.safetensors"]))] = value
    (cell / "status.json").write_text(json.dumps(status), encoding="utf-8")


def change_table(cell: Path, data: Any, seal: Seal) -> None:
    name = data.draw(st.sampled_from(list(TABLES)[:2]))
    rows = pq.read_table(cell / name).to_pylist()
    column = data.draw(st.sampled_from(SCHEMAS[name].names))
    kinds = {"double": st.sampled_from([None, *map(float, (0, -1, 1e38, 1e300, math.inf, -math.inf, math.nan))])}
    kinds |= {"int64": st.sampled_from([None, 0, -1, 1, 7, 1000, 2**62, 2**63 - 1]), "string": st.sampled_from(TEXTS)}
    lists = st.sampled_from([["fc1.weight"] * 3, ["all", "b", "c"], ["a"], [], [None] * 3, TEXTS[:3]])
    counts = st.sampled_from([[0, 0, 0], [1, 1, 1], [2**62] * 3, [], [None] * 3])
    value = data.draw(kinds.get(str(SCHEMAS[name].field(column).type), lists if column == "layers" else counts))
    some = data.draw(st.sampled_from([rows, rows[:1], rows[-2:], [row for row in rows if row["level"] == 3]]))
    for row in some:
        row[column] = copy.copy(value)
        if column == "weights_remaining" and isinstance(value, int):
            row["weights_total"] = max(value, row["weights_total"])
    if data.draw(st.integers(0, 9)) == 0:
        rows = []
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[name]), cell / name, write_page_checksum=True)
    seal(cell, json.loads((cell / "status.json").read_text()))


def change_ticket(cell: Path, data: Any, seal: Seal) -> None:
    shape = data.draw(st.sampled_from([(0, 3), (3, 0), (1, 1), (300, 784), (784, 300), (2, 2, 2), (5,)]))
    value = data.draw(st.sampled_from([0.0, 1.0, 1e-38, 1e38, math.inf, math.nan]))
    kind = data.draw(st.sampled_from(["float32", "float16", "float64", "int8", "uint8", "bool"]))
    layer = data.draw(st.sampled_from(["fc1.weight", "all", *TEXTS[1:5]]))
    with np.errstate(all="ignore"):
        tensors = {layer: np.full(shape, value).astype(kind)}
    shapes = data.draw(st.sampled_from([{layer: [10**6, 10**6]}, {layer: list(shape)}, {}, {layer: [-1]}, [1], DEEP]))
    name = data.draw(st.sampled_from(["init", "level_01", "level_03"]))
    (cell / "tickets" / f"{name}.safetensors").write_bytes(save(tensors, metadata={"shapes": json.dumps(shapes)}))
    seal(cell, json.loads((cell / "status.json").read_text()))


def tear(cell: Path, data: Any, seal: Seal) -> None:
    path = data.draw(st.sampled_from(sorted(path for path in cell.rglob("*") if path.is_file())))
    content = path.read_bytes()
    torn = data.draw(st.sampled_from([b"", b"[" * 100_000, b"{}", b'{"a": "\\ud800"}', content[: len(content) // 2]]))
    path.write_bytes(torn)
    if data.draw(st.booleans()) and path.name != "status.json":
        seal(cell, json.loads((cell / "status.json").read_text()))


SETTINGS = {"deadline": None, "suppress_health_check": list(HealthCheck)}
CHANGES = st.sampled_from([change_config, change_status, change_table, change_ticket, tear])


def changed(study: Path, before: Study, seal: Seal, data: Any, folder: Path) -> Study:
    """Change a copy of the study, and check that every cell is listed and the others are as they were."""
    shutil.copytree(study, folder)
    data.draw(CHANGES)(victim(folder), data, seal)
    after = load(folder)
    assert len(after.cells) == 3
    others = before.cells.loc[before.cells["seed"].eq(0), "key"]
    assert after.cells.set_index("key").loc[others, "status"].tolist() == ["done", "done"]
    measured = {RENAMED.get(name, name) for columns in TABLES.values() for name in columns}
    for had, has in ((before.levels, after.levels), (before.evaluations, after.evaluations)):
        columns = [name for name in had if name in measured]
        for each in others:
            one, other = (table[table["key"].eq(each)].reset_index(drop=True)[columns] for table in (had, has))
            pd.testing.assert_frame_equal(one, other, check_categorical=False)
    assert all(reason.isprintable() for reason in after.cells["reason"])
    return after


@settings(max_examples=50, **SETTINGS)
@given(data=st.data())
def test_whatever_a_file_holds_the_others_keep_their_numbers(
    data: Any, study: Path, before: Study, seal: Seal, tmp_path_factory: pytest.TempPathFactory
) -> None:
    after = changed(study, before, seal, data, tmp_path_factory.mktemp("strange") / "study")
    closing.table(after.cells).encode()
    for table in (after.levels, after.evaluations):
        for write in export.FORMATS.values():
            write(table)


@settings(max_examples=int(os.environ.get("STRANGE", "6")), **SETTINGS)  # more by hand: a minute for ten
@given(data=st.data())
def test_whatever_a_file_holds_all_else_is_made(
    data: Any, study: Path, before: Study, seal: Seal, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("strange") / "study"
    after = changed(study, before, seal, data, folder)
    request, drawn = Request(tuple(figures.names())), with_weights(after)
    look = request.view(after)
    for name in figures.names():
        with contextlib.suppress(NothingToShow):
            module = figures.get(name)
            module.draw(module.table(drawn, look), look)
    page(drawn, claims.published()[:3], folder)
