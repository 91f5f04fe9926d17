"""Hundreds of broken inputs, made systematically: each is one line and exit code 2, and nothing is left of a study."""

import itertools
import json
import struct

import pytest

from ltsweep.schema import VERSION

# A run that would end at once if the mistake were let through.
QUICK = {"dataset": "digits", "levels": "0", "iterations": "1", "device": "cpu"}

# A value of each kind that a number can be mistaken for.
VALUES = ["-1", "0", "1.5", "nan", "99999999999999999999", "abc", "[1]"]
# name: (what must be chosen for it, the values of VALUES that are in its range)
FINE = {
    "seed": ("", {"0"}),
    "levels": ("", {"0"}),
    "epochs": ("", set()),
    "iterations": ("", {"0"}),
    "batch_size": ("", set()),
    "validation": ("", {"0"}),
    "evaluate_every": ("", set()),
    "label_smoothing": ("", {"0"}),
    "clip": ("", {"1.5", "99999999999999999999"}),
    "model.width": ("model=mlp", {"1.5"}),
    "model.dropout": ("model=conv2", {"0"}),
    "model.blocks": ("model=resnet20", set()),
    "method.draws": ("", set()),
    "lr.value": ("", {"1.5", "99999999999999999999"}),
    "lr.warmup": ("lr=warmup", {"0"}),
    "lr.gamma": ("lr=step", set()),
    "prune_rate.value": ("", set()),
    "prune_rate.conv": ("prune_rate=by_type", {"0"}),
    "prune_rate.fc": ("prune_rate=by_type", {"0"}),
    "prune_rate.output": ("prune_rate=by_type", {"0"}),
    "prune_rate.embedding": ("prune_rate=by_type", {"0"}),
    "optimizer.weight_decay": ("", {"0", "1.5"}),
    "optimizer.momentum": ("optimizer=sgd", {"0"}),
    "model.negative_slope": ("", {"0"}),
    "workers": ("", set()),
    "stack_size": ("", set()),
    "checkpoint_every": ("", {"0", "1.5", "99999999999999999999"}),
    "lr": ("", {"1.5", "99999999999999999999"}),
    "prune_rate": ("", set()),
}
NUMBERS = [
    ([choice] * bool(choice) + [f"{name}={value}"])
    for name, (choice, fine) in FINE.items()
    for value in VALUES
    if value not in fine
]
GROUPS = ("model", "dataset", "init", "optimizer", "lr", "prune_rate", "method", "hydra/launcher")
CHOICES = [
    [f"{group}={choice}"]
    for group in GROUPS
    for choice in ("nosuch", "/etc/passwd", "null", "../lr/step", "${nosuch}")
    if (group, choice) != ("lr", "../lr/step")
]
SYNTAX = [
    "lr==1",
    "=3",
    "lr=[",
    "lr={",
    "lr='",
    'lr="',
    "lr=${",
    "lr=${nosuch}",
    "lr=${oc.env:NOSUCH_NAME}",
    "lr=1,",
    "lr=,1",
    "lr=range(",
    "lr=range(1,2,0)",
    "lr=choice()",
    "lr=interval(0,1)",
    "seed=glob(*)",
    "~seed",
    "~lr",
    "~nosuch",
    "+seed=1",
    "++nosuch=1",
    "nosuch",
    "nosuch=1",
    "seed.x=1",
    "lr.nosuch=1",
    "init@nosuch=xavier_u",
    "lr@x=constant",
    "seed=1 2",
    "--nosuch",
    "--config-name=nosuch",
    "--config-dir=nosuch",
    "--config-path=nosuch",
    "+experiment=",
    "+experiment=../x",
    "hydra.sweeper.nosuch=1",
    "hydra/sweeper=nosuch",
    "seed=\u0000",
    "\u00fc=1",
    "method.controls=[",
    "method.controls=[1]",
    "method.controls=[[]]",
    "method.controls=null",
    "method.scope=[layerwise]",
    "dataset.name=null",
    "init.name=null",
    "init._target_=nosuch",
    "init._target_=os.nosuch",
    "init._target_=null",
    "init._target_=3",
    "dataset._target_=os.getcwd",
    "model._target_=builtins.dict",
    "optimizer._target_=torch.optim.Nosuch",
    "method._target_=ltsweep.method.Nosuch",
    "prune_rate._target_=math.nosuch",
    "lr._target_=ltsweep.optim.nosuch",
    "dataset.input_shape=[1,28,28]",
    "dataset.input_shape=3",
    "dataset.num_classes=2",
    "dataset.num_classes=abc",
    "force=1",
    "force=null",
    "force=[true]",
    "device=null",
    "device=3",
    "device=cuda:x",
    "device=cuda:-1",
    "device=CPU",
    "device=''",
]
STUDIES = [
    "../x",
    "/abs",
    "a/b",
    "",
    ".",
    "..",
    "~",
    "~/x",
    "a b",
    "a\tb",
    ".hidden",
    "-x",
    "a:b",
    "a;b",
    "$HOME",
    "x/../../y",
    "null/",
    "*",
    "é",
]


def fill_up(arguments):
    """Return the arguments and what they leave unset of QUICK."""
    named = {argument.partition("=")[0] for argument in arguments}
    return [*arguments, *(f"{name}={value}" for name, value in QUICK.items() if name not in named)]


def name_of(arguments):
    return " ".join(arguments).encode("unicode_escape").decode() or "(nothing)"


def assert_one_line(ended):
    assert "Traceback" not in ended.out + ended.err
    assert ended.err.startswith("ltsweep: ")
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.endswith("\n")
    assert len(ended.err) > len("ltsweep: ....")
    assert ended.out == ""


def assert_no_study(folder):
    left = {str(path.relative_to(folder)) for path in folder.rglob("*")} - {"mine"}
    assert not [name for name in left if name.startswith("multirun/default/") and name != "multirun/default/.lock"]
    assert {name.partition("/")[0] for name in left} <= {"multirun", "conf", "data"}


@pytest.mark.parametrize("arguments", [*NUMBERS, *CHOICES, *([text] for text in SYNTAX)], ids=name_of)
def test_a_broken_override(command, arguments):
    assert_one_line(command.inside(*fill_up(arguments), code=2))
    assert_no_study(command.folder)


@pytest.mark.parametrize("name", STUDIES, ids=lambda name: name.encode("unicode_escape").decode() or "(nothing)")
def test_a_study_whose_name_is_no_name(command, name):
    outside = set(command.folder.parent.iterdir())
    assert_one_line(command.inside(*fill_up([f"study={name}"]), code=2))
    assert list(command.folder.iterdir()) == []
    assert set(command.folder.parent.iterdir()) == outside


TEXTS = {
    "torn": "name: mine\n_target_: ltsweep.init.xavier",
    "empty": "",
    "tabs": "name:\tmine\n\t_target_: x\n",
    "a list": "- name: mine\n",
    "a word": "mine",
    "a number": "3",
    "unclosed": "name: [mine\n",
    "unclosed text": "name: 'mine\n",
    "no name": "_target_: ltsweep.init.xavier_uniform\n_partial_: true\n",
    "no target": "name: mine\n",
    "no such module": "name: mine\n_target_: nosuch.thing\n_partial_: true\n",
    "no such function": "name: mine\n_target_: ltsweep.init.nosuch\n_partial_: true\n",
    "no function": "name: mine\n_target_: math.pi\n_partial_: true\n",
    "another key": "name: mine\n_target_: ltsweep.init.xavier_uniform\n_partial_: true\nsurprise: 1\n",
    "an object of Python": "name: mine\n_target_: !!python/object/apply:os.system [touch mine]\n",
    "no such interpolation": "name: mine\n_target_: ${nosuch}\n",
    "itself": "name: ${init.name}\n_target_: ltsweep.init.xavier_uniform\n",
    "no such default": "defaults: [nosuch]\nname: mine\n",
    "its own default": "defaults: [mine]\nname: mine\n",
    "the same key twice": "name: mine\nname: yours\n_target_: nosuch.thing\n",
    "bytes": b"\x00\x01\x02\xff",
    "utf-16": "name: mine\n".encode("utf-16"),
    "html": "<html>not found</html>",
    "deep": "name: " + "[" * 200,
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("group", ["init", "model"])
def test_a_broken_yaml_file(command, group, text):
    path = command.folder / "conf" / group / "mine.yaml"
    path.parent.mkdir(parents=True)
    content = TEXTS[text]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_one_line(command.inside("--config-dir", "conf", *fill_up([f"{group}=mine"]), code=2))
    assert_no_study(command.folder)


# -- data files

PICTURES = struct.pack(">4i", 2051, 10_000, 28, 28) + bytes(10_000 * 784)
CONTENTS = {
    "missing": None,
    "empty": b"",
    "a header alone": struct.pack(">4i", 2051, 60_000, 28, 28),
    "torn": PICTURES[:5000],
    "html": b"<html>not found</html>" * 100,
    "other sizes": struct.pack(">4i", 2051, 10, 14, 14) + bytes(10 * 196),
    "another type": struct.pack(">4i", 3331, 10, 28, 28) + bytes(10 * 784 * 4),
    "a huge header": struct.pack(">4i", 2051, 2**31 - 1, 2**31 - 1, 2**31 - 1),
    "compressed": b"\x1f\x8b\x08\x00" + bytes(100),
    "a folder": "folder",
}
DATA_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture
def no_network(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("kind", ["MNIST", "KMNIST"])
def test_a_broken_data_file(command, no_network, kind, content):
    spoilt = DATA_FILES[0]
    raw = command.folder / "data" / kind / "raw"
    raw.mkdir(parents=True)
    for name in DATA_FILES:
        if name != spoilt:
            (raw / name).write_bytes(CONTENTS["torn"])
    if CONTENTS[content] == "folder":
        (raw / spoilt).mkdir()
    elif CONTENTS[content] is not None:
        (raw / spoilt).write_bytes(CONTENTS[content])
    ended = command.inside(*fill_up([f"dataset={kind.lower()}"]), code=2)
    assert_one_line(ended)
    assert f"data/{kind}/raw" in ended.err
    assert_no_study(command.folder)


# -- records of another version, and an environment that is not what it should be


@pytest.mark.parametrize("schema", [-1, 0, 3, 99, 10**9])
def test_records_of_another_version(command, schema):
    command.inside(*fill_up([]))
    (cell,) = command.study().cells().values()
    status = {name: value for name, value in cell.status.items() if name != "sha256"}
    (cell.path / "status.json").write_text(json.dumps(status | {"schema": schema}))
    before = command.study().snapshot()
    ended = command.inside(*fill_up([]), code=2)
    assert_one_line(ended)
    which = "a newer" if schema > VERSION else "an older"
    assert f"{cell.path.name}/status.json was written by {which} ltsweep" in ended.err
    assert command.study().snapshot() == before


ENVIRONMENTS = [
    {"LTSWEEP_DATA": "/dev/null"},
    {"LTSWEEP_DATA": ""},
    {"LTSWEEP_DATA": "a\nb"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_a_broken_environment(command, no_network, environment):
    """Through the real command, which alone sees it as a user's shell gives it."""
    ended = command("dataset=mnist", "levels=0", "iterations=1", "device=cpu", code=2, **environment)
    assert_one_line(ended)
    assert list(command.study().path.glob("*/*")) == []


def test_there_are_more_than_three_hundred():
    records = 7 * 6 + 6  # of tests/command/test_reliability_disk.py
    counted = [*NUMBERS, *CHOICES, *SYNTAX, *STUDIES, *itertools.product(TEXTS, range(2))]
    counted += [*itertools.product(CONTENTS, range(2)), *ENVIRONMENTS, *range(6)]
    print(f"{len(counted)} broken inputs here, and {records} broken records")
    assert len(counted) > 300
