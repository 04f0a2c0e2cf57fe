"""Strain of the left ventricle's wall from the fields that follow it.

Green-Lagrange strain, E = (FᵀF − I) / 2 with the deformation gradient F from end-diastole (ED) to each frame: the
finite strain that is zero under any rotation (Holzapfel, "Nonlinear Solid Mechanics", 2000, chapter 2). It refers each
frame to the same tissue at ED, which is the reference that the consensus on strain imaging names (Voigt et al.,
"Definitions for a common standard for 2D speckle tracking echocardiography", EHJ Cardiovascular Imaging 2015). Of a
length that becomes s times as long it is (s² − 1) / 2: a shortening by 20 %, in the engineering strain that clinical
programs show as a rule, reads −18 %, a lengthening by 40 % reads +48 %.

The fields pull back: they give where a pixel of frame t lies on the annotated frame, so their own gradient is
F⁻¹, at that pixel of frame t. One inversion (:func:`dirnet.fields.composition.invert`) tells where on frame t each
piece of the wall lies, and F is the inverse of the gradient found there. (The other way, Euler-Almansi strain by the
fields as they are, needs no inversion, but measures on each frame other pixels, in other directions, against the length
after.)

What it cannot mean:

- The slice stands still and the heart moves through it, by a centimetre at the base: what lies in the plane at
  end-systole is other tissue than at ED. Strain across the plane (longitudinal) is not seen at all.
- Along a smooth border nothing in the image tells one place from the next, so motion along it, twist for one, is
  what the network's smoothness makes of it. The mean circumferential strain around the ring depends on it least.
- Inside the wall a cine shows next to no structure: radial strain is the motion of the two borders, if both were
  matched, and interpolation between; regional values of either strain are no measurement. On this project's phantom,
  ED to ES (12 slices), the shipped `unsupervised` network missed the true circumferential strain of −19 % by 1 point
  on average, and the true radial strain of 28 % by 8, at worst by 23.5; a coarser one found half of it.
- Numbers of different programs, and of tagging, are not interchangeable. See Pedrizzetti et al., "Principles of
  cardiovascular magnetic resonance feature tracking ...", JCMR 2016, doi:10.1186/s12968-016-0269-7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from ..fields.composition import invert
from ..fields.resampling import sample, warp
from .volumes import check_spacing

__all__ = ["StrainCurves", "myocardial_ring", "strain_curves"]

MISS = 0.1  # pixels by which the way to a frame and back may miss its start before it counts as unknown


@dataclass(frozen=True, eq=False)
class StrainCurves:
    """Mean Green-Lagrange strain over the ring, from ED to each frame, in %; nan where there is nothing to measure.

    Attributes:
        circumferential: (T,), negative where the wall shortens, as in systole; 0 at ED.
        radial: (T,), positive where the wall thickens, as in systole; 0 at ED.
        share: (T,) of the ring that the means are over, 0 to 1: the rest left the image, or the field folds there.
    """

    circumferential: np.ndarray
    radial: np.ndarray
    share: np.ndarray


def myocardial_ring(
    lumen: ArrayLike, spacing: Sequence[float], epicardium: ArrayLike | None = None, width: float = 6.0
) -> np.ndarray:
    """Pixels of the left ventricle's wall on the annotated frame, bool (H, W).

    Args:
        lumen: mask (H, W).
        spacing: (row mm, column mm).
        epicardium: mask (H, W) of all that lies inside the epicardium; the wall is what of it is not lumen.
        width: without ``epicardium``, the wall is the band of that many mm around the lumen. The default is the thin
            end of what is normal at ED (6 to 10 mm; Lang et al., JASE 2015), to stay within the wall.

    Raises:
        ValueError: when the masks are not two of the same shape (H, W), or a length is not positive.
    """
    inside = np.asarray(lumen) > 0.5
    if inside.ndim != 2:
        raise ValueError(f"expected a lumen mask (H, W), got an array of {inside.shape}")
    spacing = check_spacing(spacing)
    if epicardium is not None:
        heart = np.asarray(epicardium) > 0.5
        if heart.shape != inside.shape:
            raise ValueError(f"lumen {inside.shape} and epicardium {heart.shape} differ in shape")
        return heart & ~inside
    if not 0 < width < np.inf:
        raise ValueError(f"the ring's width must be above 0 mm, got {width}")
    if not inside.any():
        return inside
    distance = distance_transform_edt(~inside, sampling=spacing)
    return (distance > 0) & (distance <= width)


def strain_curves(
    ddf: ArrayLike, lumen: ArrayLike, spacing: Sequence[float], ed: int, ring: ArrayLike | None = None
) -> StrainCurves:
    """Circumferential and radial strain of one slice's wall from ED to each frame; see the module for what they mean.

    Radial is the direction from the lumen's centroid, circumferential that across it, both at ED.

    Args:
        ddf: (T, 2, H, W) in pixels, (row, column), from the annotated frame to each, pull-back:
            ``warped_t(x) = annotated(x + ddf_t(x))``.
        lumen: mask (H, W) on the annotated frame.
        spacing: (row mm, column mm).
        ed: index of the end-diastolic frame, to which strain refers; the annotated frame or another.
        ring: mask (H, W) of the wall on the annotated frame, by :func:`myocardial_ring`; by default the band that it
            lays around the lumen.

    Returns:
        nan throughout where lumen or ring are empty.

    Raises:
        ValueError: when shapes do not fit, a field is not finite, ``ed`` is no frame or the spacing not positive.
    """
    fields = torch.from_numpy(np.array(ddf, np.float32))
    inside = np.asarray(lumen) > 0.5
    _check(fields, inside, ed)
    wall = myocardial_ring(inside, spacing) if ring is None else np.asarray(ring) > 0.5
    if wall.shape != inside.shape:
        raise ValueError(f"lumen {inside.shape} and ring {wall.shape} differ in shape")
    mm = np.array(check_spacing(spacing))
    centre = _centroid(inside, fields[ed])
    if centre is None or not wall.any():
        unknown = np.full(len(fields), np.nan)
        return StrainCurves(unknown, unknown.copy(), np.zeros(len(fields)))

    places, gradients, known = _follow(fields, wall)
    known &= known[ed]
    gradients = np.where(known[..., None, None], gradients * (mm[:, None] / mm), np.eye(2))  # mm a mm
    radial = (places[ed] - centre) * mm
    radial /= np.linalg.norm(radial, axis=-1, keepdims=True)
    around = radial[:, ::-1] * (-1, 1)

    def mean(directions: np.ndarray) -> np.ndarray:
        # F takes a direction at ED over the annotated frame to frame t: by the gradient at ED, then back by that at t
        stretched = np.linalg.solve(gradients, (gradients[ed] @ directions[..., None])[None])
        strain = 50 * ((stretched**2).sum((-2, -1)) - 1)
        return np.where(known, strain, 0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)

    return StrainCurves(mean(around), mean(radial), known.mean(1))


def _follow(fields: Tensor, wall: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where N pixels of the annotated frame lie on each frame, and the gradient of the way back there, in pixels.

    Returns:
        places (T, N, 2); gradients (T, N, 2, 2), component by axis, of annotated by frame-t place; and (T, N) whether
        both are known: in the image, and not where the field folds.
    """
    window = _window(wall, reach=int(np.ceil(fields.abs().max().item())) + 2)
    fields = fields[(slice(None), slice(None), *window)]
    ring = torch.from_numpy(np.argwhere(wall[window]))
    inverse = invert(fields, ring)
    back = ring.float() + inverse.mT
    gradients = torch.stack(torch.gradient(fields, dim=(2, 3)), 2)
    gradients = sample(gradients.flatten(1, 2), back).unflatten(1, (2, 2))
    gradients = np.moveaxis(gradients.double().numpy(), -1, 1) + np.eye(2)
    returns = ((inverse + sample(fields, back)).square().sum(1) < MISS**2).numpy()
    places = np.argwhere(wall) + inverse.double().numpy().swapaxes(1, 2)
    lands = ((places >= 0) & (places <= np.array(wall.shape) - 1)).all(-1)
    return places, gradients, lands & returns & (np.linalg.det(gradients) > 0)


def _window(mask: np.ndarray, reach: int) -> tuple[slice, ...]:
    """The rows and columns of a mask and ``reach`` pixels around, where alone the field is looked at."""
    return tuple(slice(max(0, where.min() - reach), where.max() + reach + 1) for where in np.nonzero(mask))


def _centroid(lumen: np.ndarray, ddf: Tensor) -> np.ndarray | None:
    """Centroid (row, column) in pixels of a mask (H, W) warped by a field (2, H, W); None where nothing is left."""
    weights = warp(torch.from_numpy(lumen.astype(np.float32))[None, None], ddf[None])[0, 0].double().numpy()
    total = weights.sum()
    return (np.indices(lumen.shape) * weights).sum((1, 2)) / total if total > 0 else None


def _check(fields: Tensor, lumen: np.ndarray, ed: int) -> None:
    if fields.ndim != 4 or fields.shape[1] != 2 or fields.shape[2:] != lumen.shape or min(lumen.shape) < 2:
        raise ValueError(
            f"expected fields (T, 2, H, W) and a lumen mask (H, W), got {tuple(fields.shape)} and {lumen.shape}"
        )
    if not fields.isfinite().all():
        raise ValueError("the displacement fields have values that are not finite")
    if not 0 <= ed < len(fields):
        raise ValueError(f"ed must be a frame of 0 to {len(fields) - 1}, got {ed}")
