"""Strain against motions whose strain is known in closed form, and against the phantom's."""

import numpy as np
import pytest

from dirnet.cine.strain import myocardial_ring, strain_curves
from dirnet.registrar import Registrar
from transforms.phantom import Phantom

NAMES = ("circumferential", "radial")

SIZE, CENTRE, SPACING = (72, 88), (33.0, 45.0), (1.4, 1.1)


def polar(size=SIZE, centre=CENTRE, spacing=SPACING):
    """Place from the centre in mm, (2, H, W), and its length."""
    place = (np.indices(size).T - centre) * spacing
    return place.T, np.hypot(*place.T)


def disc(radius):
    return polar()[1] <= radius


def pull_back(way_back, spacing=SPACING):
    """DDF (1, 2, H, W) in pixels of a map of mm from frame t to the annotated frame, by place from the centre."""
    place, _ = polar()
    return ((way_back(place) - place) / np.reshape(spacing, (2, 1, 1))).astype(np.float32)[None]


def still():
    return np.zeros((1, 2, *SIZE), np.float32)


def turned(angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return lambda place: np.stack([cos * place[0] - sin * place[1], sin * place[0] + cos * place[1]])


def contracted(loss):
    """Way back of r -> sqrt(r² − loss): the annulus keeps its area."""

    def way_back(place):
        radius = np.maximum(np.hypot(*place), 1e-6)
        return place * np.sqrt(radius**2 + loss) / radius

    return way_back


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_uniform_scaling(scale):
    ddf = np.concatenate([still(), pull_back(lambda place: place / scale)])
    strain = strain_curves(ddf, disc(18), SPACING, ed=0)
    expected = pytest.approx(50 * (scale**2 - 1), abs=0.01)
    assert strain.circumferential[1] == expected
    assert strain.radial[1] == expected
    assert strain.circumferential[0] == strain.radial[0] == pytest.approx(0, abs=1e-9)
    assert strain.share.tolist() == [1, 1]


@pytest.mark.parametrize("angle", [0.3, -0.7])
def test_rotation_and_translation_are_no_strain(angle):
    ways = [turned(angle), lambda place: place + np.reshape([3.1, -2.3], (2, 1, 1))]
    strain = strain_curves(np.concatenate([still(), *map(pull_back, ways)]), disc(15), SPACING, ed=0)
    np.testing.assert_allclose(strain.circumferential, 0, atol=0.01)
    np.testing.assert_allclose(strain.radial, 0, atol=0.01)


def test_incompressible_contraction():
    """r' = sqrt(r² − c): stretch r'/r around and dr'/dr = r/r' outwards, at each pixel of the ring."""
    lumen, heart, loss = disc(20), disc(29), 180.0
    ring = myocardial_ring(lumen, SPACING, heart)
    radius = polar()[1][ring]
    strain = strain_curves(np.concatenate([still(), pull_back(contracted(loss))]), lumen, SPACING, 0, ring)
    around, outwards = 50 * -loss / radius**2, 50 * (radius**2 / (radius**2 - loss) - 1)
    assert around.mean() == pytest.approx(-16, abs=2)  # as in a heart
    assert strain.circumferential[1] == pytest.approx(around.mean(), abs=0.1)
    assert strain.radial[1] == pytest.approx(outwards.mean(), abs=0.2)
    thin = ring & (polar()[1] < 21.5)  # the gradient across the wall is there too, not in the mean alone
    inner = strain_curves(np.concatenate([still(), pull_back(contracted(loss))]), lumen, SPACING, 0, thin)
    assert inner.circumferential[1] == pytest.approx((50 * -loss / polar()[1][thin] ** 2).mean(), abs=0.15)


def test_strain_refers_to_ed_wherever_it_was_annotated():
    """Drawn at ES: frame 0 is ED, frame 1 the drawn one, and ED to ES is the motion back."""
    scale = 1.3
    ddf = np.concatenate([pull_back(lambda place: place / scale), still()])
    strain = strain_curves(ddf, disc(14), SPACING, ed=0)
    np.testing.assert_allclose(strain.circumferential, [0, 50 * (scale**-2 - 1)], atol=0.02)
    np.testing.assert_allclose(strain.radial, strain.circumferential, atol=0.02)


def test_directions_are_radial_and_around():
    """A wall that only thickens: stretched outwards by a shift that grows with the radius less than it."""
    lumen = disc(16)
    ring = myocardial_ring(lumen, SPACING, disc(24))
    radius = polar()[1][ring]

    def way_back(place):  # r = r' + (r' − 16) · 0.2 on the annotated frame: thinned by 1/1.2 there, 16 mm stays
        length = np.maximum(np.hypot(*place), 1e-6)
        return place * (length + 0.2 * (length - 16)) / length

    strain = strain_curves(np.concatenate([still(), pull_back(way_back)]), lumen, SPACING, 0, ring)
    now = (radius + 0.2 * 16) / 1.2
    assert strain.radial[1] == pytest.approx(50 * (1.2**-2 - 1), abs=0.1)
    assert strain.circumferential[1] == pytest.approx((50 * ((now / radius) ** 2 - 1)).mean(), abs=0.1)


@pytest.mark.parametrize("seed", [0, 2])
def test_phantom(seed):
    """Fields of a whole beat; the truth by differences of the phantom's own motion, forwards, in mm."""
    phantom = Phantom(seed, size=(96, 112), slices=1)
    frames = [phantom.ed, phantom.es, (phantom.es + 5) % phantom.phases]
    ddf = np.stack([phantom.displacement(0, phantom.ed, frame) for frame in frames])
    lumen = phantom.lumen(0, phantom.ed)
    ring = myocardial_ring(lumen, phantom.spacing, phantom.epicardium(0, phantom.ed))
    strain = strain_curves(ddf, lumen, phantom.spacing, 0, ring)
    place = np.argwhere(ring).T
    radial = place - np.argwhere(lumen).mean(0)[:, None]
    radial /= np.hypot(*radial)
    for frame, around, outwards in zip(frames[1:], strain.circumferential[1:], strain.radial[1:], strict=True):
        for found, step in ((around, np.stack([-radial[1], radial[0]])), (outwards, radial)):
            ends = [to_frame(phantom, place + sign * 0.05 * step, frame) for sign in (1, -1)]
            truth = 50 * (((ends[0] - ends[1]) ** 2).sum(0) / 0.1**2 - 1)
            assert found == pytest.approx(truth.mean(), rel=0.03, abs=0.1)  # at pixels of 1.5 mm
    assert strain.circumferential[1] < strain.circumferential[2] < 0 < strain.radial[2] < strain.radial[1]


def to_frame(phantom, pixels, frame):
    """Where points (2, N) at ED, in pixels, lie on a frame, in pixels."""
    points = (pixels.T - phantom._centres[0]) * phantom._mm
    return phantom._to_pixels(0, frame, phantom._motions[0].to_material(points.T, phantom.ed))


def test_ring():
    lumen = disc(15)
    band = myocardial_ring(lumen, SPACING)
    radius = polar()[1]
    assert not (band & lumen).any()
    assert band[(radius > 16) & (radius < 20)].all()
    assert not band[radius > 21.5].any()
    np.testing.assert_array_equal(myocardial_ring(lumen, SPACING, disc(24)), disc(24) & ~lumen)
    assert not myocardial_ring(np.zeros(SIZE), SPACING).any()
    with pytest.raises(ValueError, match="above 0 mm"):
        myocardial_ring(lumen, SPACING, width=0)
    with pytest.raises(ValueError, match="differ in shape"):
        myocardial_ring(lumen, SPACING, lumen[1:])


def test_nothing_drawn_is_nan_and_not_zero():
    ddf, empty = np.concatenate([still(), still()]), np.zeros(SIZE, bool)
    for lumen, ring in ((empty, None), (disc(15), empty), (empty, disc(15))):
        strain = strain_curves(ddf, lumen, SPACING, 0, ring)
        assert np.isnan([strain.circumferential, strain.radial]).all()
        assert strain.share.tolist() == [0, 0]


def test_tissue_that_leaves_the_image_or_folds_is_left_out_and_told():
    away = still() + np.reshape([0.0, 70.0], (2, 1, 1)).astype(np.float32)  # 70 columns to the left: past the border
    gone = still() + 200
    fold = still()
    fold[..., 44:46] += 9
    strain = strain_curves(np.concatenate([still(), away, gone, fold]), disc(15), SPACING, 0)
    assert strain.share[0] == 1
    assert strain.share[1] == strain.share[2] == 0
    assert 0.5 < strain.share[3] < 1
    assert np.isnan(strain.circumferential).tolist() == [False, True, True, False]
    partly = strain_curves(
        np.concatenate([still(), still() + np.float32([[[0]], [[CENTRE[1]]]])]), disc(15), SPACING, 0
    )
    assert 0.3 < partly.share[1] < 0.7
    assert partly.circumferential[1] == pytest.approx(0, abs=0.01)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 2, 72, 88\) and \(71, 88\)"):
        strain_curves(still(), disc(15)[1:], SPACING, 0)
    with pytest.raises(ValueError, match="0 to 0, got 1"):
        strain_curves(still(), disc(15), SPACING, 1)
    with pytest.raises(ValueError, match="not finite"):
        strain_curves(still() * np.nan, disc(15), SPACING, 0)
    with pytest.raises(ValueError, match="pixel spacing"):
        strain_curves(still(), disc(15), (1.0, -1.0), 0)
    with pytest.raises(ValueError, match="differ in shape"):
        strain_curves(still(), disc(15), SPACING, 0, disc(18)[:, 1:])


def on_phantoms(weights, wall_known):
    """Circumferential and radial strain from end-diastole to end-systole, true and found, of 12 slices: (12, 2, 2)."""
    registrar, strains = Registrar.load(weights), []
    for seed in range(4):
        phantom = Phantom(seed, (128, 128))
        for number in range(3):
            phases, lumen = [phantom.ed, phantom.es], phantom.lumen(number, phantom.ed)
            epicardium = phantom.epicardium(number, phantom.ed) if wall_known else None
            ring = myocardial_ring(lumen, phantom.spacing, epicardium)
            true = np.stack([phantom.displacement(number, phantom.ed, phase) for phase in phases])
            found = registrar.propagate(phantom.cine(number)[phases], lumen, 0).ddf
            curves = [strain_curves(ddf, lumen, phantom.spacing, 0, ring) for ddf in (true, found)]
            strains.append([[getattr(curve, name)[1] for name in NAMES] for curve in curves])
    return np.array(strains)


def test_shipped_network_on_phantoms():
    """The errors that the model card states, in points of strain."""
    true, found = on_phantoms("unsupervised", wall_known=True).swapaxes(0, 1)
    circumferential, radial = np.abs(found - true).T
    assert circumferential.mean() < 1.5
    assert radial.mean() < 10
    assert 20 < radial.max() < 24


def test_the_default_network_does_not_show_how_the_wall_thickens():
    """Why no radial strain is reported, of a wall of the default width."""
    true, found = on_phantoms("contours", wall_known=False)[..., 1].T
    assert true.min() > 20
    assert 15 < np.abs(found - true).mean() < 30
