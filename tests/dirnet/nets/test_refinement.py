"""Steps of optimisation on the pair, from where a network has left it."""

import numpy as np
import pytest
import torch

from dirnet.errors import InputError
from dirnet.fields.displacement import AffinePart, Displacement
from dirnet.fields.resampling import warp
from dirnet.nets.losses import ncc
from dirnet.nets.refinement import Refinement, refine
from dirnet.nets.similarities import MINDLoss, MutualInformationLoss, NGFLoss
from dirnet.nets.splines import BSplineTransformer
from dirnet.registrar import Registrar
from dirnet.training.engines import RegistrationInferer
from dirnet.trust import estimated_dice
from transforms.cine import scale_intensity
from transforms.phantom import Phantom


@pytest.fixture(scope="module")
def pairs():
    frames = torch.from_numpy(scale_intensity(Phantom(1, (96, 112), phases=8).cine(1)))
    return torch.stack([torch.stack([frames[0], frames[n]]) for n in (2, 3, 4)])


def zero(pairs):
    return BSplineTransformer(8).displacement(torch.zeros(len(pairs), 2, 12, 14), [96, 112])


def likeness(pairs, displacement):
    return ncc(warp(pairs[:, :1], displacement.ddf), pairs[:, 1:])


def test_the_images_become_more_alike_and_the_field_stays_its_spline(pairs):
    before = zero(pairs)
    after = refine(before, pairs, 20)
    assert (likeness(pairs, after) > likeness(pairs, before) + 0.001).all()
    (part,) = after.parts
    spline = BSplineTransformer(part.spacing, part.order, part.boundary)
    torch.testing.assert_close(spline(part.control_points, [96, 112]), after.ddf)
    assert not after.ddf.requires_grad
    assert not before.ddf.any()


@pytest.mark.parametrize(
    "similarity", [MutualInformationLoss(), MINDLoss(), NGFLoss()], ids=lambda value: type(value).__name__
)
def test_another_similarity_aligns_images_of_opposite_contrast(pairs, similarity):
    pairs = pairs[:2]  # the third is at rest
    inverted = torch.cat([1 - pairs[:, :1], pairs[:, 1:]], 1)
    before = zero(pairs)
    after = refine(before, inverted, Refinement(20, similarity, bending=0.1))
    assert (likeness(pairs, after) > likeness(pairs, before) + 0.001).all()
    misled = refine(before, inverted, 20)  # by NCC
    assert (likeness(pairs, misled) < likeness(pairs, before)).all()


def test_bending_and_step_are_those_asked_for(pairs):
    stiff, plain, short = (
        refine(zero(pairs), pairs, how).ddf
        for how in (Refinement(5, bending=1000.0), Refinement(5), Refinement(5, step=0.01))
    )
    torch.testing.assert_close(plain, refine(zero(pairs), pairs, 5).ddf)
    assert stiff.diff(n=2, dim=3).square().mean() < 0.3 * plain.diff(n=2, dim=3).square().mean()
    assert short.abs().max().item() == pytest.approx(0.1 * plain.abs().max().item(), rel=0.3)


def test_volumes_are_refined_too(pairs):
    volumes = pairs[..., None].expand(-1, -1, -1, -1, 8).contiguous()
    before = BSplineTransformer(8, spatial_dims=3).displacement(torch.zeros(3, 3, 12, 14, 1), [96, 112, 8])
    after = refine(before, volumes, Refinement(5, NGFLoss(), bending=0.1))
    assert (likeness(volumes, after) > likeness(volumes, before)).all()


def test_an_affine_map_before_the_spline_stays(pairs):
    shift = AffinePart(torch.eye(2).expand(3, 2, 2), torch.full((3, 2), 0.5), (47.5, 55.5))
    moved = Displacement(torch.full((3, 2, 96, 112), 0.5), (shift,)).then(zero(pairs))
    after = refine(moved, pairs, 5)
    affine, spline = after.parts
    assert torch.equal(affine.translation, shift.translation)
    field = BSplineTransformer(spline.spacing, spline.order, spline.boundary)(spline.control_points, [96, 112])
    torch.testing.assert_close(after.ddf, field + 0.5, atol=1e-5, rtol=0)
    assert (likeness(pairs, after) > likeness(pairs, moved)).all()


def test_inference_mode_does_not_matter(pairs):
    expected = refine(zero(pairs), pairs, 3).ddf
    with torch.inference_mode():
        found = refine(zero(pairs), pairs.clone(), 3).ddf
    torch.testing.assert_close(found, expected)


def test_each_pair_is_refined_as_if_it_were_alone(pairs):
    together = refine(zero(pairs), pairs, 5).ddf
    alone = torch.cat([refine(zero(pair[None]), pair[None], 5).ddf for pair in pairs])
    torch.testing.assert_close(together, alone, atol=0.02, rtol=0)


@pytest.mark.parametrize("steps", [-3, 2.5, True, "10"])
def test_steps_that_are_no_number_of_them(steps):
    for use in (
        lambda: Registrar.load("unsupervised", "cpu", steps),
        lambda: RegistrationInferer(refinement=steps),
        lambda: Refinement(steps),
    ):
        with pytest.raises(InputError, match="refinement: expected a whole number of steps from 0"):
            use()


def test_the_estimate_of_a_refined_propagation_is_that_of_an_evaluation(pairs):
    """The mirrored images are not refined by either."""
    drawn, registrar = Phantom(1, (96, 112), phases=8).lumen(1, 0), Registrar.load("unsupervised", "cpu", 5)
    frames = np.stack([pairs[0, 0], *pairs[:, 1]])
    followed = registrar.propagate(frames, drawn, 0)
    inputs = torch.from_numpy(np.stack([[frames[0], frame] for frame in frames[1:]]))
    masks = torch.from_numpy(drawn.astype(np.float32)).expand(3, 1, 96, 112)
    with torch.no_grad():
        found = RegistrationInferer(registrar.amp, True, 5)(inputs, registrar.network, masks)
    warped = warp(masks, torch.from_numpy(followed.ddf[1:])) > 0.5
    expected = estimated_dice(warped, found["mirrored_masks"])
    np.testing.assert_array_equal(followed.estimated_dice[1:], expected)


def test_a_field_without_spline_is_refused(pairs):
    with pytest.raises(InputError, match="control points of a B-spline"):
        refine(Displacement(torch.zeros(3, 2, 96, 112)), pairs, 1)


def test_a_registrar_refines(pairs):
    moving, fixed = pairs[2].numpy()
    alone, refined, other = (
        Registrar.load("unsupervised", "cpu", how).register(moving, fixed) for how in (0, 10, Refinement(10, NGFLoss()))
    )
    assert not np.array_equal(other.ddf, refined.ddf)
    assert other.ncc_network == alone.ncc_network
    assert refined.ncc_after > alone.ncc_after
    assert refined.ncc_network == alone.ncc_network == alone.ncc_after
    assert not np.array_equal(refined.ddf, alone.ddf)
