"""Each shipped experiment as one command, made tiny: on scikit-learn's digits, a few iterations, a seed."""

import os
import re
import shlex
from pathlib import Path

import ltsweep.conf
import pytest

_SHORT = ("seed=0", "iterations=2", "batch_size=16", "evaluate_every=null", "levels=1")
TINY = ("dataset=digits", "device=cpu", *_SHORT, "evaluate_train=false", "evaluate_test=40")

# Experiment -> what makes it tinier, how many cells it then has, and how many of them train a dense network.
EXPERIMENTS = {
    "one_initialization": (("init=xavier_u,kaiming_n",), 2, 2),
    "reproducibility_report": (("model=lenet_300_100",), 2, 2),
    "lottery_ticket_hypothesis": ((), 2, 1),
    "late_rewinding": (("method.rewind=init,1it",), 2, 1),
    "one_shot": (("method.remaining=[0.5]",), 1, 1),
    "pruning_at_init": ((), 5, 1),
    "hidden_networks": ((), 4, 2),
    "how_to_start_training": (("init=he_n,lecun_n", "model.depth=3"), 2, 2),
    "conv": (("model.width=0.1",), 3, 3),
    "conv_dropout": (("model.width=0.1",), 6, 6),
    "deep": (("model.width=0.1", "method.rewind=init,1it", "lr.warmup=1"), 4, 2),
}


FOLDER = Path(next(iter(ltsweep.conf.__path__))) / "experiment"


def variants() -> list[str]:
    """Return the overrides of the commands in the heads of the YAMLs that ask for more than the experiment alone."""
    heads = [re.sub(r"\\\n#\s+", "", path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))]
    # What is said of a command stands behind it, three spaces off or more.
    found = [re.findall(r"^#   python -m ltsweep (\S.*?)(?: {3}|$)", head, re.MULTILINE) for head in heads]
    every = [line for lines in found for line in lines if " " in line and "<key>" not in line]
    return [line for line in every if "cifar10_jpeg" not in line]  # 60,000 pictures take long to decode


def test_every_experiment_is_tried() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {
        *EXPERIMENTS,
        "transfer",
        "tickets_in_control",
        "tickets_in_language",
    }


@pytest.mark.parametrize("line", variants())
def test_what_an_experiments_head_tells_to_type_is_right(command, line) -> None:
    """As far as it can be told without computing; texts, which nobody downloads, have to be there."""
    data = ()
    if "tickets_in_language" in line:
        folder = Path(os.environ.get("LTSWEEP_DATA", "data")).absolute()
        if not (folder / "wikitext-2").is_dir():
            pytest.skip(f"no texts in {folder}; set LTSWEEP_DATA")
        data = (f"data_dir={folder}",)
    told = command.inside(*shlex.split(line), *data, "device=cpu", "dry_run=true").out
    assert re.search(r"  cells   0 finished, [\d,]+ to compute", told)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_one_command(command, name) -> None:
    tinier, cells, dense = EXPERIMENTS[name]
    command.inside(f"+experiment={name}", *TINY, *tinier)
    found = command.study(name).cells()
    assert len(found) == cells
    assert {folder.status["status"] for folder in found.values()} == {"done"}
    # Cells that differ only in what comes after the dense network share its training.
    assert sum(folder.status.get("dense_of") is None for folder in found.values()) == dense


def test_the_experiment_of_transfer_takes_a_ticket(command) -> None:
    command.inside("study=source", *TINY, "method.controls=[]")
    (key,) = command.study("source").cells()
    command.inside("+experiment=transfer", *TINY, f"method.ticket=source/{key}@1", "optimizer=sgd")
    (folder,) = command.study("transfer").cells().values()
    assert folder.status["status"] == "done"
    assert set(folder.levels["arm"]) == {"ticket", "reinit", "random_ticket"}


def test_tickets_in_control_are_of_both_games_with_the_network_of_each(command) -> None:
    short = ("dataset.updates=1", "dataset.limit=5", "dataset.episodes=2", "validation=2", "evaluate_train=true")
    command.inside(
        "+experiment=tickets_in_control", *TINY[1:], "dataset=cartpole,acrobot", *short, "evaluate_test=null"
    )
    found = {
        folder.config["dataset"]["name"]: folder for folder in command.study("tickets_in_control").cells().values()
    }
    assert {name: folder.config["model"]["hidden"] for name, folder in found.items()} == {
        "cartpole": [128] * 3,
        "acrobot": [256] * 3,
    }
    for folder in found.values():
        assert folder.status["status"] == "done"
        assert set(folder.levels["arm"]) == {"ticket", "reinit", "random_ticket"}
        assert folder.levels["weights_remaining"].iloc[-1] == round(0.8 * folder.levels["weights_total"].iloc[-1])


def test_tickets_in_language_start_early_and_late_by_the_setup_of_each_network(command) -> None:
    folder = command.folder / "data/tinyshakespeare"
    folder.mkdir(parents=True)
    (folder / "input.txt").write_text("".join(chr(97 + 7 * i * i % 26) for i in range(2_000)))
    text = (f"data_dir={folder.parent}", "dataset.sha256=null", "dataset.num_classes=26", "dataset.context=8")
    small = (
        "model=lstm",
        "model.hidden=8",
        "model.embedding=8",
        "validation=50",
        "iterations=102",
        "lr.warmup=2",
        "evaluate_every=null",
    )
    command.inside("+experiment=tickets_in_language", "device=cpu", "seed=0", "levels=1", *text, *small)
    found = command.study("tickets_in_language").cells().values()
    assert sorted(folder.config["method"]["rewind"] for folder in found) == ["100it", "init"]
    assert {folder.status["status"] for folder in found} == {"done"}
    assert all(
        {"lr": folder.config["lr"]["value"], "batch": folder.config["batch_size"]} == {"lr": 1e-2, "batch": 32}
        for folder in found
    )
    assert not {"paper", "late"} & {name for folder in found for name in folder.config["model"]}


def test_the_setups_of_the_paper_follow_the_model(command) -> None:
    """Of a grid over networks, each has its own iterations, rates and batches; the table of them is in no config."""
    command.inside("+experiment=conv", *TINY, "model.width=0.1", "model=conv2,conv6")
    rates = {
        folder.config["model"]["name"]: (folder.config["lr"]["value"], folder.config["prune_rate"]["conv"])
        for folder in command.study("conv").cells().values()
    }
    assert rates == {"conv2": (2e-4, 0.1), "conv6": (3e-4, 0.15)}
    assert not any("paper" in folder.config["model"] for folder in command.study("conv").cells().values())
