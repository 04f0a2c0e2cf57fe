"""Warping by fields, alone and in batches, against MONAI's ``Warp``."""

import pytest
import torch
from monai.networks.blocks import Warp

from dirnet.fields.resampling import sample, warp

every_size = pytest.mark.parametrize("size", [(31, 48), (64, 20), (9, 14, 11)], ids=str)
batches = pytest.mark.parametrize("batch", [1, 3])


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def some_field(batch, size):
    """Up to 8 px; much of it points out of the image."""
    return 16 * noise(batch, len(size), *size, seed=1) - 8


@every_size
@batches
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_warp_is_monais(size, batch, mode):
    image, field = noise(batch, 3, *size), some_field(batch, size)
    expected = Warp(mode=mode, padding_mode="border")(image, field)
    torch.testing.assert_close(warp(image, field, mode), expected, atol=2e-5, rtol=0)


@every_size
@batches
@pytest.mark.parametrize("of_the_image", [False, True])
def test_gradients_are_monais(size, batch, of_the_image):
    wanted = noise(batch, 2, *size, seed=2).double()
    gradients = []
    for way in (warp, Warp(mode="bilinear", padding_mode="border")):
        image = noise(batch, 2, *size).double().requires_grad_(of_the_image)
        field = some_field(batch, size).double().requires_grad_()
        way(image, field).backward(wanted)
        gradients.append([field.grad, image.grad] if of_the_image else [field.grad])
    assert gradients[0][0].abs().max() > 0.1
    torch.testing.assert_close(*gradients, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("batch", [1, 2])
def test_any_layout_in_memory_will_do(batch):
    image, wanted = noise(batch, 24, 32, 2).movedim(-1, 1), noise(1, 1, 24, 1).expand(batch, 2, 24, 32)
    field = (10 * noise(batch, 32, 24, 2, seed=1) - 5).movedim(-1, 1).transpose(2, 3).requires_grad_()
    plain = field.detach().contiguous().requires_grad_()
    warped, expected = warp(image, field), warp(image.contiguous(), plain)
    warped.backward(wanted)
    expected.backward(wanted.contiguous())
    torch.testing.assert_close(warped, expected)
    torch.testing.assert_close(field.grad, plain.grad)


@pytest.mark.parametrize("size", [(256, 256), (33, 47), (15, 10, 21)])
@pytest.mark.parametrize("batch", [1, 2])
def test_zero_field_is_the_identity(size, batch):
    # the sampler's coordinates are in [-1, 1]: float32 holds them to 1e-6 px in images of some ten pixels or of 2^n
    places = torch.meshgrid(*[torch.arange(float(n)) for n in size], indexing="ij")
    image = noise(batch, 1, *size) if size == (256, 256) else (sum(places) / 5).sin().expand(batch, 1, *size)
    torch.testing.assert_close(warp(image, torch.zeros(batch, len(size), *size)), image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("batch", [1, 2])
def test_integer_shift_is_exact(batch):
    image = noise(batch, 1, 64, 128)
    shift = torch.tensor([3.0, -2.0]).reshape(1, 2, 1, 1)
    expected = image[:, :, torch.arange(3, 67).clamp(max=63)][..., torch.arange(-2, 126).clamp(min=0)]
    assert torch.equal(warp(image, shift.expand(batch, 2, 64, 128)), expected)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.uint8, torch.float64])
@pytest.mark.parametrize("batch", [1, 2])
def test_images_of_any_type_are_sampled_in_float32_at_least(kind, batch):
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    image = (100 + 100 * torch.sin(0.3 * rows + 0.2 * columns)).to(kind).expand(batch, 1, 40, 40)
    field = 4 * torch.stack([(columns / 9).sin(), (rows / 7).cos()]).expand(batch, 2, 40, 40)
    warped = warp(image, field)
    assert warped.dtype == (torch.float64 if kind == torch.float64 else torch.float32)
    torch.testing.assert_close(warped.double(), warp(image.double(), field.double()), atol=2e-3, rtol=0)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_sample_is_warp_at_some_pixels(batch, kind, tolerance):
    image, field = noise(batch, 2, 24, 32).to(kind), some_field(batch, (24, 32)).to(kind)
    rows, columns = torch.tensor([0, 7, 23, 4]), torch.tensor([31, 2, 0, 5])
    places = torch.stack([rows, columns], 1) + field[:, :, rows, columns].transpose(1, 2)
    expected = warp(image, field)[:, :, rows, columns]
    torch.testing.assert_close(sample(image, places), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("size", [(8, 8), (9, 8)])
def test_no_images_give_none(size):
    field = torch.zeros(0, 2, *size, requires_grad=True)
    warped = warp(torch.zeros(0, 3, *size), field)
    assert warped.shape == (0, 3, *size)
    warped.sum().backward()
    assert field.grad.shape == (0, 2, *size)
    assert sample(torch.zeros(0, 3, *size), torch.zeros(0, 8, 2)).shape == (0, 3, 8)


@batches
@pytest.mark.parametrize("around", [torch.inference_mode, torch.no_grad, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_warp_is_the_same_in_other_modes(batch, around):
    image, field = noise(batch, 2, 24, 32), some_field(batch, (24, 32))
    expected = warp(image, field)
    with around():
        assert torch.equal(warp(image, field), expected)


def test_programs_of_it_take_other_batches_and_sizes():
    class Module(torch.nn.Module):
        def forward(self, image, field):
            return warp(image, field)

    def arguments(batch, size):
        return noise(batch, 1, *size), some_field(batch, size)

    axes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("rows"), 3: torch.export.Dim("columns")}
    programs = [
        torch.export.export(Module(), arguments(2, (24, 32)), dynamic_shapes=(axes, axes), strict=strict).module()
        for strict in (False, True)
    ]
    programs.append(torch.compile(warp, fullgraph=True, backend="eager"))
    traced = torch.jit.trace(warp, arguments(2, (24, 32)))
    for batch, size in ((3, (20, 31)), (5, (24, 32))):
        expected = warp(*arguments(batch, size))
        for program in programs:
            torch.testing.assert_close(program(*arguments(batch, size)), expected, atol=1e-5, rtol=0)
        if size == (24, 32):  # a traced one is of one size
            torch.testing.assert_close(traced(*arguments(batch, size)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: warp(torch.zeros(1, 1, 5, 6), torch.zeros(1, 2, 5, 7)), r"\[1, 1, 5, 6\].*\[1, 2, 5, 7\]"),
        (lambda: warp(torch.zeros(2, 1, 5, 6), torch.zeros(1, 2, 5, 6)), r"\[2, 1, 5, 6\].*\[1, 2, 5, 6\]"),
        (lambda: warp(torch.zeros(1, 1, 5, 6), torch.zeros(1, 3, 5, 6)), r"\[1, 1, 5, 6\].*\[1, 3, 5, 6\]"),
        (lambda: warp(torch.zeros(1, 1, 5, 6), torch.zeros(1, 2, 5, 6), "cubic"), r"'bilinear', 'nearest'.*'cubic'"),
    ],
)
def test_errors_name_what_came_and_what_was_expected(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
