"""Folders of DICOM as scanners, archives and other programs write them: the cine that is read, in its order."""

import logging
import re
import shutil
from itertools import product

import numpy as np
import pytest

from dirnet.files.dicom import write_segmentation, write_structure_set
from tests.dicom import mr_image, write_enhanced
from transforms.cine import read_image
from transforms.cine_files import dicom_study, read_cine_stack
from transforms.dicom_series import choose_series, find_series
from transforms.errors import InputError

SLICES, FRAMES = 2, 4
# pixels say where and when they are: 10 times the slice and the frame; noise, so that no two are copies
NOISE = np.random.default_rng(0).integers(2, size=(SLICES, FRAMES, 6, 8), dtype=np.uint8)
PIXELS = 2 * (10 * np.arange(SLICES)[:, None, None, None] + np.arange(FRAMES)[:, None, None]).astype(np.uint8) + NOISE


def write(folder, edit=None, order=None, slices=SLICES, **tags):
    """A cine of one series. ``edit`` is called with each data set, slice and frame; names and instance numbers follow
    ``order``, or place and time."""
    folder.mkdir(parents=True, exist_ok=True)
    order = order or list(product(range(slices), range(FRAMES)))
    for number, (s, t) in enumerate(order):
        dataset = mr_image(PIXELS[s, t], InstanceNumber=number + 1, TriggerTime=25 * t, **tags)
        dataset.ImagePositionPatient = [0, 0, 8 * s]
        if edit:
            edit(dataset, s, t)
        dataset.save_as(folder / f"{number:03}.dcm")
    return folder


def is_right(cine, slices=SLICES):
    return np.array_equal(cine.images, PIXELS[:slices])


SHUFFLED = [(s, t) for t in (2, 0, 3, 1) for s in (1, 0)]

# --- the order of frames ---


@pytest.mark.parametrize(
    "said",
    [
        {"TriggerTime": lambda t: 25.0 * t},
        {"TriggerTime": lambda t: 0, "TemporalPositionIdentifier": lambda t: t + 1},
        {"TemporalPositionIdentifier": lambda t: 1, "NominalPercentageOfCardiacPhase": lambda t: 25 * t},
        {"AcquisitionTime": lambda t: f"09595{t + 6}.5" if t < 4 else "", "ContentTime": lambda t: "100000"},
        {"AcquisitionTime": lambda t: "100000", "ContentTime": lambda t: f"10000{t}.250000"},
    ],
)
def test_frames_are_in_the_order_that_the_surest_attribute_says(tmp_path, caplog, said):
    """Instance numbers say another."""

    def edit(dataset, s, t):
        del dataset.TriggerTime
        for keyword, value in said.items():
            setattr(dataset, keyword, value(t))

    cine = read_cine_stack(write(tmp_path, edit, SHUFFLED))
    assert is_right(cine)
    assert (cine.times is not None) == (next(iter(said)) == "TriggerTime" and len(said) == 1)
    assert "InstanceNumber says another order of frames than" in caplog.text


def test_instance_numbers_are_the_last_resort(tmp_path, caplog):
    cine = read_cine_stack(write(tmp_path / "a", lambda dataset, s, t: dataset.__delattr__("TriggerTime")))
    assert is_right(cine)
    assert cine.times is None
    assert not caplog.records

    def constant(dataset, s, t):
        del dataset.TriggerTime
        dataset.InstanceNumber = 1

    with pytest.raises(InputError, match=r"000\.dcm and .*001\.dcm: nothing says the order of the frames"):
        read_cine_stack(write(tmp_path / "b", constant))


def test_trigger_times_of_real_series(tmp_path, caplog):
    def other_beat(dataset, s, t):
        dataset.TriggerTime = (25 + s) * t

    assert is_right(read_cine_stack(write(tmp_path / "beat", other_beat)))

    def running_on(dataset, s, t):
        dataset.TriggerTime = 1000 * (2 - s) + 25 * t

    cine = read_cine_stack(write(tmp_path / "on", running_on))
    assert is_right(cine)
    assert cine.times.tolist() == [0, 25, 50, 75]
    assert not caplog.records

    def some_missing(dataset, s, t):
        if (s, t) == (1, 2):
            dataset.TriggerTime = ""

    assert is_right(read_cine_stack(write(tmp_path / "some", some_missing)))
    assert "006.dcm: lacks TriggerTime, which other frames have" in caplog.text

    def bogus(dataset, s, t):
        dataset.TriggerTime = 5000 * t

    assert is_right(read_cine_stack(write(tmp_path / "bogus", bogus)))
    assert "TriggerTime runs over 15000 ms, longer than a beat" in caplog.text

    def two_at_once(dataset, s, t):
        dataset.TriggerTime = min(25 * t, 50)

    with pytest.raises(InputError, match=r"002\.dcm and .*003\.dcm: a slice has two frames at one trigger time, 50"):
        read_cine_stack(write(tmp_path / "two", two_at_once))


# --- which series ---


def one_series_a_slice(dataset, s, t):
    dataset.SeriesInstanceUID, dataset.SeriesNumber = f"1.2.9.{s}", 10 + s
    dataset.SeriesDescription, dataset.InstanceNumber = f"cine_sax_{s}", t + 1


def test_one_series_a_slice_is_one_cine(tmp_path):
    write(tmp_path / "flat", one_series_a_slice)
    assert is_right(read_cine_stack(tmp_path / "flat"))
    for path in (tmp_path / "flat").iterdir():
        folder = tmp_path / "deep" / f"sax_{int(path.stem) // FRAMES}" / "DICOM"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    assert is_right(read_cine_stack(tmp_path / "deep"))
    assert is_right(read_cine_stack(tmp_path / "deep", series="11"))
    (found,) = find_series(tmp_path / "deep")
    assert (found.number, found.size, found.view) == ("10, 11", "2 × 4", "short axis")


def scout(dataset, s, t):
    dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.SeriesDescription = "1.2.8", 1, "localizer"
    dataset.ImageOrientationPatient = [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]][t % 3]


def long_axis(number, description):
    def edit(dataset, s, t):
        dataset.SeriesInstanceUID, dataset.SeriesNumber = f"1.2.7.{number}", number
        dataset.SeriesDescription, dataset.ImageOrientationPatient = description, [1, 0, 0, 0, 0, -1]

    return edit


def test_what_lies_beside_the_cine_is_passed_over_and_named(tmp_path, caplog):
    write(tmp_path / "cine", one_series_a_slice)
    write(tmp_path / "scout", scout, slices=1)
    write(tmp_path / "4ch", long_axis(5, "cine 4CH"), slices=1)
    (tmp_path / "notes.txt").write_text("not DICOM")
    report = mr_image(PIXELS[0, 0], Rows=None, PixelData=None)
    report.save_as(tmp_path / "cine" / "report.dcm")
    directory = mr_image(PIXELS[0, 0])
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.save_as(tmp_path / "cine" / "DICOMDIR")
    assert is_right(read_cine_stack(tmp_path))
    assert "passed over: 1 (localizer, 4 images); 5 (cine 4CH, 1 × 4)" in caplog.text
    assert "report.dcm: without an image, passed over" in caplog.text
    found = find_series(tmp_path)
    assert [(one.number, one.view, bool(one.reason)) for one in found] == [
        ("1", "", True),
        ("5", "long axis", False),
        ("10, 11", "short axis", False),
    ]
    assert "ImageOrientationPatient differs" in found[0].reason


def test_several_cines_ask_for_the_series(tmp_path):
    write(tmp_path, long_axis(5, "a"), slices=1)
    write(tmp_path / "b", long_axis(6, "b"), slices=1)
    both = r"name one by --series, or its folder: 5 \(a, 1 × 4\) in .*; 6 \(b, 1 × 4\) in .*b$"
    with pytest.raises(InputError, match=both):
        read_cine_stack(tmp_path)
    for name in ("5", "1.2.7.6"):
        assert is_right(read_cine_stack(tmp_path, series=name), slices=1)
    with pytest.raises(InputError, match="has no series '7'; found 5"):
        choose_series(tmp_path, find_series(tmp_path), "7")


# --- frames that are not the cine ---


def test_each_file_twice(tmp_path, caplog):
    write(tmp_path / "cine")
    for path in sorted((tmp_path / "cine").iterdir()):
        shutil.copy(path, path.with_name(f"{path.stem} (1).dcm"))
    assert is_right(read_cine_stack(tmp_path))
    assert "8 in all, passed over" in caplog.text


def test_phase_images_beside_magnitude(tmp_path, caplog):
    order = [(s, t) for s, t in product(range(SLICES), range(FRAMES)) for _ in "MP"]

    def phase(dataset, s, t):
        if dataset.InstanceNumber % 2 == 0:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "P", "FFE"]
            dataset.PixelData = (255 - PIXELS[s, t]).tobytes()

    assert is_right(read_cine_stack(write(tmp_path / "a", phase, order)))
    assert "is no magnitude image, and so on, 8 in all, passed over" in caplog.text

    def echoes(dataset, s, t):
        dataset.EchoNumbers = 2 - dataset.InstanceNumber % 2

    with pytest.raises(InputError, match=r"000\.dcm and .*001\.dcm: EchoNumbers 1 and 2"):
        read_cine_stack(write(tmp_path / "b", echoes, order))
    with pytest.raises(InputError, match=r"Image Type is .*: expected magnitude"):
        read_cine_stack(write(tmp_path / "c", ImageType=["ORIGINAL", "PRIMARY", "P"]))


def test_frames_or_slices_that_are_missing_or_elsewhere_are_named(tmp_path):
    def refused(name, message, **options):
        folder = write(tmp_path / name, slices=SLICES, **options) if options else tmp_path / name
        with pytest.raises(InputError, match=message):
            read_cine_stack(folder)

    write(tmp_path / "frame")
    (tmp_path / "frame" / "006.dcm").unlink()
    refused("frame", r"equally many frames, two or more; found 1 of 3, 1 of 4 \(that of .*004\.dcm has 3\)")
    write(tmp_path / "pointer")
    (tmp_path / "pointer" / "006.dcm").write_text("version https://git-lfs.github.com/spec/v1")
    refused("pointer", r"006\.dcm: not DICOM, though named as the DICOM files beside it")
    (tmp_path / "pointer" / "006.dcm").unlink()
    (tmp_path / "pointer" / "006.dcm").symlink_to("nowhere")
    refused("pointer", r"006\.dcm: not DICOM")

    def wide(dataset, s, t):
        if s:
            dataset.Rows, dataset.Columns = 8, 6

    refused("size", r"004\.dcm: Rows x Columns = 8 x 6, 6 x 8 of .*000\.dcm", edit=wide)

    def aside(dataset, s, t):
        if t == 3:
            dataset.ImagePositionPatient = [4, 0, 8 * s]

    refused("aside", r"003\.dcm: lies 4\.00 mm aside from .*000\.dcm, in the same plane", edit=aside)


def at(folder, places, **tags):
    """A cine whose slices lie at places in mm along z."""
    frames = [(place, t) for place in places for t in range(FRAMES)]
    folder.mkdir()
    for number, (place, t) in enumerate(frames):
        pixels = PIXELS[0, t] + np.uint8(number)
        mr_image(pixels, TriggerTime=25 * t, ImagePositionPatient=[0, 0, place], **tags).save_as(
            folder / f"{number:03}.dcm"
        )
    return folder


@pytest.mark.parametrize(
    ("places", "distance", "said"),
    [
        ([0, 8, 24], 8, r"usually 8\.00 mm: 16\.00 mm from slice 1 \(.*\) to slice 2 \(1 missing, most probably\)"),
        ([0, 8, 32, 40, 48], 8, r"24\.00 mm from slice 1 \(.*\) to slice 2 \(2 missing, most probably\)"),
        ([0, 8, 16, 27], 8, r"11\.00 mm from slice 2 \(.*008.dcm\) to slice 3\. Each counts by its own height"),
        ([0, 8, 16.2, 24.1], 8, None),
    ],
)
def test_slices_may_lie_unequally_far_apart(tmp_path, caplog, places, distance, said):
    cine = read_cine_stack(at(tmp_path / "a", places))
    assert cine.positions == pytest.approx(places)
    assert cine.distance == pytest.approx(distance, abs=0.1)
    assert [grid.GetOrigin()[2] for grid in cine.grids] == places
    assert cine.even == (said is None)
    assert re.search(said, caplog.text) if said else not caplog.records


def test_overlapping_slices_of_two_acquisitions(tmp_path):
    with pytest.raises(InputError, match=r"slices of 8 mm that overlap: .*000\.dcm and .*004\.dcm lie 1\.50 mm apart"):
        read_cine_stack(at(tmp_path / "two", [0, 1.5, 8, 9.5]))
    assert read_cine_stack(at(tmp_path / "equal", [0, 3, 6])).distance == 3


# --- enhanced objects ---


def enhanced(path, order, timed=True):
    return write_enhanced(path, PIXELS, order, timed)


SCALED = PIXELS * (1.0 + np.arange(SLICES)[:, None, None, None]) - np.arange(FRAMES)[:, None, None]


def test_an_enhanced_object_is_a_cine_by_its_groups(tmp_path):
    path = enhanced(tmp_path / "a.dcm", SHUFFLED)
    for source in (path, tmp_path):
        cine = read_cine_stack(source)
        assert np.array_equal(cine.images, SCALED)
        assert (cine.distance, cine.spacing, cine.files) == (8, (1.5, 1.25), [[path] * FRAMES] * SLICES)
        assert cine.frame_numbers == [[2 * SHUFFLED.index((s, t)) + 1 for t in range(FRAMES)] for s in range(SLICES)]
        assert cine.times.tolist() == [0, 25, 50, 75]
        assert [grid.GetOrigin()[2] for grid in cine.grids] == [0, 8]
    with pytest.raises(InputError, match=r"a\.dcm: expected one slice, at one time or several, found 2 slices"):
        read_image(path)


def test_an_enhanced_object_a_slice(tmp_path):
    for s in range(SLICES):
        enhanced(tmp_path / f"{s}.dcm", [(s, t) for t in (1, 3, 0, 2)])
    assert np.array_equal(read_cine_stack(tmp_path).images, SCALED)
    assert np.array_equal(read_image(tmp_path / "1.dcm")[0], SCALED[1])


def test_an_enhanced_object_whose_temporal_positions_are_all_1(tmp_path):
    """Canon's: the frames are stored in the order of time."""
    path = enhanced(tmp_path / "a.dcm", list(product(range(SLICES), range(FRAMES))), timed=False)
    cine = read_cine_stack(path)
    assert np.array_equal(cine.images, SCALED)
    assert cine.times is None


def test_a_compressed_cine(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    for syntax in ("rle", "jpeg2000", "deflated", "big"):
        folder = tmp_path / syntax
        folder.mkdir()
        for s, t in product(range(SLICES), range(FRAMES)):
            dataset = mr_image(PIXELS[s, t], syntax, TriggerTime=25 * t, ImagePositionPatient=[0, 0, 8 * s])
            dataset.save_as(folder / f"{s}-{t}.dcm")
        assert is_right(read_cine_stack(folder))


def test_a_segmentation_beside_its_cine_is_no_other_cine(tmp_path, caplog):
    write(tmp_path / "study", lambda dataset, s, t: None)
    cine = read_cine_stack(tmp_path / "study")
    drawn = np.zeros(cine.images.shape, bool)
    drawn[..., 4:8, 4:8] = True
    write_segmentation(tmp_path / "study" / "seg.dcm", drawn, cine.files)
    write_structure_set(tmp_path / "study" / "rtstruct.dcm", drawn, cine.files)
    assert is_right(read_cine_stack(tmp_path / "study"))
    assert len(find_series(tmp_path / "study")) == 1
    assert "rtstruct.dcm and 1 others: without an image, passed over" in caplog.text
    with pytest.raises(InputError, match=r"seg\.dcm: a DICOM Segmentation, which is drawn on a cine, and no cine"):
        read_cine_stack(tmp_path / "study" / "seg.dcm")
    (tmp_path / "drawings").mkdir()
    shutil.move(tmp_path / "study" / "seg.dcm", tmp_path / "drawings")
    with pytest.raises(FileNotFoundError, match="holds no DICOM file of an image"):
        find_series(tmp_path / "drawings")
    assert dicom_study((tmp_path / "drawings").iterdir()) is None


def test_a_frame_without_the_scale_that_others_have_is_refused(tmp_path):
    """Its grey values would be others than theirs."""
    for time in range(3):
        image = mr_image(np.full((8, 9), 10, np.uint8), TriggerTime=30 * time, InstanceNumber=time + 1)
        if time != 1:
            image.RescaleSlope, image.RescaleIntercept = 2, 0
        image.save_as(tmp_path / f"{time}.dcm")
    with pytest.raises(InputError, match=r"1\.dcm: lacks RescaleSlope, which .*0\.dcm has: grey values of two scales"):
        read_cine_stack(tmp_path)
