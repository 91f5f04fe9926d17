"""The code of a user's own choice is part of what a cell is: a changed one is named before any work."""

import hashlib
import json
from types import SimpleNamespace

import pytest

ONE = "import torch\nfrom scale import by\ndef drawn(shape, rng):\n    return torch.randn(shape, generator=rng) * by\n"


@pytest.fixture
def own(command, fork, small):
    """Return a function that runs the command, in a process of its own, with an init of the user's own."""
    (command.folder / "drawn.py").write_text(ONE)
    (command.folder / "scale.py").write_text("by = 0.1\n")
    (command.folder / "own/init").mkdir(parents=True)
    (command.folder / "own/init/mine.yaml").write_text("name: mine\n_target_: drawn.drawn\n_partial_: true\n")

    def run(*overrides, module="ltsweep", code=0):
        arguments = ["--config-dir=own", "init=mine", *small, "iterations=3", "workers=1", *overrides]
        process = fork(command.folder, module, *(arguments if module == "ltsweep" else overrides))
        out, err = process.communicate()
        assert process.returncode == code, out + err
        return SimpleNamespace(stdout=out, stderr=err)

    return run


def test_changed_code_is_named_finished_cells_are_left_and_begun_ones_refused(command, own):
    own("levels=1")
    (cell,) = command.study().cells().values()
    files = {
        name: hashlib.sha256((command.folder / f"{name}.py").read_bytes()).hexdigest() for name in ("drawn", "scale")
    }
    assert cell.status["sources"] == files
    kept = {path.name for path in (command.study().path / ".sources").iterdir()}
    assert kept == {f"{digest}.py" for digest in files.values()}
    assert "other code" not in own("levels=1").stdout

    (command.folder / "scale.py").write_text("by = 0.25\n")
    before = command.study().snapshot()
    out = own("levels=1").stdout
    assert "1 finished cell was made with other code of scale, and is left so; force=true computes again" in out
    assert command.study().snapshot() == before
    refused = own("levels=2", code=2)
    assert refused.stderr == (
        f"ltsweep: cell {cell.path.name} has levels that other code made: scale is not what it was; "
        "force=true computes them again, another study=NAME keeps them\n"
    )
    assert command.study().snapshot() == before

    own("levels=1", "seed=1")  # the same study, with today's code
    said = own("multirun/default", "--figures", "accuracy_vs_remaining", module="multirun_analysis").stdout
    assert "made with other code of scale than most cells here" in said
    out = own("levels=1", "seed=0,1", "force=true").stdout
    assert "other code" not in out
    statuses = [json.loads((cell.path / "status.json").read_text()) for cell in command.study().cells().values()]
    assert len({json.dumps(status["sources"]) for status in statuses}) == 1
