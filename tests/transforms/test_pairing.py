"""Which pairs are drawn, and that a seed draws them again."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, ThreadDataLoader

from transforms.cine import LoadCined
from transforms.pairing import PairDataset, PairPhasesd, RandomBatches, RandPhasesd, RandTurnd, RandWindowd
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


def training_transform(size):
    parser = ConfigParser()
    parser.read_config(CONFIG)
    parser["spatial_size"] = list(size)
    return parser.get_parsed_content("train#preprocessing")


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


# --- any two phases ---


@pytest.mark.parametrize("phases", [2, 5])
def test_all_ordered_pairs_alike_and_never_a_phase_with_itself(phases):
    draw = RandPhasesd()
    draw.set_random_state(seed=0)
    pairs = (draw(counted_cine(phases)) for _ in range(2000))
    drawn = Counter((int(pair["moving"][0, 0, 0]), int(pair["fixed"][0, 0, 0])) for pair in pairs)
    assert set(drawn) == {(i, j) for i in range(phases) for j in range(phases) if i != j}
    expected = 2000 / len(drawn)
    assert all(abs(number - expected) < 4 * expected**0.5 for number in drawn.values())


# --- turns and flips, as the training has them ---


def marked_cine(rows, columns):
    """Frame t is a picture without symmetry, plus 100 t."""
    picture = torch.arange(rows * columns).half().reshape(rows, columns)
    return {"image": torch.stack([picture + 100 * phase for phase in range(4)])}, picture


@pytest.mark.parametrize(("size", "number"), [((6, 6), 8), ((4, 6), 4)])
def test_both_images_are_turned_alike(size, number):
    transform = training_transform(size)
    cine, picture = marked_cine(*size)
    turns = [picture.rot90(k).flip(axes) for k in range(4) for axes in ((), (0,))]
    turns = [turn for turn in turns if turn.shape == picture.shape]
    assert len(turns) == number
    seen = Counter()
    for seed in range(400):
        transform.set_random_state(seed=seed)
        pair = transform(cine)
        moving, fixed = (pair[key][0] - pair[key].min() for key in ("moving", "fixed"))
        assert torch.equal(moving, fixed)
        (turn,) = (i for i, turn in enumerate(turns) if torch.equal(turn, moving))
        seen[turn] += 1
    assert len(seen) == number
    assert all(abs(count - 400 / number) < 4 * (400 / number) ** 0.5 for count in seen.values())


def test_turning_leaves_its_input_alone():
    turn = RandTurnd(["moving"]).set_random_state(seed=0)
    image = torch.arange(16.0).reshape(1, 4, 4)
    data = {"moving": image.clone(), "name": "a"}
    for _ in range(8):
        assert turn(data)["name"] == "a"
        assert torch.equal(data["moving"], image)


# --- windows ---


@pytest.mark.parametrize(
    ("size", "reach", "starts"), [(4, 1, {2, 3, 4}), (4, 99, set(range(7))), (10, 3, {0}), (20, 3, {0})]
)
def test_windows_lie_near_the_middle_and_alike_in_both_images(size, reach, starts):
    window = RandWindowd(["moving", "fixed"], size=(size, size), reach=reach).set_random_state(seed=0)
    image = torch.arange(100.0).reshape(1, 10, 10)  # row 10 r + column c
    corners = set()
    for _ in range(300):
        cut = window({"moving": image, "fixed": image + 100, "name": "a"})
        assert cut["name"] == "a"
        assert cut["moving"].shape == (1, min(size, 10), min(size, 10))
        assert torch.equal(cut["moving"] + 100, cut["fixed"])
        corners.add(divmod(int(cut["moving"][0, 0, 0]), 10))
    assert corners == {(row, column) for row in starts for column in starts}


# --- which items, and the same again ---


def test_batch_follows_from_seed_and_number_alone():
    def batches(start=0, seed=5):
        sampler = RandomBatches(range(7), batch_size=4, iterations=12, seed=seed)
        sampler.start = start
        assert len(sampler) == 12 - start
        return list(sampler)

    whole = batches()
    assert len(whole) == 12
    assert all(len(batch) == 4 for batch in whole)
    assert batches() == whole
    assert batches(start=5) == whole[5:]
    assert batches(start=12) == []
    assert len({seed for batch in whole for _, seed in batch}) == 48
    assert batches(seed=6) != whole


def test_processes_share_the_batches_of_one():
    def batches(**share):
        return list(RandomBatches(range(7), batch_size=6, iterations=5, seed=0, **share))

    shares = [batches(rank=rank, processes=3) for rank in range(3)]
    for whole, parts in zip(batches(), zip(*shares, strict=True), strict=True):
        assert [len(part) for part in parts] == [2, 2, 2]
        assert sorted(whole) == sorted(item for part in parts for item in part)
    with pytest.raises(ValueError, match=r"multiple of the number of processes, 4.*got 6"):
        batches(rank=0, processes=4)


def test_items_are_drawn_evenly():
    sampler = RandomBatches(range(5), batch_size=10, iterations=100, seed=0)
    drawn = Counter(index for batch in sampler for index, _ in batch)
    assert set(drawn) == set(range(5))
    assert all(150 < number < 250 for number in drawn.values())


@pytest.fixture(scope="module")
def data(phantom_dir):
    return [LoadCined()(record) for record in scan(phantom_dir)[:3]]


def make(data):
    return PairDataset(data, training_transform((48, 48)), copy_cache=False, progress=False)


def test_item_follows_from_index_and_seed_alone(data):
    one, other = make(data), make(data)
    asked = [(index, seed) for index in range(3) for seed in (0, 1, 2**32 - 1)]
    first = {key: one[key] for key in asked}
    for key in reversed(asked):  # in another order, in another dataset
        assert torch.equal(other[key]["moving"], first[key]["moving"])
        assert torch.equal(other[key]["fixed"], first[key]["fixed"])
    assert len({tuple(first[key]["moving"].flatten().tolist()) for key in asked}) == 9
    assert first[0, 0]["moving"].shape == (1, 48, 48)


def test_loader_started_in_the_middle_goes_on_as_an_unbroken_one(data):
    def load(start):
        dataset = make(data)
        sampler = RandomBatches(dataset, batch_size=3, iterations=6, seed=1)
        sampler.start = start
        return list(ThreadDataLoader(dataset, batch_sampler=sampler, num_workers=0, buffer_size=2))

    whole, rest = load(0), load(4)
    assert (len(whole), len(rest)) == (6, 2)
    for expected, found in zip(whole[4:], rest, strict=True):
        assert torch.equal(expected["moving"], found["moving"])
        assert torch.equal(expected["fixed"], found["fixed"])


def test_pairs_are_frames_of_the_cine(data):
    """Cropped or padded in the middle, turned, and nothing else."""
    pair = make(data)[1, 7]
    frames = torch.as_tensor(np.asarray(data[1]["image"]))[:, :, 8:-8]  # 64 columns to 48
    for key in ("moving", "fixed"):
        values = pair[key].flatten().sort().values
        assert any(torch.equal(values, frame.flatten().sort().values) for frame in frames)
