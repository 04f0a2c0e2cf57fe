"""Each similarity is what its source says, computed again without this project; and safe to train by."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss
from scipy import ndimage
from scipy.interpolate import BSpline

from dirnet.errors import InputError
from dirnet.nets.similarities import (
    LocalNCCLoss,
    MINDLoss,
    MultiScaleSimilarity,
    MutualInformationLoss,
    NCCLoss,
    NGFLoss,
    ncc,
)
from tests.pairs import noise, some_pairs

SIZES = [(20, 30), (12, 11, 13)]
ALL = [NCCLoss(), LocalNCCLoss(5), MultiScaleSimilarity(), MutualInformationLoss(12), MINDLoss(), NGFLoss()]
ALL_BUT_NCC = [LocalNCCLoss(5), MutualInformationLoss(12), MINDLoss(), NGFLoss()]


def name_of(value):
    return type(value).__name__


def smooth_pair(*size):
    """Smooth patterns in [0, 1], the second the first moved by two pixels along an axis."""
    pattern = torch.from_numpy(ndimage.gaussian_filter(noise(*size).numpy(), 2, mode="wrap"))
    pattern = ((pattern - pattern.min()) / (pattern.max() - pattern.min()))[None, None]
    return pattern, pattern.roll(2, 2)


def each(similarity, image, target):
    return [similarity(a, b).item() for a, b in zip(image.split(1), target.split(1), strict=True)]


@pytest.mark.parametrize("size", SIZES)
def test_ncc_of_each_image_is_numpys(size):
    image, target = some_pairs(*size)
    expected = [np.corrcoef(a.double().ravel(), b.double().ravel())[0, 1] for a, b in zip(image, target, strict=True)]
    assert expected[0] == pytest.approx(1)
    assert abs(expected[2]) < 0.2
    np.testing.assert_allclose(ncc(image, target), expected, atol=1e-5)
    assert NCCLoss()(image, target).item() == pytest.approx(-np.mean(expected), abs=1e-5)


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (3, -2), (0.05, 0.5), (1000, 4000), (1, 100)])
def test_ncc_does_not_see_a_linear_change_of_intensity(gain, offset):
    image, target = some_pairs(64, 64)[0][1:2], some_pairs(64, 64)[1][1:2]
    torch.testing.assert_close(ncc(gain * image + offset, target), ncc(image, target), atol=1e-4, rtol=0)
    torch.testing.assert_close(ncc(-gain * image + offset, target), -ncc(image, target), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_local_ncc_is_the_squared_correlation_of_each_window(size):
    image, target = some_pairs(*size)
    axes = tuple(range(len(size)))
    expected = []
    for a, b in zip(image[:, 0].double().numpy(), target[:, 0].double().numpy(), strict=True):
        windows = [np.lib.stride_tricks.sliding_window_view(values, [5] * len(size)) for values in (a, b)]
        rows = [values.reshape(-1, 5 ** len(size)) for values in windows]
        expected.append(-np.mean([np.corrcoef(*pair)[0, 1] ** 2 for pair in zip(*rows, strict=True)]))
    assert expected[0] == pytest.approx(-1)
    assert len(axes) == image.dim() - 2
    np.testing.assert_allclose(each(LocalNCCLoss(5), image, target), expected, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_local_ncc_is_monais_away_from_the_border(size):
    image, target = some_pairs(*size)
    theirs = LocalNormalizedCrossCorrelationLoss(len(size), 5, reduction="none")(image, target)
    inside = theirs[(..., *[slice(2, -2)] * len(size))].mean()
    torch.testing.assert_close(LocalNCCLoss(5)(image, target), inside, atol=1e-5, rtol=0)
    assert theirs.mean() < inside - 0.01  # the border, which says that all images match


def test_a_perfect_match_of_mostly_constant_images_is_minus_one_by_local_ncc():
    image = torch.zeros(1, 1, 64, 64)
    image[..., 20:30, 20:30] = noise(10, 10)
    assert LocalNCCLoss(9)(image, image).item() == pytest.approx(-1, abs=1e-4)
    assert LocalNCCLoss(9)(1000 + image, 1000 + image).item() == pytest.approx(-1, abs=1e-3)
    assert LocalNormalizedCrossCorrelationLoss(2, 9)(image, image).item() > -0.1
    assert LocalNormalizedCrossCorrelationLoss(2, 9)(1000 + image, 1000 + image).item() < -1000


def joint_histogram(image, target, bins):
    """Of two arrays: a cubic B-spline for the first, a box for the second."""
    kernel = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    place = 1 + (bins - 3) * (image - image.min()) / (image.max() - image.min())
    row = np.round((bins - 1) * (target - target.min()) / (target.max() - target.min())).astype(int)
    joint = np.zeros((bins, bins))
    for where, of_target in zip(place.ravel(), row.ravel(), strict=True):
        joint[of_target] += np.nan_to_num(kernel(where - np.arange(bins)))
    return joint / joint.sum()


@pytest.mark.parametrize("size", SIZES)
def test_mutual_information_is_that_of_the_joint_histogram(size):
    image, target = some_pairs(*size)
    expected = []
    for a, b in zip(image[:, 0].double().numpy(), target[:, 0].double().numpy(), strict=True):
        joint = joint_histogram(a, b, 12)
        product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        expected.append(-(joint[joint > 0] * np.log(joint[joint > 0] / product[joint > 0])).sum())
    assert expected[0] < expected[1] - 0.3 < expected[2] - 0.6
    np.testing.assert_allclose(each(MutualInformationLoss(12), image.double(), target.double()), expected, atol=1e-6)
    np.testing.assert_allclose(each(MutualInformationLoss(12), image, target), expected, atol=2e-3)  # of rounded bins


def test_mutual_information_is_near_itks_by_mattes():
    image, target = some_pairs(64, 72)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetInitialTransform(sitk.TranslationTransform(2))
    for number in (0, 1):
        pair = (sitk.GetImageFromArray(values[number, 0].numpy()) for values in (target, image))
        theirs = method.MetricEvaluate(*pair)
        assert MutualInformationLoss(32)(image, target).isfinite()
        found = MutualInformationLoss(32)(image[number : number + 1], target[number : number + 1]).item()
        assert found == pytest.approx(theirs, rel=0.05)


def test_mutual_information_of_a_pair_does_not_depend_on_the_others():
    image, target = some_pairs(20, 30)
    loss = MutualInformationLoss(12)
    assert loss(image, target).item() == pytest.approx(np.mean(each(loss, image, target)), abs=1e-5)


def mind(image, distance, radius, noise):
    """MIND-SSC of a volume, its channels in any order."""
    steps = distance * np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    padded = np.pad(image, distance, mode="edge")

    def at(step):
        return padded[tuple(slice(distance + s, distance + s + n) for s, n in zip(step, image.shape, strict=True))]

    pairs = [(a, b) for a, b in itertools.combinations(steps, 2) if ((a - b) ** 2).sum() == 2 * distance**2]
    assert len(pairs) == 12
    apart = np.stack([ndimage.uniform_filter((at(a) - at(b)) ** 2, 2 * radius + 1, mode="nearest") for a, b in pairs])
    apart -= apart.min(0)
    variance = apart.mean(0)
    variance = variance.clip(0.001 * variance.mean(), 1000 * variance.mean()).clip(noise**2)
    return np.exp(-apart / variance)


@pytest.mark.parametrize("options", [(1, 1, 0.001), (2, 1, 0.1), (3, 0, 0.001)])
def test_mind_is_that_of_its_source(options):
    image, target = (values.double().numpy()[0, 0] for values in smooth_pair(14, 11, 13))
    expected = ((mind(image, *options) - mind(target, *options)) ** 2).mean()
    assert expected > 0.01
    found = MINDLoss(*options)(*(torch.from_numpy(values)[None, None] for values in (image, target)))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_mind_of_an_image_is_that_of_a_volume_that_repeats_it():
    pair = smooth_pair(24, 30)
    volumes = (image[..., None].expand(-1, -1, -1, -1, 7).contiguous() for image in pair)
    torch.testing.assert_close(MINDLoss()(*pair), MINDLoss()(*volumes))


def test_mind_sees_an_edge_along_an_axis():
    edge = torch.linspace(-1, 1, 32).expand(1, 1, 32, 32).mul(6).sigmoid()
    assert MINDLoss()(edge, edge.roll(5, 3)).item() > 0.01


@pytest.mark.parametrize("size", SIZES)
def test_ngf_is_that_of_its_source(size):
    image, target = some_pairs(*size)
    image = image / image.amax(tuple(range(1, image.dim())), keepdim=True)
    expected = []
    for a, b in zip(image[:, 0].double().numpy(), target[:, 0].double().numpy(), strict=True):
        a, b = (np.stack(np.gradient(values)) for values in (a, b))
        a, b = (gradient / np.sqrt((gradient**2).sum(0) + 0.05**2) for gradient in (a, b))
        expected.append(np.mean(1 - (a * b).sum(0) ** 2))
    assert expected[0] < expected[1] - 0.1 < expected[2] - 0.2
    np.testing.assert_allclose(each(NGFLoss(0.05), image, target), expected, atol=1e-5)


def test_several_scales_are_the_mean_of_smoothed_images():
    for size in SIZES:
        image, target = some_pairs(*size)
        image, target = image[1:2], target[1:2]
        smooth = [
            torch.from_numpy(
                ndimage.gaussian_filter(
                    values.double().numpy(), 3, axes=range(2, values.dim()), truncate=2, mode="nearest"
                )
            )
            for values in (image, target)
        ]
        for similarity in (NCCLoss(), NGFLoss()):
            expected = (similarity(image, target) + similarity(*smooth)) / 2
            found = MultiScaleSimilarity(similarity, (0, 3))(image, target)
            assert found.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("similarity", ALL, ids=name_of)
@pytest.mark.parametrize("size", [(7, 9), (6, 5, 7)])
def test_gradients_are_those_of_the_value(similarity, size):
    target, ends = noise(2, 1, *size, seed=3).double(), torch.tensor([[-1.0, 2.0]] * 2).double()
    inner = noise(2, target[0].numel() - 2).double().requires_grad_()

    def loss(values):  # the darkest and the brightest pixel stay: mutual information takes the range as given
        return similarity(torch.cat([ends, values], 1).view_as(target), target)

    assert torch.autograd.gradcheck(loss, inner, eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("similarity", ALL, ids=name_of)
@pytest.mark.parametrize("size", [(16, 17), (9, 8, 10)])
@pytest.mark.parametrize("level", [0.0, 1.0, 0.3])
def test_constant_images_have_a_finite_value_and_gradient(similarity, size, level):
    flat, other = torch.full((2, 1, *size), level), noise(2, 1, *size)
    other[1] = level  # both constant
    for swap in (False, True):
        flat_, other_ = flat.clone().requires_grad_(), other.clone().requires_grad_()
        loss = similarity(*((other_, flat_) if swap else (flat_, other_)))
        assert loss.isfinite()
        loss.backward()
        for gradient in (flat_.grad, other_.grad):
            assert gradient is None or (gradient.isfinite().all() and gradient.abs().max() < 10)


@pytest.mark.parametrize("level", [0.0, 1.0, 0.3])
def test_ncc_of_constant_images_is_zero(level):
    flat, other = torch.full((2, 1, 16, 16), level), noise(2, 1, 16, 16)
    torch.testing.assert_close(ncc(flat, other), torch.zeros(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(ncc(flat, flat), torch.zeros(2), atol=1e-3, rtol=0)


@pytest.mark.parametrize("similarity", ALL, ids=name_of)
def test_autocast_does_not_matter(similarity):
    image, target = some_pairs(32, 32)
    image = (image + 50).requires_grad_()  # what bfloat16, with steps of 0.25 here, could not tell apart
    expected = similarity(image, target)
    with torch.autocast("cpu", torch.bfloat16):
        loss = similarity(image, target)
        half = similarity(target.bfloat16(), target.bfloat16())
    assert loss.dtype == half.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(half, similarity(target, target), atol=0.02, rtol=0)
    loss.backward()
    assert image.grad.isfinite().all()


@pytest.mark.parametrize("similarity", ALL, ids=name_of)
@pytest.mark.parametrize("size", [(32, 36), (20, 18, 16)])
def test_a_match_is_the_best_and_a_step_downhill_is_better(similarity, size):
    image, target = smooth_pair(*size)
    assert similarity(target, target) < similarity(image, target) - 0.01
    image.requires_grad_()
    (gradient,) = torch.autograd.grad(similarity(image, target), image)
    assert similarity(image - 0.01 * gradient / gradient.norm(), target) < similarity(image, target)


@pytest.mark.parametrize("similarity", ALL_BUT_NCC, ids=name_of)
def test_the_sign_of_the_contrast_does_not_matter(similarity):
    image, target = smooth_pair(32, 36)
    torch.testing.assert_close(similarity(1 - image, target), similarity(image, target), atol=2e-3, rtol=0)
    assert similarity(1 - target, target) < similarity(1 - image, target) - 0.01
    assert NCCLoss()(1 - target, target) > 0.99  # the worst that there is


@pytest.mark.parametrize("similarity", ALL, ids=name_of)
def test_shapes_must_agree(similarity):
    with pytest.raises(ValueError, match=r"\[2, 1, 8, 8\].*\[2, 1, 8, 9\]"):
        similarity(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 9))
    with pytest.raises(ValueError, match=r"\[2, 1, 8, 8\].*\[1, 1, 8, 8\]"):
        similarity(torch.zeros(2, 1, 8, 8), torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LocalNCCLoss(8), "window must be an odd number from 3, got 8"),
        (lambda: LocalNCCLoss(9)(torch.zeros(1, 1, 8, 20), torch.zeros(1, 1, 8, 20)), "windows of 9 pixels"),
        (lambda: MutualInformationLoss(2), "bins must be a whole number from 5, got 2"),
        (lambda: MINDLoss(distance=0), "distance must be a whole number from 1, got 0"),
        (lambda: MINDLoss(radius=-1), "radius must be a whole number from 0, got -1"),
        (lambda: MINDLoss(noise=0), "noise must be a number above 0, got 0"),
        (lambda: NGFLoss(0), "edge must be a number above 0, got 0"),
        (lambda: MultiScaleSimilarity(sigmas=()), r"sigmas must be numbers of pixels from 0, got \(\)"),
        (lambda: MultiScaleSimilarity(sigmas=(-1, 2)), "sigmas must be numbers of pixels from 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
