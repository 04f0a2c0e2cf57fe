"""What is drawn lands where it was drawn, or nowhere: by place, by pixels, and what is said of a loss."""

import json

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from tests.dicom import write_segmentation_by_highdicom
from tests.transforms.test_segmentation_files import edited, forget_sources
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_drawing, read_keyframes, read_masks, read_structures
from transforms.errors import InputError
from transforms.loading import LoadCined
from transforms.sources import read_records

AFFINE = np.array([[-1.5, 0, 0, 48], [0, 0.3, -8, 20], [0, -1.2, -2, 30], [0, 0, 0, 1]])  # RAS
AFFINE[:3, :3] = np.linalg.qr(AFFINE[:3, :3])[0] @ np.diag([1.5, 1.2, 8])
SHAPE = (30, 20, 3)  # x, y, slice
DRAWN = np.zeros(SHAPE, np.uint8)
DRAWN[4:13, 3:9, 1] = 1
DRAWN[5:11, 3:8, 2] = 1


def save(path, array, affine=AFFINE, zooms=(1.5, 1.2, 8, 0.04)):
    image = nib.Nifti1Image(array, affine)
    image.header.set_zooms(zooms[: array.ndim])
    nib.save(image, path)
    return path


@pytest.fixture
def cine(tmp_path):
    images = np.random.default_rng(0).integers(1, 99, (*SHAPE, 4)).astype(np.int16)
    return read_cine_stack(save(tmp_path / "cine.nii", images))


def mirrored(axes):
    """The mask with axes that run the other way, at the same place."""
    affine, array = AFFINE.copy(), DRAWN
    for axis in axes:
        affine[:3, 3] += affine[:3, axis] * (SHAPE[axis] - 1)
        affine[:3, axis] *= -1
        array = np.flip(array, axis)
    return array, affine


@pytest.mark.parametrize("axes", [(), (0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.seg.nrrd", "a.mha"])
def test_a_mask_lies_at_its_place_whichever_way_its_axes_run(tmp_path, caplog, cine, axes, name):
    path = save(tmp_path / "mask.nii", *mirrored(axes))
    if ".nii" not in name:
        sitk.WriteImage(sitk.ReadImage(str(path)), str(tmp_path / name))
        path = tmp_path / name
    np.testing.assert_array_equal(read_masks(path, cine)[:, 0], DRAWN.T)
    assert not caplog.text


def test_a_cine_whose_forms_differ_is_judged_as_its_mask_is(tmp_path, caplog):
    header = nib.Nifti1Header()
    moved = AFFINE.copy()
    moved[0, 3] += 6
    header.set_sform(AFFINE, 2)
    header.set_qform(moved, 1)
    header.set_data_dtype(np.int16)
    images = np.ones((*SHAPE, 4), np.int16)
    nib.save(nib.Nifti1Image(images, None, header), tmp_path / "cine.nii")
    cine = read_cine_stack(tmp_path / "cine.nii")
    assert "cine.nii: its sform and its qform place it differently; it is placed by the sform" in caplog.text
    mask = nib.Nifti1Image(DRAWN, nib.load(tmp_path / "cine.nii").affine)
    nib.save(mask, tmp_path / "mask.nii")
    np.testing.assert_array_equal(read_masks(tmp_path / "mask.nii", cine)[:, 0], DRAWN.T)


@pytest.mark.parametrize("affine", [None, np.eye(4), np.diag([1.5, 1.2, 8, 1])])
def test_a_mask_without_place_is_taken_by_its_pixels(tmp_path, caplog, cine, affine):
    np.testing.assert_array_equal(read_masks(save(tmp_path / "a.nii", DRAWN, affine), cine)[:, 0], DRAWN.T)
    assert "a.nii: has no place in space; a.nii is taken pixel by pixel" in caplog.text
    with pytest.raises(
        InputError, match=r"a\.nii: has no place .* has 30 x 19 x 3 pixels where the cine has 30 x 20 x 3"
    ):
        read_masks(save(tmp_path / "a.nii", DRAWN[:, 1:], affine), cine)


def test_a_cine_without_place_takes_a_mask_by_its_pixels(tmp_path, caplog):
    cine = read_cine_stack(save(tmp_path / "cine.nii", np.ones((*SHAPE, 4), np.int16), None))
    np.testing.assert_array_equal(read_masks(save(tmp_path / "a.nii", DRAWN, None), cine)[:, 0], DRAWN.T)
    assert not caplog.text  # both say nothing
    np.testing.assert_array_equal(read_masks(save(tmp_path / "a.nii", DRAWN), cine)[:, 0], DRAWN.T)
    assert "the cine has no place in space; a.nii is taken pixel by pixel" in caplog.text


def shifted(mm, axis=0):
    """Moved along an axis of the image."""
    affine = AFFINE.copy()
    affine[:3, 3] += affine[:3, axis] / np.linalg.norm(affine[:3, axis]) * mm
    return affine


def test_what_leaves_the_images_is_not_lost_without_a_word(tmp_path, caplog, cine):
    with pytest.raises(InputError, match=r"a\.nii: 7\.1 % of what is drawn, 11 of 151 mm².* was it drawn on another"):
        read_masks(save(tmp_path / "a.nii", DRAWN, shifted(-7.5)), cine)
    large = np.ones(SHAPE, np.uint8)
    large[:, :-1] = 1
    read_masks(save(tmp_path / "a.nii", large, shifted(0.9)), cine)
    assert "a.nii: 3.3 % of what is drawn" in caplog.text
    caplog.clear()
    read_masks(save(tmp_path / "a.nii", DRAWN, shifted(1.5)), cine)  # all of it is still in the images
    assert not caplog.text


def test_planes_that_do_not_coincide_are_said(tmp_path, caplog, cine):
    masks = read_masks(save(tmp_path / "a.nii", DRAWN, shifted(-3, 2)), cine)
    np.testing.assert_array_equal(masks[:, 0], DRAWN.T)
    assert "a.nii: its planes are not the cine's slices: up to 3.0 mm apart, tilted by 0 degrees" in caplog.text
    caplog.clear()
    angle = np.radians(5)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    tilted = AFFINE.copy()
    tilted[:3, :3] = turn @ AFFINE[:3, :3]
    centre = np.array([15, 10, 1])
    tilted[:3, 3] = AFFINE[:3] @ [*centre, 1] - tilted[:3, :3] @ centre
    read_masks(save(tmp_path / "a.nii", DRAWN, tilted), cine)
    assert "tilted by 5 degrees" in caplog.text


def test_planes_closer_than_the_slices_need_not_coincide(tmp_path, caplog, cine):
    affine = AFFINE.copy()
    affine[:3, 2] /= 8
    affine[:3, 3] -= affine[:3, 2] * 3
    fine = np.repeat(DRAWN, 8, 2)
    np.testing.assert_array_equal(
        read_masks(save(tmp_path / "a.nii", fine, affine, (1.5, 1.2, 1)), cine)[:, 0], DRAWN.T
    )
    assert not caplog.text


def test_labels_of_a_file_with_several_values(tmp_path, cine):
    labels = np.repeat(DRAWN[..., None], 4, 3).astype(np.float32) * 3
    labels[2:4, :, 1], labels[:2, :, 1] = 2, 1
    labels[..., [0, 1, 3]] = 0
    path = save(tmp_path / "a.nii", labels)
    with pytest.raises(InputError, match="found 0 and 1, 2, 3: which is the lumen"):
        read_drawing(path, cine)
    drawn, frame = read_drawing(path, cine, labels="acdc")
    np.testing.assert_array_equal(drawn, labels[..., 2].T == 3)
    assert frame == 2
    masks = read_structures(path, cine, "acdc")
    walled = (labels == 2).any((0, 1), keepdims=True)  # the third slice has no wall
    np.testing.assert_array_equal(masks["epicardium"][:, 2], ((labels >= 2) & walled)[..., 2].T)
    np.testing.assert_array_equal(masks["rv"][:, 2], labels[..., 2].T == 1)


def test_names_of_slicer_s_segments_are_said(tmp_path, cine):
    image = sitk.ReadImage(str(save(tmp_path / "a.nii", DRAWN)))
    array = sitk.GetArrayFromImage(image)
    array[1, 3:5] *= 2
    named = sitk.GetImageFromArray(array)
    named.CopyInformation(image)
    for number, name in enumerate(("LV", "RV")):
        named.SetMetaData(f"Segment{number}_LabelValue", str(number + 1))
        named.SetMetaData(f"Segment{number}_Name", name)
    sitk.WriteImage(named, str(tmp_path / "a.seg.nrrd"))
    with pytest.raises(InputError, match=r"a\.seg\.nrrd: .* found 0 and 1 \(LV\), 2 \(RV\): which is the lumen"):
        read_masks(tmp_path / "a.seg.nrrd", cine)
    np.testing.assert_array_equal(read_masks(tmp_path / "a.seg.nrrd", cine, "lumen=2")[:, 0], array == 2)


# --- DICOM ---


@pytest.fixture
def series(phantom_dir):
    """The frames of one slice and its cine."""
    return list(read_records(phantom_dir, "")[0]["frames"])


@pytest.fixture
def one_slice(series, tmp_path):
    for path in series:
        dataset = pydicom.dcmread(path)
        (tmp_path / "series").mkdir(exist_ok=True)
        dataset.save_as(tmp_path / "series" / path.split("/")[-1])
    return read_cine_stack(tmp_path / "series")


def test_a_datalist_s_mask_lies_at_its_place(tmp_path, series, one_slice):
    """Of NIfTI the rows often run upwards."""
    drawn = np.zeros((48, 64), np.uint8)
    drawn[5:17, 30:50] = 1
    volume = sitk.GetImageFromArray(drawn[None])
    volume.CopyInformation(one_slice.grids[0])
    sitk.WriteImage(sitk.Flip(volume, (False, True, False)), str(tmp_path / "lumen.nii.gz"))
    record = {"frames": series, "ed": 0, "es": 4, "lumen": {"0": "lumen.nii.gz"}}
    (tmp_path / "list.json").write_text(json.dumps({"test": [record]}))
    (record,) = read_records(tmp_path / "list.json", "")
    np.testing.assert_array_equal(LoadCined()(record)["lumen"][0], drawn)
    np.testing.assert_array_equal(read_masks(tmp_path / "lumen.nii.gz", one_slice)[0, 0], drawn)


def test_segmentations_of_each_type(tmp_path, one_slice):
    rows, columns = np.mgrid[:48, :64]
    distance = np.hypot(rows - 20, columns - 30)
    soft = np.clip(1.1 - distance / 20, 0, 1)
    source = [one_slice.files[0][7]]
    fractional = write_segmentation_by_highdicom(
        tmp_path / "f.dcm", source, soft[None].astype(np.float32), "FRACTIONAL"
    )
    drawn, frame = read_drawing(fractional, one_slice)
    assert frame == 7
    assert np.array_equal(drawn[0], np.round(soft * 255) >= 127.5)
    labels = (np.uint8(distance < 14) + (distance < 8))[None]
    if not hasattr(highdicom.seg.SegmentationTypeValues, "LABELMAP"):
        return  # an older highdicom writes none
    label_map = write_segmentation_by_highdicom(tmp_path / "l.dcm", source, labels, "LABELMAP", ("part 1", "part 2"))
    with pytest.raises(InputError, match=r"l\.dcm: .* found 0 and 1 \(part 1\), 2 \(part 2\): which is the lumen"):
        read_drawing(label_map, one_slice)
    masks = read_structures(label_map, one_slice, "lumen=2,myocardium=1")
    np.testing.assert_array_equal(masks["lumen"][0, 7], distance < 8)
    np.testing.assert_array_equal(masks["epicardium"][0, 7], distance < 14)
    assert masks["lumen"].sum() == (distance < 8).sum()


def test_a_segmentation_cut_short(tmp_path, one_slice):
    pixels = np.zeros((1, 48, 64), np.uint8)
    pixels[0, 10:20, 20:40] = 1
    path = write_segmentation_by_highdicom(tmp_path / "a.dcm", [one_slice.files[0][7]], pixels)
    assert read_masks(path, one_slice).any()
    content = path.read_bytes()
    for tenth in range(10):
        path.write_bytes(content[: len(content) * tenth // 10])
        with pytest.raises(InputError, match=r"a\.dcm: "):
            read_masks(path, one_slice)
    path.write_bytes(content)
    dataset = pydicom.dcmread(path)
    dataset.Rows = 60000
    dataset.save_as(path)
    with pytest.raises(InputError, match="truncated: its header says 480000 bytes of pixels, the file holds 384"):
        read_masks(path, one_slice)


def test_a_cine_whose_images_cannot_be_told_apart(tmp_path, one_slice):
    pixels = np.ones((1, 48, 64), np.uint8)
    path = write_segmentation_by_highdicom(tmp_path / "a.dcm", [one_slice.files[0][7]], pixels)
    first = pydicom.dcmread(one_slice.files[0][3])
    first.SOPInstanceUID = pydicom.dcmread(one_slice.files[0][7]).SOPInstanceUID
    first.save_as(one_slice.files[0][3])
    with pytest.raises(InputError, match=r"has the SOP Instance UID of .*: a drawing may mean either"):
        read_masks(path, one_slice)


def test_a_segmentation_beyond_the_images(tmp_path, one_slice):
    pixels = np.zeros((1, 48, 64), np.uint8)
    pixels[0, 10:20, :20] = 1
    path = write_segmentation_by_highdicom(tmp_path / "a.dcm", [one_slice.files[0][7]], pixels)

    def move(item):
        for plane in item.get("PlanePositionSequence", []):
            row = np.array(pydicom.dcmread(one_slice.files[0][7]).ImageOrientationPatient[:3], float)
            shift = -5 * one_slice.spacing[1] * row
            plane.ImagePositionPatient = [f"{v:.5f}" for v in np.array(plane.ImagePositionPatient, float) + shift]

    edited(edited(path, forget_sources), move)
    with pytest.raises(InputError, match=r"a\.dcm: 25\.0 % of what is drawn, .* lie outside the cine's images"):
        read_masks(path, one_slice)


@pytest.fixture
def stack(tmp_path):
    """Three slices, five frames, in NIfTI."""
    affine = np.diag([1.2, 1.5, 9, 1])
    image = nib.Nifti1Image(np.random.default_rng(0).random((24, 20, 3, 5), np.float32), affine)
    image.header.set_zooms((1.2, 1.5, 9, 0.04))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "cine.nii.gz")

    def drawn(name, **squares):
        """Masks (x, y, slice, time) with squares on slices and frames, or (x, y, slice) where they have no frame."""
        masks = np.zeros((24, 20, 3, 5), np.uint8)
        for where, (value, number, frame) in squares.items():
            first = int(where[1:])
            masks[first : first + 4, 5:9, number, frame] = value
        static = all(frame == slice(None) for *_, frame in squares.values())
        nib.save(nib.Nifti1Image(masks[..., 0] if static else masks, affine), tmp_path / name)
        return tmp_path / name

    return read_cine_stack(tmp_path / "cine.nii.gz"), drawn


def on(masks):
    return [tuple(map(int, place)) for place in np.argwhere(masks.any((2, 3)))]


def test_key_frames_of_several_files(stack):
    cine, drawn = stack
    ed, es = drawn("ed.nii", a5=(1, 1, slice(None))), drawn("es.nii", a6=(1, 1, slice(None)))
    assert on(read_keyframes([ed, es], cine, [0, 3])["lumen"]) == [(1, 0), (1, 3)]
    found = read_keyframes([ed, f"epicardium={es}"], cine, [2])
    assert {name: on(masks) for name, masks in found.items()} == {"lumen": [(1, 2)], "epicardium": [(1, 2)]}
    assert list(read_keyframes([f"rv={ed}"], cine, [2])) == ["rv"]
    with pytest.raises(InputError, match=r"es\.nii: lumen is drawn on slice 1, frame 2 in another file too"):
        read_keyframes([ed, es], cine, [2])
    with pytest.raises(InputError, match="a frame for each of the 3 files, or one for all; got 2"):
        read_keyframes([ed, es, ed], cine, [0, 1])
    with pytest.raises(InputError, match=r"ed\.nii: does not say on which frame"):
        read_keyframes([ed], cine)


def test_key_frames_of_one_file_with_time(stack):
    cine, drawn = stack
    path = drawn("two.nii", a5=(1, 1, 0), a6=(1, 2, 3))
    assert on(read_keyframes([path], cine)["lumen"]) == [(1, 0), (2, 3)]
    assert on(read_keyframes([path], cine, [3])["lumen"]) == [(2, 3)]
    assert on(read_keyframes([path], cine, [0, 3])["lumen"]) == [(1, 0), (2, 3)]
    with pytest.raises(InputError, match=r"two\.nii: drawn on frames 0, 3 of the cine, not on frame 2"):
        read_keyframes([path], cine, [0, 2])
    with pytest.raises(InputError, match="frame must be 0 to 4, got 5"):
        read_keyframes([path], cine, [5])


def test_the_wall_is_completed_by_the_lumen_of_another_file(stack):
    cine, drawn = stack
    lumen, wall = drawn("lumen.nii", a5=(1, 1, slice(None))), drawn("wall.nii", a9=(1, 1, slice(None)))
    found = read_keyframes([lumen, f"myocardium={wall}"], cine, [0])
    assert found["epicardium"].sum() == 2 * found["lumen"].sum() == 32
