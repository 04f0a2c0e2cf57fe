import copy
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dirnet.files.dicom import write_segmentation
from tests.dicom import write_enhanced, write_segmentation_by_highdicom
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_drawing, read_drawn
from transforms.errors import InputError
from transforms.sources import read_records


@pytest.fixture(scope="module")
def cine(phantom_dir):
    """2 slices of 20 frames."""
    return read_cine_stack(Path(read_records(phantom_dir, "")[0]["frames"][0]).parent)


@pytest.fixture
def drawn():
    masks = np.zeros((2, 48, 64), bool)
    masks[0, 10:20, 30:50] = True
    masks[1, 12:18, 33:40] = True
    return masks


def write_by_highdicom(path, cine, drawn, frame, names=("LV",)):
    """What was drawn on one frame as another program writes it, under each of the names."""
    pixels = np.stack([drawn] * len(names), -1).astype(np.uint8)
    return write_segmentation_by_highdicom(path, [files[frame] for files in cine.files], pixels, names=names)


def edited(path, change):
    """The file, its description of each frame changed."""
    dataset = pydicom.dcmread(path)
    for item in (*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence):
        change(item)
    dataset.save_as(path)
    return path


def forget_sources(item):
    item.pop("DerivationImageSequence", None)


def forget_place(item):
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence"):
        item.pop(name, None)


def test_our_own_gives_each_frame_its_masks(tmp_path, cine):
    masks = np.random.default_rng(0).random(cine.images.shape) > 0.5
    masks[:, 4] = masks[1] = False
    write_segmentation(tmp_path / "seg.dcm", masks, cine.files)
    for frame in (0, 11, 19):
        assert np.array_equal(read_drawn(tmp_path / "seg.dcm", cine, frame), masks[:, frame])
    with pytest.raises(ValueError, match=r"seg\.dcm: drawn on frames 0, 1, 2, 3, 5, .* of the cine, not on frame 4"):
        read_drawn(tmp_path / "seg.dcm", cine, 4)


@pytest.mark.parametrize("forget", [None, forget_place, forget_sources], ids=["as is", "no place", "no sources"])
def test_another_program_s_is_found_by_its_sources_else_by_its_place(tmp_path, cine, drawn, forget):
    path = write_by_highdicom(tmp_path / "drawn.dcm", cine, drawn, 7)
    if forget:
        edited(path, forget)
    assert np.array_equal(read_drawn(path, cine, 7), drawn)
    if forget is not forget_sources:
        with pytest.raises(ValueError, match=r"drawn\.dcm: drawn on frame 7 of the cine, not on frame 3"):
            read_drawn(path, cine, 3)


def test_what_lies_between_two_slices_goes_to_the_nearer(tmp_path, cine, drawn):
    path = edited(write_by_highdicom(tmp_path / "drawn.dcm", cine, drawn, 7), forget_sources)
    step = np.subtract(cine.grids[1].GetOrigin(), cine.grids[0].GetOrigin())

    def shift(part):
        def change(item):
            for place in item.get("PlanePositionSequence", []):
                place.ImagePositionPatient = [f"{v:.4f}" for v in np.array(place.ImagePositionPatient) + part * step]

        return change

    assert np.array_equal(read_drawn(edited(path, shift(0.3)), cine, 7), drawn)
    with pytest.raises(ValueError, match=r"drawn\.dcm: nothing is drawn where the cine's slices lie"):
        read_drawn(edited(path, shift(4)), cine, 7)


@pytest.mark.parametrize("forget", [None, forget_sources], ids=["with sources", "without"])
def test_a_frame_that_lies_elsewhere_is_not_passed_over(tmp_path, cine, drawn, forget):
    path = write_by_highdicom(tmp_path / "drawn.dcm", cine, drawn, 7)
    if forget:
        edited(path, forget)
    normal = np.cross(*np.reshape(cine.grids[0].GetDirection(), (3, 3)).T[:2])

    def move_away(item):
        for place in item.get("PlanePositionSequence", []):
            position = np.array(place.ImagePositionPatient, float)
            if np.allclose(position, cine.grids[1].GetOrigin(), atol=0.1):
                place.ImagePositionPatient = [f"{v:.4f}" for v in position + 100 * normal]

    with pytest.raises(ValueError, match=r"drawn\.dcm: drawn on 2 frames, of which only 1 lie where the cine's slices"):
        read_drawn(edited(path, move_away), cine, 7)


def test_frames_closer_than_the_slices_are_not_all_asked_for(tmp_path, cine, drawn):
    path = edited(write_by_highdicom(tmp_path / "drawn.dcm", cine, drawn, 7), forget_sources)
    dataset = pydicom.dcmread(path)
    step = np.subtract(cine.grids[1].GetOrigin(), cine.grids[0].GetOrigin())
    items, masks = [], []
    for part in (0, 0.3, 0.7, 1, 1.3, 1.9):  # the last beyond the cine
        item = copy.deepcopy(dataset.PerFrameFunctionalGroupsSequence[0])
        position = cine.grids[0].GetOrigin() + part * step
        item.PlanePositionSequence[0].ImagePositionPatient = [f"{v:.4f}" for v in position]
        items.append(item)
        masks.append(drawn[0] if part < 0.5 else drawn[1])
    dataset.PerFrameFunctionalGroupsSequence = items
    dataset.NumberOfFrames = len(items)
    dataset.PixelData = np.packbits(np.array(masks), bitorder="little").tobytes()
    dataset.save_as(path)
    assert np.array_equal(read_drawn(path, cine, 7), drawn)


def test_frames_with_and_without_time_are_not_mixed(tmp_path, cine, drawn):
    path = write_by_highdicom(tmp_path / "drawn.dcm", cine, drawn, 7)
    dataset = pydicom.dcmread(path)
    places = [item.PlanePositionSequence[0].ImagePositionPatient for item in dataset.PerFrameFunctionalGroupsSequence]
    order = [0, 1] if np.allclose(places[0], cine.grids[0].GetOrigin(), atol=0.1) else [1, 0]
    forget_sources(dataset.PerFrameFunctionalGroupsSequence[order[1]])
    dataset.save_as(path)
    with pytest.raises(ValueError, match=r"drawn\.dcm: 1 frames refer .* and 1 on its slices to none: of which time"):
        read_drawn(path, cine, 7)
    drawn[1] = False  # the one without time
    dataset.PixelData = np.packbits(drawn[order], bitorder="little").tobytes()
    dataset.save_as(path)
    assert np.array_equal(read_drawn(path, cine, 7), drawn)
    with pytest.raises(ValueError, match="drawn on frame 7 of the cine, not on frame 3"):
        read_drawn(path, cine, 3)


def test_a_coarser_grid_covers_what_lies_under_its_pixels(tmp_path, cine, drawn):
    drawn = np.roll(drawn, -20, axis=2)  # where it stays within the slices
    path = write_by_highdicom(tmp_path / "drawn.dcm", cine, drawn, 7)

    def stretch(item):
        for measures in item.get("PixelMeasuresSequence", []):
            measures.PixelSpacing = [2 * float(v) for v in measures.PixelSpacing]

    masks = read_drawn(edited(path, stretch), cine, 7)
    assert np.array_equal(masks[:, ::2, ::2], drawn[:, :24, :32])


def test_what_cannot_be_known_is_asked_for(tmp_path, cine, drawn):
    two = write_by_highdicom(tmp_path / "two.dcm", cine, drawn, 7, ["LV", "Myocardium"])
    with pytest.raises(ValueError, match=r"two\.dcm: .* found 0 and 1 \(LV\), 2 \(Myocardium\): which is"):
        read_drawn(two, cine, 7)
    whole = np.broadcast_to(drawn[:, None], cine.images.shape)
    write_segmentation(tmp_path / "all.dcm", whole, cine.files)
    with pytest.raises(ValueError, match=r"all\.dcm: two frames lie at one place .* of which time are they"):
        read_drawn(edited(tmp_path / "all.dcm", forget_sources), cine, 7)
    nowhere = write_by_highdicom(tmp_path / "nowhere.dcm", cine, drawn, 7)
    with pytest.raises(ValueError, match=r"nowhere\.dcm: its frames lack their place in space"):
        read_drawn(edited(edited(nowhere, forget_sources), forget_place), cine, 7)


def test_damaged_files_are_named(tmp_path, cine, drawn):
    path = write_by_highdicom(tmp_path / "drawn.dcm", cine, drawn, 7)
    whole = path.read_bytes()
    for size in (200, 700, len(whole) // 2, len(whole) - 99):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"drawn\.dcm: "):
            read_drawn(path, cine, 7)


def test_a_drawing_on_an_enhanced_image_is_found_by_the_frame_it_names(tmp_path):
    """One that names no frame of several says where it was drawn, not when."""
    pixels = np.random.default_rng(0).integers(255, size=(2, 4, 48, 64), dtype=np.uint8)
    order = [(s, t) for t in (2, 0, 3, 1) for s in (1, 0)]
    cine = read_cine_stack(write_enhanced(tmp_path / "cine.dcm", pixels, order))
    masks = np.zeros(cine.images.shape, bool)
    masks[1, 2, 10:20, 20:40] = masks[0, 2, 5:9, 20:40] = True
    path = tmp_path / "seg.dcm"
    write_segmentation(path, masks, cine.files, cine.frame_numbers)
    drawn, frame = read_drawing(path, cine)
    assert frame == 2
    assert np.array_equal(drawn, masks[:, 2])

    def forget_frame(item):
        for derivation in item.get("DerivationImageSequence", []):
            for source in derivation.SourceImageSequence:
                del source.ReferencedFrameNumber

    edited(path, forget_frame)
    with pytest.raises(ValueError, match="does not say on which frame of the cine it was drawn"):
        read_drawing(path, cine)
    assert np.array_equal(read_drawn(path, cine, 1), masks[:, 2])


def test_a_sop_class_that_cannot_be_read_is_refused(tmp_path, cine, drawn):
    """pydicom reads values as they are asked for."""
    path = write_by_highdicom(tmp_path / "drawn.dcm", cine, drawn, 7)
    content = path.read_bytes()
    at = content.index(b"\x08\0\x16\0UI")
    path.write_bytes(content[: at + 4] + b"U\0" + content[at + 6 :])
    with pytest.raises(InputError, match=r"drawn\.dcm: cannot be read as DICOM: NotImplementedError"):
        read_drawn(path, cine, 7)


def test_a_segment_number_that_is_none_is_refused(tmp_path, cine, drawn):
    path = write_by_highdicom(tmp_path / "drawn.dcm", cine, drawn, 7)
    dataset = pydicom.dcmread(path)
    dataset.SegmentSequence[0].SegmentNumber = [1, 2]
    dataset.save_as(path)
    with pytest.raises(InputError, match=r"drawn\.dcm: cannot be read as DICOM: TypeError"):
        read_drawn(path, cine, 7)
