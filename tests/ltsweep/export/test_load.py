"""A ticket in a model of one's own: its weights and masks, kept through training."""

import copy

import pytest
import torch
from safetensors.torch import load, load_file
from torch import nn
from torch.nn.utils import prune

from ltsweep.errors import UserError
from ltsweep.export.forms import as_pt, as_safetensors, masked, masks_of, pruned, register, weights_of
from ltsweep.export.opened import open_ticket
from ltsweep.models import lenet_300_100
from ltsweep.ticket import load as load_ticket


@pytest.fixture
def model():
    return lenet_300_100([1, 8, 8], 10)


def train(model, masks=None):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        nn.functional.cross_entropy(model(torch.randn(20, 1, 8, 8)), torch.arange(20) % 10).backward()
        optimizer.step()
        optimizer.zero_grad()
        for name, mask in (masks or {}).items():
            dict(model.named_parameters())[name].data.mul_(mask)


def test_two_lines_set_weights_and_masks_and_training_keeps_them(folder, model):
    masks = load_ticket(model, f"{folder}@1")
    ticket = open_ticket(f"{folder}@1")
    initial = load_file(folder / "tickets/init.safetensors")
    for name, mask in masks.items():
        module = model.get_submodule(name.partition(".")[0])
        assert torch.equal(module.weight_orig, initial[name])
        assert torch.equal(module.weight, initial[name] * torch.from_numpy(ticket.masks[name]))
        assert torch.equal(mask, torch.from_numpy(ticket.masks[name]).float())
    before = model.fc1.weight.detach().clone()
    train(model)
    model(torch.randn(1, 1, 8, 8))
    assert not torch.equal(model.fc1.weight, before)
    assert all((getattr(model, name[:-7]).weight[mask == 0] == 0).all() for name, mask in masks.items())


def test_without_registration_the_masks_keep_it_so(folder, model):
    masks = load_ticket(model, f"{folder}@2", register=False)
    assert not prune.is_pruned(model)
    train(model, masks)
    assert all((dict(model.named_parameters())[name][mask == 0] == 0).all() for name, mask in masks.items())


def test_another_ticket_takes_the_place_of_the_first(folder, model):
    other = copy.deepcopy(model)
    for address, options in ((f"{folder}@1", {}), (f"{folder}@2", {"weights": "0_5"})):
        load_ticket(model, address, **options)
    load_ticket(other, f"{folder}@2", weights="0_5")
    ours, theirs = model.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    load_ticket(model, f"{folder}@2", register=False)
    assert not prune.is_pruned(model)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (nn.Linear(3, 3), "fc1.bias is 300 in the ticket and missing in the model"),
        (lenet_300_100([1, 8, 9], 10), "fc1.weight is 300x64 in the ticket and 300x72 in the model"),
        (nn.Sequential(), "missing in the model; the ticket's names are fc1.bias, fc1.weight"),
    ],
)
def test_a_model_of_another_shape_is_refused_and_left_as_it_was(folder, other, says):
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(UserError, match=says) as refused:
        load_ticket(other, f"{folder}@1")
    assert "\n" not in str(refused.value)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


def test_a_model_with_more_than_the_ticket_is_refused(folder, model):
    model.add_module("more", nn.Linear(10, 10))
    with pytest.raises(UserError, match=r"more\.weight is missing in the ticket and 10x10 in the model"):
        load_ticket(model, f"{folder}@1")


def test_the_forms_are_state_dicts_of_plain_pytorch(folder, model):
    ticket = open_ticket(f"{folder}@1")
    weights, masks = weights_of(ticket), masks_of(ticket)
    plain = load(as_safetensors(masked(weights, masks), "here"))
    model.load_state_dict(plain)
    assert all((plain[name][mask == 0] == 0).all() for name, mask in masks.items())
    assert all(torch.equal(plain[name], weights[name] * masks.get(name, 1)) for name in weights)
    both = load(as_safetensors(pruned(weights, masks), "here"))
    ones = {name: torch.ones_like(mask) for name, mask in masks.items()}
    fresh = register(lenet_300_100([1, 8, 8], 10), ones)  # prune.custom_from_mask
    assert fresh.load_state_dict(both).missing_keys == []
    x = torch.randn(5, 1, 8, 8)
    assert torch.equal(fresh(x), model(x))


def test_a_pt_file_needs_no_pickle_of_objects(folder, tmp_path, model):
    ticket = open_ticket(f"{folder}@1")
    (tmp_path / "x.pt").write_bytes(as_pt(masked(weights_of(ticket), masks_of(ticket))))
    model.load_state_dict(torch.load(tmp_path / "x.pt", weights_only=True))
