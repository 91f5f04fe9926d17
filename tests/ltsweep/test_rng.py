import itertools

import torch

from ltsweep.rng import generator


def test_one_purpose_is_one_stream():
    first = torch.randn(1000, generator=generator(7, "init", "fc1.weight"))
    assert torch.equal(first, torch.randn(1000, generator=generator(7, "init", "fc1.weight")))


def test_every_seed_and_purpose_has_a_stream_of_its_own():
    purposes = [
        (seed, *purpose)
        for seed in (0, 1, 10, 11, 2**63 - 1)
        for purpose in (
            ("init", "fc1.weight"),
            ("init", "fc2.weight"),
            ("reinit", 0, 1, "fc1.weight"),
            ("reinit", 1, 0, "fc1.weight"),
            ("reinit", 0, 11, "fc1.weight"),
            ("reinit", 0, 1, 1, "fc1.weight"),
            ("random_mask", 0, 1, "fc1.weight"),
            ("order", 0),
            ("order", 1),
            ("validation",),
        )
    ]
    draws = [torch.randn(50, generator=generator(*purpose)) for purpose in purposes]
    assert len(draws) == 50
    for first, second in itertools.combinations(draws, 2):
        assert int((first == second).sum()) == 0


def test_a_stream_does_not_move_when_others_are_drawn_from():
    stream = generator(0, "order", 3)
    start = torch.randn(5, generator=stream)
    torch.randn(100, generator=generator(0, "order", 2))
    torch.randn(100)
    rest = torch.randn(5, generator=stream)
    whole = generator(0, "order", 3)
    assert torch.equal(torch.stack([torch.randn(5, generator=whole) for _ in range(2)]), torch.stack([start, rest]))


def test_streams_stay_what_they_are():
    """A changed stream gives old keys new results: whoever changes these numbers must raise schema.VERSION."""
    assert generator(0, "init", "fc1.weight").initial_seed() == 2180458507749188781
    assert torch.randint(0, 1000, (4,), generator=generator(0, "order", 1)).tolist() == [170, 600, 156, 200]
