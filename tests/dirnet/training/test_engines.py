import pytest
import torch
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from torch import nn

from dirnet.fields.resampling import warp
from dirnet.nets.inference import bfloat16_pays
from dirnet.nets.losses import RegistrationLoss
from dirnet.nets.networks import DIRNet
from dirnet.training.engines import PreparePair, PrepareVolumePair, RegistrationInferer


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def batch(*size, kind=torch.Tensor):
    moving, fixed = noise(3, 1, *size), noise(3, 1, *size, seed=1)
    lumen = {"moving_lumen": (moving > 0.7).to(torch.uint8), "fixed_lumen": (fixed > 0.7).to(torch.uint8)}
    return {key: value.as_subclass(kind) for key, value in {"moving": moving, "fixed": fixed, **lumen}.items()}


def unsettled(**options):
    torch.manual_seed(0)
    network = DIRNet(poolings=2, channels=4, **options).eval()
    nn.init.normal_(network.regressor[-1].weight)
    nn.init.normal_(network.regressor[-1].bias)
    return network


def shifting(*shift):
    """A network whose field is the same shift everywhere."""
    network = DIRNet(poolings=2, channels=4, boundary="replicate", spatial_dims=len(shift)).eval()
    network.regressor[-1].bias.data = torch.tensor(shift)
    return network


@pytest.mark.parametrize("size", [(12, 17), (8, 9, 10)])
def test_pair_is_moving_then_fixed(size):
    data = batch(*size)
    pair, target, args, kwargs = PreparePair()(data, "cpu", non_blocking=True)
    assert pair.shape == (3, 2, *size)
    assert torch.equal(pair[:, :1], data["moving"])
    assert torch.equal(pair[:, 1:], data["fixed"])
    layout = torch.channels_last if len(size) == 2 else torch.channels_last_3d
    assert pair.is_contiguous(memory_format=layout)
    assert torch.equal(target["fixed"], data["fixed"])
    assert torch.equal(target["fixed_lumen"], data["fixed_lumen"])
    assert args == ()
    assert kwargs.keys() == {"masks"}
    assert kwargs["masks"].dtype == torch.float32
    assert torch.equal(kwargs["masks"], data["moving_lumen"].float())


def test_every_structure_is_a_channel_to_warp_and_a_target():
    data = batch(12, 17)
    data.update(moving_rv=data["fixed_lumen"], fixed_rv=data["moving_lumen"])
    data = dict(reversed(data.items()))  # in the order of the structures, not of the batch
    _, target, _, kwargs = PreparePair()(data)
    assert torch.equal(kwargs["masks"], torch.cat([data["moving_lumen"], data["moving_rv"]], 1).float())
    assert torch.equal(target["fixed_rv"], data["fixed_rv"])


def test_pair_without_masks():
    data = {key: value for key, value in batch(12, 17).items() if "lumen" not in key}
    pair, fixed = PreparePair()(data)
    assert pair.shape == (3, 2, 12, 17)
    assert torch.equal(fixed, data["fixed"])


@pytest.mark.parametrize("structures", [2, 0])
def test_volumes_with_their_masks(structures):
    masks = {f"{role}_masks": torch.ones(3, structures, 4, 5, 6, dtype=torch.uint8) for role in ("moving", "fixed")}
    images = {key: values for key, values in batch(4, 5, 6).items() if key in ("moving", "fixed")}
    pair, target, _, options = PrepareVolumePair()(images | masks, "cpu")
    assert torch.equal(pair, torch.cat([images["moving"], images["fixed"]], 1))
    assert pair.is_contiguous(memory_format=torch.channels_last_3d)
    assert set(target) == {"fixed", "fixed_masks", "moving_masks"}
    assert torch.equal(target["fixed"], images["fixed"])
    assert target["fixed_masks"].dtype == torch.uint8
    result = RegistrationInferer()(pair, DIRNet(spatial_dims=3, poolings=1, channels=2).eval(), **options)
    assert ("warped_masks" in result) == (structures > 0)
    if structures:
        assert options["masks"].dtype == torch.float32
        assert result["warped_masks"].shape == (3, 2, 4, 5, 6)


def test_pair_is_plain_tensors():
    pair, target, _, kwargs = PreparePair()(batch(12, 17, kind=MetaTensor), "cpu")
    for tensor in (pair, *target.values(), *kwargs.values()):
        assert type(tensor) is torch.Tensor


def test_field_and_images_move_the_right_way():
    pair = noise(2, 2, 16, 20)
    network = shifting(3.0, -2.0)
    assert RegistrationInferer()(pair, network).keys() == {"warped", "ddf"}
    with torch.no_grad():
        result = RegistrationInferer()(pair, network)
    assert result.keys() == {"warped", "ddf", "seconds"}
    torch.testing.assert_close(result["ddf"][:, 0], torch.full((2, 16, 20), 3.0))
    torch.testing.assert_close(result["ddf"][:, 1], torch.full((2, 16, 20), -2.0))
    # the moving image, channel 0, from 3 rows below and 2 columns to the left
    torch.testing.assert_close(result["warped"][:, :, :-3, 2:], pair[:, :1, 3:, :-2], atol=1e-5, rtol=0)
    assert 0 < result["seconds"] < 10


@pytest.mark.parametrize(("shift", "first", "corner"), [(0.4, 6, True), (0.6, 5, False), (-0.4, 6, False)])
def test_masks_are_warped_linearly_and_cut_at_a_half(shift, first, corner):
    masks = torch.zeros(1, 2, 16, 16)
    masks[:, 0, 6:] = 1.0
    masks[:, 1, 6:, 6:] = 1.0
    result = RegistrationInferer()(noise(1, 2, 16, 16), shifting(shift, shift), masks=masks)
    warped = result["warped_masks"]
    assert warped.dtype == torch.bool
    half = (torch.arange(16) >= first)[:, None].expand(16, 16)
    quarter = half & half.T
    quarter[first, first] = corner  # 0.6 x 0.6 is below a half, though the nearest pixel is inside
    assert torch.equal(warped[0], torch.stack([half, quarter]))


@pytest.mark.parametrize("spline", ["bspline", "thin_plate"])
def test_amp_leaves_spline_and_warp_in_float32(spline):
    network, pair = unsettled(spline=spline), noise(2, 2, 24, 28)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = network.control_points(pair)
    assert not torch.equal(coarse, network.control_points(pair))  # else this shows nothing
    result = RegistrationInferer(amp=True)(pair, network)
    assert result["ddf"].dtype == result["warped"].dtype == torch.float32
    torch.testing.assert_close(result["ddf"], network.transformer(coarse, [24, 28]), atol=1e-6, rtol=0)
    torch.testing.assert_close(result["warped"], warp(pair[:, :1], result["ddf"]), atol=1e-6, rtol=0)
    exact = RegistrationInferer()(pair, network)
    torch.testing.assert_close(exact["ddf"], network(pair), atol=1e-6, rtol=0)


def test_monais_trainer_learns_a_shift():
    axes = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    blobs = [torch.exp(-((axes[0] - 16) ** 2 + (axes[1] - x) ** 2) / 30)[None, None] for x in (13, 17)]
    data = {"moving": blobs[0].expand(4, 1, 32, 32), "fixed": blobs[1].expand(4, 1, 32, 32)}
    torch.manual_seed(0)
    network = DIRNet(poolings=2, channels=4)
    losses = []
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        epoch_length=25,
        train_data_loader=[data] * 25,
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), 0.05),
        loss_function=RegistrationLoss(),
        prepare_batch=PreparePair(),
        inferer=RegistrationInferer(),
        postprocessing=lambda output: losses.append(output["loss"]) or output,
        decollate=False,
    )
    trainer.run()
    assert losses[0] > -0.8
    assert losses[-1] < -0.97


def test_monais_evaluator_warps_the_masks():
    data = batch(16, 20)
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=[data],
        network=shifting(1.0, 0.0),
        prepare_batch=PreparePair(),
        inferer=RegistrationInferer(),
        decollate=False,
    )
    evaluator.run()
    output = evaluator.state.output
    assert torch.equal(output["pred"]["warped_masks"][:, :, :-1], data["moving_lumen"][:, :, 1:].bool())
    assert torch.equal(output["label"]["fixed_lumen"], data["fixed_lumen"])


@pytest.mark.parametrize("has", [True, False])
def test_bfloat16_pays_where_the_processor_has_it(monkeypatch, has):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert bfloat16_pays("cpu") is has
