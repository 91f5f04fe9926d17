"""A user's own YAML and module, cells that go wrong, stock launchers, and the published studies in small."""

import importlib
import itertools
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import yaml

# Sums round differently in stacks of another shape; with small learning rates that stays small.
CLOSE = 1e-4


@pytest.fixture
def own(command, monkeypatch):
    """The command with `--config-dir=own`, which has two initializations of a module beside it."""
    folder = command.folder / "own/init"
    folder.mkdir(parents=True)
    (command.folder / "mine.py").write_text(
        textwrap.dedent(
            """
            import torch


            def tenth(shape, rng, scale):
                return torch.full(tuple(shape), 0.1 * scale)


            def broken(shape, rng):
                if shape[0] == 300:
                    raise ArithmeticError("no luck with 300 rows")
                return torch.zeros(*shape)
            """
        )
    )
    for name, fields in (("tenth", {"scale": 1}), ("broken", {})):
        (folder / f"{name}.yaml").write_text(
            yaml.safe_dump({"name": name, "_target_": f"mine.{name}", "_partial_": True} | fields)
        )
    monkeypatch.syspath_prepend(command.folder)
    yield command
    sys.modules.pop("mine", None)


@pytest.fixture
def script(own, tmp_path_factory):
    """Run what pip installs as the command `ltsweep`, which lies in a folder of its own, in the folder of `own`."""
    path = tmp_path_factory.mktemp("bin") / "ltsweep"
    path.write_text("from ltsweep.__main__ import main\nif __name__ == '__main__':\n    main()\n")
    clean = {name: value for name, value in os.environ.items() if name not in ("LTSWEEP_DATA", "HYDRA_FULL_ERROR")}

    def run(*arguments, **env):
        command = [sys.executable, str(path), *arguments]
        return subprocess.run(command, cwd=own.folder, env=clean | env, capture_output=True, text=True, timeout=300)

    return run


def test_own_initialization_from_a_config_dir(own, small):
    quick = (*small, "levels=0", "iterations=1", "workers=1")
    arguments = ("--config-dir=own", "-m", "init=tenth,xavier_n", *quick)
    ended = own(*arguments)
    assert "2 done" in ended.out
    initial = own.study().cell(init="tenth").initial
    assert {name: set(np.unique(weight)) for name, weight in initial.items() if name.endswith("weight")} == {
        name: {np.float32(0.1)} for name in ("fc1.weight", "fc2.weight", "output.weight")
    }
    assert own.study().cell(init="xavier_n").initial["fc1.weight"].std() > 0
    # A field of one's own goes by its dotted name, as everything else does.
    own.inside("--config-dir=own", "init=tenth", "init.scale=2", *quick)
    starts = [folder.initial["fc1.weight"][0, 0] for folder in own.study().cells().values()]
    assert np.float32(0.2) in starts


def test_a_cell_that_raises_fails_alone_with_its_traceback(own, small):
    arguments = ("init=xavier_u,broken,kaiming_n", "lr=1e-3", *small, "levels=2", "iterations=20")
    ended = own.inside("--config-dir=own", "-m", *arguments, code=1)
    study = own.study()
    broken = study.cell(init="broken")
    assert study.statuses() == {key: "failed" if key == broken.path.name else "done" for key in study.cells()}
    assert "ArithmeticError" in broken.status["error"]
    assert "no luck with 300 rows" in broken.status["error"]
    for part in ("Traceback (most recent call last)", "in broken", "mine.py", "no luck with 300 rows"):
        assert part in broken.log
    assert "1 failed" in ended.out
    assert "2 done" in ended.out
    assert "no luck with 300 rows" in " ".join(ended.out.split())
    assert "cell.log" in ended.out
    assert "Traceback" not in ended.out + ended.err
    assert not (broken.path / "evaluations.parquet").exists()

    own.inside("-m", "init=xavier_u,kaiming_n", *arguments[1:], "study=without")
    without = own.study("without")
    assert len(without.cells()) == 2
    study.assert_same_records(without, keys=list(without.cells()), tolerance=CLOSE)

    # Mended, the same command computes what failed and nothing else.
    text = (own.folder / "mine.py").read_text().replace("shape[0] == 300", "False")
    (own.folder / "mine.py").write_text(text.replace("torch.zeros(*shape)", "torch.rand(*shape, generator=rng) - 0.5"))
    before = without.snapshot()
    del sys.modules["mine"]
    importlib.invalidate_caches()
    ended = own.inside("--config-dir=own", "-m", *arguments)
    assert "3 cells, 2 already finished, 1 to compute" in ended.out
    assert set(study.statuses().values()) == {"done"}
    assert broken.status["error"] is None
    assert without.snapshot() == before


def test_a_cell_that_diverges_leaves_its_neighbour_alone(command, small):
    arguments = ("-m", "optimizer=sgd", *small, "levels=2", "iterations=40")
    ended = command.inside(*arguments, "lr=1e-2,1e4", "study=both")
    both = command.study("both")
    bad, good = both.cell(lr=10_000), both.cell(lr=0.01)
    assert bad.status["status"] == "diverged"
    assert "not finite" in bad.status["error"]
    assert not np.isfinite(bad.evaluations["test_loss"]).all()
    assert list(bad.levels["level"]) == [0]
    assert good.status["status"] == "done"
    assert good.status["stack"] == bad.status["stack"]
    assert "in a stack of 2" in good.log
    assert np.isfinite(good.evaluations["test_loss"]).all()
    assert "1 diverged" in ended.out

    command.inside(*arguments, "lr=1e-2", "study=alone")
    alone = command.study("alone")
    both.assert_same_records(alone, keys=list(alone.cells()), tolerance=CLOSE)
    assert "2 already finished, nothing to compute" in command.inside(*arguments, "lr=1e-2,1e4", "study=both").out


def test_hydras_basic_launcher_gives_the_same_records(command, small):
    arguments = ("-m", "init=xavier_u,kaiming_n", "lr=1e-3", *small, "levels=2", "iterations=30")
    command.inside(*arguments, "study=ours")
    command.inside(*arguments, "study=basic", "hydra/launcher=basic")
    ours, basic = command.study("ours"), command.study("basic")
    assert set(basic.statuses().values()) == {"done"}
    basic.assert_same_records(ours, tolerance=1e-5)
    for key, folder in ours.cells().items():
        assert (folder.path / "config.yaml").read_bytes() == (basic.path / key / "config.yaml").read_bytes()
    # And each meets what the other left.
    before = basic.snapshot()
    assert "2 already finished, nothing to compute" in command.inside(*arguments, "study=basic").out
    assert basic.snapshot() == before
    records = ours.snapshot()
    command.inside(*arguments, "study=ours", "hydra/launcher=basic")
    after = ours.snapshot()
    assert {name: after[name] for name in records} == records


@pytest.mark.slow
def test_the_basic_launcher_fails_with_the_cell(own, small):
    quick = (*small, "levels=0", "iterations=1", "workers=1", "hydra/launcher=basic")
    ended = own("--config-dir=own", "-m", "init=broken,xavier_u", *quick, code=1)
    study = own.study()
    assert study.cell(init="broken").status["status"] == "failed"
    assert "Traceback (most recent call last)" in study.cell(init="broken").log
    assert study.cell(init="xavier_u").status["status"] == "done"
    assert "no luck with 300 rows" in ended.out + ended.err


def test_one_initialization_whole(command, small):
    ended = command.inside("+experiment=one_initialization", *small, "levels=1", "epochs=1")
    study = command.study("one_initialization")
    cells = study.cells().values()
    inits = ("xavier_u", "xavier_n", "kaiming_u", "kaiming_n", "kaiming_u_out", "kaiming_n_out")
    points = {(folder.config["init"]["name"], folder.config["seed"]) for folder in cells}
    assert points == set(itertools.product(inits, range(3)))
    assert len(cells) == 18
    assert set(study.statuses().values()) == {"done"}
    assert "18 done" in ended.out
    for folder in cells:
        config = folder.config
        assert (config["model"]["activation"], config["model"]["negative_slope"]) == ("leaky_relu", 0.05)
        assert config["prune_rate"]["name"] == "uniform"
        assert config["validation"] == 0
        assert list(folder.levels["weights_remaining"]) == [50_200, 50_200 * 4 // 5]
    # What the command line says wins over the study's own grid.
    ended = command.inside(
        "+experiment=one_initialization", *small, "levels=1", "epochs=1", "init=xavier_u", "seed=0,3"
    )
    assert "2 cells, 1 already finished, 1 to compute" in ended.out


def test_reproducibility_report_in_small(command, small):
    arguments = ("+experiment=reproducibility_report", *small, "levels=1", "iterations=2", "seed=3", "evaluate_test=40")
    ended = command.inside(*arguments)
    study = command.study("reproducibility_report")
    cells = study.cells().values()
    points = {(f.config["model"]["name"], f.config["lr"]["value"], f.config["seed"]) for f in cells}
    assert points == set(itertools.product(("lenet_300_100", "lenet5"), (0.0012, 0.1), (3,)))
    assert set(study.statuses().values()) <= {"done", "diverged"}
    assert "4 cells, 4 to compute" in ended.out
    for folder in cells:
        if folder.status["status"] == "done":
            assert set(folder.levels[folder.levels["level"] == 1]["arm"]) == {"ticket", "reinit"}
    (network,) = {tuple(f.levels["layer_total"].iloc[0]) for f in cells if f.config["model"]["name"] == "lenet5"}
    assert network == (64 * 9, 64 * 64 * 9, 64 * 4 * 4 * 256, 256 * 256, 256 * 10)


def test_the_script_and_its_workers_find_a_module_where_it_is_run_as_python_m_does(own, small, script):
    quick = (*small, "levels=0", "iterations=1", "workers=2", "stack_size=1")
    ended = script("--config-dir=own", "-m", "init=tenth", "seed=0,1", *quick)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert set(own.study().statuses().values()) == {"done"}


def test_with_a_safe_path_the_script_finds_nothing_where_it_is_run(own, small, script):
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.10 has no safe path")
    ended = script("--config-dir=own", "init=tenth", *small, "levels=0", PYTHONSAFEPATH="1")
    assert ended.returncode == 2
    assert "No module named 'mine'" in ended.stderr
