"""Which pairs are drawn, and that a seed draws them again."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader

from transforms.loading import LoadCined
from transforms.pairing import PairDataset, PairPhasesd
from transforms.scd import scan

CONFIG = Path(__file__).parents[2] / "bundles/dirnet/configs/train.json"


def counted_cine(phases, size=(4, 4), number=0):
    """Every pixel of frame t is t + 100 number; masks too say which they are."""
    image = (100 * number + torch.arange(phases)).half()[:, None, None].expand(phases, *size)
    return {
        "image": image,
        "ed": phases - 1,
        "es": 1,
        "lumen": {phases - 1: torch.full(size, 1, dtype=torch.uint8), 1: torch.full(size, 2, dtype=torch.uint8)},
        "patient": f"P{number}",
        "slice": 3,
        "pathology": "Normal",
        "spacing": [1.5, 1.3],
        "spacing_assumed": False,
    }


# --- ED and ES ---


def test_ed_with_es_in_both_directions():
    cine = counted_cine(6)
    forward, back = PairPhasesd()(cine)
    for pair, direction, moving, fixed in ((forward, "ED-ES", 5, 1), (back, "ES-ED", 1, 5)):
        assert pair["direction"] == direction
        for role, phase in (("moving", moving), ("fixed", fixed)):
            assert (pair[role].shape, pair[role].dtype) == ((1, 4, 4), torch.float32)
            assert (pair[role] == phase).all()
            assert (pair[f"{role}_lumen"].shape, pair[f"{role}_lumen"].dtype) == ((1, 4, 4), torch.uint8)
            assert (pair[f"{role}_lumen"] == {5: 1, 1: 2}[phase]).all()
        about = ("patient", "slice", "pathology", "spacing_assumed")
        assert pair["spacing"].tolist() == [1.5, 1.3]
        assert {key: pair[key] for key in about} == {key: cine[key] for key in about}


def test_other_structures_are_paired_too():
    cine = counted_cine(6)
    cine.update(epicardium={5: torch.ones(4, 4, dtype=torch.uint8)}, rv={})
    forward, back = PairPhasesd(("lumen", "epicardium", "rv"))(cine)
    assert forward["moving_epicardium"].all()
    assert not forward["fixed_epicardium"].any()
    assert torch.equal(back["fixed_epicardium"], forward["moving_epicardium"])
    assert forward["moving_rv"].shape == (1, 4, 4)
    assert "moving_rv" not in PairPhasesd()(cine)[0]


@pytest.mark.parametrize("structures", [("rv",), ("lumen", "atrium"), ()])
def test_structures_that_cannot_be_paired_are_refused(structures):
    with pytest.raises(ValueError, match=r"^structures: expected some of \('lumen', 'epicardium', 'rv'\)"):
        PairPhasesd(structures)


def test_lumen_that_is_not_drawn_is_all_zero():
    cine = counted_cine(6)
    del cine["lumen"][1]
    forward, back = PairPhasesd()(cine)
    assert forward["moving_lumen"].all()
    assert back["fixed_lumen"].all()
    assert not forward["fixed_lumen"].any()
    assert not back["moving_lumen"].any()


@pytest.mark.parametrize(("key", "phase"), [("ed", None), ("es", 6), ("es", -1)])
def test_phase_that_is_no_frame(key, phase):
    message = rf"patient P0, slice 3: {key.upper()} is {phase}, expected a frame index from 0 to 5"
    with pytest.raises(ValueError, match=message):
        PairPhasesd()({**counted_cine(6), key: phase})


def test_pairs_of_slices_in_a_batch():
    """PairPhasesd makes a list of each slice, which MONAI's loader lays end to end."""
    batch = next(
        iter(DataLoader(CacheDataset([counted_cine(6, number=n) for n in (0, 1)], PairPhasesd()), batch_size=2))
    )
    assert batch["moving"][:, 0, 0, 0].tolist() == [5, 1, 105, 101]
    assert batch["fixed"][:, 0, 0, 0].tolist() == [1, 5, 101, 105]
    assert batch["patient"] == ["P0", "P0", "P1", "P1"]


# --- batches of any two phases ---


def make(cines, size=(4, 4), **options):
    settings = {"crop_size": size, "batch_size": 8, "iterations": 250, "seed": 0, "turn": False, "progress": False}
    return PairDataset(cines, None, **settings | options)


def drawn(dataset, key="moving"):
    return torch.cat([dataset[i][key] for i in range(len(dataset))])


@pytest.mark.parametrize("phases", [(2,), (5,), (2, 3)])
def test_all_cines_and_all_their_ordered_pairs_alike_and_never_a_phase_with_itself(phases):
    dataset = make([counted_cine(count, number=number) for number, count in enumerate(phases)])
    moving, fixed = (drawn(dataset, key)[:, 0, 0, 0].tolist() for key in ("moving", "fixed"))
    pairs = Counter(zip(moving, fixed, strict=True))
    expected = {
        (100 * number + i, 100 * number + j): 2000 / len(phases) / (count * (count - 1))
        for number, count in enumerate(phases)
        for i in range(count)
        for j in range(count)
        if i != j
    }
    assert pairs.keys() == expected.keys()
    assert all(abs(pairs[pair] - number) < 4 * number**0.5 for pair, number in expected.items())


def test_a_batch_is_of_both_images_as_they_lie_in_memory():
    batch = make([counted_cine(3)], iterations=1)[0]
    assert batch.keys() == {"moving", "fixed"}
    assert all((image.shape, image.dtype) == ((8, 1, 4, 4), torch.float16) for image in batch.values())


def picture_cine(rows, columns):
    """Frame t is a picture without symmetry, plus 100 t."""
    picture = torch.arange(rows * columns).half().reshape(rows, columns)
    return {"image": torch.stack([picture + 100 * phase for phase in range(4)])}, picture


@pytest.mark.parametrize(("size", "number"), [((6, 6), 8), ((4, 6), 4)])
def test_both_images_are_turned_alike(size, number):
    cine, picture = picture_cine(*size)
    turns = [picture.rot90(k).flip(axes) for k in range(4) for axes in ((), (0,))]
    turns = [turn for turn in turns if turn.shape == picture.shape]
    assert len(turns) == number
    dataset = make([cine], size, iterations=50, turn=True)
    seen = Counter()
    for moving, fixed in zip(drawn(dataset), drawn(dataset, "fixed"), strict=True):
        assert moving.min() != fixed.min()
        assert torch.equal(moving - moving.min(), fixed - fixed.min())
        (turn,) = (i for i, turn in enumerate(turns) if torch.equal(turn, moving[0] - moving.min()))
        seen[turn] += 1
    assert len(seen) == number
    assert all(abs(count - 400 / number) < 4 * (400 / number) ** 0.5 for count in seen.values())


@pytest.mark.parametrize(
    ("size", "reach", "starts"), [(4, 1, {2, 3, 4}), (4, 99, set(range(7))), (10, 3, {0}), (20, 3, {0})]
)
def test_windows_lie_near_the_middle_and_alike_in_both_images(size, reach, starts):
    cine, _ = picture_cine(10, 10)  # row 10 r + column c
    dataset = make([cine], (size, size), reach=reach)
    corners = set()
    for moving, fixed in zip(drawn(dataset), drawn(dataset, "fixed"), strict=True):
        assert moving.shape == (1, min(size, 10), min(size, 10))
        assert torch.equal(moving % 100, fixed % 100)
        corners.add(divmod(int(moving[0, 0, 0]) % 100, 10))
    assert corners == {(row, column) for row in starts for column in starts}


# --- which batches, and the same again ---


def same(batch, other):
    return all(torch.equal(batch[key], other[key]) for key in ("moving", "fixed"))


def test_batch_follows_from_seed_and_number_alone():
    cines = [counted_cine(9, number=number) for number in range(7)]
    dataset, other, another = make(cines), make(cines), make(cines, seed=1)
    first = [dataset[i] for i in range(6)]
    assert all(same(other[i], first[i]) for i in reversed(range(6)))
    assert not same(first[0], first[1])
    assert not same(another[0], first[0])


def test_processes_share_the_batches_of_one():
    cine, _ = picture_cine(10, 10)
    options = {"size": (4, 6), "batch_size": 6, "turn": True}
    whole, *shares = (
        make([cine, cine], **options, **share) for share in ({}, *({"rank": r, "processes": 3} for r in range(3)))
    )
    for i in range(5):
        assert all(torch.equal(whole[i]["fixed"][r::3], shares[r][i]["fixed"]) for r in range(3))
    with pytest.raises(ValueError, match=r"multiple of the number of processes, 4.*got 6"):
        make([cine], batch_size=6, processes=4)


@pytest.fixture(scope="module")
def data(phantom_dir):
    return [LoadCined()(record) for record in scan(phantom_dir)[:3]]


def of_config(data, **options):
    """As the training has it."""
    parser = ConfigParser()
    parser.read_config(CONFIG)
    parser.update({"spatial_size": [48, 48], "batch_size": 3, "iterations": 6, "device": "cpu", **options})
    parser.update({"train#dataset#data": data, "train#dataset#progress": False})
    return parser


def test_loader_started_in_the_middle_goes_on_as_an_unbroken_one(data):
    def load(start):
        parser = of_config(data)
        parser.get_parsed_content("train#sampler").start = start
        return list(parser.get_parsed_content("train#dataloader"))

    whole, rest = load(0), load(4)
    assert (len(whole), len(rest)) == (6, 2)
    assert all(same(expected, found) for expected, found in zip(whole[4:], rest, strict=True))
    assert whole[0]["moving"].shape == (3, 1, 48, 48)


def test_pairs_are_frames_of_the_cines(data):
    """Cropped or padded in the middle, turned, and nothing else."""
    frames = torch.cat([torch.as_tensor(np.asarray(cine["image"])) for cine in data])[:, :, 8:-8]  # 64 columns to 48
    known = {tuple(frame.flatten().sort().values.tolist()) for frame in frames}
    for image in drawn(of_config(data).get_parsed_content("train#dataset")):
        assert tuple(image.flatten().sort().values.tolist()) in known


def test_frames_are_in_memory_once(data):
    dataset = of_config(data).get_parsed_content("train#dataset")
    assert dataset.frames.dtype == torch.float16
    assert len(dataset.frames) == sum(len(cine["image"]) for cine in data)
    assert not dataset._cache


def test_cines_that_give_no_batches():
    with pytest.raises(ValueError, match="patient P0, slice 3: one frame, expected two phases"):
        make([counted_cine(1)])
    with pytest.raises(ValueError, match=r"cines of one size.*found \[\(4, 4\), \(4, 6\)\]"):
        make([counted_cine(3), counted_cine(3, (4, 6))])
    with pytest.raises(ValueError, match=r"crop_size.*got 128"):
        make([counted_cine(3)], 128)
