"""The examples of docs/architecture.md, as a stranger would use them: a module and YAMLs beside the command."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


@pytest.fixture
def folder(tmp_path):
    """Return a folder with mine.py and my_conf/ as the page has them."""
    page = PAGE.read_text()
    (module,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.py").write_text(module)
    for block in re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        for name, text in re.findall(r"^# (my_conf/\S+)\n(.*?)(?=^# my_conf|\Z)", block, re.MULTILINE | re.DOTALL):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return tmp_path


@pytest.fixture
def run(folder, fork):
    """Return a function that runs the command there, and returns its exit code, output and errors."""

    def run(*arguments):
        process = fork(folder, "ltsweep", "--config-dir", "my_conf", *arguments)
        out, err = process.communicate()
        return process.returncode, out, err

    return run


def test_every_example_is_a_choice_that_trains(folder, run):
    """One cell that is made of nothing but choices from outside; each costs one function and one YAML."""
    files = sorted(str(path.relative_to(folder / "my_conf")) for path in (folder / "my_conf").rglob("*.yaml"))
    assert files == [
        "dataset/rings.yaml", "init/two_points.yaml", "lr/halves.yaml", "measure/largest.yaml", "method/grown.yaml",
        "model/tall.yaml", "prune_rate/first_layer.yaml",
    ]  # fmt: skip
    choices = [path.removesuffix(".yaml").replace("/", "=") for path in files if not path.startswith("measure")]
    code, out, err = run(*choices, "measure=[largest]", "levels=2", "epochs=2", "device=cpu")
    assert code == 0, out + err
    (cell,) = [path for path in (folder / "multirun/default").iterdir() if path.name[0] != "."]
    config = yaml.safe_load((cell / "config.yaml").read_text())
    assert {group: config[group]["name"] for group in ("model", "init", "lr", "prune_rate", "dataset", "method")} == {
        choice.partition("=")[0]: choice.partition("=")[2] for choice in choices
    }
    levels = pd.read_parquet(cell / "levels.parquet")
    assert set(levels["arm"]) == {"ticket", "reinit", "mirrored"}
    remaining = levels[levels["arm"] == "ticket"]["layer_remaining"].map(list).tolist()
    assert remaining == [[4, 4, 4, 4], [2, 4, 4, 4], [1, 4, 4, 4]]  # half of the first layer a level
    rows = pd.read_parquet(cell / "evaluations.parquet")
    tickets = rows[rows["arm"] == "ticket"]
    ends = tickets[tickets["train_loss"].notna() & (tickets["iteration"] > 0)]
    assert list(ends["lr"]) == [0.001, 0.0005] * 3  # after the first half of a level, and after the second
    readings = pd.read_parquet(cell / "readings.parquet")
    assert set(readings["name"]) == {"largest"}
    assert len(readings) == (1 + 3 + 3) * 4


def test_rules_how_and_prunable_of_a_yaml_hold(run):
    small = ("model=tall", "dataset=digits", "levels=0", "iterations=1", "device=cpu")
    code, _, err = run(*small, "model.depth=51")
    assert code == 2
    assert "model.depth=51 is out of range: model.depth is a whole number from 1 to 50" in err
    assert run(*small, "model.depth=1")[0] == 0
    assert "1 already finished" in run(*small, "model.depth=1", "model.largest_stack={cpu: 1}")[1]


def rooms():
    """Return pairs of a folder and the files in it that the page is to name, without those of one idea each."""
    root = PAGE.parents[1]
    for wing in ("cluster", "export", "run", "lottery", "method", "engine", "show", "store", "grid"):
        yield wing, root / "src/ltsweep" / wing
    yield "multirun_analysis", root / "multirun_analysis"
    yield "ltsweep", root / "src/ltsweep"


@pytest.mark.parametrize(("wing", "folder"), list(rooms()), ids=[wing for wing, _ in rooms()])
def test_every_room_is_in_the_table(wing, folder):
    page = PAGE.read_text().partition("## The way through the code")[2].partition("## Adding to it")[0]
    rows = [line for line in page.splitlines() if line.startswith("|")]
    if wing not in ("multirun_analysis", "ltsweep"):
        rows = [line for line in rows if line.startswith(f"| `{wing}/`")]
    spans = " ".join(span for line in rows for span in re.findall(r"`([^`]*)`", line))
    named = {name.removesuffix(".py") for name in re.findall(r"[\w.]+", spans)}
    if wing == "ltsweep":
        named |= {"cell", "task"}  # which the text below the table names
    there = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")}
    assert there - named == set()
