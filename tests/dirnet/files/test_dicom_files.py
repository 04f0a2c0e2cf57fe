import json
import logging
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, generate_uid
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from dirnet.fields.resampling import warp
from dirnet.files.dicom import read_deformable_registration, write_deformable_registration, write_derived_series
from dirnet.files.itk import ddf_from_image
from tests.dicom import edit, validator_errors, write_enhanced
from transforms.cine_files import read_cine_stack

MALFORMED = "ignore:.*not of the standard's form:UserWarning"
BUNDLE = Path(__file__).parents[3] / "bundles" / "dirnet"
SHAPE = (48, 64)  # of the phantom's frames


@pytest.fixture(scope="module")
def frames(phantom_dir, tmp_path_factory):
    """Five frames of a phantom."""
    folder = tmp_path_factory.mktemp("frames")
    files = sorted(phantom_dir.rglob("IM-*.dcm"))[0:10:2]
    return [edit(file, folder / file.name) for file in files]


@pytest.fixture(scope="module")
def elsewhere(frames, tmp_path_factory):
    """A frame as if of another study: tilted, moved, with oblong pixels."""
    turn = Rotation.from_euler("xyz", [4, -3, 8], degrees=True)
    header = pydicom.dcmread(frames[3])
    axes = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
    return edit(
        frames[3],
        tmp_path_factory.mktemp("elsewhere") / "moving.dcm",
        ImageOrientationPatient=[f"{v:.9f}" for v in turn.apply(axes).ravel()],
        ImagePositionPatient=[f"{float(v) + 7.5:.4f}" for v in header.ImagePositionPatient],
        PixelSpacing=["1.1", "1.6"],
        **{f"{of}UID": generate_uid() for of in ("FrameOfReference", "StudyInstance", "SeriesInstance", "SOPInstance")},
    )


def smooth_ddf(seed=0):
    noise = np.random.default_rng(seed).normal(size=(2, *SHAPE))
    field = gaussian_filter(noise, 6, axes=(1, 2))
    return (field / field.std() * np.reshape([1.0, 2.0], (2, 1, 1)) + 0.3).astype(np.float32)


def pixels(path):
    return pydicom.dcmread(path).pixel_array.astype(np.float32)


def warped(path, ddf):
    return warp(torch.from_numpy(pixels(path))[None, None], torch.from_numpy(ddf)[None])[0, 0].numpy()


@pytest.mark.parametrize("scale", [1.0, 1 / 600, -1000.0], ids=["as stored", "0 to 1", "negative, large"])
def test_a_derived_image_is_valid(tmp_path, frames, elsewhere, scale):
    image = warped(elsewhere, smooth_ddf()) * scale
    write_derived_series(tmp_path / "warped.dcm", image, frames[0], elsewhere)
    assert validator_errors(tmp_path / "warped.dcm") == []


@pytest.mark.parametrize("moving", ["the same series", "another study"])
def test_a_registration_is_valid(tmp_path, frames, elsewhere, moving):
    moving = frames[3] if moving == "the same series" else elsewhere
    write_deformable_registration(tmp_path / "registration.dcm", smooth_ddf(), frames[0], moving)
    assert validator_errors(tmp_path / "registration.dcm") == []


def test_an_image_without_what_is_optional_gives_valid_objects(tmp_path, frames):
    # fmt: off
    needed = [
        "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Rows",
        "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "ScanningSequence",
        "SequenceVariant", "PixelData", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
        "SamplesPerPixel", "PhotometricInterpretation", "Modality",
    ]
    # fmt: on
    bare = pydicom.dcmread(frames[0])
    for element in list(bare):
        if element.keyword not in needed:
            del bare[element.tag]
    bare.save_as(tmp_path / "bare.dcm")
    write_derived_series(tmp_path / "warped.dcm", pixels(frames[3]), tmp_path / "bare.dcm")
    write_deformable_registration(tmp_path / "reg.dcm", smooth_ddf(), tmp_path / "bare.dcm", frames[3])
    assert validator_errors(tmp_path / "warped.dcm") == []
    assert validator_errors(tmp_path / "reg.dcm") == []
    grid = pydicom.dcmread(tmp_path / "reg.dcm").DeformableRegistrationSequence[1].DeformableRegistrationGridSequence[0]
    assert grid.GridResolution[2] == 1.0  # neither spacing between slices nor thickness is known


@pytest.mark.filterwarnings(MALFORMED)
def test_of_scd_nothing_is_wrong_but_the_uids_it_came_with(tmp_path, scd_dir):
    fixed, moving = sorted(scd_dir.rglob("IM-*.dcm"))[:10:9]
    image = pixels(moving)
    write_derived_series(tmp_path / "warped.dcm", image, fixed, moving)
    write_deformable_registration(tmp_path / "reg.dcm", np.zeros((2, *image.shape)), fixed, moving)
    with config.disable_value_validation():
        headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in (fixed, moving)]
        of = ("StudyInstance", "SeriesInstance", "SOPInstance", "FrameOfReference")
        known = {str(header[f"{name}UID"].value) for header in headers for name in of}
    for name in ("warped.dcm", "reg.dcm"):
        for error in validator_errors(tmp_path / name):
            if "contains invalid data values" not in error:  # the sum of the others
                assert "Leading zeroes" in error
                assert error.split("<")[1].split(">")[0] in known


@pytest.mark.parametrize("which", ["within a series", "from another study", "onto another study"])
def test_the_object_s_own_vectors_give_our_warp(tmp_path, frames, elsewhere, which):
    """PS3.3 C.20.3.1.1 by hand: numpy on the bytes, and SciPy to sample the moving file at the Source points."""
    fixed = elsewhere if which == "onto another study" else frames[0]
    moving = elsewhere if which == "from another study" else frames[3]
    ddf = smooth_ddf()
    write_deformable_registration(tmp_path / "reg.dcm", ddf, fixed, moving)

    found = pydicom.dcmread(tmp_path / "reg.dcm")
    source = pydicom.dcmread(moving)
    assert found.FrameOfReferenceUID == pydicom.dcmread(fixed).FrameOfReferenceUID
    item = found.DeformableRegistrationSequence[1]
    assert item.SourceFrameOfReferenceUID == source.FrameOfReferenceUID
    assert item.ReferencedImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    for sequence in (item.PreDeformationMatrixRegistrationSequence, item.PostDeformationMatrixRegistrationSequence):
        np.testing.assert_array_equal(np.reshape(sequence[0].FrameOfReferenceTransformationMatrix, (4, 4)), np.eye(4))
    grid = item.DeformableRegistrationGridSequence[0]
    assert list(grid.GridDimensions) == [64, 48, 1]
    vectors = np.frombuffer(grid.VectorGridData, "<f4").reshape(48, 64, 3)
    along, down = np.array(grid.ImageOrientationPatient, float).reshape(2, 3)
    j, i = np.indices((48, 64))
    registered = np.array(grid.ImagePositionPatient, float) + (
        i[..., None] * grid.GridResolution[0] * along + j[..., None] * grid.GridResolution[1] * down
    )
    targets = registered + vectors

    along, down = np.array(source.ImageOrientationPatient, float).reshape(2, 3)
    steps = np.stack([down * float(source.PixelSpacing[0]), along * float(source.PixelSpacing[1])], 1)
    offsets = targets - np.array(source.ImagePositionPatient, float)
    np.testing.assert_allclose(offsets @ np.cross(along, down), 0, atol=1e-4)  # in the moving slice's plane
    rows_columns = np.moveaxis(offsets @ np.linalg.pinv(steps).T, -1, 0)
    ours, image = warped(moving, ddf), pixels(moving)
    assert np.abs(ours - image).max() > 100
    np.testing.assert_allclose(map_coordinates(image, rows_columns, order=1, mode="nearest"), ours, atol=0.05)


def test_simpleitk_applies_what_is_read_back(tmp_path, frames, elsewhere):
    ddf = smooth_ddf()
    write_deformable_registration(tmp_path / "reg.dcm", ddf, frames[0], elsewhere)
    field = read_deformable_registration(tmp_path / "reg.dcm")
    fixed, moving = (sitk.ReadImage(str(path), sitk.sitkFloat32) for path in (frames[0], elsewhere))
    for part in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(field, part)(), getattr(fixed, part)(), atol=1e-6)
    np.testing.assert_allclose(ddf_from_image(field, moving), ddf, atol=1e-4)

    itk = sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field), sitk.sitkLinear)
    target = np.indices(SHAPE) + ddf
    inside = ((target >= 0.01) & (target <= np.reshape(SHAPE, (2, 1, 1)) - 1.01)).all(0)  # beyond, it fills in 0
    assert inside.mean() > 0.8
    np.testing.assert_allclose(sitk.GetArrayFromImage(itk)[0][inside], warped(elsewhere, ddf)[inside], atol=0.05)


def test_matrices_around_the_deformation_are_part_of_what_is_read(tmp_path, frames):
    ddf = smooth_ddf()
    write_deformable_registration(tmp_path / "reg.dcm", ddf, frames[0], frames[1])
    plain = sitk.GetArrayFromImage(read_deformable_registration(tmp_path / "reg.dcm"))
    found = pydicom.dcmread(tmp_path / "reg.dcm")
    item = found.DeformableRegistrationSequence[1]
    pre, post = np.eye(4), np.eye(4)
    pre[:3, 3] = [5, -2, 1]
    post[:3, :3] = np.diag([2, 1, 1])
    for when, matrix in (("Pre", pre), ("Post", post)):
        sequence = Dataset()
        sequence.FrameOfReferenceTransformationMatrixType = "AFFINE"
        sequence.FrameOfReferenceTransformationMatrix = matrix.ravel().tolist()
        setattr(item, f"{when}DeformationMatrixRegistrationSequence", [sequence])
    found.save_as(tmp_path / "reg.dcm")
    field = read_deformable_registration(tmp_path / "reg.dcm")
    points = np.array([field.TransformIndexToPhysicalPoint((i, 3, 0)) for i in range(64)])
    expected = (points + [5, -2, 1] + plain[0, 3]) * [2, 1, 1] - points
    np.testing.assert_allclose(sitk.GetArrayFromImage(field)[0, 3], expected, atol=1e-6)


def test_a_registration_joins_the_fixed_image_s_study_and_names_its_maker(tmp_path, frames, elsewhere):
    write_deformable_registration(tmp_path / "reg.dcm", smooth_ddf(), frames[0], elsewhere)
    found, fixed = pydicom.dcmread(tmp_path / "reg.dcm"), pydicom.dcmread(frames[0])
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert found[keyword].value == fixed[keyword].value
    assert found.Modality == "REG"
    assert len({found.SeriesInstanceUID, fixed.SeriesInstanceUID}) == 2
    assert found.SOPInstanceUID == found.file_meta.MediaStorageSOPInstanceUID != fixed.SOPInstanceUID
    assert found.Manufacturer == "monai-dirnet"
    assert found.SoftwareVersions == json.loads((BUNDLE / "configs" / "metadata.json").read_text())["version"]
    same = found.DeformableRegistrationSequence[0]
    assert same.ReferencedImageSequence[0].ReferencedSOPInstanceUID == fixed.SOPInstanceUID
    assert "DeformableRegistrationGridSequence" not in same


def test_references_of_a_registration_say_where_the_images_are(tmp_path, frames, elsewhere):
    fixed, same, other = (pydicom.dcmread(path) for path in (frames[0], frames[1], elsewhere))
    write_deformable_registration(tmp_path / "reg.dcm", smooth_ddf(), frames[0], frames[1])
    found = pydicom.dcmread(tmp_path / "reg.dcm")
    [series] = found.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == fixed.SeriesInstanceUID
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence] == [
        fixed.SOPInstanceUID,
        same.SOPInstanceUID,
    ]
    assert "StudiesContainingOtherReferencedInstancesSequence" not in found

    write_deformable_registration(tmp_path / "reg.dcm", smooth_ddf(), frames[0], elsewhere)
    [study] = pydicom.dcmread(tmp_path / "reg.dcm").StudiesContainingOtherReferencedInstancesSequence
    assert study.StudyInstanceUID == other.StudyInstanceUID
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == other.SeriesInstanceUID


def test_a_cine_keeps_patient_study_place_and_times_under_uids_of_its_own(tmp_path, frames, elsewhere):
    ddf = smooth_ddf()
    images = np.stack([warped(elsewhere, ddf * part) for part in np.linspace(0, 1, len(frames))])
    paths = [tmp_path / "cine" / f"{number}.dcm" for number in range(len(frames))]
    write_derived_series(paths, torch.from_numpy(images), frames, elsewhere, "Follow, ED onto all")

    found, fixed = ([pydicom.dcmread(path) for path in files] for files in (paths, frames))
    # fmt: off
    kept = [
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID",
        "FrameOfReferenceUID", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
        "Rows", "Columns", "TriggerTime", "EchoTime", "Modality", "CardiacNumberOfImages", "SpacingBetweenSlices",
        "SpecificCharacterSet", "Manufacturer",
    ]
    # fmt: on
    for number, (new, old, path, image) in enumerate(zip(found, fixed, paths, images, strict=True), 1):
        assert [new.get(keyword) for keyword in kept] == [old.get(keyword) for keyword in kept]
        assert new.InstanceNumber == number
        assert new.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert [item.ReferencedSOPInstanceUID for item in new.SourceImageSequence] == [
            pydicom.dcmread(elsewhere).SOPInstanceUID,
            old.SOPInstanceUID,
        ]
        assert [item.get("SpatialLocationsPreserved") for item in new.SourceImageSequence] == ["NO", None]
        assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
        read, onto = sitk.ReadImage(str(path)), sitk.ReadImage(str(frames[number - 1]))
        for part in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(read, part)() == getattr(onto, part)()
        np.testing.assert_allclose(sitk.GetArrayFromImage(read)[0], image, atol=0.5001)
    assert {new.SeriesDescription for new in found} == {"Follow, ED onto all"}
    assert len({new.SeriesInstanceUID for new in found} - {old.SeriesInstanceUID for old in fixed}) == 1
    assert len({new.SOPInstanceUID for new in found} - {old.SOPInstanceUID for old in fixed}) == len(frames)
    assert len({new.TriggerTime for new in found}) == len(frames)
    reader = sitk.ImageSeriesReader()  # GDCM takes them for one series
    assert len(reader.GetGDCMSeriesIDs(str(tmp_path / "cine"))) == 1


def test_one_fixed_image_serves_many_frames_and_a_frame_onto_itself_is_named_once(tmp_path, frames):
    images = np.stack([pixels(path) for path in frames])
    paths = [tmp_path / f"{number}.dcm" for number in range(len(frames))]
    write_derived_series(paths, images, frames[1], frames)
    found = [pydicom.dcmread(path) for path in paths]
    assert [len(new.SourceImageSequence) for new in found] == [2, 1, 2, 2, 2]
    assert len({str(new.ImagePositionPatient) for new in found}) == 1


@pytest.mark.parametrize(
    ("image", "rescaled", "tolerance"),
    [
        (np.linspace(0, 900.4, 48 * 64), False, 0.5),
        (np.linspace(-500.2, 900.4, 48 * 64), False, 0.5),
        (np.linspace(0, 65535, 48 * 64), False, 0.5),
        (np.arange(48 * 64) % 3, False, 0),
        (np.linspace(0, 1, 48 * 64), True, 1e-5),
        (np.linspace(-1e-4, 3e-4, 48 * 64), True, 1e-8),
        (np.linspace(-1000, 70000, 48 * 64), True, 1.1),
        (np.full(48 * 64, 0.25), True, 1e-9),
        (np.zeros(48 * 64), False, 0),
    ],
    ids=["float", "negative", "16 bits", "whole", "0 to 1", "tiny", "large", "constant", "zero"],
)
def test_intensities_come_back(tmp_path, frames, image, rescaled, tolerance):
    image = image.reshape(SHAPE)
    write_derived_series(tmp_path / "a.dcm", image, frames[0])
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.dcm"), sitk.sitkFloat64))[0]
    np.testing.assert_allclose(read, image, atol=tolerance * 1.0001)
    found = pydicom.dcmread(tmp_path / "a.dcm")
    assert ("RescaleSlope" in found) == rescaled
    if "WindowWidth" in found:
        assert found.WindowWidth >= 1
        assert image.min() <= found.WindowCenter <= image.max()


def test_unusual_sources(tmp_path, frames, caplog):
    """Implicit VR, private elements, decimals too long, dates that are none, numbers that are none, no frame."""
    with config.disable_value_validation():
        source = pydicom.dcmread(frames[0])
        source.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        source.PatientBirthDate = "00000000"
        source.StudyDate = "20120000"
        source.PatientID = "secret" * 20
        source.PatientName = "Müller^Jörg"
        source.PixelSpacing = ["1.23456789012345678", "1.5"]
        source.private_block(0x0019, "VENDOR", create=True).add_new(0x10, "LO", "private")
        equipment = Dataset()
        equipment.Manufacturer = "scanner"
        equipment.private_block(0x0019, "VENDOR", create=True).add_new(0x10, "LO", "private")
        source.ContributingEquipmentSequence = [equipment]
        source.LossyImageCompression = "01"
        source.LossyImageCompressionRatio = "8"
        source.WindowCenter, source.SmallestImagePixelValue = "7", 3
        source.add(DataElement("FlipAngle", "LO", "forty"))
        del source.FrameOfReferenceUID
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom 3 is about to drop what pydicom 2 needs
            source.is_implicit_VR = True
            source.save_as(tmp_path / "odd.dcm")
    with caplog.at_level(logging.DEBUG), pytest.warns(UserWarning, match="standard's form") as raised:
        write_derived_series(tmp_path / "a.dcm", pixels(frames[1]), tmp_path / "odd.dcm")
    [warning] = raised
    assert str(warning.message).startswith(f"{tmp_path / 'odd.dcm'}: ")
    assert str(warning.message).endswith(": PatientID, StudyDate")
    assert warning.filename == __file__
    for private in ("secret", "ller", "00000000"):
        assert private not in caplog.text + str(warning.message)

    with config.disable_value_validation():
        found = pydicom.dcmread(tmp_path / "a.dcm")
        assert (found.PatientID, found.StudyDate, found.PatientBirthDate) == ("secret" * 20, "20120000", "")
        assert found.PatientName == "Müller^Jörg"
        assert [float(v) for v in found.PixelSpacing] == pytest.approx([1.23456789012345678, 1.5])
        assert max(len(str(v)) for v in found.PixelSpacing) <= 16
        assert not [element for element in found.iterall() if element.tag.is_private]
        assert [item.Manufacturer for item in found.ContributingEquipmentSequence] == ["scanner", "monai-dirnet"]
        assert (found.LossyImageCompression, found.LossyImageCompressionRatio) == ("01", 8)
        assert "FlipAngle" not in found
        assert "SmallestImagePixelValue" not in found
        assert found.FrameOfReferenceUID not in (source.SOPInstanceUID, "")
        assert found.file_meta.TransferSyntaxUID.name == "Explicit VR Little Endian"
    with pytest.raises(ValueError, match=r"odd\.dcm: lacks FrameOfReferenceUID"):
        write_deformable_registration(tmp_path / "reg.dcm", smooth_ddf(), tmp_path / "odd.dcm", frames[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PixelSpacing": None}, "lacks PixelSpacing"),
        ({"PixelSpacing": ""}, "lacks PixelSpacing"),
        ({"PixelSpacing": "1.5"}, "PixelSpacing to have 2 values, found 1"),
        ({"PixelSpacing": ["0", "1.5"]}, "PixelSpacing is 0.1.5; expected 2 numbers from 0.001"),
        ({"ImagePositionPatient": None}, "lacks ImagePositionPatient"),
        ({"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}, "right angles"),
        ({"SOPInstanceUID": ""}, "lacks SOPInstanceUID"),
        ({"NumberOfFrames": "3"}, "one frame, found 3 frames"),
    ],
)
def test_a_source_without_its_place_is_named(tmp_path, frames, change, message):
    odd = edit(frames[0], tmp_path / "odd.dcm", **change)
    out = tmp_path / "out.dcm"
    with pytest.raises(ValueError, match=rf"odd\.dcm: .*{message}"):
        write_derived_series(out, pixels(frames[1]), odd)
    with pytest.raises(ValueError, match=rf"odd\.dcm: .*{message}"):
        write_deformable_registration(out, smooth_ddf(), frames[1], odd)
    assert not out.exists()


def test_bad_input_names_what_was_found_and_leaves_no_file(tmp_path, frames, elsewhere):
    image, out = pixels(frames[0]), tmp_path / "out"
    with pytest.raises(ValueError, match=r"T different paths, got \(1, 48, 64\) and 2 paths"):
        write_derived_series([out / "a", out / "b"], image, frames[0])
    with pytest.raises(ValueError, match="T different paths"):
        write_derived_series([out / "a", out / "a"], np.stack([image, image]), frames[0])
    with pytest.raises(ValueError, match="one fixed file or 1, one for each image, got 5"):
        write_derived_series(out / "a", image, frames)
    with pytest.raises(ValueError, match="not finite"):
        write_derived_series(out / "a", image * np.nan, frames[0])
    with pytest.raises(ValueError, match="1 to 64 ASCII characters"):
        write_derived_series(out / "a", image, frames[0], description="x" * 65)
    with pytest.raises(ValueError, match=r"has 48x64 pixels \(rows x columns\), its warped image 64x48"):
        write_derived_series(out / "a", image.T, frames[0])
    with pytest.raises(ValueError, match=r"moving\.dcm: another StudyInstanceUID than .*, in one series"):
        write_derived_series([out / "a", out / "b"], np.stack([image, image]), [frames[0], elsewhere])
    with pytest.raises(FileNotFoundError, match="'nowhere' does not exist"):
        write_derived_series(out / "a", image, frames[0], "nowhere")
    ct = edit(frames[0], tmp_path / "ct.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    with pytest.raises(ValueError, match=r"ct\.dcm: expected an MR Image, found CT Image Storage"):
        write_derived_series(out / "a", image, ct)
    (tmp_path / "text").write_text("no DICOM" * 30)
    with pytest.raises(ValueError, match="text: expected a DICOM file"):
        write_deformable_registration(out / "a", smooth_ddf(), frames[0], tmp_path / "text")
    with pytest.raises(ValueError, match=r"expected a DDF of shape \(2, 48, 64\)"):
        write_deformable_registration(out / "a", np.zeros((2, 64, 48)), frames[0], frames[1])
    with pytest.raises(ValueError, match="not finite"):
        write_deformable_registration(out / "a", smooth_ddf() * np.nan, frames[0], frames[1])
    assert not out.exists()

    with pytest.raises(FileNotFoundError, match="'nowhere' does not exist"):
        read_deformable_registration("nowhere")
    with pytest.raises(ValueError, match="text: expected a DICOM file"):
        read_deformable_registration(tmp_path / "text")
    with pytest.raises(ValueError, match=r"IM-.*\.dcm: expected a Deformable .* found 0 grids"):
        read_deformable_registration(frames[0])
    write_deformable_registration(tmp_path / "reg.dcm", smooth_ddf(), frames[0], frames[1])
    found = pydicom.dcmread(tmp_path / "reg.dcm")
    found.DeformableRegistrationSequence[1].DeformableRegistrationGridSequence[0].GridDimensions = [64, 47, 1]
    found.save_as(tmp_path / "reg.dcm")
    with pytest.raises(ValueError, match=r"reg\.dcm: expected 36096 bytes .*, found 36864"):
        read_deformable_registration(tmp_path / "reg.dcm")


def test_a_failed_write_leaves_the_whole_series_as_it_was(tmp_path, frames, monkeypatch):
    paths = [tmp_path / f"{number}.dcm" for number in range(3)]
    paths[0].write_text("old")
    written = []

    def full_disk(self, name, *args, **kwargs):
        written.append(name)
        if len(written) == 3:
            raise OSError("no space")
        name.write(b"half")

    monkeypatch.setattr(pydicom.dataset.FileDataset, "save_as", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_derived_series(paths, np.stack([pixels(path) for path in frames[:3]]), frames[:3])
    assert len(written) == 3
    assert paths[0].read_text() == "old"
    assert list(tmp_path.iterdir()) == [paths[0]]


@pytest.fixture(scope="module")
def enhanced(tmp_path_factory):
    """The cine in an enhanced MR image of 2 slices of 3 frames, each with its phase image."""
    pixels = np.random.default_rng(0).integers(255, size=(2, 3, *SHAPE), dtype=np.uint8)
    order = [(slice_, time) for time in (2, 0, 1) for slice_ in (1, 0)]
    return read_cine_stack(write_enhanced(tmp_path_factory.mktemp("enhanced") / "cine.dcm", pixels, order))


def test_a_registration_of_frames_of_an_enhanced_image_names_them(enhanced, tmp_path):
    (file, *_), numbers = enhanced.files[1], enhanced.frame_numbers[1]
    path, ddf = tmp_path / "reg.dcm", smooth_ddf()
    write_deformable_registration(path, ddf, file, file, fixed_frame=numbers[0], moving_frame=numbers[2])
    assert validator_errors(path) == []
    field = read_deformable_registration(path)
    assert field.GetOrigin() == enhanced.grids[1].GetOrigin() == (0, 0, 8)
    np.testing.assert_allclose(ddf_from_image(field), ddf, atol=1e-4)
    images = [item.ReferencedImageSequence[0] for item in pydicom.dcmread(path).DeformableRegistrationSequence]
    assert [image.ReferencedFrameNumber for image in images] == [numbers[0], numbers[2]]
    with pytest.raises(ValueError, match=r"cine\.dcm: expected an image of one frame, found 12 frames"):
        write_deformable_registration(path, ddf, file, file)
    with pytest.raises(ValueError, match=r"cine\.dcm: has frames 1 to 12, not 13"):
        write_deformable_registration(path, ddf, file, file, fixed_frame=13, moving_frame=1)


def test_a_warped_series_of_an_enhanced_image_lies_on_its_frames(enhanced, tmp_path):
    files, numbers = enhanced.files[1], enhanced.frame_numbers[1]
    paths = [tmp_path / f"{number}.dcm" for number in range(3)]
    frames = {"fixed_frames": numbers, "moving_frames": numbers[0]}
    write_derived_series(paths, enhanced.images[1], files, files[0], **frames)
    for time, path in enumerate(paths):
        assert validator_errors(path) == []
        new = pydicom.dcmread(path)
        assert (new.TriggerTime, new.ImagePositionPatient[2], new.ScanningSequence) == (25 * time, 8, "RM")
        assert new.FrameOfReferenceUID == pydicom.dcmread(files[0]).FrameOfReferenceUID
        sources = [
            (item.ReferencedFrameNumber, item.get("SpatialLocationsPreserved")) for item in new.SourceImageSequence
        ]
        assert sources == [(numbers[0], None)] if time == 0 else [(numbers[0], "NO"), (numbers[time], None)]
    cine = read_cine_stack(tmp_path)
    np.testing.assert_allclose(cine.images[0], enhanced.images[1], atol=0.5)
    assert cine.times.tolist() == [0, 25, 50]
