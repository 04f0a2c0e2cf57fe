"""One patient: the anatomy and motion of a few slices, and what a scanner sees of them."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from ..errors import InputError
from .anatomy import Anatomy
from .motion import Motion, direction

# Pathology as SCD names it: area ejection fraction, lumen radius and wall thickness at ED (mm), and how
# much of its motion the wall loses in the middle of an infarct. Each is drawn between two ends.
PATHOLOGIES = {
    "Normal": ((0.58, 0.66), (23, 27), (8, 10), (0, 0)),
    "Heart failure with infarct": ((0.54, 0.60), (26, 30), (8, 10), (0.7, 0.95)),
    "Heart failure without infarct": ((0.42, 0.50), (27, 31), (8, 10), (0, 0)),
    "Hypertrophy": ((0.60, 0.68), (20, 24), (12, 15), (0, 0)),
}


class Phantom:
    """One patient: a few short-axis slices over one heartbeat, the same for the same arguments.

    Pathology goes round with the seed. Images smaller than about 112 pixels hold a smaller heart.

    Attributes:
        size: rows and columns of a frame. phases, slices: how many.
        spacing: (row, column) mm.
        thickness: distance between slices, mm.
        ed, es: phase with the largest and with the smallest lumen.
        pathology: one of `PATHOLOGIES`.
    """

    def __init__(self, seed: int, size: tuple[int, int] = (128, 128), phases: int = 20, slices: int = 3):
        if phases < 2 or slices < 1 or min(size) < 32:
            raise InputError(
                f"a phantom needs 2 phases, 1 slice and 32 pixels a side at least, got {phases} phases, "
                f"{slices} slices, size {tuple(size)}"
            )
        rng = np.random.default_rng(seed)
        self.seed, self.size, self.phases, self.slices = seed, tuple(size), phases, slices
        self.pathology = list(PATHOLOGIES)[seed % len(PATHOLOGIES)]
        self.spacing = (round(rng.uniform(1.25, 1.4), 4),) * 2
        self.thickness = float(rng.choice([8, 10]))
        self.ed = phases - 1 - int(phases >= 10 and rng.random() < 0.3)
        self.es = int(phases * rng.uniform(0.3, 0.44))
        self._mm = np.array(self.spacing) * max(1, 112 / min(size))  # of the heart, a pixel
        lean = np.outer(np.arange(slices) - (slices - 1) / 2, rng.uniform(-2, 2, 2))  # of the long axis
        self._centres = (np.array(size) - 1) / 2 + rng.uniform(-4, 4, 2) + lean  # of the LV, pixels
        self._coil = direction(rng.uniform(-2.4, -0.8)) * rng.uniform(0.5, 1)
        self._noise = rng.uniform(5, 10)
        self._anatomies, self._motions = zip(*self._build(rng), strict=True)

    def cine(self, slice: int, noise: bool = True) -> np.ndarray:
        """Frames (phases, H, W) float32 of a slice, 0 to about 1000.

        Without noise the coil's uneven field, which does not move with the heart, is left out too: then a
        frame warped with `displacement` is the other frame.
        """
        anatomy = self._anatomies[slice]
        frames = np.stack([anatomy.signal(self._material(slice, phase)) for phase in range(self.phases)])
        if not noise:
            return frames
        rng = np.random.default_rng([self.seed, slice % self.slices])
        row, column = self._pixels() / np.reshape(self.size, (2, 1, 1)) - 0.5
        field = np.exp(self._coil[0] * row + self._coil[1] * column - 0.5 * (row**2 + column**2))
        real, imaginary = self._noise * rng.standard_normal((2, *frames.shape), dtype=np.float32)
        return np.hypot(frames * field.astype(np.float32) + real, imaginary)  # the magnitude: Rician

    def lumen(self, slice: int, phase: int) -> np.ndarray:
        """Mask (H, W) of the pixels whose centre lies in the LV's lumen, papillary muscles included."""
        return self._anatomies[slice].outside("lumen", self._material(slice, phase)) < 0

    def epicardium(self, slice: int, phase: int) -> np.ndarray:
        """Mask (H, W) of the pixels whose centre lies in the LV, lumen and wall."""
        return self._anatomies[slice].outside("epicardium", self._material(slice, phase)) < 0

    def rv(self, slice: int, phase: int) -> np.ndarray:
        """Mask (H, W) of the pixels whose centre lies in the right ventricle's lumen."""
        material, anatomy = self._material(slice, phase), self._anatomies[slice]
        return anatomy.in_right(material) & (anatomy.outside("epicardium", material) >= 0)

    def displacement(self, slice: int, moving_phase: int, fixed_phase: int) -> np.ndarray:
        """True DDF (2, H, W) float32, pixels, (row, column): fixed(x) = moving(x + ddf(x))."""
        if moving_phase == fixed_phase:
            return np.zeros((2, *self.size), np.float32)  # exactly
        moved = self._to_pixels(slice, moving_phase, self._material(slice, fixed_phase))
        return (moved - self._pixels()).astype(np.float32)

    def contour(self, slice: int, phase: int, structure: str, points: int = 240) -> np.ndarray:
        """Border of "lumen" or "epicardium" as SCD's files hold it: (points, 2) x, y in pixels, open.

        Pixel (r, c) covers x in [c, c + 1) and y in [r, r + 1), and every pixel that the contour crosses
        belongs to the structure. So half a pixel is added, and the border is drawn inside the true one, by
        0.58 pixels: the filled contour then has the area of the mask.
        """
        if structure not in ("lumen", "epicardium"):
            raise InputError(f'structure must be "lumen" or "epicardium", got {structure!r}')
        directions = direction(np.linspace(0, 2 * np.pi, points, endpoint=False))
        border = directions * self._anatomies[slice].outline(structure, directions)
        row, column = self._to_pixels(slice, phase, border)
        along_row, along_column = np.roll((row, column), -1, 1) - np.roll((row, column), 1, 1)
        inwards = np.stack([-along_row, along_column]) * 0.58 / np.hypot(along_row, along_column)  # x, y
        return (np.stack([column, row]) + 0.5 + inwards).T

    def _build(self, rng: np.random.Generator) -> list[tuple[Anatomy, Motion]]:
        """Anatomy and motion of each slice, base first."""
        fraction, radius, wall, loss = (rng.uniform(*ends) for ends in PATHOLOGIES[self.pathology])
        since = (np.arange(self.phases) - self.ed) % self.phases / self.phases
        peak = since[self.es]
        rest = 1 - peak
        # Contraction, fast filling, rest, the atrium's kick.
        times = [0, 0.5 * peak, peak, peak + 0.4 * rest, peak + 0.75 * rest, 1]
        activation = PchipInterpolator(times, [0, 0.6, 1, 0.35, 0.22, 0])(since)
        swing = np.sin(2 * np.pi * since)
        shift = np.outer(activation, rng.normal(0, 1.2, 2)) + np.outer(swing, rng.normal(0, 0.6, 2))
        infarct = direction(rng.uniform(0, 2 * np.pi))
        twists = np.radians(rng.uniform((-6, 4), (-2, 10)))  # base one way, apex the other
        same = rng.integers(2**32)

        slices = []
        for depth in np.linspace(0, 1, self.slices) if self.slices > 1 else [0.5]:
            lumen = radius * (1 - 0.35 * depth**2)
            thickness = wall * (1 - 0.2 * depth)
            anatomy = Anatomy(np.random.default_rng(same), lumen, thickness, depth, edge=0.35 * self._mm[0])
            core = (0.4 * lumen) ** 2
            # So that the lumen's squared radius at ES is 1 − fraction of that at ED.
            contraction = fraction * lumen**2 / -np.expm1(-(1 - fraction) * lumen**2 / core)
            twist = twists[0] + depth * (twists[1] - twists[0])
            slices.append((anatomy, Motion(activation, shift, twist, contraction, core, infarct, loss)))
        return slices

    def _pixels(self) -> np.ndarray:
        """Pixel centres (2, H, W)."""
        return np.indices(self.size, dtype=float)

    def _material(self, slice: int, phase: int) -> np.ndarray:
        """Where the tissue in each pixel of a frame lies at ED, (2, H, W) mm."""
        points = (self._pixels().T - self._centres[slice]) * self._mm
        return self._motions[slice].to_material(points.T, phase)

    def _to_pixels(self, slice: int, phase: int, points: np.ndarray) -> np.ndarray:
        """Where tissue that lies at points (2, ...) mm at ED is found in a frame, (2, ...) pixels."""
        points = self._motions[slice].to_space(points, phase)
        return (points.T / self._mm + self._centres[slice]).T
