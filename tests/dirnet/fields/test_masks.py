import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.ndimage import binary_erosion, distance_transform_edt

from dirnet.fields.masks import dice, surface_distances, surface_scores

KEYS = {"hd95", "hd95_pooled", "mad"}
CASES = [((31, 45), (1.28, 0.7)), ((14, 17, 11), (2.0, 0.6, 1.1))]


def blobs(shape, seed):
    """Two irregular, overlapping masks, one of which is cut by the image border."""
    grid = np.indices(shape) / np.reshape(shape, (-1, *[1] * len(shape)))
    rough = np.random.default_rng(seed).random((2, *shape)) < 0.9
    a = ((grid - 0.45) ** 2).sum(0) < 0.08
    b = ((grid - 0.65) ** 2).sum(0) < 0.14
    assert b[-1].any()
    return a & rough[0], b & rough[1]


def directed_by_edt(a, b, spacing):
    """Whole image, no crop, no MONAI."""
    edge_a, edge_b = (m & ~binary_erosion(m) for m in (a, b))
    return distance_transform_edt(~edge_b, sampling=spacing)[edge_a]


def empty_pairs():
    full, empty = torch.ones(1, 1, 6, 5), torch.zeros(1, 1, 6, 5)
    return [(empty, full), (full, empty), (empty, empty)]


def test_dice_by_hand_and_per_pair():
    pred, target = torch.zeros(2, 1, 4, 6), torch.zeros(2, 1, 4, 6)
    pred[0, 0, :2, :3] = 1  # 6 pixels
    target[0, 0, 1:3, :3] = 1  # 6 pixels, 3 shared
    pred[1, 0, 0, 0] = target[1, 0, 0, 0] = 1
    torch.testing.assert_close(dice(pred, target), torch.tensor([0.5, 1.0]))


@pytest.mark.parametrize(("pred", "target"), empty_pairs())
def test_missing_structure_is_nan_and_leaves_its_neighbour_alone(pred, target):
    full = torch.ones(1, 1, 6, 5)
    scores = dice(torch.cat([pred, full]), torch.cat([target, full]))
    assert scores[0].isnan()
    assert scores[1] == 1

    there, back = surface_distances(pred[0, 0], target[0, 0], (1.0, 1.0))
    assert there.size == back.size == 0
    surface = surface_scores(pred[0, 0], target[0, 0], (1.0, 1.0))
    assert surface.keys() == KEYS
    assert all(math.isnan(v) for v in surface.values())


def test_any_kind_of_mask_is_cut_at_one_half():
    a, b = blobs((31, 45), 0)
    soft = torch.from_numpy(np.where(a, 0.51, 0.49)).bfloat16()
    expected = surface_scores(a, b, (1.0, 2.0))
    assert surface_scores(soft, b.astype(np.uint8) * 255, (1.0, 2.0)) == expected
    batch = torch.from_numpy(b)[None, None]
    assert dice(soft[None, None], batch) == dice(torch.from_numpy(a)[None, None], batch) < 1


@pytest.mark.parametrize(("shape", "spacing"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_surface_distances_equal_scipys_whole_distance_transform(shape, spacing, seed):
    a, b = blobs(shape, seed)
    there, back = surface_distances(a, b, spacing)
    np.testing.assert_allclose(np.sort(there), np.sort(directed_by_edt(a, b, spacing)), rtol=1e-6)
    np.testing.assert_allclose(np.sort(back), np.sort(directed_by_edt(b, a, spacing)), rtol=1e-6)
    assert there.shape != back.shape  # the two directions cannot be swapped unseen


@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_surface_scores_equal_monai(shape, spacing):
    a, b = blobs(shape, 4)
    ours = surface_scores(a, b, spacing)
    pair = [torch.from_numpy(m)[None, None] for m in (a, b)]
    hd95 = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
    mad = compute_average_surface_distance(*pair, include_background=True, symmetric=True, spacing=spacing)
    assert ours["hd95"] == pytest.approx(hd95.item(), rel=1e-5)
    assert ours["mad"] == pytest.approx(mad.item(), rel=1e-5)
    assert ours["hd95_pooled"] < ours["hd95"]


def test_spacing_is_row_then_column():
    a, b = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    a[4, 2], b[4, 5] = True, True  # three columns apart
    assert surface_scores(a, b, (10.0, 0.5)) == pytest.approx(dict.fromkeys(KEYS, 1.5))
    assert surface_scores(a.T, b.T, (10.0, 0.5)) == pytest.approx(dict.fromkeys(KEYS, 30.0))


def test_two_directions_are_pooled_by_distance_not_averaged_by_direction():
    a, b = np.zeros((1, 30), bool), np.zeros((1, 30), bool)
    a[0, 0] = True
    b[0, [0, 10, 20]] = True  # distances: 0 | 0, 10, 20
    scores = surface_scores(a, b, (1.0, 1.0))
    assert scores == pytest.approx({"hd95": 19.0, "hd95_pooled": 18.5, "mad": 7.5})


def test_bad_input():
    mask = np.ones((4, 5), bool)
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(5, 4\)"):
        surface_distances(mask, mask.T, (1, 1))
    for spacing in [(1.0,), (1.0, 0.0), (1.0, float("nan"))]:
        with pytest.raises(ValueError, match="2 positive spacings"):
            surface_scores(mask, mask, spacing)
    with pytest.raises(ValueError, match=r"\[2, 2, 4, 4\]"):
        dice(torch.ones(2, 2, 4, 4), torch.ones(2, 2, 4, 4))
    with pytest.raises(ValueError, match=r"\[1, 1, 4, 4\].*\[1, 1, 4, 5\]"):
        dice(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 5))
