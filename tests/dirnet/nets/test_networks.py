import pytest
import torch
from monai.networks.utils import copy_model_state
from torch import nn

from dirnet.nets.networks import DIRNet
from dirnet.nets.splines import BSplineTransformer, ThinPlateSplineTransformer

SIZE = (64, 96)  # the least C2 takes is 32
VARIANTS = {
    "BL": {},
    "A1": {"pooling": "max"},
    "A2": {"pooling": "stride"},
    "B1": {"order": 2},
    "B2": {"spline": "thin_plate"},
    "C1": {"extra_convolutions": True},
    "C2": {"fully_connected": SIZE},
}
every_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def unsettled(**options):
    """A network in eval mode that is not the identity, nor its batch normalisation."""
    torch.manual_seed(0)
    network = DIRNet(**options).eval()
    for module in network.regressor.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.1, 0.3)
    output = [m for m in network.regressor if isinstance(m, nn.Conv2d | nn.Conv3d | nn.Linear)][-1]
    nn.init.normal_(output.weight)
    nn.init.normal_(output.bias)
    return network


def describe(network):
    """The layers in order, with what the paper says of them."""
    words = []
    for module in network.regressor.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            kernel, stride, padding = module.kernel_size[0], module.stride[0], module.padding[0]
            words.append(f"conv{kernel} {module.in_channels}>{module.out_channels} /{stride} +{padding}")
        elif isinstance(module, nn.Linear):
            words.append(f"full {module.in_features}>{module.out_features}")
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            words.append("norm")
        elif isinstance(module, nn.AvgPool2d | nn.MaxPool2d):
            assert module.kernel_size == 2
            assert module.stride in (2, None)
            words.append("average" if isinstance(module, nn.AvgPool2d) else "max")
        elif not list(module.children()):
            words.append(type(module).__name__)
    return words


def layer(words):
    return [words, "norm", "ELU"]


FIRST, NEXT, POINTWISE = (layer(f"conv{k} {n}>16 /1 +{p}") for k, n, p in ((3, 2, 1), (3, 16, 1), (1, 16, 0)))
HALVE = layer("conv2 16>16 /2 +0")
OUTPUT = ["conv1 16>2 /1 +0"]
TAIL = [*POINTWISE, *POINTWISE, *OUTPUT]
BASELINE = [*FIRST, "average", *(3 * [*NEXT, "average"]), *TAIL]
FULL = [*layer("full 1024>1024"), *layer("full 1024>1024"), "full 1024>512", "Unflatten"]
# weights by hand: 3x3 convolutions 2 x 16 x 9 = 288 and 16 x 16 x 9 = 2304, 1x1 256, 2x2 1024, two of normalisation
# for each of 16 kernels, 34 of the output
PAPER = {
    "BL": ({}, BASELINE, 288 + 3 * 2304 + 2 * 256 + 6 * 32 + 34),
    "A1": ({"pooling": "max"}, [w.replace("average", "max") for w in BASELINE], 7938),
    "A2": ({"pooling": "stride"}, [*FIRST, *HALVE, *(3 * [*NEXT, *HALVE]), *TAIL], 7938 + 4 * (1024 + 32)),
    "B1": ({"order": 2}, BASELINE, 7938),
    "B2": ({"spline": "thin_plate"}, BASELINE, 7938),
    "C1": (
        {"extra_convolutions": True},
        [*FIRST, "average", *(2 * [*NEXT, "average"]), *NEXT, *NEXT, "average", *NEXT, *TAIL],
        7938 + 2 * (2304 + 32),
    ),
    "C2": (
        {"fully_connected": (256, 256)},
        [*FIRST, "average", *(3 * [*NEXT, "average"]), *NEXT, "average", "Flatten", *FULL],
        288 + 4 * 2304 + 5 * 32 + 2 * (1024 * 1024 + 2 * 1024) + 1024 * 512 + 512,
    ),
}


@pytest.mark.parametrize(("options", "layers", "parameters"), PAPER.values(), ids=PAPER.keys())
def test_networks_of_the_paper(options, layers, parameters):
    network = DIRNet(**options).eval()
    assert describe(network) == layers
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network.control_points(noise(1, 2, 256, 256)).shape == (1, 2, 16, 16)
    spline = network.transformer
    assert spline.spacing == [16, 16]
    if options.get("spline") == "thin_plate":
        assert isinstance(spline, ThinPlateSplineTransformer)
    else:
        assert isinstance(spline, BSplineTransformer)
        assert (spline.order, spline.boundary) == (options.get("order", 3), "zero")


def test_mnist_has_two_poolings():
    network = DIRNet(poolings=2, channels=8)
    assert [w for w in describe(network) if w == "average"] == 2 * ["average"]
    assert network.control_points(noise(3, 2, 28, 28)).shape == (3, 2, 7, 7)
    assert network(noise(3, 2, 28, 28)).shape == (3, 2, 28, 28)


@every_variant
def test_starts_at_the_identity_and_learns(options):
    network = DIRNet(**options)
    pair = noise(2, 2, *SIZE)
    for mode in (False, True):
        field = network.train(mode)(pair)
        assert field.shape == (2, 2, *SIZE)
        assert field.dtype == torch.float32
        assert not field.any()
    (field * noise(*field.shape, seed=1)).sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    moved = [name for name, p in network.named_parameters() if p.grad.any()]
    assert len(moved) == 2  # weight and bias of the output; the rest follows once these are off zero
    torch.optim.SGD(network.parameters(), 1e-3).step()
    network.zero_grad()
    (network(pair) * noise(*field.shape, seed=1)).sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("size", [(47, 65), (48, 64), (1, 33), (16, 16)])
@pytest.mark.parametrize("boundary", ["zero", "replicate"])
def test_any_size_is_padded_at_the_end_with_zeros(size, boundary):
    network = unsettled(boundary=boundary)
    pair = noise(2, 2, *size)
    padded = torch.zeros(2, 2, *[-(-n // 16) * 16 for n in size])
    padded[:, :, : size[0], : size[1]] = pair
    field = network(pair)
    assert field.shape == (2, 2, *size)
    expected = network(padded)[:, :, : size[0], : size[1]]
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(field, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("boundary", ["zero", "replicate"])
def test_boundary_is_the_splines(boundary):
    network = DIRNet(boundary=boundary)
    nn.init.ones_(network.regressor[-1].bias)
    field = network(noise(1, 2, 64, 64))
    assert field[..., 32, 32].allclose(torch.ones(2))
    assert field[..., 32, 0].allclose(torch.ones(2)) == (boundary == "replicate")


def test_any_size_with_a_thin_plate():
    network = unsettled(spline="thin_plate", poolings=3)
    for size in [(29, 34), (34, 29), (32, 40)]:
        assert network(noise(1, 2, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize("extra_convolutions", [False, True])
def test_three_dimensions(extra_convolutions):
    network = unsettled(spatial_dims=3, channels=4, poolings=2, extra_convolutions=extra_convolutions)
    pair = noise(2, 2, 13, 8, 18)
    assert network.control_points(pair).shape == (2, 3, 4, 2, 5)
    field = network(pair)
    assert field.shape == (2, 3, 13, 8, 18)
    assert field.std() > 0.01


@every_variant
def test_networks_script(options):
    network = unsettled(**options)
    scripted = torch.jit.script(network)
    sizes = [SIZE] if "fully_connected" in options else [SIZE, (47, 65)]
    for size in sizes:
        pair = noise(2, 2, *size)
        torch.testing.assert_close(scripted(pair), network(pair), atol=1e-5, rtol=0)
        torch.testing.assert_close(scripted.control_points(pair), network.control_points(pair), atol=1e-5, rtol=0)


def test_three_dimensional_network_scripts():
    network = unsettled(spatial_dims=3, channels=4, poolings=2)
    pair = noise(1, 2, 9, 8, 11)
    torch.testing.assert_close(torch.jit.script(network)(pair), network(pair), atol=1e-5, rtol=0)


def test_eval_mode_follows_training_mode():
    network = unsettled(poolings=2).train()
    pair = noise(8, 2, 32, 32) * torch.linspace(0.2, 1, 8).reshape(8, 1, 1, 1)
    with torch.no_grad():
        for _ in range(150):  # the running averages forget a tenth a time
            trained = network(pair)
        field = network.eval()(pair)
        alone = network(pair[3:4])
    assert (field - trained).abs().mean() < 0.02 * trained.abs().mean()
    torch.testing.assert_close(alone, field[3:4], atol=1e-5, rtol=0)


def test_trains_on_a_single_pair():
    network = unsettled().train()
    network(noise(1, 2, 64, 64)).square().mean().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
    assert all(b.isfinite().all() for b in network.buffers())


@pytest.mark.parametrize("spline", ["bspline", "thin_plate"])
def test_field_is_float32_under_autocast(spline):
    network = unsettled(spline=spline)
    pair = noise(1, 2, *SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        control_points, field = network.control_points(pair), network(pair)
    assert control_points.dtype == field.dtype == torch.float32
    torch.testing.assert_close(field, network.transformer(control_points, list(SIZE)), atol=1e-5, rtol=0)


def state_of(options, **more):
    return unsettled(**options, **more).state_dict()


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"pooling": "max"}, "pooling='max' (this network: 'average')"),
        ({"order": 2}, "order=2 (this network: 3)"),
        ({"spline": "thin_plate"}, "spline='thin_plate' (this network: 'bspline')"),
        ({"boundary": "replicate"}, "boundary='replicate' (this network: 'zero')"),
        ({"poolings": 3}, "poolings=3 (this network: 4)"),
        ({"channels": 8}, "channels=8 (this network: 16)"),
        ({"extra_convolutions": True}, "extra_convolutions=True (this network: False)"),
        ({"fully_connected": SIZE}, "fully_connected=[64, 96] (this network: None)"),
    ],
)
def test_weights_of_another_network_are_refused_untouched(options, difference):
    network = unsettled()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(1)
    other = DIRNet(**options)
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message follows)
        network.load_state_dict(other.state_dict())
    assert difference in str(error.value)
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message follows)
        copy_model_state(network, other)  # leaves out what has another shape
    assert difference in str(error.value)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


@every_variant
def test_weights_through_a_file(tmp_path, options):
    network, pair = unsettled(**options), noise(1, 2, *SIZE)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    torch.manual_seed(1)
    loaded, copied = DIRNet(**options).eval(), DIRNet(**options).eval()
    assert loaded.load_state_dict(state).missing_keys == []
    _, _, left_out = copy_model_state(copied, state)
    assert left_out == []
    assert torch.equal(loaded(pair), network(pair))
    assert torch.equal(copied(pair), network(pair))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: DIRNet()(torch.zeros(1, 2, 16, 16, 16)), r"2-D DIRNet.*\(B, 2, .*\[1, 2, 16, 16, 16\]"),
        (lambda: DIRNet(spatial_dims=3)(torch.zeros(1, 2, 16, 16)), r"3-D DIRNet.*\[1, 2, 16, 16\]"),
        (lambda: DIRNet()(torch.zeros(1, 1, 16, 16)), r"\(B, 2, .*\[1, 1, 16, 16\]"),
        (lambda: DIRNet(fully_connected=SIZE)(torch.zeros(1, 2, 96, 64)), r"\[64, 96\], got \[96, 64\]"),
        (lambda: DIRNet(fully_connected=(64, 80)), r"multiples of 32, got \[64, 80\]"),
        (lambda: DIRNet(fully_connected=(64,)), r"2 image sizes.* got \[64\]"),
        (lambda: DIRNet(pooling="avg"), "'average', 'max', 'stride'.* got 'avg'"),
        (lambda: DIRNet(spline="tps"), "'bspline', 'thin_plate'.* got 'tps'"),
        (lambda: DIRNet(order=0), "1, 2 or 3, got 0"),
        (lambda: DIRNet(poolings=0), "1 or more, got 0"),
        (lambda: DIRNet(extra_convolutions="no"), "True or False, got 'no'"),
    ],
)
def test_errors_name_what_came_and_what_was_expected(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


@pytest.mark.parametrize(
    "options", [{}, {"pooling": "stride"}, {"extra_convolutions": True}, {"fully_connected": (64, 64)}]
)
def test_folded_normalization_gives_the_same_field(options):
    torch.manual_seed(0)
    network = DIRNet(**options)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for _ in range(3):
        network(torch.rand(4, 2, 64, 64))  # running means and variances other than 0 and 1
    network.eval()
    pair, state = torch.rand(2, 2, 64, 64), network.state_dict()
    folded = network.fold_normalization()
    torch.testing.assert_close(folded(pair), network(pair), atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert network.state_dict().keys() == state.keys()
