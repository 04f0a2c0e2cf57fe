"""A displacement and its parts: batches, composition, and the ITK transform that they make."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from dirnet.fields.displacement import AffinePart, BSplinePart, Displacement, grid
from dirnet.fields.resampling import warp
from dirnet.files.itk import parts_transform
from dirnet.nets.splines import BSplineTransformer, ThinPlateSplineTransformer

SIZE = [48, 40]


def spline_of(seed, spacing, batch=1, amplitude=1.0):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(batch, 2, *(-(-n // spacing) for n in SIZE), generator=generator) * amplitude
    return BSplineTransformer(spacing).displacement(points, SIZE)


def test_slices_and_concatenation_keep_field_and_parts_together():
    whole = spline_of(0, 8, batch=5)
    again = Displacement.concatenate([whole[:2], whole[2:]])
    assert len(again) == 5
    assert torch.equal(again.ddf, whole.ddf)
    assert torch.equal(again.parts[0].control_points, whole.parts[0].control_points)
    torch.testing.assert_close(BSplineTransformer(8)(whole[3:4].parts[0].control_points, SIZE), whole.ddf[3:4])


def test_then_warps_as_one_after_the_other():
    first, second = spline_of(1, 16), spline_of(2, 8)
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(40.0), indexing="ij")
    image = (torch.sin(y / 9) + torch.cos(x / 7))[None, None]  # smooth, so that resampling twice costs little
    both = first.then(second)
    inside = (slice(None), slice(None), slice(6, -6), slice(6, -6))
    expected = warp(warp(image, first.ddf), second.ddf)
    torch.testing.assert_close(warp(image, both.ddf)[inside], expected[inside], atol=0.02, rtol=0)
    assert [part.spacing for part in both.parts] == [(16, 16), (8, 8)]


def test_an_affine_map_before_a_spline_is_evaluated_where_it_is_also_beyond_the_image():
    affine = AffinePart(torch.tensor([[[1.2, 0.1], [-0.1, 0.9]]]), torch.tensor([[30.0, -3.0]]), (23.5, 19.5))
    places = grid(torch.zeros(1, 2, *SIZE))
    first = Displacement(affine.at(places), (affine,))
    second = spline_of(2, 8, amplitude=4)
    both = first.then(second)
    row, column = 40, 3
    there = torch.tensor([row, column]) + second.ddf[0, :, row, column]
    moved = (
        affine.matrix[0] @ (there - torch.tensor(affine.centre)) + torch.tensor(affine.centre) + affine.translation[0]
    )
    assert moved[0] > SIZE[0]
    torch.testing.assert_close(torch.tensor([row, column]) + both.ddf[0, :, row, column], moved)
    assert [type(part) for part in both[:1].to("cpu").parts] == [AffinePart, BSplinePart]


def test_what_has_no_spline_has_no_parts():
    dense = ThinPlateSplineTransformer(8).displacement(torch.randn(1, 2, 6, 5), SIZE)
    assert dense.parts == ()
    assert spline_of(1, 8).then(dense).parts == ()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_composition_of_splines_is_one_itk_transform(elsewhere):
    """SimpleITK moves points as the composed field does: the part that warps last is applied first."""
    both = spline_of(1, 16, amplitude=2).then(spline_of(2, 8))
    fixed = sitk.Image(SIZE[::-1], sitk.sitkFloat32)
    fixed.SetSpacing([1.4, 0.9])
    fixed.SetOrigin([3, -20])
    moving = sitk.Image(fixed)
    if elsewhere:
        moving.SetOrigin([50, 7])
    transform = parts_transform(both.parts, fixed, moving)
    ddf = both.ddf[0].double().numpy()
    for row, column in ((20, 17), (13, 25), (30, 9)):
        point = fixed.TransformIndexToPhysicalPoint((column, row))
        found = moving.TransformPhysicalPointToContinuousIndex(transform.TransformPoint(point))
        # linear interpolation of the first field, on the way, is all that the two differ by
        np.testing.assert_allclose(found[::-1], np.add((row, column), ddf[:, row, column]), atol=0.02)
