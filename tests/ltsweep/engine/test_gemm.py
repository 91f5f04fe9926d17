"""Batched products by either library, against the same products of 64-bit floats."""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ltsweep.engine import gemm

SIZES = st.integers(1, 9)
LAYOUTS = {
    "rows": lambda t: t.contiguous(),
    "columns": lambda t: t.mT.contiguous().mT,
    "one for all": lambda t: t[:1].expand(t.shape),
    "every other": lambda t: t.repeat_interleave(2, dim=2)[:, :, ::2],
    "a slice": lambda t: torch.cat([t, t], dim=1)[:, : t.shape[1]],
}


@pytest.fixture(params=[True, False], ids=["numpy", "torch"])
def library(request, monkeypatch):
    monkeypatch.setattr(gemm, "by_numpy", lambda: request.param)


@pytest.mark.usefixtures("library")
@given(
    st.tuples(SIZES, SIZES, SIZES, SIZES), st.sampled_from([*LAYOUTS]), st.sampled_from([*LAYOUTS]), st.integers(0, 9)
)
def test_a_product_is_exact_to_rounding_however_its_factors_lie(sizes, left, right, seed):
    networks, rows, inner, columns = sizes
    rng = torch.Generator().manual_seed(seed)
    a = LAYOUTS[left](torch.randn(networks, rows, inner, generator=rng))
    b = LAYOUTS[right](torch.randn(networks, inner, columns, generator=rng))
    exact = a.double() @ b.double()
    bound = inner * torch.finfo(torch.float32).eps * (a.double().abs() @ b.double().abs())
    assert bool(((gemm.bmm(a, b) - exact).abs() <= bound).all())
    assert torch.equal(gemm.bmm(a.double(), b.double()), torch.bmm(a.double(), b.double()))


@pytest.mark.usefixtures("library")
def test_a_bound_product_is_of_what_the_memory_holds_then():
    a, b = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 4, 5)
    out = torch.empty(2, 3, 5)
    multiply = gemm.bound(a, b, out)
    for factor in (1.0, 2.0):
        with torch.no_grad():
            a.mul_(factor)
            multiply()
        torch.testing.assert_close(out, torch.bmm(a, b).detach())


@pytest.mark.usefixtures("library")
def test_a_network_that_diverged_is_no_warning():
    a = torch.tensor([[[math.inf, -math.inf], [1e38, 1e38]], [[1.0, 2.0], [3.0, 4.0]]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        product = gemm.bmm(a, a)
    assert not torch.isfinite(product[0]).any()
    assert product[1].tolist() == [[7, 10], [15, 22]]


@pytest.mark.parametrize(
    ("vendor", "flags", "numpy"),
    [
        ("GenuineIntel", "fpu avx avx2 avx512f", False),
        ("AuthenticAMD", "fpu avx avx2", False),
        ("AuthenticAMD", "fpu avx avx2 avx512f", True),
    ],
)
def test_numpy_multiplies_where_mkl_leaves_half_of_the_processor_idle(vendor, flags, numpy):
    core = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n\n"
    assert gemm.prefers_numpy(core * 2) is numpy


@pytest.mark.parametrize("numpy", [True, False])
def test_what_multiplies_is_named_with_its_version_whatever_else_is_loaded(monkeypatch, numpy):
    """scipy brings an OpenBLAS of its own, at another version."""
    loaded = [
        {"user_api": "openmp", "internal_api": "openmp", "version": None, "filepath": "/torch/libgomp.so"},
        {"user_api": "blas", "internal_api": "openblas", "version": "0.2", "filepath": "/scipy.libs/libopenblas.so"},
        {
            "user_api": "blas",
            "internal_api": "openblas",
            "version": "0.3",
            "architecture": "SkylakeX",
            "filepath": "/numpy.libs/libopenblas.so",
        },
    ]
    monkeypatch.setattr(gemm, "threadpool_info", lambda: loaded)
    monkeypatch.setattr(gemm, "by_numpy", lambda: numpy)
    assert gemm.backend.__wrapped__() == ("openblas 0.3 SkylakeX" if numpy else "PyTorch's own")
