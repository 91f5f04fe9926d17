"""One contract with the engine: its names, its schemas, and nothing of what it trains with."""

import ast
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import multirun_analysis
from ltsweep import schema
from ltsweep.store import tables
from ltsweep.store.tables import SCHEMAS
from multirun_analysis.load import Study

PACKAGE = Path(multirun_analysis.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in FILES]

# Words of the contract that may be nothing else.
WORDS = {*schema.STATUSES, schema.TICKET, schema.REINIT, schema.RANDOM_MASK}


def test_no_module_loads_what_cells_are_trained_with() -> None:
    names = [name.removesuffix(".__init__") for name in MODULES]
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {names}];"
        "print(sorted({'torch', 'torchvision', 'hydra', 'omegaconf'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "[]\n", "")


def test_drawing_and_the_report_load_none_of_it_either(mixed_folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from multirun_analysis.__main__ import main; main(sys.argv[1:]);"
        "print(sorted({'torch', 'torchvision', 'hydra', 'omegaconf'} & set(sys.modules)))"
    )
    asked = ["--figures", "surviving_weights,heat_map", "--style", "screen", "--report", "--export", "csv"]
    run = subprocess.run(
        [sys.executable, "-c", code, str(mixed_folder), *asked, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "written     " in run.stdout
    assert run.stdout.endswith("[]\n")


@pytest.mark.parametrize("file", FILES, ids=MODULES)
def test_statuses_and_arms_have_the_names_of_the_contract(file: Path) -> None:
    said = [node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)]
    assert not WORDS & {word for word in said if isinstance(word, str)}


def test_records_have_the_contracts_schema(mixed_folder: Path) -> None:
    for path in mixed_folder.glob("*/levels.parquet"):
        assert pq.read_schema(path).equals(SCHEMAS[path.name])


def test_records_of_other_types_and_order_are_cast(mixed_folder: Path, mixed: Study, tmp_path: Path) -> None:
    path = mixed_folder / mixed.cells["key"][0] / "levels.parquet"
    table = pq.read_table(path)
    floats = table.schema.field("best_iteration").with_type(pa.float64())
    at = table.schema.get_field_index("best_iteration")
    other = table.cast(table.schema.set(at, floats)).select(table.schema.names[::-1])
    pq.write_table(other, tmp_path / path.name)
    assert tables.read(tmp_path / path.name).equals(table)


def test_readings_are_a_tidy_table_and_empty_without_any(mixed: Study, mixed_folder: Path) -> None:
    readings = mixed.readings
    first = ["key", "status", "arm", "draw", "level", "iteration", "name", "place", "at", "value"]
    assert list(readings.columns[:10]) == first
    assert set(mixed.cells.columns) - {"reason", "seconds"} <= set(readings.columns)
    assert set(readings["init"]) == {"xavier_u"}
    assert set(readings["key"]) == {path.parent.name for path in mixed_folder.glob("*/readings.parquet")}
    whole = readings[readings["name"].eq("norm") & readings["place"].eq("")]
    counts = mixed.levels.merge(whole[["key", "arm", "draw", "level", "value"]])
    assert (counts["value"] ** 2).round().eq(counts["weights_remaining"]).all()
    assert len(counts) == len(whole) == 3 * (7 + 2 * 6)
