"""Claim files: the published ones, one of one's own, and each way to get one wrong."""

import itertools
import os
from pathlib import Path

import pytest
import yaml

from multirun_analysis import claims, curves
from multirun_analysis.claims.read import METRICS
from multirun_analysis.errors import AnalysisError
from multirun_analysis.load import Study
from multirun_analysis.pairing import Side
from multirun_analysis.schema import LENGTHS, REACHED, REJECTED

GOOD = {
    "name": "mine",
    "source": "me",
    "text": "a sentence",
    "compare": {"left": {"init": "xavier_u"}, "right": "dense"},
    "remaining": 0.21,
    "direction": "greater",
}


GOOD_TEXT = yaml.safe_dump(GOOD).encode()


def write(path: Path, **changes: object) -> Path:
    found = {name: value for name, value in (GOOD | changes).items() if value is not ...}
    path.write_text(yaml.safe_dump(found))
    return path


def test_every_published_claim_is_read_and_says_who_says_so() -> None:
    found = claims.published()
    files = list(Path(claims.__file__).parent.glob("*.yaml"))
    assert len(found) == len(files) == len({claim.name for claim in found})
    sources = {claim.source.split(",")[0].split(" 20")[0] for claim in found}
    papers = {"Wijnja", "Shu", "Frankle & Carbin", "Frankle", "Ramanujan", "Hanin & Rolnick", "Yu"}
    assert sources == papers | {"Talk on how to start training"}


def test_the_claims_of_the_studies_are_all_there() -> None:
    found = {(str(claim.where["model"]), claim.remaining, claim.direction, claim.value) for claim in claims.published()}
    for model, points in (("lenet_300_100", -0.1), ("lenet5", -0.2)):
        assert {(model, 0.15, "not_less", 0), (model, 0.1, "not_less", 0)} <= found
        assert (model, (0.388, 0.0), "less", 0) in found
        assert (model, 0.1, "equal", points) in found
    fc1 = "lenet_300_100"
    assert {(fc1, "area", "greater", 0), (fc1, "area", "equal", 0)} <= found
    assert {(fc1, 0.135, "greater", 0.003), (fc1, 0.036, "equal", 0), (fc1, 0.211, "less", 0)} <= found
    for model, faster, gain in (("conv2", 0.088, 0.046), ("conv4", 0.092, 0.111), ("conv6", 0.151, 0.264)):
        assert {remaining for name, remaining, *_ in found if name == model} == {faster, gain, 1.0}


def test_each_method_at_initialization_is_held_against_the_ticket() -> None:
    found = {
        (left.config.get("method"), right.config.get("method"), claim.remaining)
        for claim in claims.published()
        for left, right in claim.compare
    }
    at_init = itertools.product(("snip", "grasp", "synflow", "random"), ("imp",), (0.1, 0.02))
    assert {*at_init, ("imp", "one_shot", (0.11, 0.018))} <= found


def test_hidden_networks_are_claimed_to_be_best_with_half_of_the_weights() -> None:
    half = [claim for claim in claims.published() if claim.source.startswith("Ramanujan") and claim.remaining == 0.5]
    found = {(right.at, right.dense, right.config.get("model.width")) for one in half for _, right in one.compare}
    assert found == {(0.1, False, None), (0.9, False, None), (None, True, None), (None, False, 1), (None, False, 0.25)}


def test_metrics_are_those_that_can_be_drawn(mixed: Study) -> None:
    assert {*curves.metrics(mixed.levels), *LENGTHS, *REJECTED, REACHED} <= set(METRICS)


def test_a_claim_of_ones_own(tmp_path: Path) -> None:
    side = {"init": "kaiming_u", "arm": "reinit"}
    path = write(tmp_path / "a.yaml", compare=[{"left": {}, "right": side}], remaining={"from": 0.388}, value=-0.1)
    (claim,) = claims.read([path])
    assert claim.compare == ((Side(), Side({"init": "kaiming_u"}, arm="reinit")),)
    assert claim.remaining == (0.388, 0.0)
    assert claim.value == -0.1
    dense = claims.read([write(tmp_path / "b.yaml")])[0].compare
    assert dense == ((Side({"init": "xavier_u"}), Side({"init": "xavier_u"}, dense=True)),)


def test_a_folder_is_read_in_order_of_its_files(tmp_path: Path) -> None:
    for name in "cab":
        write(tmp_path / f"{name}.yaml", name=name)
    (tmp_path / "notes.txt").write_text("no claim")
    assert [claim.name for claim in claims.read([tmp_path])] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ...}, "name: missing; it is a short text"),
        ({"name": " "}, "name: '' is not allowed; it is a short text"),
        ({"text": 3}, "text: '3' is not allowed; it is a text"),
        ({"direktion": "less"}, "direktion: no such key; did you mean direction? There are name, source"),
        ({"direction": "more"}, "direction: 'more' is not allowed; it is one of greater, less, equal"),
        ({"direction": ["less"]}, "direction: \"['less']\" is not allowed"),
        ({"direction": "equal"}, "margin: missing; it is a number above 0 where direction is equal"),
        ({"margin": 0.1}, "margin: not allowed where direction is greater"),
        ({"direction": "equal", "margin": 0}, "margin: '0' is not allowed; it is a number above 0"),
        ({"direction": "equal", "margin": float("nan")}, "margin: 'nan' is not allowed"),
        ({"remaining": 0}, "remaining: '0' is not allowed; it is a fraction"),
        ({"remaining": 21}, "remaining: '21' is not allowed; it is a fraction"),
        ({"remaining": True}, "remaining: 'True' is not allowed"),
        ({"remaining": {"from": 0.1, "to": 0.2}}, "remaining: "),
        ({"remaining": {"below": 0.1}}, "remaining: "),
        ({"metric": "accuracy"}, "metric: 'accuracy' is not allowed; it is one of "),
        ({"compare": {"left": {}}}, "compare: "),
        ({"compare": []}, "compare: '[]' is not allowed; it is left and right"),
        ({"compare": {"left": "dense", "right": {}}}, "compare: "),
        ({"compare": {"left": {"remaining": 0.5}, "right": {}}}, "compare: "),
        ({"compare": {"left": {}, "right": {"remaining": 2}}}, "compare: "),
        ({"compare": {"left": {"init": {"name": "x"}}, "right": {}}}, "compare: "),
        ({"compare": {"left": {"arm": 3}, "right": {}}}, "compare: "),
        ({"where": "init == 'x'"}, "where: \"init == 'x'\" is not allowed; it is a mapping"),
        ({"where": {"init": [["x"]]}}, "where: "),
        ({"value": "0.1 points"}, "value: '0.1 points' is not allowed; it is a number"),
        ({"value": float("inf")}, "value: 'inf' is not allowed"),
        ({"relative": "yes please"}, "relative: 'yes please' is not allowed; it is true or false"),
        ({"tolerance": -1}, "tolerance: '-1' is not allowed"),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_what_is_allowed(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    path = write(tmp_path / "wrong.yaml", **changes)
    with pytest.raises(AnalysisError) as raised:
        claims.read([path])
    assert str(raised.value).startswith(f"{path}: {says}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name: [", "is not plain YAML: while parsing"),
        (b"\xff\xfe\x00", "is not plain YAML: "),
        (b"- a\n- b\n", "is not a mapping of names to values; a claim is a mapping with the keys name, source"),
        (b"", "is not a mapping"),
        (b"!!python/object/apply:os.system ['true']", "is not plain YAML: has the tag"),
        (b"name: &a [x]\ntext: *a", "is not plain YAML: has an alias, and none is read"),
        (b"name: " + b"[" * 5000, "is not plain YAML: is nested more than 32 deep"),
        (b"value: " + b"9" * 5000, "is not plain YAML: "),
        (b"name: 2020-01-01", "has a value of type date in it"),
        (b"a: b\n" * 300_000, "holds 1,500,000 bytes, more than"),
        (b"x" * 500 + b": 1", f"{'x' * 59}…: no such key; "),
        (b"where: {init: []}\n" + GOOD_TEXT, "where: \"{'init': []}\" is not allowed"),
    ],
)
def test_a_file_that_is_no_claim(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content)
    with pytest.raises(AnalysisError) as raised:
        claims.read([path])
    assert str(raised.value).startswith(f"{path}: {says}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("target", ["/dev/zero", "pipe", "itself.yaml"])
def test_a_link_to_what_is_no_file_does_not_hang(tmp_path: Path, target: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "itself.yaml").symlink_to(tmp_path / target)
    with pytest.raises(AnalysisError) as raised:
        claims.read([tmp_path / "itself.yaml"])
    assert str(raised.value).startswith(str(tmp_path / "itself.yaml"))


def test_a_link_to_a_claim_is_that_claim(tmp_path: Path) -> None:
    (tmp_path / "link.yaml").symlink_to(write(tmp_path / "mine.txt"))
    assert claims.read([tmp_path / "link.yaml"])[0].name == "mine"


def test_no_file_an_empty_folder_and_a_name_twice(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="no such file or folder of claims"):
        claims.read([tmp_path / "gone.yaml"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnalysisError, match="no claims in this folder"):
        claims.read([tmp_path / "empty"])
    with pytest.raises(AnalysisError, match="name: there is another claim 'mine'"):
        claims.read([write(tmp_path / "a.yaml"), write(tmp_path / "b.yaml")])
