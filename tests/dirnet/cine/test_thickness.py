"""Walls whose thickness is known: annuli, an eccentric one, and an oblique wall."""

import numpy as np
import pytest

from dirnet.cine.thickness import centre_of, wall_thickness

SPACING = (1.4, 1.1)
ALL = np.linspace(-np.pi, np.pi, 90, endpoint=False)


def ring(radius, centre=(40.0, 50.0), squash=1.0, points=200):
    """Of a circle or ellipse in mm, in pixels (x, y)."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = radius * np.cos(angles), squash * radius * np.sin(angles)
    return np.stack([(centre[0] + x) / SPACING[1], (centre[1] + y) / SPACING[0]], 1)


def test_an_annulus_in_mm():
    found = wall_thickness([ring(20)], [ring(29)], SPACING, ALL)
    assert found == pytest.approx(np.full(90, 9), abs=0.05)
    assert centre_of([ring(3), ring(20, (41, 52))], SPACING) == pytest.approx([41, 52])  # of the larger ring


def test_a_lumen_off_the_middle():
    """Epicardium 30 mm around, lumen 20 mm around a centre 4 mm to the right: 6 mm there, 14 mm on the left."""
    found = wall_thickness([ring(20, (44, 50))], [ring(30)], SPACING, np.array([0, np.pi, np.pi / 2]))
    assert found == pytest.approx([6, 14, np.sqrt(30**2 - 4**2) - 20], abs=0.25)


def test_an_oblique_wall_is_measured_across():
    """Two confocal-like ellipses: along the ray at 45 degrees the wall is longer than across it."""
    inner, outer = ring(20, squash=0.5), ring(28, squash=18 / 28)
    angle = np.array([0.6])
    across = wall_thickness([inner], [outer], SPACING, angle)[0]
    t = np.linspace(0, 2 * np.pi, 40000)
    shapes = [np.stack([a * np.cos(t), b * np.sin(t)], 1) for a, b in ((20, 10), (28, 18))]
    along = [np.hypot(*shape[np.argmin(np.abs(np.arctan2(shape[:, 1], shape[:, 0]) - 0.6))]) for shape in shapes]
    middle = np.mean(along) * np.array([np.cos(0.6), np.sin(0.6)])
    true = sum(np.hypot(*(shape - middle).T).min() for shape in shapes)
    assert across == pytest.approx(true, abs=0.05)
    assert across < 0.93 * (along[1] - along[0])


def test_no_wall_no_thickness():
    assert np.isnan(wall_thickness([], [ring(20)], SPACING, ALL)).all()
    assert np.isnan(wall_thickness([ring(5)], [ring(20, (90, 50))], SPACING, ALL)).all()
    assert centre_of([], SPACING) is None
