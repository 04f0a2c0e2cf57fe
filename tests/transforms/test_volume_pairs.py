"""Which pairs of volumes are drawn, what a batch holds, and that a seed draws them again."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.transforms import Transform

from transforms.phantom import write_volumes
from transforms.records import records_of_split
from transforms.volume_loading import LoadVolumed
from transforms.volume_pairs import LoadVolumePaird, VolumePairDataset, volume_pairs
from transforms.volume_records import read_volume_records


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = write_volumes(tmp_path_factory.mktemp("data") / "v", 4, (12, 16, 14), (3.0, 2.5, 2.0))
    return read_volume_records(folder / "datalist.json", "")


def numbered(patients, size=(6, 8, 7)):
    """Volume n has n / 64 in all voxels but one corner, in which its mask is."""
    volumes = []
    for number, patient in enumerate(patients):
        masks = torch.zeros(2, *size, dtype=torch.uint8)
        masks[0, 0, 0, 0] = masks[1, -1, -1, -1] = 1
        volumes.append({"image": torch.full((1, *size), number / 64), "masks": masks, "patient": patient})
    return volumes


class Same(Transform):
    def __call__(self, item):
        return item


def dataset(volumes, **options):
    settings = {"crop_size": (6, 8, 7), "batch_size": 4, "iterations": 50, "seed": 0, "shift": 0, "contrast": 0.0}
    return VolumePairDataset(volumes, Same(), **{**settings, "flip": False, "progress": False, **options})


def test_loaded_volume(records):
    item = LoadVolumed()(records[0])
    assert (item["image"].shape, item["image"].dtype) == ((1, 12, 16, 14), torch.float32)
    assert (item["image"].min(), item["image"].max()) == (0, 1)
    assert item["spacing"] == [3.0, 2.5, 2.0]
    assert (item["masks"].shape, item["masks"].dtype) == ((2, 12, 16, 14), torch.uint8)
    label = sitk.GetArrayFromImage(sitk.ReadImage(records[0]["label"]))
    assert np.array_equal(item["masks"][1], label == 2)
    assert item["patient"] == "PV-01"
    assert not LoadVolumed()({**records[0], "label": None})["masks"].any()
    coarse = LoadVolumed((6.0, 5.0, 4.0))(records[0])
    assert (coarse["image"].shape, coarse["masks"].shape) == ((1, 6, 8, 7), (2, 6, 8, 7))
    assert coarse["spacing"] == [6.0, 5.0, 4.0]


@pytest.mark.parametrize(
    ("pairing", "expected"),
    [
        ("between", {(0, 2), (1, 2), (2, 0), (2, 1)}),
        ("within", {(0, 1), (1, 0)}),
        ("any", {(0, 1), (1, 0), (0, 2), (1, 2), (2, 0), (2, 1)}),
    ],
)
def test_pairings(pairing, expected):
    records = [{"patient": patient, "n": n} for n, patient in enumerate("AAB")]
    found = [(pair["moving"]["n"], pair["fixed"]["n"]) for pair in volume_pairs(records, pairing)]
    assert len(found) == len(expected)
    assert set(found) == expected
    drawn = dataset(numbered("AAB"), pairing=pairing)
    seen = set()
    for iteration in range(20):
        batch = drawn[iteration]
        moving, fixed = ((64 * batch[role].amax((1, 2, 3, 4))).round().int().tolist() for role in ("moving", "fixed"))
        seen |= set(zip(moving, fixed, strict=True))
    assert seen == expected


def test_no_pair():
    with pytest.raises(
        ValueError, match=r"'within': expected two volumes of one patient or more, found 2 volumes of 2"
    ):
        volume_pairs([{"patient": "A"}, {"patient": "B"}], "within")
    with pytest.raises(ValueError, match="pairing: expected one of between, within, any, got 'all'"):
        dataset(numbered("AB"), pairing="all")


def test_volumes_of_unlike_voxels_are_not_paired_voxel_by_voxel():
    volumes = [{**volume, "spacing": [1.0, 1.0, mm]} for volume, mm in zip(numbered("AB"), (1.0, 1.2), strict=True)]
    with pytest.raises(ValueError, match=r"one voxel size.*1 x 1 x 1 to 1 x 1 x 1\.2 mm; name one: --pixdim"):
        dataset(volumes)


def test_a_sample_of_pairs_is_the_same_for_a_seed():
    records = [{"patient": str(n)} for n in range(10)]
    sample = volume_pairs(records, "between", 20, seed=1)
    assert len({(pair["moving"]["patient"], pair["fixed"]["patient"]) for pair in sample}) == 20
    assert sample == volume_pairs(records, "between", 20, seed=1)
    assert sample != volume_pairs(records, "between", 20, seed=2)
    assert volume_pairs(records, "between", 1000) == volume_pairs(records, "between")


def test_batch_follows_from_seed_and_number():
    volumes = numbered("ABCD")
    options = {"shift": 2, "flip": True, "contrast": 0.3}
    first, second = dataset(volumes, **options), dataset(volumes, **options)
    for name, values in first[7].items():
        assert torch.equal(values, second[7][name])
    assert not torch.equal(first[7]["moving"], first[8]["moving"])
    assert not torch.equal(first[7]["moving"], dataset(volumes, seed=1, **options)[7]["moving"])
    shares = [dataset(volumes, rank=rank, processes=2, **options)[7]["fixed"] for rank in (0, 1)]
    assert torch.equal(torch.stack(shares, 1).flatten(0, 1), first[7]["fixed"])


def test_volumes_of_several_sizes_lie_centred_in_one():
    volumes = numbered("AB", (4, 8, 9)) + numbered("CD", (8, 6, 7))
    batch = dataset(volumes, crop_size=(6, 8, 7))[0]
    assert {name: tuple(values.shape) for name, values in batch.items()} == {
        "moving": (4, 1, 6, 8, 7),
        "fixed": (4, 1, 6, 8, 7),
        "moving_masks": (4, 2, 6, 8, 7),
        "fixed_masks": (4, 2, 6, 8, 7),
    }
    assert (batch["moving"].dtype, batch["moving_masks"].dtype) == (torch.float32, torch.uint8)
    volumes = numbered("AB", (2, 8, 7))
    volumes[1]["image"][:] = 1
    moving = dataset(volumes)[0]["moving"]
    whole = moving[moving.amax((1, 2, 3, 4)) == 1][0, 0]
    assert whole[2:4].all()
    assert not whole[[0, 1, 4, 5]].any()


def test_moving_alone_is_shifted_and_both_are_flipped_alike():
    """A mark at the middle of each volume shows by how much; the fixed one is never shifted."""
    volumes = numbered("AB", (7, 7, 7))
    for volume in volumes:
        volume["image"][0, 3, 3, 3], volume["image"][0, 3, 3, 4] = 2, 1.5
    drawn = dataset(volumes, crop_size=(7, 7, 7), shift=2, flip=True, batch_size=20)
    shifts, flips = set(), set()
    for iteration in range(10):
        batch = drawn[iteration]
        for moving, fixed in zip(batch["moving"], batch["fixed"], strict=True):
            places = [torch.stack(torch.where(image[0] == 2)).flatten().tolist() for image in (moving, fixed)]
            besides = [torch.stack(torch.where(image[0] == 1.5)).flatten().tolist() for image in (moving, fixed)]
            assert places[1] == [3, 3, 3]
            shifts |= {(axis, a - b) for axis, (a, b) in enumerate(zip(*places, strict=True))}
            assert besides[0][2] - places[0][2] == besides[1][2] - places[1][2]  # flipped alike
            flips.add(besides[1][2] - places[1][2])
    assert shifts == {(axis, shift) for axis in range(3) for shift in range(-2, 3)}
    assert flips == {-1, 1}


def test_each_image_has_a_power_of_its_own():
    volumes = numbered("AB")
    for volume in volumes:
        volume["image"][:] = 0.5
    batch = dataset(volumes, contrast=0.3, batch_size=200)[0]
    powers = {role: -torch.log2(batch[role].amax((1, 2, 3, 4))) for role in ("moving", "fixed")}
    for values in powers.values():
        assert np.exp(-0.3) - 1e-3 <= values.min() < 0.8
        assert 1.25 < values.max() <= np.exp(0.3) + 1e-3
    assert abs(np.corrcoef(powers["moving"], powers["fixed"])[0, 1]) < 0.3


@pytest.mark.parametrize("options", [{"crop_size": (6, 8)}, {"shift": -1}, {"contrast": -0.1}, {"batch_size": 0}])
def test_wrong_settings(options):
    with pytest.raises(ValueError, match="must be"):
        dataset(numbered("AB"), **options)


def test_pair_on_the_fixed_volumes_own_grid(records, tmp_path):
    """The moving volume is the fixed one in a larger frame, elsewhere: by its centre it is the same."""
    fixed = records[0]
    image, label = (sitk.ReadImage(fixed[kind]) for kind in ("image", "label"))
    larger = [sitk.ConstantPad(each, [2, 2, 2], [2, 2, 2], 0) for each in (image, label)]
    moving = {**fixed, "patient": "M", "image": str(tmp_path / "i.nii.gz"), "label": str(tmp_path / "l.nii.gz")}
    for each, kind in zip(larger, ("image", "label"), strict=True):
        each.SetOrigin((700.0, 0.0, 0.0))
        sitk.WriteImage(each, moving[kind])
    pair = LoadVolumePaird()({"moving": moving, "fixed": fixed})
    assert {name: tuple(pair[name].shape) for name in ("moving", "fixed", "moving_masks", "spacing")} == {
        "moving": (1, 12, 16, 14),
        "fixed": (1, 12, 16, 14),
        "moving_masks": (2, 12, 16, 14),
        "spacing": (3,),
    }
    assert torch.equal(pair["moving_masks"], pair["fixed_masks"])
    assert pair["fixed_masks"][0].any()
    assert np.corrcoef(pair["moving"].flatten(), pair["fixed"].flatten())[0, 1] > 0.95
    assert pair["spacing"].tolist() == [3.0, 2.5, 2.0]
    assert (pair["structures"], pair["pair"]) == (["anterior", "posterior"], "M to PV-01")
    assert not LoadVolumePaird("place")({"moving": moving, "fixed": fixed})["moving_masks"].any()


def test_hippocampus(hippocampus_dir):
    records = read_volume_records(hippocampus_dir, "")
    assert {split: len(records_of_split(records, split)) for split in ("training", "validation", "test")} == {
        "training": 141,
        "validation": 30,
        "test": 30,
    }
    assert records[0]["labels"] == {"label_1": 1, "label_2": 2}
    (pair,) = volume_pairs(records_of_split(records, "validation"), "between", 1)
    batch = LoadVolumePaird()(pair)
    for masks in (batch["moving_masks"], batch["fixed_masks"]):
        assert (masks.flatten(1).sum(1) > 300).all()
