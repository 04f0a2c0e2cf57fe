"""Which plane of a volume a slice is, and who is paired with whom."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from transforms.errors import InputError
from transforms.volume_planes import plane_pairs, plane_stacks


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Three volumes of 4x6x(9, 7, 9) voxels of 1 mm whose value is the column's place from the middle; the label lies
    in the column 2 mm from it."""
    folder = tmp_path_factory.mktemp("volumes")
    found = []
    for number, columns in enumerate((9, 7, 9)):
        places = np.arange(columns) - columns // 2
        for kind, array in (("image", places), ("label", 3 * (places == 2))):
            volume = sitk.GetImageFromArray(np.broadcast_to(array, (4, 6, columns)).astype(np.int16))
            sitk.WriteImage(volume, folder / f"{kind}{number}.nii.gz")
        found.append({"patient": f"P{number}", "split": "test", "labels": {"part": 3}})
        found[-1] |= {kind: str(folder / f"{kind}{number}.nii.gz") for kind in ("image", "label")}
    return found


def test_a_stack_holds_one_plane_of_all_patients(records):
    low, middle, high = plane_stacks(records, (-2, 0, 2), (8, 8), 1.0)
    assert [stack["slice"] for stack in (low, middle, high)] == [-2, 0, 2]
    assert (high["image"].shape, high["image"].dtype) == ((3, 8, 8), torch.float16)
    assert high["masks"].shape == (3, 1, 8, 8)
    for patient, reach in enumerate(
        (4, 3, 4)
    ):  # scaled from -reach ... reach to 0 ... 1, and repeated beyond the border
        for plane, stack in ((-2, low), (0, middle), (2, high)):
            expected = (plane + reach) / (2 * reach)
            torch.testing.assert_close(stack["image"][patient].float(), torch.full((8, 8), expected), atol=1e-2, rtol=0)
    assert not low["masks"].any()
    assert not middle["masks"].any()
    assert high["masks"].sum((1, 2, 3)).tolist() == [4 * 6] * 3  # nothing is drawn beyond the border


def test_pairs_are_of_two_patients_and_the_same_at_each_plane(records):
    stacks = plane_stacks(records, (0, 2), (8, 8), 1.0)
    pairs = plane_pairs(stacks)
    assert len(pairs) == 2 * 6
    assert [pair["direction"] for pair in pairs[:6]] == [pair["direction"] for pair in pairs[6:]]
    pair = next(pair for pair in pairs if pair["slice"] == 2 and pair["direction"] == "P1 to P0")
    assert pair["patient"] == "P0"
    assert torch.equal(pair["moving"][0], stacks[1]["image"][1].float())
    assert torch.equal(pair["fixed_lumen"], pair["fixed_masks"])
    assert len(plane_pairs(stacks, 2)) == 2 * 2
    with pytest.raises(InputError, match="two volumes of two patients"):
        plane_pairs(plane_stacks(records[:1], (0,), (8, 8), 1.0))
