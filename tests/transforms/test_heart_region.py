"""The heart is found where it was drawn."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from transforms.cine_files import read_cine_stack
from transforms.heart_region import SIDE, Region, heart_region
from transforms.phantom import Phantom
from transforms.scd import scan
from transforms.slice_order import base_is_first

SCD = Path(os.environ.get("SCD_DIR", "/does/not/exist"))


def test_a_region_cuts_images():
    images = np.arange(2 * 6 * 8).reshape(2, 6, 8)
    assert np.array_equal(Region(1, 2, 3, 4).of(images), images[:, 1:4, 2:6])


@pytest.mark.parametrize("seed", range(4))
def test_the_heart_of_a_phantom_lies_in_the_middle_of_the_region(seed):
    phantom = Phantom(seed, (224, 256), 8, 3)
    images = np.stack([phantom.cine(number) for number in range(3)])
    region = heart_region(images, phantom.spacing)
    assert (region.height, region.width) == (np.ceil(SIDE / phantom.spacing[0]),) * 2
    ventricle = np.stack([phantom.epicardium(number, phantom.ed) for number in range(3)])
    assert region.of(ventricle).sum() == ventricle.sum()
    edge = 15  # pixels, about 20 mm
    inner = Region(region.top + edge, region.left + edge, region.height - 2 * edge, region.width - 2 * edge)
    assert inner.of(ventricle).sum() == ventricle.sum()
    # pixels that are half as wide, and values of any size
    wide = heart_region(1e4 * np.repeat(images, 2, -1) - 500, (phantom.spacing[0], phantom.spacing[1] / 2))
    assert np.allclose(wide, (region.top, 2 * region.left, region.height, 2 * region.width), atol=8)


def test_a_small_or_still_cine_has_a_region_too():
    small = np.random.default_rng(0).random((1, 4, 40, 50))
    assert heart_region(small, (1.0, 1.0)) == (0, 0, 40, 50)
    assert heart_region(np.zeros((3, 4, 200, 300)), (1.0, 1.0)) == (20, 70, 160, 160)


@pytest.mark.skipif(not SCD.is_dir(), reason="needs SCD_DIR")
def test_the_hearts_of_scd_lie_in_their_regions():
    found, records = 0, scan(SCD)
    for folder in sorted(SCD.glob("SCD_IMAGES_*/*/*")):
        drawn = [record for record in records if record["frames"][0].startswith(f"{folder}{os.sep}")]
        files = [file for one in drawn for name in ("lumen", "epicardium") for file in one.get(name, {}).values()]
        files = [file for file in files if file.endswith(".txt")]
        points = np.concatenate([np.loadtxt(file) for file in files])
        cine = read_cine_stack(folder)
        top, left, height, width = heart_region(cine.images, cine.spacing)
        assert (points.min(0) > (left, top)).all()
        assert (points.max(0) < (left + width, top + height)).all()
        assert base_is_first(cine) is False  # the last slice is the first file
        assert cine.files[-1][0].name.endswith("-0001.dcm")
        found += 1
    assert found
