"""A heart of discs and annuli, whose every number is known."""

import numpy as np
import SimpleITK as sitk

from transforms.cine_files import CineStack
from transforms.study_info import StudyInfo

SIZE, SPACING, DISTANCE = (96, 96), (1.4, 1.2), 8.0
FRAMES, SLICES = 12, 6
MIDDLE = (70.0, 62.0)  # mm, of the left ventricle, row and column
OUTER = 34.0 - 2.0 * np.arange(SLICES)  # mm, of the epicardium, from base to apex
STUDY = StudyInfo(heart_rate=60, heart_rate_from="HeartRate", height_cm=180, weight_kg=80)
BEAT = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAMES) / FRAMES)  # 0 at end-diastole, 1 at end-systole


def wall_of(beat):
    return 9.0 + 4.0 * beat


def disc(radius, row=0.0, column=0.0):
    rows, columns = np.indices(SIZE)
    return np.hypot(rows * SPACING[0] - MIDDLE[0] - row, columns * SPACING[1] - MIDDLE[1] - column) < radius


def heart(shift=(0.0, 0.0)):
    """Lumen, epicardium and right ventricle; at end-systole the lumen has moved by ``shift`` mm within the wall."""
    shape = (SLICES, FRAMES, *SIZE)
    drawn = {name: np.zeros(shape, bool) for name in ("lumen", "epicardium", "rv")}
    for number, radius in enumerate(OUTER):
        for frame, beat in enumerate(BEAT):
            drawn["epicardium"][number, frame] = outer = disc(radius)
            drawn["lumen"][number, frame] = disc(radius - wall_of(beat), *(beat * part for part in shift))
            right = disc(radius * (1 - 0.1 * beat), 0, -0.7 * radius) & ~disc(radius + 1)
            drawn["rv"][number, frame] = right & ~outer
    return drawn


def stack():
    """Slices as a clinic has them, from the base; images are of no use here."""
    rng = np.random.default_rng(0)
    grids = []
    for _ in range(SLICES):
        grid = sitk.Image([SIZE[1], SIZE[0], 1], sitk.sitkUInt8)
        grid.SetDirection([0.77, -0.15, -0.62, 0.62, 0.41, 0.67, 0.16, -0.9, 0.41])
        grids.append(grid)
    images = rng.random((SLICES, FRAMES, *SIZE), np.float32)
    times = np.arange(FRAMES) * 1000.0 / FRAMES
    return CineStack(images, grids, SPACING, DISTANCE, times, positions=DISTANCE * np.arange(SLICES))
