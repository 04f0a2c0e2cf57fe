"""Patients in 3-D who differ by a known deformation, and their volumes as files.

One atlas is a function of position: two structures that touch each other, and bright blobs around them. A patient is
the atlas seen through a small affine map and a smooth deformation, so nothing is interpolated. Points are arrays
(3, ...) in mm, (slice, row, column), measured from the middle of the volume.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from .folders import dealt_splits, new_folder, seed_of_patient

__all__ = ["VolumePhantom", "write_volumes"]

STRUCTURES = {"anterior": 1, "posterior": 2}
CENTRES = np.array([[0.0, -6.5, -1.0], [1.0, 6.5, 1.5]])  # of the structures' ellipsoids
RADII = np.array([[6.0, 7.5, 6.5], [5.0, 7.5, 5.5]])
BRIGHTNESS = (180.0, 90.0)  # above the background's
BACKGROUND, NOISE = 100.0, 8.0
EDGE = 0.12  # softness, as a part of the radius
BUMPS, REACH = 6, 8.0  # of the deformation: their number and size


@dataclass(frozen=True)
class VolumePhantom:
    """A patient, the same for a seed.

    Args:
        seed: of the patient.
        size: (slices, rows, columns).
        spacing: mm, in the same order.
    """

    seed: int
    size: tuple[int, int, int] = (32, 44, 32)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def to_atlas(self, points: np.ndarray) -> np.ndarray:
        """Places in this patient, (3, ...), to those of the same tissue in the atlas. One to one: it does not fold."""
        draw = np.random.default_rng(self.seed)
        turn = Rotation.from_rotvec(np.radians(draw.uniform(-8, 8, 3))).as_matrix()
        matrix = turn * np.exp(draw.uniform(-0.08, 0.08, 3))
        moved = np.tensordot(matrix, points, 1) + draw.uniform(-1.5, 1.5, 3).reshape(3, *[1] * (points.ndim - 1))
        for centre, shift in zip(draw.uniform(-12, 12, (BUMPS, 3)), draw.uniform(-1.8, 1.8, (BUMPS, 3)), strict=True):
            squared = ((points.T - centre) ** 2).sum(-1).T
            moved = moved + np.multiply.outer(shift, np.exp(-squared / (2 * REACH**2)))
        return moved

    def label(self) -> np.ndarray:
        """Values of STRUCTURES, 0 beside them, uint8, (slices, rows, columns)."""
        first, second = (radius < 1 for radius in self._radii(self.to_atlas(self._points())))
        return np.where(first, 1, np.where(second, 2, 0)).astype(np.uint8)

    def image(self) -> np.ndarray:
        """Grey values, int16, (slices, rows, columns)."""
        places = self.to_atlas(self._points())
        blobs = np.random.default_rng(0)  # the atlas is one
        values = np.full(self.size, BACKGROUND)
        for centre, height in zip(blobs.uniform(-16, 16, (8, 3)), blobs.uniform(-60, 90, 8), strict=True):
            values += height * np.exp(-((places.T - centre) ** 2).sum(-1).T / (2 * 4.0**2))
        for radius, height in zip(self._radii(places), BRIGHTNESS, strict=True):
            values += height / (1 + np.exp((radius - 1) / EDGE))
        values += np.random.default_rng((self.seed, 1)).normal(0, NOISE, self.size)
        return values.round().clip(0, 32767).astype(np.int16)

    def _points(self) -> np.ndarray:
        middle = [(n - 1) / 2 for n in self.size]
        return ((np.indices(self.size).T - middle) * self.spacing).T

    @staticmethod
    def _radii(places: np.ndarray) -> list[np.ndarray]:
        """Of each structure the distance from its centre, 1 on its border."""
        pairs = zip(CENTRES, RADII, strict=True)
        return [np.sqrt((((places.T - centre) / radius) ** 2).sum(-1)).T for centre, radius in pairs]


def write_volumes(
    folder: str | Path,
    patients: int = 12,
    size: tuple[int, int, int] = (32, 44, 32),
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    seed: int = 0,
) -> Path:
    """Write phantoms as NIfTI, ``images`` and ``labels`` of equal names, with ``datalist.json``.

    About two thirds are training, the rest half validation, half test. The folder appears whole or not at all. Two
    seeds share no patient.

    Raises:
        FileExistsError: the folder is there already and not empty.
        ValueError: fewer than three patients, who cannot fill three splits.
    """
    splits = dealt_splits(patients)
    datalist: dict[str, list[dict[str, str]]] = {split: [] for split in splits}
    with new_folder(folder) as unfinished:
        for kind in ("images", "labels"):
            (unfinished / kind).mkdir()
        for number, split in enumerate(splits, 1):
            phantom = VolumePhantom(seed_of_patient(seed, number), size, spacing)
            name = f"PV-{number:02d}"
            item = {"patient": name}
            for kind, array in (("image", phantom.image()), ("label", phantom.label())):
                item[kind] = f"{kind}s/{name}.nii.gz"
                image = sitk.GetImageFromArray(array)
                image.SetSpacing(spacing[::-1])
                image.SetOrigin([-s * (n - 1) / 2 for s, n in zip(spacing[::-1], size[::-1], strict=True)])
                sitk.WriteImage(image, unfinished / item[kind])
            datalist[split].append(item)
        (unfinished / "datalist.json").write_text(json.dumps({"labels": STRUCTURES, **datalist}, indent=1) + "\n")
    return Path(folder).resolve()
