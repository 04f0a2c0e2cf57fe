"""The blocks that a CPU computes sooner give what PyTorch's give."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from dirnet.speed import blocks
from dirnet.speed.blocks import CACHED_VALUES, ELU, HalvingAverage
from dirnet.speed.cpu import fusion_works

LAYOUTS = {
    "rows last": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "a part of a tensor": lambda x: torch.cat([x, x], 3)[..., ::2],
}


def values(*shape, dtype=torch.float32):
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [4, 520, 600])  # less than a part; some parts and a rest of one, and not
def test_elu_is_torchs(rows, dtype, layout):
    source = LAYOUTS[layout](values(2, 8, rows, 256, dtype=dtype)).requires_grad_()
    assert (source.numel() >= CACHED_VALUES) == (rows > 4)
    weights = values(*source.shape, dtype=dtype)
    results = []
    for block in (ELU(), nn.ELU(inplace=True)):
        source.grad = None
        result = block(source * 1.5)
        (result * weights).sum().backward()
        results.append((result.detach(), source.grad))
    assert results[0][0].stride() == results[1][0].stride()
    if dtype == torch.bfloat16:
        assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][0], results[1][0], atol=2e-7, rtol=0)
    torch.testing.assert_close(results[0][1], results[1][1])


def test_elu_changes_its_input_as_torchs_does():
    whole = values(4, 8, 200, 256)
    assert ELU()(whole).data_ptr() == whole.data_ptr()
    leaf = values(4, 8, 200, 256).requires_grad_()
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        ELU()(leaf)
    assert torch.equal(leaf, values(4, 8, 200, 256))


def test_what_is_no_number_stays_so():
    whole = values(CACHED_VALUES)
    whole[:3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    assert torch.equal(ELU()(whole)[1:3], torch.tensor([float("inf"), -1.0]))
    assert whole[0].isnan()


@pytest.mark.skipif(not fusion_works("cpu"), reason="oneDNN fuses on Linux on x86-64 alone")
def test_only_large_tensors_are_for_onednn(monkeypatch):
    calls = []
    program = blocks._elu_program(torch.float32)
    program(values(CACHED_VALUES), torch.zeros(1))
    assert "oneDNNFusionGroup" in str(torch.jit.last_executed_optimized_graph())
    monkeypatch.setattr(blocks, "_elu_program", lambda dtype: lambda *inputs: calls.append(1) or program(*inputs))
    ELU()(values(CACHED_VALUES - 1))
    assert not calls
    ELU()(values(2 * CACHED_VALUES, dtype=torch.float64))  # which oneDNN does not know
    assert not calls
    ELU()(values(2 * CACHED_VALUES + 1))
    assert len(calls) == 2


def test_elu_of_no_values_has_a_shape():
    blocks._elu_program.cache_clear()
    with FakeTensorMode():
        assert ELU()(torch.zeros(2, 8, 256, 512)).shape == (2, 8, 256, 512)
    torch.testing.assert_close(ELU()(values(CACHED_VALUES)), nn.functional.elu(values(CACHED_VALUES)))


def test_elu_is_computed_where_onednn_does_not_fuse(monkeypatch):
    monkeypatch.setattr(blocks, "fusion_works", lambda device: False)
    torch.testing.assert_close(ELU()(values(CACHED_VALUES)), nn.functional.elu(values(CACHED_VALUES)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_average_is_torchs(dtype, layout):
    results = []
    for block in (HalvingAverage(), nn.AvgPool2d(2)):
        source = LAYOUTS[layout](values(2, 3, 12, 20, dtype=dtype)).requires_grad_()
        result = block(source)
        result.backward(values(*result.shape, dtype=dtype))
        results.append((result.detach(), source.grad))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("shape", [(1, 2, 9, 8), (2, 8, 9), (3, 8, 8)])
def test_average_is_torchs_for_other_shapes_too(shape):
    gradients = []
    for block in (HalvingAverage(), nn.AvgPool2d(2)):
        source = values(*shape).requires_grad_()
        block(source).square().sum().backward()
        gradients.append(source.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("block", [ELU(), HalvingAverage()], ids=["ELU", "average"])
def test_programs_take_other_sizes(block):
    large = values(2, 4, 512, 512)
    made_with = (values(2, 4, 256, 1024).requires_grad_() * 1.0).detach().requires_grad_() * 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)  # a user would see it
        programs = [torch.jit.script(block), torch.jit.trace(block, made_with)]
    assert "PythonOp" not in str(programs[1].graph)
    axes = ({0: torch.export.Dim("batch"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    programs.append(torch.export.export(block, (values(2, 4, 32, 48),), dynamic_shapes=axes).module())
    for program in programs:
        torch.testing.assert_close(program(large.clone()), block(large.clone()))


def test_a_network_is_copied_with_its_blocks():
    layers = nn.Sequential(ELU(), HalvingAverage())
    expected = layers(values(2, 8, 64, 1024))
    torch.testing.assert_close(copy.deepcopy(layers)(values(2, 8, 64, 1024)), expected)
