"""Synthetic contractions: a drawn end-diastolic heart moved to a made-up later phase, so that the motion is known.

A drawing at end-systole may say where the lumen's border went, and nothing of the wall. In a synthetic contraction the
wall is known: its area grows by a share that hearts have, and image, lumen and epicardium are moved by one field. For
drawn pairs :func:`likely_epicardium` says where the wall's outer border probably is.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

__all__ = ["contract", "contraction", "likely_epicardium", "signed_distance"]

ANGLES = np.linspace(0, 2 * np.pi, 128, endpoint=False)
WALL_GROWTH = (-0.02, 0.15)  # of the wall's area in the slice, as the heart shortens along its axis
LUMEN_SCALE = (0.3, 0.97)  # of the lumen's radius
HARMONICS = 12  # of a border's radius by angle
FAR = 20.0  # pixels, beyond which a distance is of no interest


def contract(
    image: np.ndarray, lumen: np.ndarray, epicardium: np.ndarray, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A heart at a phase that it was not seen at.

    Args:
        image: (H, W) at end-diastole.
        lumen, epicardium: (H, W) bool, drawn on it; all inside the epicardium, the lumen too.
        draw: gives the contraction.

    Returns:
        image, lumen and epicardium (H, W) float32 of the contracted heart, resampled once, linearly.
    """
    places = contraction(lumen, epicardium, draw)
    moved = (
        map_coordinates(np.asarray(array, np.float32), places, order=1, mode=mode)
        for array, mode in ((image, "nearest"), (lumen, "constant"), (epicardium, "constant"))
    )
    first, second, third = moved
    return first, second, third


def contraction(lumen: np.ndarray, epicardium: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Where each pixel of the contracted heart lies in the drawn one: (2, H, W) in pixels, (row, column), pull-back.

    About the lumen's centre, by angle: the lumen shrinks, unevenly, in a fourth of the cases but for one part of the
    wall; the wall keeps its area but for a random growth; outside, the motion fades. A twist, a shift and a smooth
    random motion are added.
    """
    centre = np.argwhere(lumen).mean(0)
    endo = np.maximum(_radius(lumen, centre), 1.5)
    epi = np.maximum(_radius(lumen | epicardium, centre), endo + 2.5)
    smaller_endo = endo * np.clip(_scale(draw), 0.2, 1.05)
    wall = (epi**2 - endo**2) * (1 + draw.uniform(*WALL_GROWTH))
    smaller_epi = np.minimum(np.sqrt(smaller_endo**2 + wall), epi + 1.5)

    shift = draw.normal(0, 1.2, 2)
    rows, columns = np.indices(lumen.shape, dtype=np.float32)
    down, across = rows - centre[0] - shift[0], columns - centre[1] - shift[1]
    radius = np.hypot(down, across) + 1e-6
    angle = np.arctan2(down, across) % (2 * np.pi)
    a, b, a1, b1 = (
        np.interp(angle, np.append(ANGLES, 2 * np.pi), np.append(border, border[0]))
        for border in (endo, epi, smaller_endo, smaller_epi)
    )
    reach = np.maximum(draw.uniform(8, 25), 1.5 * np.abs(b - b1).max())
    thickness = np.maximum(b1**2 - a1**2, 1e-3)
    in_wall = np.sqrt(np.maximum(a**2 + (radius**2 - a1**2) * (b**2 - a**2) / thickness, 0))
    outside = radius + (b - b1) * np.exp(-(radius - b1) / reach)
    before = np.where(radius < a1, radius * a / a1, np.where(radius < b1, in_wall, outside))

    twist = np.radians(draw.normal(0, 4)) * np.exp(-np.maximum(radius - b1, 0) / 15)
    near = 1 - np.exp(-((radius / 40) ** 2))  # where the heart is, the shift is its own; far away nothing moves
    turned = (
        down * np.cos(twist) + across * np.sin(twist),
        across * np.cos(twist) - down * np.sin(twist),
    )
    amplitude = draw.uniform(0, 1.2)
    return np.stack(
        [
            centre[axis] + before * turned[axis] / radius + shift[axis] * near + amplitude * _smooth(lumen.shape, draw)
            for axis in (0, 1)
        ]
    )


def _scale(draw: np.random.Generator) -> np.ndarray:
    """By what the lumen's radius is multiplied at each angle."""
    mean = draw.uniform(*LUMEN_SCALE)  # drawn before the waves: a seed's hearts depend on the order
    waves = [draw.normal(0, 0.08 / m) * np.cos(m * ANGLES + draw.uniform(0, 2 * np.pi)) for m in (1, 2, 3)]
    scale: np.ndarray = mean * (1 + np.sum(waves, 0))
    if draw.random() < 0.25:  # a part that hardly moves, as after an infarct
        still = np.exp(2 * (np.cos(ANGLES - draw.uniform(0, 2 * np.pi)) - 1))
        scale = scale * (1 - still) + still * draw.uniform(0.9, 1.02)
    return scale


def _radius(mask: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """How far a mask reaches from a point at each angle, in pixels, smoothed."""
    along = np.arange(0, max(mask.shape) / 2, 0.5)
    rays = [centre[0] + np.outer(along, np.sin(ANGLES)), centre[1] + np.outer(along, np.cos(ANGLES))]
    inside = map_coordinates(mask.astype(np.float32), rays, order=1) > 0.5
    last = len(along) - 1 - np.argmax(inside[::-1], 0)
    waves = np.fft.rfft(np.where(inside.any(0), along[last], 0))
    waves[HARMONICS:] = 0
    return np.fft.irfft(waves, len(ANGLES))


def _smooth(size: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit standard deviation."""
    noise = gaussian_filter(draw.standard_normal(size), 12)
    return noise / noise.std()


def likely_epicardium(
    carried: np.ndarray, lumen_ed: np.ndarray, epicardium_ed: np.ndarray, lumen_es: np.ndarray
) -> np.ndarray:
    """The epicardium at end-systole, which is not drawn, as a soft mask (H, W) float32.

    A registration without contours follows the epicardium less well than the lumen, so that the wall comes out too
    large. The carried border is moved along its normal, by 2.5 pixels at most, until the wall's area has grown by
    ``0.12 + 0.4 (found − 0.12)``: hearts grow by about an eighth in a slice, and the registration is trusted in part.

    Args:
        carried: epicardium (H, W) at end-systole by a registration, above 0.5 inside.
        lumen_ed, epicardium_ed, lumen_es: (H, W) bool, as drawn.
    """
    before = (epicardium_ed & ~lumen_ed).sum()
    distance = signed_distance(carried > 0.5)

    def grown(by: float) -> float:
        return float(((distance < by) & ~lumen_es).sum() / before - 1)

    wanted = np.clip(0.12 + 0.4 * (grown(0) - 0.12), -0.05, 0.35)
    best = min(np.linspace(-2.5, 2.5, 51), key=lambda step: abs(grown(step) - wanted) + 1e-3 * abs(step))
    return np.maximum(np.clip(0.5 - (distance - best), 0, 1), lumen_es).astype(np.float32)


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance of pixels' centres from a mask's border in pixels, negative inside, at most 20; 20 of an empty one."""
    if not mask.any():
        return np.full(mask.shape, FAR, np.float32)
    outside, inside = distance_transform_edt(~mask), distance_transform_edt(mask)
    return np.clip(np.where(mask, 0.5 - inside, outside - 0.5), -FAR, FAR).astype(np.float32)
