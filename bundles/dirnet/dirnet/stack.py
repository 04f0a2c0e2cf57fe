"""Registration of stacks: slices at one time, each with the one at its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from transforms.stacks import check_slices, read_slices

from .errors import InputError
from .fields.resampling import warp
from .files.images import as_array
from .files.itk import displacement_transform
from .files.regrid import SAME_SPACING
from .registration import RegistrationResult, slice_shown

__all__ = ["StackImage", "StackRegistration", "as_stack", "matched"]

StackImage = np.ndarray | Tensor | sitk.Image | str | Path
MOST_SHOWN = 8  # slices in a picture
TILTED = 2.0  # degrees between the slices of two stacks, at most


@dataclass(frozen=True, eq=False)
class StackRegistration(RegistrationResult):
    """How the slices of one stack lie on those of another.

    Attributes:
        moving, fixed: volumes (W, H, S); the slices of moving in the order of those of fixed.
        warped: moving with its own intensities on the grid of fixed, (S, H, W) float32.
        ddf: displacement field (3, S, H, W) in pixels, (slice, row, column): ``warped(x) = moving(x + ddf(x))``. Slices
            are registered each by itself, so the first component is zero.
        folded_percent: (S,), pixels where each slice's field folds, 0 to 100.
        ncc_before, ncc_after: (S,), normalised cross-correlation of each moving and warped slice with the fixed one.
        ncc_network: as ``ncc_after``, before any refinement.
    """

    moving: sitk.Image
    fixed: sitk.Image
    warped: np.ndarray
    ddf: np.ndarray
    folded_percent: np.ndarray
    ncc_before: np.ndarray
    ncc_network: np.ndarray
    ncc_after: np.ndarray

    def itk_transform(self) -> sitk.Transform:
        return displacement_transform(self.ddf, self.fixed, self.moving)

    def shown(self) -> list[dict[str, Any]]:
        moving, fixed = (sitk.GetArrayFromImage(image) for image in (self.moving, self.fixed))
        slices = np.unique(np.linspace(0, len(fixed) - 1, MOST_SHOWN).round().astype(int)).tolist()
        return [slice_shown(moving[n], fixed[n], self.ddf[1:, n], f"slice {n}") for n in slices]

    def warp_mask(self, mask: np.ndarray | Tensor) -> np.ndarray:
        """A mask (S, H, W) drawn on :attr:`moving` on the grid of :attr:`fixed`, bool: warped linearly, cut at 0.5.

        Raises:
            InputError: when it is of another size.
        """
        drawn = as_array(mask, "mask") != 0
        if drawn.shape != self.warped.shape:
            raise InputError(
                f"expected a mask of the stack's {self.warped.shape} (slice, row, column), got {drawn.shape}"
            )
        pixels = torch.from_numpy(drawn.astype(np.float32))[:, None]
        fields = torch.from_numpy(np.ascontiguousarray(self.ddf[1:].swapaxes(0, 1)))
        return (warp(pixels, fields) > 0.5)[:, 0].numpy()


def as_stack(image: StackImage, name: str) -> tuple[sitk.Image, bool]:
    """A stack (W, H, S), and whether its place in the patient is known.

    Args:
        image: an array or tensor (S, H, W), without a place; a SimpleITK image (W, H, S); or what
            :func:`transforms.stacks.read_slices` reads.
        name: what it is called in errors.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it is another thing.
    """
    if isinstance(image, str | Path):
        return read_slices(image)
    if isinstance(image, sitk.Image):
        check_slices(image, name)
        return image, True
    array = as_array(image, name)
    if array.ndim != 3 or len(array) < 2 or 0 in array.shape:
        raise InputError(f"{name}: expected slices (S, H, W), two or more, found an array of {array.shape}")
    return sitk.GetImageFromArray(array), False


def matched(
    moving: tuple[sitk.Image, bool], fixed: tuple[sitk.Image, bool], names: Sequence[str]
) -> tuple[sitk.Image, sitk.Image]:
    """Two stacks whose slices lie at one place each, in one order: by their places, or where one has none as they come.

    Args:
        moving, fixed: as :func:`as_stack` gives them.
        names: of the two, in errors.

    Raises:
        InputError: when they differ in their number of slices, in size or in pixel spacing, or their slices do not
            correspond.
    """
    (here, here_placed), (there, there_placed) = moving, fixed
    found = ", ".join(f"{name} has {_grid(image)}" for name, image in zip(names, (here, there), strict=True))
    same_size = here.GetSize() == there.GetSize()
    one, other = (image.GetSpacing()[:2] for image in (here, there))
    if not same_size or (here_placed and there_placed and not np.allclose(one, other, rtol=SAME_SPACING, atol=0)):
        raise InputError(
            f"two stacks need equally many slices of one size and pixel spacing (slices x rows x columns): {found}"
        )
    if not (here_placed and there_placed):
        placed, plain = (here, there) if here_placed else (there, here)
        plain = sitk.Image(plain)
        plain.CopyInformation(placed)
        return (here, plain) if here_placed else (plain, there)
    axes = [np.reshape(image.GetDirection(), (3, 3)) for image in (here, there)]
    cosines = (axes[0] * axes[1]).sum(0)
    tilt = np.degrees(np.arccos(min(1.0, abs(float(cosines[2])))))
    if tilt > TILTED or (cosines[:2] < 0.5).any():
        raise InputError(
            f"{names[0]} and {names[1]}: their slices do not correspond: tilted by {tilt:.0f} degrees"
            + (", their rows or columns run in different directions" if (cosines[:2] < 0.5).any() else "")
        )
    if cosines[2] < 0:
        here = here[:, :, ::-1]
    depths = [_depths(image, axes[1][:, 2]) for image in (here, there)]
    apart = np.abs(depths[0] - depths[1])
    worst = int(apart.argmax())
    if apart[worst] > there.GetSpacing()[2] / 2:
        raise InputError(
            f"{names[0]} and {names[1]}: their slices do not correspond: slice {worst} of the one lies "
            f"{apart[worst]:.1f} mm from slice {worst} of the other, over half of their {there.GetSpacing()[2]:.1f} mm"
        )
    return here, there


def _depths(image: sitk.Image, normal: np.ndarray) -> np.ndarray:
    """Of each slice's middle along a normal, mm."""
    middle = [(size - 1) / 2 for size in image.GetSize()[:2]]
    points = [image.TransformContinuousIndexToPhysicalPoint([*middle, float(n)]) for n in range(image.GetSize()[2])]
    return np.array(points) @ normal


def _grid(image: sitk.Image) -> str:
    (columns, rows, slices), (x, y, _) = image.GetSize(), image.GetSpacing()
    return f"{slices}x{rows}x{columns} of {y:.3g} x {x:.3g} mm"
