"""Every mistake is one line that names it and says what is allowed, exit code 2, before anything is computed."""

import math
import struct

import pytest

# A run that would end at once if the mistake were let through. What a case sets itself is left out.
QUICK = {"dataset": "digits", "levels": "0", "iterations": "1", "device": "cpu"}
SGD = "optimizer=sgd"

# id: (arguments, what the line must say: the offending key or value, and what is allowed)
CASES = {
    **{
        f"unknown {group}": ([f"{group}=nosuch"], [f"{group}/nosuch", choice])
        for group, choice in {
            "model": "lenet_300_100",
            "dataset": "fashion_mnist",
            "init": "kaiming_n_out",
            "optimizer": "adam",
            "lr": "cosine",
            "prune_rate": "half_output",
            "method": "imp",
            "hydra/launcher": "local",
        }.items()
    },
    "unknown experiment": (["+experiment=nosuch"], ["experiment/nosuch", "one_initialization"]),
    "experiment without plus": (["experiment=one_initialization"], ["experiment", "+experiment"]),
    "a number for init": (["init=3"], ["init=3", "name"]),
    "a number for model": (["model=7"], ["model=7", "name"]),
    "numbers for init": (["-m", "init=3,4"], ["init=3,4", "name"]),
    "group set to nothing": (["init=null"], ["init=", "name"]),
    "lr a word": (["lr=abc"], ["lr/abc", "constant"]),
    "lr negative": (["lr=-1"], ["lr.value=-1", "above 0"]),
    "lr zero": (["lr=0"], ["lr.value=0", "above 0"]),
    "lr nan": (["lr=nan"], ["lr.value=nan", "a number"]),
    "lr infinite": (["lr=inf"], ["lr.value=inf", "a number above 0 that is finite"]),
    "lr a list": (["lr=[0.1,0.2]"], ["lr=[0.1,0.2]", "no brackets: lr=0.1,0.2"]),
    "lr a list of names": (["lr=[constant,step]"], ["lr=[constant,step]", "no brackets: lr=constant,step"]),
    "prune_rate a list": (["prune_rate=[0.1]"], ["prune_rate=[0.1]", "no brackets: prune_rate=0.1"]),
    "a list of choices": (["init=[xavier_u,kaiming_n]"], ["init is no list", "no brackets: init=xavier_u,kaiming_n"]),
    "lists swept": (["-m", "model=[lenet5],[lenet_300_100]"], ["model is no list"]),
    "lr.value a word": (["lr.value=abc"], ["lr.value=abc", "a number"]),
    "lr a name and a number": (["lr=constant,0.1"], ["lr=constant,0.1", "lr.value"]),
    "lr true": (["lr.value=true"], ["lr.value=True", "a number"]),
    "prune_rate one": (["prune_rate=1"], ["prune_rate.value=1", "below 1"]),
    "prune_rate zero": (["prune_rate=0"], ["prune_rate.value=0", "above 0"]),
    "prune_rate above one": (["prune_rate=1.5"], ["prune_rate.value=1.5", "below 1"]),
    "a layer type's rate": (["prune_rate=by_type", "prune_rate.fc=1"], ["prune_rate.fc=1", "below 1"]),
    "epochs zero": (["epochs=0"], ["epochs=0", "from 1"]),
    "epochs a word": (["epochs=abc"], ["epochs=abc", "whole number"]),
    "epochs broken": (["epochs=1.5"], ["epochs=1.5", "whole number"]),
    "epochs true": (["epochs=true"], ["epochs=True", "whole number"]),
    "epochs nothing": (["epochs=null"], ["epochs=None", "whole number"]),
    "seed negative": (["seed=-1"], ["seed=-1", "from 0"]),
    "seed a word": (["seed=one"], ["seed=one", "whole number"]),
    "levels negative": (["levels=-1"], ["levels=-1", "from 0"]),
    "batch_size zero": (["batch_size=0"], ["batch_size=0", "from 1"]),
    "batch_size above the data": (["batch_size=100000"], ["batch_size=100000", "1237"]),
    "validation above the data": (["validation=5000"], ["validation=5000", "1437"]),
    "validation is all": (["validation=1437"], ["validation=1437", "1437"]),
    "iterations below zero": (["iterations=-1"], ["iterations=-1", "from 0"]),
    "evaluate_every above the level": (["evaluate_every=100000"], ["evaluate_every=100000", "1 iteration"]),
    "evaluate_every zero": (["evaluate_every=0"], ["evaluate_every=0", "from 1"]),
    "precision": (["precision=half"], ["precision=half", "float32, tf32, bf16"]),
    "precision of a GPU": (["precision=tf32"], ["precision=tf32", "float32 or bf16"]),
    "activation": (["model.activation=foo"], ["model.activation=foo", "leaky_relu"]),
    "negative_slope": (["model.negative_slope=-1"], ["model.negative_slope=-1", "from 0"]),
    "gain a word": (["init.gain=foo"], ["init.gain=foo", "leaky_relu"]),
    "gain negative": (["init.gain=-1"], ["init.gain=-1", "above 0"]),
    "gain nothing": (["init.gain=null"], ["init.gain", "relu"]),
    "fan_mode": (["init=kaiming_n", "init.fan_mode=foo"], ["init.fan_mode=foo", "fan_out"]),
    "scope": (["method.scope=foo"], ["method.scope=foo", "layerwise"]),
    "global at two rates": (["method.scope=global", "prune_rate=half_output"], ["method.scope=global", "uniform"]),
    "global alone": (["method.scope=global"], ["method.scope=global", "add prune_rate=uniform"]),
    "a control": (["method.controls=[foo]"], ["method.controls=foo", "random_mask"]),
    "controls not a list": (["method.controls=reinit"], ["method.controls=reinit", "reinit, random_mask"]),
    "a control twice": (["method.controls=[reinit,reinit]"], ["method.controls", "method.draws"]),
    "a measurement": (["measure=[nosuch]"], ["measure=[nosuch]", "--help"]),
    "a measurement without a list": (["measure=nosuch"], ["measure/nosuch", "weights"]),
    "a score": (["method.score=foo"], ["method.score=foo", "magnitude"]),
    "rewind": (["method.rewind=foo"], ["method.rewind=foo", "init"]),
    "rewind beyond the level": (["method.rewind=2it"], ["method.rewind=2it", "a level has 1"]),
    "rewind beyond its epochs": (["method.rewind=1ep"], ["method.rewind=1ep is iteration", "a level has 1"]),
    "classes as nodes": (["method.scope=nodes"], ["method.scope=nodes", "add prune_rate=but_last"]),
    "a ladder that is too short": (["method.remaining=[0.5]", "levels=2"], ["method.remaining=[0.5]", "levels=2"]),
    "a ladder that rises": (["method.remaining=[0.1,0.5]"], ["method.remaining=[0.1, 0.5]", "falling"]),
    "a scope of another method": (["method=snip", "method.scope=nodes"], ["method.scope=nodes", "global, erk"]),
    "rounds zero": (["method=synflow", "method.rounds=0"], ["method.rounds=0", "from 1"]),
    "rates that leave nothing": (
        ["prune_rate=uniform", "prune_rate.value=0.999", "levels=5"],
        ["levels=5", "no weights from level 2", "levels=1 is"],
    ),
    "nothing left": (["method=snip", "method.remaining=[1e-9]"], ["method.remaining=[1e-09]", "no weights"]),
    "draws zero": (["method.draws=0"], ["method.draws=0", "from 1"]),
    "momentum": ([SGD, "optimizer.momentum=2"], ["optimizer.momentum=2", "below 1"]),
    "weight_decay": (["optimizer.weight_decay=-1"], ["optimizer.weight_decay=-1", "from 0"]),
    "betas": (["optimizer.betas=[2,0.9]"], ["optimizer", "beta", "2"]),
    "betas not a pair": (["optimizer.betas=0.9"], ["optimizer", "betas"]),
    "nesterov without momentum": ([SGD, "optimizer.nesterov=true", "optimizer.momentum=0"], ["optimizer", "momentum"]),
    "milestones": (["lr=step", "lr.milestones=[2]"], ["lr.milestones=[2]", "from 0 and below 1"]),
    "warm-up above the level": (["lr=warmup", "lr.warmup=2"], ["lr.warmup=2", "1 iteration"]),
    "unknown key": (["lerning_rate=1"], ["lerning_rate"]),
    "unknown key of a group": (["init.gian=1"], ["init.gian"]),
    "a key that the group does not take": (["+init.surprise=1"], ["init", "surprise"]),
    "a key that nobody reads": (["+lerning_rate=1"], ["lerning_rate"]),
    "malformed override": (["init=["], ["init=["]),
    "no override at all": (["xavier_u"], ["xavier_u"]),
    "study up": (["study=../x"], ["study=../x", "letters"]),
    "study absolute": (["study=/abs"], ["study=/abs", "letters"]),
    "study nested": (["study=a/b"], ["study=a/b", "letters"]),
    "study empty": (["study="], ["study", "letters"]),
    "study swept": (["study=a,b"], ["study"]),
    "device unknown": (["device=tpu"], ["device=tpu", "cpu"]),
    "device absent": (["device=cuda:7"], ["device=cuda:7", "cpu"]),
    "workers zero": (["workers=0"], ["workers=0", "from 1"]),
    "workers a word": (["workers=many"], ["workers=many", "auto"]),
    "stack_size zero": (["stack_size=0"], ["stack_size=0", "from 1"]),
    "force": (["force=maybe"], ["force=maybe", "true or false"]),
    "bad second cell": (["-m", "lr=0.1,-1"], ["lr.value=-1", "above 0"]),
    "bad second choice": (["-m", "init=xavier_u,nosuch"], ["init/nosuch", "xavier_n"]),
    "bad second cell by the data": (["-m", "batch_size=60,5000"], ["batch_size=5000", "1237"]),
    "bad second cell by its object": (["-m", "init.gain=1,foo"], ["init.gain=foo", "relu"]),
    "bad second method": (
        ["-m", "method.scope=layerwise,global", "prune_rate=half_output"],
        ["method.scope=global", "uniform"],
    ),
}


def with_quick(arguments):
    """Return the arguments and what they leave unset of QUICK, flags first."""
    named = {argument.partition("=")[0] for argument in arguments}
    return [*arguments, *(f"{name}={value}" for name, value in QUICK.items() if name not in named)]


def assert_refused(ended, said):
    """Fail unless stderr is one line that says all of `said`."""
    assert "Traceback" not in ended.out + ended.err
    assert ended.err.endswith("\n")
    assert ended.err.count("\n") == 1, ended.err
    for part in said:
        assert part in ended.err
    assert ended.out == ""


def assert_nothing_left(folder):
    """Fail if anything was written but a study's empty folder and its lock."""
    left = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert left <= {"multirun", "multirun/default", "multirun/default/.lock"}


@pytest.mark.parametrize(("arguments", "said"), CASES.values(), ids=CASES)
def test_a_mistake_is_one_line(command, arguments, said):
    ended = command.inside(*with_quick(arguments), code=2)
    assert_refused(ended, said)
    assert_nothing_left(command.folder)


@pytest.mark.parametrize("case", ["unknown init", "lr negative", "batch_size above the data", "malformed override"])
def test_a_mistake_is_one_line_of_the_real_command(command, case):
    arguments, said = CASES[case]
    # A flag makes it a process of its own, imports and all.
    assert_refused(command(*with_quick(arguments), code=2, python=("-u",)), said)
    assert_nothing_left(command.folder)


def test_a_mistake_is_one_line_with_a_stock_launcher(command):
    ended = command.inside(*with_quick(["-m", "lr=0.1,-1", "hydra/launcher=basic"]), code=2)
    # Hydra says a line of its own about the job; ours is the last.
    assert ended.err.splitlines()[-1].startswith("ltsweep: lr.value=-1 is out of range")
    assert "Traceback" not in ended.out + ended.err


def test_a_traceback_for_who_asks(command):
    """Who writes a config of their own may want to see where it went wrong."""
    ended = command(*with_quick(["lr=-1"]), code=1, HYDRA_FULL_ERROR="1")
    assert "Traceback" in ended.err
    assert "lr.value=-1" in ended.err


def test_two_mistakes_are_still_one_line(command):
    ended = command.inside(*with_quick(["lr=-1", "epochs=0", "seed=-1"]), code=2)
    assert_refused(ended, ["is out of range"])


def test_a_mistake_leaves_finished_cells_alone(command):
    good = with_quick(["-m", "lr=0.1"])
    command.inside(*good)
    before = command.study().snapshot()
    assert before
    command.inside(*with_quick(["-m", "lr=0.1,0"]), "force=true", code=2)
    command.inside(*with_quick(["-m", "batch_size=60,5000", "lr=0.1"]), "force=true", code=2)
    assert command.study().snapshot() == before


def test_multirun_is_a_file(command):
    (command.folder / "multirun").write_text("mine")
    ended = command.inside(*with_quick([]), code=2)
    assert_refused(ended, ["multirun/default", "cannot be written"])
    assert (command.folder / "multirun").read_text() == "mine"


def test_the_study_is_a_file(command):
    (command.folder / "multirun").mkdir()
    (command.folder / "multirun/default").write_text("mine")
    ended = command.inside(*with_quick([]), code=2)
    assert_refused(ended, ["multirun/default", "study="])
    assert (command.folder / "multirun/default").read_text() == "mine"


def test_a_cells_folder_is_a_file(command):
    command.inside(*with_quick([]))
    (key,) = command.study().cells()
    path = command.study().path.rename(command.folder / "elsewhere")
    command.study().path.mkdir()
    (command.study().path / key).write_text("mine")
    ended = command.inside(*with_quick([]), code=2)
    assert_refused(ended, [key])
    assert path.exists()


@pytest.fixture
def no_network(monkeypatch):
    """Every download meets a closed door at once, on this machine and on any other."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "kind"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_data_that_is_not_there_and_cannot_be_downloaded(command, no_network, name, kind):
    ended = command.inside(*with_quick([f"dataset={name}", "data_dir=nowhere"]), code=2)
    assert_refused(ended, [kind, f"nowhere/{kind}/raw", "data_dir", "LTSWEEP_DATA", "dataset=digits"])
    assert list(command.study().path.glob("*/*")) == []


def write_idx(path, shape):
    """Write one file of MNIST's format: a header, then unsigned bytes."""
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    path.write_bytes(header + bytes(math.prod(shape)))


def fake_mnist(folder, train=60_000, test=10_000, side=28, kind="MNIST"):
    raw = folder / kind / "raw"
    raw.mkdir(parents=True)
    for stem, examples in (("train", train), ("t10k", test)):
        write_idx(raw / f"{stem}-images-idx3-ubyte", (examples, side, side))
        write_idx(raw / f"{stem}-labels-idx1-ubyte", (examples,))
    return raw


def cut(raw):
    path = raw / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:100_000])


def cut_labels(raw):
    path = raw / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:50])


def emptied(raw):
    (raw / "t10k-images-idx3-ubyte").write_bytes(b"")


def garbage(raw):
    (raw / "train-labels-idx1-ubyte").write_bytes(b"<html>not found</html>" * 100)


@pytest.mark.parametrize("spoil", [cut, cut_labels, emptied, garbage])
def test_mnist_files_that_cannot_be_read(command, no_network, spoil):
    raw = fake_mnist(command.folder / "data")
    spoil(raw)
    ended = command.inside(*with_quick(["dataset=mnist"]), code=2)
    assert_refused(ended, ["data/MNIST/raw", "truncated", "dataset=digits"])


@pytest.mark.parametrize(
    "sizes", [{"train": 100}, {"test": 100}, {"side": 14}], ids=["few to train", "few to test", "small pictures"]
)
def test_mnist_files_that_are_not_whole(command, no_network, sizes):
    """Of KMNIST, whose files without the compressed ones have no checksum to be held against."""
    fake_mnist(command.folder / "data", **{"train": 60_000, "test": 10_000} | sizes, kind="KMNIST")
    ended = command.inside(*with_quick(["dataset=kmnist"]), code=2)
    assert_refused(ended, ["data/KMNIST/raw", "not whole", "dataset=digits"])


def test_whole_files_that_are_not_mnists(command, no_network):
    fake_mnist(command.folder / "data")
    ended = command.inside(*with_quick(["dataset=mnist"]), code=2)
    assert_refused(ended, ["data/MNIST/raw/train-images-idx3-ubyte is not MNIST's", "SHA-256", "dataset=digits"])


def test_one_mnist_file_missing(command, no_network):
    raw = fake_mnist(command.folder / "data", train=100, test=100)
    (raw / "t10k-labels-idx1-ubyte").unlink()
    ended = command.inside(*with_quick(["dataset=mnist"]), code=2)
    assert_refused(ended, ["data/MNIST/raw", "dataset=digits"])


def test_whole_files_are_read(command, no_network):
    """The fakes above are refused for what is wrong with them, and not for being fakes."""
    fake_mnist(command.folder / "data", kind="KMNIST")
    ended = command.inside(*with_quick(["dataset=kmnist"]), "batch_size=16", "validation=59000")
    assert "1 done" in ended.out
