import copy
import json
import math
import os
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from ltsweep.errors import UserError
from ltsweep.grid import check as check_module
from ltsweep.grid import key as key_module
from ltsweep.grid.cell import Cell, from_config, register_resolver
from ltsweep.grid.check import GROUPS, check
from ltsweep.grid.key import key
from ltsweep.schema import EXTENT, SETTINGS, VERSION

OVERRIDES = ("dataset=digits", "lr=step", "prune_rate=by_type", "optimizer=sgd", "init=kaiming_u")


@pytest.fixture(scope="module")
def base(compose):
    """Return a cell that has nearly every kind of setting."""
    return from_config(compose(*OVERRIDES))


def leaves(config, path=()):
    """Yield the path and value of everything in a config that is not a mapping."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def put(config, path, value):
    changed = copy.deepcopy(config)
    node = changed
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = value
    return changed


def other(value):
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, "more"]
    return f"{value}_other"


def test_a_key_is_16_hexadecimal_digits_of_the_whole_config(base):
    assert len(base.key) == 16
    assert set(base.key) <= set("0123456789abcdef")
    assert base.key == key(base.config)


def test_everything_but_the_settings_enters_the_key(compose, base):
    composed = set(map(str, compose(*OVERRIDES)))
    assert composed - set(base.config) == {
        "study", "data_dir", "device", "workers", "stack_size", "checkpoint_every", "force", "dry_run", "objective",
        "max_cells",
    }  # fmt: skip
    assert "measure" in SETTINGS


def test_every_value_changes_the_key(base):
    paths = [path for path, _ in leaves(base.config)]
    assert len(paths) > 40
    assert {("seed",), ("lr", "milestones"), ("method", "controls"), ("dataset", "input_shape")} <= set(paths)
    keys = {base.key}
    extent = [path for path in paths if ".".join(path) in EXTENT]
    assert len(extent) == len(EXTENT)
    for path, value in leaves(base.config):
        changed = [put(base.config, path, new) for new in (other(value), None if value is not None else 0)]
        keys |= {key(config) for config in changed}
        if path in extent:  # by which a cell grows
            assert {key(config) for config in changed} == {base.key}
            assert base.key not in {key(config, 1) for config in changed}
    assert len(keys) == 1 + 2 * (len(paths) - len(extent))


def test_a_value_added_or_missing_changes_the_key(base):
    assert key({**base.config, "new": 0}) != base.key
    assert key({n: v for n, v in base.config.items() if n != "iterations"}) != base.key


@pytest.mark.parametrize(
    "override",
    [
        "study=other",
        "data_dir=/elsewhere",
        "device=cpu",
        "workers=3",
        "stack_size=2",
        "checkpoint_every=1",
        "force=true",
        "hydra.verbose=true",
    ],
)
def test_where_and_how_the_work_is_done_changes_no_key(compose, base, override):
    assert from_config(compose(*OVERRIDES, override)).key == base.key


def test_data_dir_of_the_environment_changes_no_key(compose, base, monkeypatch):
    monkeypatch.setenv("LTSWEEP_DATA", "/elsewhere")
    assert from_config(compose(*OVERRIDES)).key == base.key


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("lr.value=1", "lr.value=1.0"),
        ("lr.value=1", "lr.value=1e0"),
        ("optimizer.momentum=0", "optimizer.momentum=0.0"),
        ("lr.value=0.1", "lr.value=1e-1"),
        ("lr.milestones=[0,0.5]", "lr.milestones=[0.0,0.5]"),
    ],
)
def test_a_number_has_one_key_however_it_is_written(compose, base, one, two):
    first, second = (from_config(compose(*OVERRIDES, override)).key for override in (one, two))
    assert first == second != base.key


def test_true_is_not_one(base):
    config = put(base.config, ("optimizer", "nesterov"), True)
    assert key(config) != key(put(config, ("optimizer", "nesterov"), 1))


def test_the_order_of_names_changes_no_key_but_that_of_lists_does(base):
    def turned(config):
        return {n: turned(v) if isinstance(v, dict) else v for n, v in reversed(list(config.items()))}

    assert key(turned(base.config)) == base.key
    first = put(base.config, ("lr", "milestones"), [0.5, 0.75])
    assert key(first) != key(put(base.config, ("lr", "milestones"), [0.75, 0.5]))


def test_an_interpolated_value_is_its_number(compose):
    """A group of numbers says the same, spelled out or by its default."""
    spelled = from_config(compose(*OVERRIDES, "prune_rate.value=0.3", "prune_rate.conv=0.3"))
    assert spelled.config["prune_rate"]["fc"] == 0.3
    assert spelled.key == from_config(compose(*OVERRIDES, "prune_rate.value=0.3")).key


def test_the_key_is_the_same_in_another_process(base):
    code = "import json, sys; from ltsweep.grid.key import key; print(key(json.load(sys.stdin)))"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    text = json.dumps(base.config)
    answer = subprocess.run(
        [sys.executable, "-c", code], input=text, env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == base.key


def test_the_record_schema_enters_the_key(base, monkeypatch):
    assert len({key(base.config, version) for version in (1, 2, 3)}) == 3
    assert key(base.config) == key(base.config, VERSION)


def test_the_resolver_gives_the_key(compose, base):
    register_resolver()
    config = compose(*OVERRIDES)
    OmegaConf.update(config, "hydra", {"sweep": {"subdir": "${cell_key:}"}}, force_add=True)
    assert config.hydra.sweep.subdir == base.key


def test_a_cell_is_plain_and_resolved(base):
    assert json.loads(json.dumps(base.config)) == base.config
    assert base.config["validation"] == 200
    assert base.config["model"]["input_shape"] == [1, 8, 8]
    assert "${" not in json.dumps(base.config)


def test_stacks_split_by_everything_but_what_may_vary_within_one(base):
    def stack_key(config):
        return Cell(config, key(config)).stack_key

    within, keys = set(), {base.stack_key}
    for path, value in leaves(base.config):
        changed = stack_key(put(base.config, path, other(value)))
        if changed == base.stack_key:
            within.add(path)
        else:
            assert changed not in keys
            keys.add(changed)
    groups = ("init", "prune_rate")
    expected = {path for path, _ in leaves(base.config) if path[0] in groups}
    assert within == expected | {("seed",), ("lr", "value"), ("optimizer", "weight_decay")}


def test_cells_of_other_inits_and_rates_stack_together(compose, base):
    for overrides in (["init=orthogonal"], ["prune_rate=uniform"], ["init=pytorch", "seed=3", "lr.value=0.7"]):
        cell_ = from_config(
            compose(*(o for o in OVERRIDES if o.split("=")[0] != overrides[0].split("=")[0]), *overrides)
        )
        assert cell_.key != base.key
        assert cell_.stack_key == base.stack_key


def test_an_optimizer_without_weight_decay_stacks_too(base):
    config = copy.deepcopy(base.config)
    del config["optimizer"]["weight_decay"]
    assert len(Cell(config, key(config)).stack_key) == 16


def test_taking_the_stack_key_leaves_the_config_alone(base):
    before = copy.deepcopy(base.config)
    assert Cell(base.config, base.key).stack_key == base.stack_key
    assert base.config == before


BAD = {
    "seed": (["-1", "1.5", "true", "one", "null", str(2**63)], "whole number from 0"),
    "levels": (["-1", "2.5", "1001", "null"], "whole number from 0 to 1,000"),
    "epochs": (["0", "-3", "0.5", "null"], "whole number from 1"),
    "iterations": (["-1", "1.5", "many"], "whole number from 0"),
    "batch_size": (["0", "-60", "1.5", "null"], "whole number from 1"),
    "validation": (["-1", "0.1", "true"], "whole number from 0"),
    "evaluate_every": (["0", "2.5"], "whole number from 1"),
    "evaluate_train": (["0", "-1", "1.5", "null", "some"], "true or false, or a whole number from 1"),
    "evaluate_test": (["0", "-1", "1.5", "true"], "a whole number from 1"),
    "precision": (["half", "fp32", "null", "16"], "one of float32, tf32, bf16"),
    "label_smoothing": (["1", "-0.1", "nan", "null", "some"], "number from 0 and below 1"),
    "clip": (["0", "-1", "inf", "nan", "on"], "number above 0"),
    "lr.value": (["0", "-0.1", "nan", "inf", "fast", "null", "true", "1e400"], "number above 0"),
    "lr.warmup": (["-1", "0.5"], "whole number from 0"),
    "lr.gamma": (["0", "-0.5", "1.5"], "number above 0 to 1"),
    "prune_rate.value": (["0", "1", "-0.2", "1.5", "nan", "half"], "number above 0 and below 1"),
    "prune_rate.conv": (["1", "-0.1", "nan"], "number from 0 and below 1"),
    "prune_rate.fc": (["1", "-0.1"], "number from 0 and below 1"),
    "prune_rate.output": (["1", "-0.1"], "number from 0 and below 1"),
    "optimizer.weight_decay": (["-1e-4", "nan", "none"], "number from 0"),
    "optimizer.momentum": (["1", "-0.1", "1.5"], "number from 0 and below 1"),
    "optimizer.nesterov": (["1", "yes", "null"], "true or false"),
    "model.negative_slope": (["-0.1", "1.5", "nan"], "number from 0 to 1"),
    "method.draws": (["0", "1.5", "1001"], "whole number from 1 to 1,000"),
    "dataset.mean": (["nan", "grey", "null", "[0.5,a]", "9" * 400], "a number, or a list, each of it a number"),
    "dataset.std": (["0", "-1", "nan", "9" * 400, "[1,0]"], "number above 0"),
    "dataset.augment": (
        ["null", "flip", "[flap]", "[flip,flip]", "[1]"],
        "a list of some of crop, flip, cutout, each once",
    ),
    **{
        f"{name}.input_shape": (["[]", "[0]", "[1,-8,8]", "[1.5]", "3", "null", f"[{'9' * 30}]"], "a list of 1 to 8")
        for name in ("model", "dataset")
    },
    **{f"{name}.num_classes": (["0", "-1", "ten", "9" * 30], "whole number from 1") for name in ("model", "dataset")},
    **{
        f"{name}.name": (["a/b", "'a\x1bb'", "x" * 65, "' '", "''", "'\u202ea'"], "a name of up to 64")
        for name in GROUPS
    },
    "dataset.input_dtype": (["float64", "int", "null"], "one of float32, int64"),
    "dataset.label_shape": (["[0]", "[-8]", "[1.5]", "3", "null"], "a list, each of it a whole number from 1"),
    "lr.milestones": (["[0.5,1]", "[-0.1]", "[a]", "0.5", "[nan]"], "number from 0 and below 1"),
}
# Fields that digits lack -> a data set that has them.
ELSEWHERE = dict.fromkeys(("dataset.mean", "dataset.std"), "dataset=mnist")
ELSEWHERE |= dict.fromkeys(("dataset.input_dtype", "dataset.label_shape"), "dataset=tiny_shakespeare")


def test_every_rule_is_tested():
    assert set(check_module.RULES) | {"lr.milestones", "lr.gamma"} == set(BAD)


@pytest.mark.parametrize("name", BAD)
def test_a_value_out_of_range_is_one_line_that_names_it_and_what_is_allowed(compose, name):
    values, allowed = BAD[name]
    overrides = (
        (*OVERRIDES, "stop=at_accuracy")
        if name == "stop.name"
        else OVERRIDES
        if name not in ELSEWHERE
        else (ELSEWHERE[name], *OVERRIDES[1:])
    )
    for value in values:
        config = compose(*overrides, f"{name}={value}")
        with pytest.raises(UserError) as caught:
            from_config(config)
        text = str(caught.value)
        assert text.startswith(f"{name}=")
        assert allowed in text
        assert "out of range" in text
        assert "\n" not in text


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("seed", ["0", str(2**63 - 1)]),
        ("levels", ["0", "1000"]),
        ("iterations", ["null", "0", "1"]),
        ("evaluate_every", ["null", "1"]),
        ("evaluate_train", ["true", "false", "1", "1000000000"]),
        ("dataset.augment", ["[]", "[flip]", "[cutout,flip,crop]"]),
        ("validation", ["0"]),
        ("precision", ["float32", "tf32", "bf16"]),
        ("label_smoothing", ["0", "0.999"]),
        ("clip", ["null", "1e-9", "1000"]),
        ("lr.value", ["1e-9", "1000", "1", "1e4", "1e300"]),
        ("lr.gamma", ["1", "0.01"]),
        ("lr.milestones", ["[]", "[0,0.999]"]),
        ("prune_rate.value", ["0.001", "0.999"]),
        ("prune_rate.conv", ["0", "0.999"]),
        ("optimizer.momentum", ["0", "0.999"]),
        ("optimizer.weight_decay", ["0", "1000"]),
        ("model.negative_slope", ["0", "1"]),
    ],
)
def test_the_ends_of_a_range_are_allowed(compose, name, values):
    for value in values:
        number = compose(*OVERRIDES, f"{name}={value}")
        whole = OmegaConf.to_container(number, resolve=True)
        for group, left_out in (("model", "largest_stack"), ("model", "how"), ("lr", "rules"), ("prune_rate", "rules")):
            whole[group].pop(left_out, None)
        assert from_config(number).config == {n: v for n, v in whole.items() if n not in SETTINGS}


def test_a_name_that_a_config_lacks_is_not_looked_at(base):
    config = copy.deepcopy(base.config)
    del config["optimizer"]["momentum"], config["lr"]["gamma"]
    check(config)


def test_a_missing_or_unresolvable_value_is_one_line(compose):
    for value in ("???", "${no.such.name}"):
        config = compose(*OVERRIDES)
        config.lr.value = value
        with pytest.raises(UserError) as caught:
            from_config(config)
        assert "\n" not in str(caught.value)


def test_infinity_has_a_key(base):
    assert key(put(base.config, ("lr", "value"), math.inf)) != base.key


def test_the_largest_stack_of_a_model_is_no_part_of_its_key(compose):
    one, other = (from_config(compose(f"model.largest_stack={{cpu: {n}}}")) for n in (3, 4))
    assert one.key == other.key == from_config(compose("~model.largest_stack")).key
    assert (one.largest_stack["cpu"], other.largest_stack["cpu"]) == (3, 4)


@pytest.mark.parametrize(
    "override",
    [
        "model.largest_stack=3",
        "model.largest_stack.cpu=0",
        "model.largest_stack.cpu=many",
        "+model.largest_stack.gpu=3",
    ],
)
def test_a_largest_stack_that_is_none_is_refused(compose, override):
    with pytest.raises(UserError, match=r"model.largest_stack=.* is out of range"):
        from_config(compose(override))


# -- growth


def test_a_field_that_means_what_the_code_always_did_keeps_the_key(base, monkeypatch):
    """With its neutral value a field is as if it were not there; any other value, default or not, is another cell."""
    monkeypatch.setattr(key_module, "NEUTRAL", {"lr.shape": "round", "patience": 0})
    grown = put({**base.config, "patience": 0}, ("lr", "shape"), "round")
    assert key(grown) == key(base.config)
    assert len({key(base.config), key({**grown, "patience": 1}), key(put(grown, ("lr", "shape"), "flat"))}) == 3
    before = copy.deepcopy(grown)
    key(grown)
    assert grown == before


def test_a_changed_default_gives_a_new_key_though_the_field_has_a_neutral_value(base, compose):
    """What counts is what the code did before the field existed, not what conf/ says now."""
    config = compose(*OVERRIDES)
    assert from_config(config).key == base.key
    assert config.method.score == key_module.NEUTRAL["method.score"]
    config.method.score = "another"  # as if the YAML said so
    assert from_config(config).key != base.key


def test_a_field_is_neutral_only_with_a_value_of_its_type(base):
    """1 is true to Python, and to `evaluate_train` one example in place of all."""
    keys = {value: key({**base.config, "evaluate_train": value}) for value in (False, 2)}
    assert len({*keys.values(), key({**base.config, "evaluate_train": 1}), base.key}) == 4
    assert key({**base.config, "evaluate_train": True}) == base.key


def test_a_cell_from_before_a_field_is_whole_without_it(base):
    for name in ("evaluate_train", "dataset.augment", "method.score"):
        older = key_module.without(base.config, name)
        check_module.check(older)
        assert key(older) == base.key


def test_the_neutral_fields_are_left_out_of_the_hash_alone(base):
    assert base.config["method"]["score"] == "magnitude"
    assert key(key_module.without(base.config, "method.score")) == base.key


def test_a_choice_brings_rules_and_fields_that_decide_no_number(compose):
    config = compose(*OVERRIDES)
    OmegaConf.set_struct(config, False)
    config.model.depth = 3
    plain = from_config(config)
    config.model.threads = 7
    config.model.how = ["threads"]
    config.model.rules = {"depth": {"whole": [1, 5]}}
    found = from_config(config)
    assert found.key == plain.key
    assert found.config == plain.config
    assert found.how["model"] == {"threads": 7, "largest_stack": {"cpu": 8, "cuda": 128}}
    config.model.depth = 6
    with pytest.raises(UserError, match=r"^model\.depth=6 is out of range: .* is a whole number from 1 to 5$"):
        from_config(config)


def test_groups_are_the_folders_of_conf():
    assert set(check_module.GROUPS) == {"dataset", "init", "lr", "method", "model", "optimizer", "prune_rate", "stop"}


@pytest.mark.parametrize(
    ("field", "value"), [("rules", [1]), ("rules", 3), ("how", 3), ("how", "largest_stack"), ("how", [1])]
)
def test_rules_and_how_of_another_form_are_one_line(compose, field, value):
    config = compose(*OVERRIDES)
    OmegaConf.set_struct(config, False)
    config.model[field] = value
    with pytest.raises(UserError, match=rf"^model\.{field}=.* is out of range"):
        from_config(config)
