"""`python -m ltsweep.ticket` on a study that the command made, as a user types it; and the page that teaches it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import prune

from ltsweep.export import command as room
from ltsweep.export.compact import chain
from ltsweep.models import lenet5, lenet_300_100

GRID = ("-m", "seed=0,1", "levels=3", "iterations=4", "prune_rate=0.8", "method.rewind=2it", "workers=1")
PAGE = Path(__file__).parents[2] / "docs" / "tickets.md"


@pytest.fixture(scope="module")
def original(command_in, small, tmp_path_factory):
    """Return the folder of two studies: default, two cells of LeNet-300-100, and conv, one of lenet5."""
    command = command_in(tmp_path_factory.mktemp("ticket"))
    command.inside(*GRID, *small)
    command.inside("model=lenet5", "study=conv", "levels=1", "iterations=1", "prune_rate=0.9", *small)
    return command.folder


@pytest.fixture
def folder(original, tmp_path):
    """Return a folder that holds a copy of the studies."""
    shutil.copytree(original / "multirun", tmp_path / "multirun")
    return tmp_path


@pytest.fixture
def run(folder, capsys, monkeypatch):
    """Return a function: it runs `python -m ltsweep.ticket` in the folder, and returns what it says."""
    monkeypatch.chdir(folder)

    def called(*arguments, code=0):
        with pytest.raises(SystemExit) as ended:
            room.main(arguments)
        said = capsys.readouterr()
        assert ended.value.code == code, said
        assert said.err.count("\n") == (code == 2)
        return said.err if code == 2 else said.out

    return called


def keys(folder, study="default"):
    return sorted(
        path.name for path in (folder / "multirun" / study).iterdir() if re.fullmatch("[0-9a-f]{16}", path.name)
    )


def files(folder):
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}


def test_the_real_command_describes_verifies_and_measures(folder):
    key, before = keys(folder)[0], files(folder)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "ltsweep.ticket", f"multirun/default/{key[:8]}@2"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    out = ended.stdout
    assert out.startswith(f"multirun/default/{key}@2\ncell      done, ")
    assert re.search(r"^config .* dataset=digits model=lenet_300_100 init=xavier_n .* method=imp$", out, re.MULTILINE)
    assert "weights   initial (kept: 0_2; the levels start by method.rewind=2it)\n" in out
    counts = {row[0]: row[1:] for row in map(str.split, out.splitlines()) if len(row) == 4 and row[3].endswith("%")}
    assert counts["fc1.weight"] == ["19,200", "768", "4.00%"]
    assert counts["output.weight"] == ["1,000", "360", "36.00%"]
    assert counts["all"] == ["50,200", "2,328", "4.64%"]
    assert len(re.findall(r"^[ A-Z0-9-]{10}[0-9a-f]{64}  (?:config.yaml|tickets/)", out, re.MULTILINE)) == 3
    assert re.search(r"^seed [01] draws the recorded initial weights again, bit for bit$", out, re.MULTILINE)
    mask = (folder / "multirun/default" / key / "tickets/level_02.safetensors").stat().st_size
    assert f"\nits mask file has {mask:,} bytes, the weights that the seed draws {4 * 50_610:,}\n" in out
    rows = {row.split()[0]: row.split()[1:] for row in out.splitlines() if row.endswith(" ms")}
    assert list(rows) == ["dense", "masked", "pruned", "compact"]
    assert rows["dense"][0] == rows["masked"][0] == "50,610"
    assert int(rows["compact"][0].replace(",", "")) < 50_610
    assert int(rows["pruned"][1].replace(",", "")) > int(rows["masked"][1].replace(",", "")) > 4 * 50_610
    assert re.search(r"medians of n = \d+ of batch 1, \d+ of batch 256 on one thread", out)
    assert files(folder) == before


@pytest.mark.parametrize(("study", "make"), [("default", lenet_300_100), ("conv", lenet5)])
def test_every_exported_form_gives_the_outputs_of_the_masked_network(run, folder, study, make, monkeypatch):
    key = keys(folder, study)[0]
    said = run(f"multirun/{study}/{key}@1", "--export", "here/deep", "--pt", "--no-latency")
    here = folder / "here/deep"
    assert {path.name for path in here.iterdir()} == {
        *(f"{form}.{kind}" for form in ("masked", "pruned", "compact") for kind in ("safetensors", "pt")), "compact.py",
    }  # fmt: skip
    assert " ms" not in said
    x = torch.randn(20, 1, 8, 8)
    masked, pruned = (make([1, 8, 8], 10).eval() for _ in range(2))
    masked.load_state_dict(load_file(here / "masked.safetensors"))
    initial = load_file(folder / f"multirun/{study}/{key}/tickets/init.safetensors")
    assert all(torch.equal(value, initial[name]) or (value == 0).any() for name, value in masked.state_dict().items())
    left = sum(int(value.count_nonzero()) for value in masked.state_dict().values() if value.dim() > 1)
    assert f"{left:,}" in said
    for module in pruned.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            prune.custom_from_mask(module, "weight", torch.ones_like(module.weight))
    pruned.load_state_dict(load_file(here / "pruned.safetensors"))
    assert torch.equal(pruned(x), masked(x))
    made = {}
    exec((here / "compact.py").read_text(), made)
    compact = made["network"]()
    compact.load_state_dict(load_file(here / "compact.safetensors"))
    torch.testing.assert_close(compact(x), masked(x), rtol=1e-5, atol=1e-5)
    for name in ("masked", "pruned", "compact"):
        plain, other = load_file(here / f"{name}.safetensors"), torch.load(here / f"{name}.pt", weights_only=True)
        assert plain.keys() == other.keys()
        assert all(torch.equal(plain[one], other[one]) for one in plain)


def test_kept_weights_are_described_and_exported(run, folder):
    key = keys(folder)[0]
    run(f"multirun/default/{key}@2", "--weights", "0_2", "--export", "kept", "--no-latency")
    kept = load_file(folder / f"multirun/default/{key}/tickets/weights_00_2.safetensors")
    masked = load_file(folder / "kept/masked.safetensors")
    assert all(torch.equal(masked[name], kept[name] * (masked[name] != 0)) for name in kept)


def test_a_mistake_is_one_line_and_nothing_is_written(run, folder):
    key, study = keys(folder)[0], "multirun/default"
    (folder / "full").mkdir()
    (folder / "full/notes.txt").touch()
    before = files(folder)
    for arguments, says in {
        (f"{study}/{key}@5",): "has no level 5; on record are levels 0 (dense) to 4",
        (f"{study}/{key}",): "its level is missing; on record are levels 0 (dense) to 4",
        (f"{study}/{key[:3]}@1",): "the first 4 digits or more will do",
        (f"{study}/eeee@1",): "eeee begins none of the 2 keys of multirun/default",
        (f"default/{key}@1",): "default is not a folder; did you mean multirun/default?",
        (f"{study}/{key}@1", "--weights", "9_9"): "holds no weights 9_9; it holds initial, 0_2",
        (f"{study}/{key}@1", "--export", f"{study}/x"): "is within the study, which is only read",
        (f"{study}/{key}@1", "--export", "full"): "full is not an empty folder",
        (f"{study}/{key}@1", "--pt"): "--pt is for --export DIR",
        (f"{study}/{key}@1", "--allow", "a b"): "--allow a b is no name of a module",
        (f"{study}/{key}@1", "--exprt", "x"): "unrecognized arguments: --exprt x; --help shows examples",
        (): "the following arguments are required: STUDY/KEY@LEVEL; --help shows examples",
    }.items():
        assert says in run(*arguments, code=2)
    assert files(folder) == before


def test_a_broken_file_is_one_line(run, folder):
    key = keys(folder)[0]
    path = folder / f"multirun/default/{key}/tickets/level_01.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    said = run(f"multirun/default/{key}@1", code=2)
    assert f"{key}/tickets/level_01.safetensors does not hold what was written" in said
    assert "level" in run(f"multirun/default/{key}@2", "--no-latency")


def test_other_initial_weights_are_told_by_the_exit_code(run, folder, monkeypatch):
    from ltsweep.export import rebuild

    monkeypatch.setattr(rebuild, "unlike", lambda drawn, ticket: ["fc1.weight"])
    said = run(f"multirun/default/{keys(folder)[0]}@1", "--no-latency", code=1)
    assert "does not draw the recorded initial weights: fc1.weight differ" in said


def test_a_function_of_ones_own_runs_only_if_it_is_allowed(run, folder, command_in, small, monkeypatch):
    (folder / "of_my_own.py").write_text(
        "from ltsweep.models import lenet_300_100\nprint('it runs')\n"
        "def model(input_shape, num_classes):\n    return lenet_300_100(input_shape, num_classes)\n"
    )
    (folder / "own/model").mkdir(parents=True)
    yaml = "name: mine\n_target_: of_my_own.model\ninput_shape: [1, 8, 8]\nnum_classes: 10\n"
    (folder / "own/model/mine.yaml").write_text(yaml)
    monkeypatch.syspath_prepend(folder)
    command_in(folder).inside("--config-dir=own", "model=mine", "study=own", "levels=0", "iterations=1", *small)
    del sys.modules["of_my_own"]
    address = f"multirun/own/{keys(folder, 'own')[0]}@1"
    said = run(address, "--export", "out")
    assert "the model and the initial weights cannot be rebuilt: " in said
    assert "--allow of_my_own\n" in said
    assert "it runs" not in said
    assert {path.name for path in (folder / "out").iterdir()} == {"masked.safetensors", "pruned.safetensors"}
    said = run(address, "--allow", "of_my_own", "--no-latency")
    assert "it runs" in said
    assert "draws the recorded initial weights again, bit for bit" in said
    del sys.modules["of_my_own"]


def test_what_cannot_be_compacted_is_told_and_the_rest_written(run, folder, monkeypatch):
    from ltsweep.export import networks

    class Residual(nn.Module):
        def forward(self, x):
            return x + x.relu()

    monkeypatch.setattr(networks, "compact", lambda *_: chain(Residual()))
    said = run(f"multirun/default/{keys(folder)[0]}@1", "--export", "out", "--no-latency")
    assert "\nno compacted network: the model is no plain chain of layers: " in said
    assert {path.name for path in (folder / "out").iterdir()} == {"masked.safetensors", "pruned.safetensors"}


def test_the_help_teaches_without_torch_or_hydra():
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ltsweep.ticket", "--help"], capture_output=True, text=True
    )
    assert "examples:\n  python -m ltsweep.ticket multirun/default/" in ended.stdout
    assert "from ltsweep.ticket import load" in ended.stdout
    modules = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "argparse" in modules
    assert not modules & {"torch", "hydra"}


def test_onnx_without_its_packages_is_one_line(run, folder, monkeypatch):
    monkeypatch.setattr(room, "_ONNX", ("onnx_that_is_not_there",))
    said = run(f"multirun/default/{keys(folder)[0]}@1", "--export", "x", "--onnx", code=2)
    assert "--onnx needs onnx_that_is_not_there: pip install 'ltsweep[onnx]'" in said
    assert not (folder / "x").exists()


def test_onnx_gives_the_outputs_of_the_compacted_network(run, folder):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from onnx.reference import ReferenceEvaluator

    run(f"multirun/default/{keys(folder)[0]}@2", "--export", "x", "--onnx", "--no-latency")
    made = {}
    exec((folder / "x/compact.py").read_text(), made)
    network = made["network"]()
    network.load_state_dict(load_file(folder / "x/compact.safetensors"))
    session, x = ReferenceEvaluator(str(folder / "x/compact.onnx")), torch.randn(7, 1, 8, 8)
    (found,) = session.run(None, {session.input_names[0]: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), network(x), rtol=1e-4, atol=1e-5)


def test_the_example_of_the_page_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert "0123456789abcdef@3" in example
    exec(compile(example.replace("0123456789abcdef", keys(folder)[0]), str(PAGE), "exec"), {})
