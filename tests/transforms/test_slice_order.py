"""Base and apex by the slices' places."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.dicom import mr_image
from transforms.cine_files import read_cine_stack
from transforms.phantom import write_scd
from transforms.slice_order import base_is_first

SHORT_AXIS = [0.7, 0.65, 0, -0.2, 0.22, -0.95]  # its normal leads to the base


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (SHORT_AXIS, False),  # slices lie along the normal: the apex first
        ([-value if k < 3 else value for k, value in enumerate(SHORT_AXIS)], True),
        ([1, 0, 0, 0, 1, 0], False),  # a transversal stack goes upwards
        ([0.7, -0.7, 0, 0, 0, -1], None),  # across the heart
    ],
)
def test_base_by_place(axes, expected, tmp_path):
    row, column = np.array(axes[:3], float), np.array(axes[3:], float)
    row /= np.linalg.norm(row)
    column -= row * (row @ column)
    column /= np.linalg.norm(column)
    for number in range(3):
        for time in range(2):
            place = 8 * number * np.cross(row, column)
            tags = {"ImageOrientationPatient": [*row, *column], "ImagePositionPatient": list(place)}
            image = mr_image(np.full((16, 16), 9, np.uint8), TriggerTime=40 * time, **tags)
            image.save_as(tmp_path / f"{number}_{time}.dcm")
    cine = read_cine_stack(tmp_path)
    assert base_is_first(cine) is expected
    assert base_is_first(dataclasses.replace(cine, placed=False)) is None
    assert base_is_first(dataclasses.replace(cine, grids=cine.grids[:1])) is None


def test_phantoms_lie_as_hearts_do(tmp_path):
    folder = write_scd(tmp_path / "phantom", 3, (48, 48), 4, 3)
    cine = read_cine_stack(next(folder.glob("SCD_IMAGES_01/*/*")))
    assert base_is_first(cine) is False
    assert cine.view == "short axis"
    assert cine.files[-1][0].name == "IM-0001-0001.dcm"  # written from the base on
