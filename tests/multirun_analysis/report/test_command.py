"""The command of a cell, taken apart by a shell and composed by Hydra, gives that cell: the same key."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import pytest
import yaml

from ltsweep.grid.key import key
from ltsweep.schema import SETTINGS
from multirun_analysis import configs
from multirun_analysis.load import load
from multirun_analysis.report import command


def composed(arguments: Sequence[str], cwd: Path) -> str:
    """Compose a config by the real command without running it."""
    run = subprocess.run(
        [sys.executable, "-m", "ltsweep", *arguments, "--cfg", "job", "--resolve"],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["dataset=digits"],
        [
            "init=kaiming_n_out",
            "lr=step",
            "lr.value=0.003",
            "prune_rate=uniform",
            "prune_rate.value=0.36",
            "seed=7",
            "method.controls=[reinit,random_mask]",
            "method.draws=2",
            "epochs=3",
            "study=other",
        ],
        [
            "model=lenet5",
            "model.activation=leaky_relu",
            "model.negative_slope=0.2",
            "init=he_n",
            "init.gain=tanh",
            "iterations=500",
            "validation=0",
            "optimizer=sgd",
            "optimizer.momentum=0.5",
            "lr=1",
        ],
    ],
)
def test_a_command_composes_to_the_same_cell(tmp_path: Path, overrides: list[str]) -> None:
    cell = yaml.safe_load(composed(overrides, tmp_path))
    own = {name: value for name, value in cell.items() if name not in SETTINGS}
    folder = tmp_path / "study" / key(own)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(own, sort_keys=False))
    (folder / "status.json").write_text('{"schema": 1, "status": "pending", "level": -1, "seconds": 0.0}')
    (said,) = command.commands(load(tmp_path / "study").cells, "study")["command"]
    python, dash_m, module, *arguments = shlex.split(said)
    assert (python, dash_m, module) == ("python", "-m", "ltsweep")
    assert arguments[-1] == "study=study"
    again = yaml.safe_load(composed(arguments, tmp_path))
    assert key({name: value for name, value in again.items() if name not in SETTINGS}) == key(own)


@pytest.mark.parametrize("group", ["dataset", "init", "lr", "model", "optimizer", "prune_rate", "stop"])
def test_the_defaults_are_those_that_omegaconf_resolves(group: str) -> None:
    from omegaconf import OmegaConf

    conf = resources.files("ltsweep.conf")
    usual = dict(command._groups())
    for file in sorted((conf / group).iterdir(), key=str):
        if file.name == "like.yaml":  # it names a file whose hash the command alone reads
            continue
        choices = usual | {group: file.name.removesuffix(".yaml")}
        config = OmegaConf.create((conf / "config.yaml").read_text())
        for name in ("defaults", "hydra"):
            config.pop(name)
        for each, choice in choices.items():
            if choice:
                config[each] = OmegaConf.create((conf / each / f"{choice}.yaml").read_text())
        resolved = OmegaConf.to_container(config, resolve=True)
        assert command._defaults(tuple(choices.items())) == configs.values(resolved)


@pytest.mark.parametrize(
    ("name", "threshold", "more"), [("at_accuracy", 0.2, []), ("mine", 0.3, ["--config-dir", "MY_CONF"])]
)
def test_a_group_of_which_none_is_chosen_by_default(
    write_cell: Callable[..., str], tmp_path: Path, name: str, threshold: float, more: list[str]
) -> None:
    write_cell(stop={"name": name, "_target_": "a.b", "threshold": threshold, "score": "test_accuracy"})
    (said,) = command.commands(load(tmp_path / "made_up").cells, "made up")["command"]
    assert [word for word in shlex.split(said)[3:] if "stop" in word or word in more] == [*more, f"stop={name}"]


def test_only_what_differs_from_the_defaults_is_said(write_cell: Callable[..., str], tmp_path: Path) -> None:
    write_cell(init="xavier_u", seed=3, model="lenet5", lr=0.1, method__controls=["reinit"], method__draws=1)
    (said,) = command.commands(load(tmp_path / "made_up").cells, "made up")["command"]
    words = shlex.split(said)[3:]
    assert {"init=xavier_u", "seed=3", "model=lenet5", "lr.value=0.1", "method.controls=[reinit]"} <= set(words)
    assert words[-1] == "study=made up"
    assert not {"levels=15", "epochs=5", "optimizer=adam", "init.gain=1"} & set(words)


def test_a_saved_ticket_is_said_by_name_and_hash(write_cell: Callable[..., str], tmp_path: Path) -> None:
    named = {"method__ticket": "s/0123456789abcdef@3", "method__ticket_sha256": "0" * 64}
    write_cell(method="transfer", **named)
    (said,) = command.commands(load(tmp_path / "made_up").cells, "s")["command"]
    words = {"method=transfer", "method.ticket=s/0123456789abcdef@3", f"method.ticket_sha256={'0' * 64}"}
    assert words <= set(shlex.split(said))


def test_a_choice_of_ones_own_is_said_by_name_and_a_torn_config_has_no_command(
    write_cell: Callable[..., str], tmp_path: Path
) -> None:
    write_cell(init="mine", init__width=3)
    (tmp_path / "made_up" / write_cell(seed=1) / "config.yaml").write_text("{")
    cells = load(tmp_path / "made_up").cells
    found = command.commands(cells, "s").groupby(cells["status"].astype("str")).first()
    assert "init=mine" in found["command"]["done"]
    assert "width" not in found["command"]["done"]
    assert found.loc["unreadable"].tolist() == ["", "it cannot be read"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hydra.searchpath": ["pkg://evil"]}, "config.hydra.searchpath"),
        ({"+hydra": 1}, "config.+hydra"),
        ({"init._target_": "os.system"}, "init._target_"),
        ({"init": {"name": "xavier_n", "x y=$(touch /tmp/x)": 1}}, "init.x y=$(touch /tmp/x)"),
        ({"init": {"name": "xavier_n,kaiming_n"}}, "init=xavier_n,kaiming_n"),
        ({"init": {"name": "../../../etc/passwd"}}, "init=../../../etc/passwd"),
        ({"init": {"name": "x" * 300}}, "init=xxx"),
        ({"init": {"name": "xavier_n", "gain": "{_target_: os.system}"}}, "init.gain={_target_: os.system}"),
        ({"init": {"name": "xavier_n", "gain": "${oc.env:HOME}"}}, "init.gain=${oc.env:HOME}"),
        ({"init": {"name": "xavier_n", "gain": "1,2"}}, "init.gain=1,2"),
        ({"precision": "glob(*)"}, "precision=glob(*)"),
        ({"precision": "a/b"}, "precision=a/b"),
        ({"precision": "../a/0123456789abcdef@1"}, "precision=../a/0123456789abcdef@1"),
        ({"optimizer": {"name": "adam", "betas": [[1], {"a": "$(b)"}]}}, "optimizer.betas=[["),
        ({"epochs": "1 --config-dir=/tmp/evil"}, "epochs=1 --config-dir=/tmp/evil"),
    ],
)
def test_a_foreign_config_gets_no_command_that_says_more_than_it_may(
    write_cell: Callable[..., str],
    seal: Callable[..., None],
    tmp_path: Path,
    changes: dict[str, object],
    says: str,
) -> None:
    old = tmp_path / "made_up" / write_cell(levels=0, epochs=1)
    config = yaml.safe_load((old / "config.yaml").read_text()) | changes
    cell = old.rename(old.with_name(key(config)))
    (cell / "config.yaml").write_text(yaml.safe_dump(config))
    seal(cell, json.loads((cell / "status.json").read_text()) | {"key": cell.name})
    cells = load(tmp_path / "made_up").cells
    ((said, why),) = command.commands(cells, "s").to_numpy().tolist()
    assert cells["status"].tolist() == ["done"]
    assert said == ""
    assert why.startswith(f"no command says {says}")
    assert len(why) < 120


@pytest.mark.parametrize("name", ["$(touch x)", "a;b", "${x}", "a,b", "a\nb"])
def test_a_study_of_a_strange_name_has_no_command(write_cell: Callable[..., str], tmp_path: Path, name: str) -> None:
    write_cell(levels=0, epochs=1)
    ((said, why),) = command.commands(load(tmp_path / "made_up").cells, name).to_numpy().tolist()
    assert (said, why[:22]) == ("", "no command says study=")
