"""Which part of the package may import which: the arrows go down only. This table is that of docs/architecture.md.

python tests/ltsweep/test_wings.py      counts the rooms at the top level, the floors and the arrows
"""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "ltsweep"
ANALYSIS = Path(__file__).parents[2] / "multirun_analysis"

GROUND = {"schema", "errors", "words", "rng", "signals"}
CHOICES = {"prune", "init", "optim", "data", "models"}
SCIENCE = {"engine", *CHOICES, "method", "measure", "lottery"}
BOOKS = {"grid", "store", "show"}

# Wing -> the wings that it may import.
MAY: dict[str, set[str]] = {
    **{name: set() for name in sorted(GROUND)},
    # the science tower
    "engine": {"rng", "errors", "words"},
    **{name: {"engine"} | GROUND for name in sorted(CHOICES)},
    "method": {"prune", "init", "engine"} | GROUND,
    "measure": {"method", "prune", "init", "engine"} | GROUND,
    "lottery": {"measure", "method", "prune", "init", "engine"} | GROUND,
    # the books tower
    "grid": {"schema", "errors", "words"},
    "store": {"grid", "schema", "errors", "words"},
    "show": {"store", "grid", "schema", "errors", "words"},
    # where both meet
    "run": SCIENCE | BOOKS | GROUND,
    "cluster": {"run"} | SCIENCE | BOOKS | GROUND,
    # a ticket taken out of its study
    "export": {"run"} | SCIENCE | BOOKS | GROUND,
    # the ways in
    "command": {"cluster", "run"} | SCIENCE | BOOKS | GROUND,
    "status": {"cluster", "start"},
    "study": {"cluster", "start"},
    "ticket": {"export", "start"},
    # the start of every program
    "start": {"show", "errors"},
    "__main__": {"command", "start"},
    # names that queued tasks know
    "cell": {"grid"},
    "task": {"cluster"},
}

# What the analysis may import of the package: what needs neither torch nor Hydra.
TORCH_FREE = {
    "schema",
    "errors",
    "words",
    "start",
    "show.streams",
    "grid.flat",
    "grid.key",
    "grid.where",
    "store.disk",
    "store.reader",
    "store.tables",
    "store.tickets",
}


def imported(path: Path) -> set[str]:
    """Return the dotted names within the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return {name.removeprefix("ltsweep.") for name in found if name.startswith("ltsweep.")}


def wing(path: Path) -> str:
    """Return the wing that a file of the package is in: its folder, or itself."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def arrows() -> set[tuple[str, str]]:
    """Return (wing, wing that it imports) for the whole package."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        if path != SOURCE / "__init__.py":
            found |= {(wing(path), name.split(".")[0]) for name in imported(path)}
    return {(one, other) for one, other in found if one != other}


def test_every_part_of_the_package_is_in_the_table():
    parts = {path.name.removesuffix(".py") for path in SOURCE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - {"__init__", "__pycache__", "py.typed"} == set(MAY)


@pytest.mark.parametrize("name", MAY)
def test_a_part_imports_what_lies_below_it_alone(name):
    assert {other for one, other in arrows() if one == name} <= MAY[name]


def test_the_table_has_no_way_round():
    def below(name: str, path: tuple[str, ...] = ()) -> None:
        assert name not in path, f"{' -> '.join(path)} -> {name}"
        for other in MAY[name]:
            below(other, (*path, name))

    for name in ("__main__", "status", "study", "ticket", "task"):
        below(name)


@pytest.mark.parametrize("name", ["run", "store", "grid", "cluster", "engine", "show", "lottery", "export"])
def test_these_folders_load_nothing_by_themselves(name):
    """So that --help loads no torch."""
    assert not imported(SOURCE / name / "__init__.py")


def test_one_file_imports_torch_func():
    users = [
        path for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "torch.func"
    ]  # fmt: skip
    assert users == [SOURCE / "engine" / "stack.py"]


def test_the_analysis_imports_of_the_package_what_needs_neither_torch_nor_hydra():
    for path in ANALYSIS.rglob("*.py"):
        for name in imported(path):
            assert any(name == free or name.startswith(f"{free}.") or free == name for free in TORCH_FREE), (
                f"{path} imports ltsweep.{name}"
            )


def floors() -> dict[str, int]:
    """Return wing -> its floor: one above the highest wing that it imports."""
    found: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in found:
            found[name] = 1 + max((floor(other) for one, other in arrows_found if one == name), default=0)
        return found[name]

    arrows_found = arrows()
    for name in MAY:
        floor(name)
    return found


if __name__ == "__main__":
    print(f"{len(MAY)} rooms at the top level, {max(floors().values())} floors, {len(arrows())} arrows")
