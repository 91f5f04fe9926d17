import math

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from ltsweep.errors import UserError
from ltsweep.grid.overrides import NAME_GROUPS, rewrite
from ltsweep.schema import NUMBERED


@pytest.mark.parametrize("group", ["lr", "prune_rate"])
@pytest.mark.parametrize(
    "value",
    [
        "0.1",
        "1",
        "1.2e-3",
        "1E-3",
        "-0.1",
        "+0.1",
        ".5",
        "5.",
        "1_000",
        "nan",
        "inf",
        "0.1,0.2",
        "1.2e-3, 0.1",
        "-1,1",
        "choice(0.1,0.2)",
        "choice(0.1)",
        "range(1,5)",
        "range(0.1,0.5,step=0.1)",
        "range(3)",
        "interval(0.1,1)",
        "sort(0.2,0.1)",
        "shuffle(0.1,0.2,0.3)",
        "shuffle(range(1,4))",
        "tag(some,choice(0.1,0.2))",
        "float(1)",
        "int(2.0)",
    ],
)
def test_a_number_goes_to_the_value(group, value):
    assert rewrite([f"{group}={value}"]) == [f"{group}.value={value}"]


@pytest.mark.parametrize("prefix", ["+", "++"])
def test_a_prefix_stays(prefix):
    assert rewrite([f"{prefix}lr=0.1,0.2"]) == [f"{prefix}lr.value=0.1,0.2"]


@pytest.mark.parametrize(
    "argument",
    [
        "lr=warmup",
        "lr=constant,warmup",
        "lr=choice(constant,warmup)",
        "+lr=cosine",
        "prune_rate=uniform,half_output",
        "lr.value=0.1",
        "lr.value=0.1,0.2",
        "prune_rate.value=choice(0.1,0.2)",
        "lr='0.1'",  # quotes make it a name
        "measure=[weights]",
        "lr=glob(*)",
        "init=glob(kaiming_*)",
        "optimizer=glob([a*,s*],exclude=sgd)",
        "lr=${other}",
        "lr=0.1abc",
        "lr=v2",
        "lr=",
        "lr",
        "~lr",
        "~lr=0.1",
        "lr=0.1,",  # wrong: Hydra says so
        "lr=choice(0.1",
        "lr=sort(0.1,warmup)",
        "lr@other=0.1",
        "seed=0,1,2",
        "model.lr=0.1",
        "lrs=0.1",
        "method.controls=[reinit,random_mask]",
        "init=xavier_u,kaiming_n",
        "-m",
        "--cfg",
        "--config-name=x",
        "",
        "=0.1",
        "hydra.sweeper.params=null",
    ],
)
def test_all_else_stays_as_it_was(argument):
    assert rewrite([argument]) == [argument]


@pytest.mark.parametrize("value", ["0.1,warmup", "warmup,0.1", "choice(0.1,warmup)", "constant,1"])
@pytest.mark.parametrize("group", ["lr", "prune_rate"])
def test_names_and_numbers_together_are_refused_in_one_line(group, value):
    with pytest.raises(UserError) as caught:
        rewrite([f"{group}={value}"])
    text = str(caught.value)
    assert text.startswith(f"{group}={value} mixes names and numbers")
    assert f"{group}.value=" in text
    assert "\n" not in text


@pytest.mark.parametrize("group", ["lr", "prune_rate"])
@pytest.mark.parametrize("value", ["null", "true", "{value:0.1}", "0.1,true", "null,0.1", "warmup,null"])
def test_what_is_neither_a_number_nor_a_name_is_refused_in_one_line(group, value):
    with pytest.raises(UserError) as caught:
        rewrite([f"{group}={value}"])
    assert str(caught.value).startswith(f"{group}={value}: {group} takes a number, or the name of a choice")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("group", NAME_GROUPS)
def test_what_is_no_name_is_refused_in_one_line_for_a_group_of_names(group):
    for value in ("0.1", "1,2", "choice(1,name)", "true", "null"):
        with pytest.raises(UserError) as caught:
            rewrite([f"{group}={value}"])
        assert str(caught.value).startswith(f"{group}={value}: {group} takes the name of a choice")
        assert "\n" not in str(caught.value)
    assert rewrite([f"{group}=a,b", f"{group}.size=3"]) == [f"{group}=a,b", f"{group}.size=3"]


def test_arguments_keep_their_order_and_number():
    arguments = ["-m", "lr=1e-3,0.1", "init=xavier_u", "prune_rate=0.2", "lr=warmup", "study=a b"]
    assert rewrite(arguments) == [
        "-m", "lr.value=1e-3,0.1", "init=xavier_u", "prune_rate.value=0.2", "lr=warmup", "study=a b",
    ]  # fmt: skip
    assert arguments[1] == "lr=1e-3,0.1"
    assert rewrite([]) == []


def test_rewriting_twice_changes_nothing_more():
    once = rewrite(["lr=0.1,0.2", "prune_rate=range(1,3)"])
    assert rewrite(once) == once


def parsed(argument):
    override = OverridesParser.create().parse_override(argument)
    assert override.key_or_group in ("lr.value", "prune_rate.value")
    values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    assert override.is_sweep_override() == (len(values) > 1)
    return values


@given(
    st.lists(st.floats() | st.integers(-(10**9), 10**9), min_size=1, max_size=6), st.sampled_from(["lr", "prune_rate"])
)
def test_any_numbers_reach_hydra_as_the_same_numbers(numbers, group):
    (argument,) = rewrite([f"{group}={','.join(map(repr, numbers))}"])
    values = [float(value) for value in parsed(argument)]
    for value, number in zip(values, numbers, strict=True):
        assert value == number or (math.isnan(value) and math.isnan(number))


@given(st.lists(st.floats(1e-9, 1e3), min_size=2, max_size=4), st.sampled_from(["choice", "shuffle", "sort"]))
def test_any_numbers_in_a_function_stay_the_same_text(numbers, function):
    value = f"{function}({','.join(map(repr, numbers))})"
    assert rewrite([f"lr={value}"]) == [f"lr.value={value}"]


NUMBERS_AND_SUCH = ("nan", "inf", "true", "false", "null")
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True).filter(lambda n: n.lower() not in NUMBERS_AND_SUCH)


@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from(["lr", "prune_rate", "+lr"]))
def test_any_names_stay_as_they_are(names, group):
    argument = f"{group}={','.join(names)}"
    assert rewrite([argument]) == [argument]


@given(st.lists(st.text(max_size=20) | st.sampled_from(["-m", "--multirun"]), max_size=4))
def test_any_other_text_stays_as_it_is_behind_the_flag_of_a_grid(arguments):
    groups = (*NUMBERED, *NAME_GROUPS)
    arguments = [text for text in arguments if text.partition("=")[0].lstrip("+") not in groups]
    flags = [text for text in arguments if text in ("-m", "--multirun")]
    assert rewrite(arguments) == flags[:1] + [text for text in arguments if text not in flags]


@given(st.text(max_size=20))
def test_any_text_after_the_group_ends_in_an_override_or_one_line(value):
    try:
        rewritten = rewrite([f"lr={value}"])
    except UserError as error:
        rewritten = [str(error)[: len(f"lr={value}")]]
    assert rewritten in ([f"lr={value}"], [f"lr.value={value}"])


def test_seeds_are_a_range_of_the_seed():
    assert rewrite(["-m", "seeds=5", "lr=0.1"]) == ["-m", "seed=range(0,5)", "lr.value=0.1"]
    assert rewrite(["init=he_n", "method.seeds=5", "+seeds=5"]) == ["init=he_n", "method.seeds=5", "+seeds=5"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        *(
            (f"seeds={count}", "seeds is a whole number from 1; ")
            for count in ("0", "a", "", "-1", "2.5", "1,2", "[3]")
        ),
        ("seeds", "seeds is a whole number from 1; "),
        ("seeds=5 seed=1", "the seed is given twice; give one of the two"),
        ("seeds=5 seeds=6", "the seed is given twice; give one of the two"),
    ],
)
def test_other_seeds_are_refused(arguments, says):
    with pytest.raises(UserError, match=f"^seeds.*{says}"):
        rewrite(arguments.split())
