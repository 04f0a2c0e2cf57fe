from itertools import product
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import config
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from scipy.ndimage import binary_dilation

from dirnet.files.dicom import write_segmentation
from tests.dicom import edit, validator_errors, write_enhanced
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_masks, read_structures
from transforms.sources import read_records

MALFORMED = "ignore:.*not of the standard's form:UserWarning"


@pytest.fixture(scope="module")
def cine(phantom_dir):
    """2 slices of 20 frames."""
    return read_cine_stack(Path(read_records(phantom_dir, "")[0]["frames"][0]).parent)


def discs(cine, slices):
    """A disc on each frame of some slices, no two alike, but for one frame on which it has closed."""
    _, frames, height, width = cine.images.shape
    rows, columns = np.ogrid[:height, :width]
    masks = np.zeros(cine.images.shape, bool)
    for number in slices:
        for time in range(frames):
            distance = np.hypot(rows - height / 2 - number, columns - width / 2)
            masks[number, time] = distance < 4 + np.cos(time) * 3 + time / 9
    masks[slices[0], 3] = False
    return masks


def read_by_highdicom(path, cine, number=1):
    """Masks (S, T, H, W) of a segment, by the images that the object refers to."""
    found = highdicom.seg.segread(path)
    masks = []
    with config.disable_value_validation():
        for files in cine.files:
            uids = [pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]
            pixels = found.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
            masks.append(pixels[..., number - 1] > 0)
    return np.stack(masks)


def frames_of(found):
    for item in found.PerFrameFunctionalGroupsSequence:
        source = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        yield source, list(item.FrameContentSequence[0].DimensionIndexValues), item


@pytest.mark.parametrize("slices", [[0, 1], [1]], ids=["all slices", "one slice"])
def test_masks_are_read_by_other_programs(tmp_path, cine, slices):
    masks = discs(cine, slices)
    write_segmentation(tmp_path / "seg.dcm", masks, cine.files)
    assert validator_errors(tmp_path / "seg.dcm") == []
    assert np.array_equal(read_by_highdicom(tmp_path / "seg.dcm", cine), masks)
    found = pydicom.dcmread(tmp_path / "seg.dcm")
    assert np.array_equal(found.pixel_array > 0, masks[masks.any((2, 3))])  # those without lumen are left out


def heart(cine):
    """Lumen, epicardium around it and the right ventricle, which overlaps the wall, on each frame."""
    lumen = discs(cine, [0, 1])
    shape = np.ones((9, 9), bool)
    wall = np.array([[binary_dilation(mask, shape) for mask in masks] for masks in lumen])
    return {"lumen": lumen, "epicardium": wall, "rv": np.roll(lumen, -14, 3)}


def test_three_segments_are_read_by_other_programs(tmp_path, cine):
    structures, path = heart(cine), tmp_path / "seg.dcm"
    drawn = {name: np.arange(40).reshape(2, 20) % 7 == 0 for name in structures}
    write_segmentation(path, structures, cine.files, drawn=drawn)
    assert validator_errors(path) == []
    found = highdicom.seg.segread(path)
    names = ["Left ventricle lumen", "Left ventricle myocardium", "Right ventricle lumen"]
    assert [found.get_segment_description(number).segment_label for number in (1, 2, 3)] == names
    types = [found.get_segment_description(number).segmented_property_type for number in (1, 2, 3)]
    known = (codes.SCT.LeftVentricle, codes.SCT.LeftVentricleMyocardium, codes.SCT.RightVentricle)
    assert [(one.value, one.scheme_designator) for one in types] == [(one.value, "SCT") for one in known]
    expected = {**structures, "epicardium": structures["epicardium"] & ~structures["lumen"]}
    for number, masks in enumerate(expected.values(), 1):
        assert np.array_equal(read_by_highdicom(path, cine, number), masks)
    assert {name: np.array_equal(part, structures[name]) for name, part in read_structures(path, cine).items()} == {
        "lumen": True,
        "epicardium": True,
        "rv": True,
    }
    by_hand = read_structures(path, cine, drawn_only=True)
    for name, masks in structures.items():
        assert np.array_equal(by_hand[name], masks & drawn[name][..., None, None]), name


@pytest.mark.filterwarnings(MALFORMED, "ignore:Invalid value for VR UI:UserWarning")
def test_of_scd_nothing_is_wrong_but_the_uids_it_came_with(tmp_path, scd_dir):
    cine = read_cine_stack(sorted(scd_dir.glob("SCD_IMAGES_01/*/CINESAX_*"))[0])
    masks = discs(cine, [2, 5])
    write_segmentation(tmp_path / "seg.dcm", masks, cine.files)
    assert np.array_equal(read_by_highdicom(tmp_path / "seg.dcm", cine), masks)
    with config.disable_value_validation():
        headers = [pydicom.dcmread(path, stop_before_pixels=True) for number in (2, 5) for path in cine.files[number]]
        of = ("StudyInstance", "SeriesInstance", "SOPInstance", "FrameOfReference")
        known = {str(header[f"{name}UID"].value) for header in headers for name in of}
    for error in validator_errors(tmp_path / "seg.dcm"):
        if "contains invalid data values" not in error:  # the sum of the others
            assert "Leading zeroes" in error
            assert error.split("<")[1].split(">")[0] in known


def test_malformed_uids_are_kept_with_a_warning(tmp_path, cine):
    first = edit(cine.files[0][0], tmp_path / "first.dcm", SOPInstanceUID="1.2.03")
    with pytest.warns(UserWarning, match=r"first\.dcm: not of the standard's form, and kept, .*: SOPInstanceUID$"):
        write_segmentation(tmp_path / "seg.dcm", discs(cine, [0])[:1, :1], [[first]])
    with config.disable_value_validation():
        [(source, _, _)] = frames_of(pydicom.dcmread(tmp_path / "seg.dcm"))
    assert source == "1.2.03"


def test_patient_and_study_are_kept_and_frames_have_place_time_and_source(tmp_path, cine):
    masks = discs(cine, [0, 1])
    write_segmentation(tmp_path / "seg.dcm", masks, cine.files)
    found = pydicom.dcmread(tmp_path / "seg.dcm")
    sources = [[pydicom.dcmread(path) for path in files] for files in cine.files]
    first = sources[0][0]
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert found[keyword].value == first[keyword].value
    assert (found.Modality, found.SeriesInstanceUID != first.SeriesInstanceUID) == ("SEG", True)
    assert found.SOPInstanceUID == found.file_meta.MediaStorageSOPInstanceUID

    marked = np.argwhere(masks.any((2, 3)))
    assert len(marked) == 39
    for (number, time), (source, index, item) in zip(marked, frames_of(found), strict=True):
        assert source == sources[number][time].SOPInstanceUID
        assert index == [1, number + 1, time + 1]
        assert item.PlanePositionSequence[0].ImagePositionPatient == sources[number][time].ImagePositionPatient
    [series] = found.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    listed = [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence]
    assert listed == [source for source, _, _ in frames_of(found)]
    [segment] = found.SegmentSequence
    assert (segment.SegmentLabel, segment.SegmentAlgorithmType) == ("Left ventricle lumen", "SEMIAUTOMATIC")
    assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == found.SoftwareVersions


def test_an_image_without_what_is_optional_gives_a_valid_object(tmp_path, cine):
    # fmt: off
    lacks = [
        "FrameOfReferenceUID", "SliceThickness", "SpacingBetweenSlices", "PatientName", "SeriesNumber", "TriggerTime",
    ]
    # fmt: on
    bare = pydicom.dcmread(cine.files[0][0])
    for keyword in lacks:
        bare.pop(keyword, None)
    bare.LossyImageCompression, bare.LossyImageCompressionRatio = "01", "8"
    bare.save_as(tmp_path / "bare.dcm")
    write_segmentation(tmp_path / "seg.dcm", discs(cine, [0])[:1, :1], [[tmp_path / "bare.dcm"]])
    assert validator_errors(tmp_path / "seg.dcm") == []
    found = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (found.LossyImageCompression, found.LossyImageCompressionRatio) == ("01", 8)


def test_bad_input_names_what_was_found_and_leaves_no_file(tmp_path, cine):
    masks, out = discs(cine, [0])[:1, :2], tmp_path / "out" / "seg.dcm"
    first, second = cine.files[0][:2]
    with pytest.raises(ValueError, match=r"got \(1, 2, 48, 64\) and 1 lists of 20 files"):
        write_segmentation(out, masks, cine.files[:1])
    with pytest.raises(ValueError, match="something drawn on one frame at least, found nothing"):
        write_segmentation(out, masks & False, [[first, second]])
    with pytest.raises(FileNotFoundError, match="'nowhere' does not exist"):
        write_segmentation(out, masks, [[first, "nowhere"]])
    (tmp_path / "text").write_text("no DICOM" * 30)
    with pytest.raises(ValueError, match="text: expected a DICOM file"):
        write_segmentation(out, masks, [[first, tmp_path / "text"]])
    with pytest.raises(ValueError, match=r"\.dcm: has 48x64 pixels \(rows x columns\), its mask 64x48"):
        write_segmentation(out, masks.swapaxes(2, 3), [[first, second]])
    for change, message in (
        ({"ImagePositionPatient": None}, "lacks ImagePositionPatient"),
        ({"StudyInstanceUID": generate_uid()}, "another StudyInstanceUID than"),
        ({"PixelSpacing": ["0.7", "0.7"]}, "PixelSpacing differs from that of"),
    ):
        odd = edit(second, tmp_path / "odd.dcm", **change)
        with pytest.raises(ValueError, match=rf"odd\.dcm: {message}"):
            write_segmentation(out, masks, [[first, odd]])
    assert not out.exists()


def test_a_failed_write_leaves_what_was_there(tmp_path, cine, monkeypatch):
    def full_disk(self, name, *args, **kwargs):
        name.write(b"half")
        raise OSError("no space")

    path = tmp_path / "seg.dcm"
    path.write_text("old")
    monkeypatch.setattr(pydicom.dataset.FileDataset, "save_as", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_segmentation(path, discs(cine, [0]), cine.files)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("files", [1, 2], ids=["one file", "a file a slice"])
def test_frames_of_an_enhanced_image(tmp_path, files):
    """Stored in another order than time's, with phase images between."""
    pixels = np.random.default_rng(0).integers(255, size=(2, 20, 48, 64), dtype=np.uint8)
    order = [(s, t) for t, s in product((*range(5, 20), *range(5)), range(2))]
    parts = [order] if files == 1 else [[(s, t) for s, t in order if s == number] for number in range(2)]
    paths = [write_enhanced(tmp_path / f"{number}.dcm", pixels, part) for number, part in enumerate(parts)]
    cine = read_cine_stack(tmp_path)
    masks = discs(cine, [0, 1])
    seg = tmp_path / "out" / "seg.dcm"
    write_segmentation(seg, masks, cine.files, cine.frame_numbers)
    assert validator_errors(seg) == []
    assert np.array_equal(read_masks(seg, cine), masks)

    found = highdicom.seg.segread(seg)
    # an older highdicom does not tell the frames of two files apart
    oracle = files == 1 or hasattr(highdicom.seg.SegmentationTypeValues, "LABELMAP")
    for number, (path, part) in enumerate(zip(paths, parts, strict=True) if oracle else ()):
        uid = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
        numbers = [2 * place + 1 for place in range(len(part))]
        read = found.get_pixels_by_source_frame(
            uid, numbers, assert_missing_frames_are_empty=True, ignore_spatial_locations=True
        )
        assert np.array_equal(read[..., 0] > 0, [masks[image] for image in part]), number
    for item in found.PerFrameFunctionalGroupsSequence:
        _, place, time = item.FrameContentSequence[0].DimensionIndexValues
        assert item.PlanePositionSequence[0].ImagePositionPatient == [0, 0, 8 * (place - 1)]
        [source] = item.DerivationImageSequence[0].SourceImageSequence
        assert parts[paths.index(cine.files[place - 1][0])][source.ReferencedFrameNumber // 2] == (place - 1, time - 1)
    [series] = found.ReferencedSeriesSequence
    assert len(series.ReferencedInstanceSequence) == files

    with pytest.raises(ValueError, match=r"0\.dcm: expected an image of one frame, found \d\d frames"):
        write_segmentation(seg, masks, cine.files)
    with pytest.raises(ValueError, match=r"\.dcm: has frames 1 to \d\d, not 81"):
        write_segmentation(seg, masks, cine.files, [[81] * 20] * 2)


def test_an_enhanced_image_of_one_frame(tmp_path):
    pixels = np.random.default_rng(0).integers(255, size=(1, 4, 48, 64), dtype=np.uint8)
    for time in range(4):
        path = write_enhanced(tmp_path / f"{time}.dcm", pixels, [(0, time)])
        dataset = pydicom.dcmread(path)
        dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:1]
        dataset.NumberOfFrames, dataset.PixelData = 1, pixels[0, time].tobytes()
        dataset.save_as(path)
    cine = read_cine_stack(tmp_path)
    assert cine.frame_numbers == []
    masks = discs(cine, [0])
    write_segmentation(tmp_path / "seg.dcm", masks, cine.files)
    assert validator_errors(tmp_path / "seg.dcm") == []
    assert np.array_equal(read_masks(tmp_path / "seg.dcm", cine), masks)
