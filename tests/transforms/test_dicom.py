"""DICOM files and pictures that are cut, claim what they don't hold, or hold numbers that are none."""

import base64
import io
import locale
import re
import zlib

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom import config
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from tests.dicom import SYNTAXES, mr_image, unmarked
from transforms.cine import read_image
from transforms.dicom import RANGES, numbers, read_dicom, stored_text
from transforms.dicom_series import dicom_frames
from transforms.errors import InputError
from transforms.grids import slice_grid
from transforms.pair_files import read_slice

NOISE = np.random.default_rng(0).integers(256, size=(40, 60), dtype=np.uint8)  # rows, columns
READERS = (read_image, read_slice)


def pixels(path):
    """What both readers make of a file, which has to be the same."""
    image = read_image(path)[0]
    assert np.array_equal(image, sitk.GetArrayFromImage(read_slice(path)).reshape(image.shape))
    return image


def refused(path, message):
    for read in READERS:
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def content(form):
    """A small file of a kind, and its name."""
    if form in SYNTAXES:
        buffer = io.BytesIO()
        mr_image(NOISE, form).save_as(buffer)
        return buffer.getvalue(), "a.dcm"
    kind, _, compression = form.partition(" ")
    buffer = io.BytesIO()
    options = {"compression": compression} if compression else {}
    Image.fromarray(NOISE).save(buffer, kind, **options)
    return buffer.getvalue(), f"a.{kind}"


FORMS = [*SYNTAXES, "png", "jpeg", "bmp", "tiff", "tiff tiff_deflate", "tiff tiff_lzw"]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_at_any_tenth_is_refused(tmp_path, form):
    whole, name = content(form)
    path = tmp_path / name
    path.write_bytes(whole)
    lossy = form == "jpeg"
    assert np.abs(pixels(path) - NOISE).max() <= (20 if lossy else 0)
    for tenth in range(10):
        path.write_bytes(whole[: tenth * len(whole) // 10])
        refused(path, "cannot be read|has no pixels|expected")


def save(dataset, path):
    with config.disable_value_validation():
        dataset.save_as(path)
    return path


def test_fewer_pixels_than_the_header_says(tmp_path):
    """SimpleITK fills the rest with what lay in memory."""
    short = mr_image(NOISE, PixelData=NOISE[:-1].tobytes())
    refused(save(short, tmp_path / "a.dcm"), "Rows x Columns = 40 x 60: expected 2400 bytes of pixels, found 2340")
    frames = mr_image(np.stack([NOISE, NOISE]), NumberOfFrames=3)
    refused(save(frames, tmp_path / "b.dcm"), "NumberOfFrames 3: expected 7200 bytes of pixels, found 4800")
    long = mr_image(NOISE, Rows=39)
    refused(save(long, tmp_path / "c.dcm"), "Rows x Columns = 39 x 60: expected 2340 bytes of pixels, found 2400")


@pytest.mark.parametrize("form", SYNTAXES)
def test_a_header_that_claims_a_huge_image(tmp_path, form):
    """Refused before any memory is asked for."""
    dataset = mr_image(NOISE, form, Rows=60000, Columns=60000)
    refused(save(dataset, tmp_path / "a.dcm"), "60000 x 60000: more than 16777216 pixels")
    with pytest.raises(InputError, match="60000 x 60000"):
        slice_grid(dataset, "a.dcm")
    dataset = mr_image(NOISE, form, NumberOfFrames=10**6)
    refused(save(dataset, tmp_path / "a.dcm"), r"NumberOfFrames is 1e\+06; expected a number from 1 to 20000")
    dataset.NumberOfFrames = 20000
    refused(save(dataset, tmp_path / "a.dcm"), "NumberOfFrames 20000: expected [0-9]+")


def test_what_compressed_pixels_say_themselves(tmp_path):
    for form in ("jpeg", "jpeg2000"):
        refused(save(mr_image(NOISE, form, Rows=30), tmp_path / "a.dcm"), "compressed frame 1 says 40 x 60")
        dataset = mr_image(NOISE, form)
        dataset.PixelData = dataset.PixelData.replace(b"\xff\xd9", b"\0\0")
        refused(save(dataset, tmp_path / "a.dcm"), "frame 1 of the compressed pixels ends before its end")


def test_a_deflated_file_that_inflates_to_gigabytes(tmp_path):
    whole, name = content("deflated")
    deflater = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    data = b"".join(deflater.compress(bytes(2**20)) for _ in range(36)) + deflater.flush()
    (tmp_path / name).write_bytes(whole.removesuffix(unmarked(whole)) + data)
    refused(tmp_path / name, "inflates to more than")


def test_a_picture_that_claims_a_huge_image(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (5000, 5000)).save(path)
    refused(path, "5000 x 5000 pixels: more than 16777216")


# --- numbers that are none ---

WRONG = ["nan", "inf", "-inf", "1e300", "1e999", "a", "12,5", "0\\0\\0\\0\\0\\0\\0"]
ABOVE_0 = ("PixelSpacing", "SliceThickness", "RescaleSlope")
USED = [
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
]


def with_text(dataset, keyword, text):
    """A data set whose attribute holds a text that pydicom would not let it."""
    tag = pydicom.tag.Tag(keyword)
    count = RANGES[keyword][0]
    value = "\\".join([text] * count if "\\" not in text else [text]).encode()
    dataset[tag] = pydicom.dataelem.RawDataElement(
        tag, "DS", len(value) + len(value) % 2, value + b" " * (len(value) % 2), 0, False, True
    )
    return dataset


@pytest.mark.parametrize("keyword", USED)
def test_numbers_that_are_none_are_named(tmp_path, keyword):
    wrong = WRONG + (["0", "-1"] if keyword in ABOVE_0 else [])
    for number, text in enumerate(wrong):
        path = save(with_text(mr_image(NOISE), keyword, text), tmp_path / f"{number}.dcm")
        with pytest.raises(InputError, match=rf"{path}: {keyword} is ") as caught:
            read_slice(path)
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
@pytest.mark.parametrize(
    ("keyword", "stored"),
    [
        *(("PixelSpacing", text) for text in (b"1.5\\1.25", b" 1.5 \\ 1.25e0 ", b"1.5\\1.25\0", b"15", b"", b"  ")),
        *(("PixelSpacing", text) for text in (b"\\", b"1,5\\1", b"nan\\1", b"1\\", b"1.5\\\xb2")),
        *(("InstanceNumber", text) for text in (b"7 ", b"+7", b" 7", b"7.0", b"7.5", b"7\\8", b"1_0", b"\xb2", b"a")),
        *(("Rows", bytes(text)) for text in ((1, 2), (1, 0, 2, 0), ())),
    ],
)
def test_numbers_are_those_that_pydicom_reads(tmp_path, keyword, stored, syntax):
    """They are read from the stored text where that says them; pydicom's own values are the judge."""
    image = mr_image(NOISE, syntax)
    tag = Tag(keyword)
    order = SYNTAXES[syntax].is_implicit_VR, SYNTAXES[syntax].is_little_endian
    image[tag] = RawDataElement(tag, dictionary_VR(tag), len(stored), stored, 0, *order)
    image.save_as(tmp_path / "a.dcm")
    header = read_dicom(tmp_path / "a.dcm", pixels=False)
    try:
        value = pydicom.dcmread(tmp_path / "a.dcm", stop_before_pixels=True).get(keyword)
        values = list(value) if isinstance(value, MultiValue) else [] if value in (None, "") else [value]
        expected = tuple(map(float, values)) or None
    except (ValueError, TypeError):
        expected = "refused"
    low, high = RANGES[keyword][1:]
    if isinstance(expected, tuple) and not (
        len(expected) == RANGES[keyword][0] and all(low <= number <= high for number in expected)
    ):
        expected = "refused"
    try:
        found = numbers(header, keyword, "a.dcm")
    except InputError:
        found = "refused"
    assert found == expected


def test_text_is_what_pydicom_reads(tmp_path):
    image = mr_image(NOISE, ImageType=["ORIGINAL", "PRIMARY", "M"], AcquisitionTime="101112.5", SeriesDescription="Ä")
    image.SpecificCharacterSet = "ISO_IR 192"
    image.save_as(tmp_path / "a.dcm")
    header = read_dicom(tmp_path / "a.dcm", pixels=False)
    assert stored_text(header, "SeriesDescription") is None  # of a character set: pydicom's
    assert stored_text(header, "ImageType") == "ORIGINAL\\PRIMARY\\M"
    assert stored_text(header, "SeriesInstanceUID") == image.SeriesInstanceUID == header.SeriesInstanceUID
    assert stored_text(header, "SeriesInstanceUID") is None  # pydicom has made an object of it
    assert stored_text(header, "AcquisitionTime") == "101112.5"
    assert stored_text(header, "ContentTime") == ""
    (frame,) = dicom_frames(tmp_path / "a.dcm", header)
    assert (frame.text("SeriesDescription"), frame.text("SeriesInstanceUID")) == ("Ä", image.SeriesInstanceUID)


def test_a_negative_spacing_between_slices_is_a_direction(tmp_path):
    assert read_slice(save(mr_image(NOISE, SpacingBetweenSlices=-9), tmp_path / "a")).GetSpacing() == (1.25, 1.5, 9)
    refused_grid = save(mr_image(NOISE, SpacingBetweenSlices=0), tmp_path / "b")
    with pytest.raises(InputError, match="SpacingBetweenSlices is 0"):
        read_slice(refused_grid)


# --- grey values ---


def test_grey_values_are_those_of_the_plain_twin(tmp_path):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300
    path = tmp_path / "a.dcm"
    twelve = {"BitsStored": 12, "HighBit": 11}
    for dataset in (
        mr_image(values, **twelve),
        mr_image(values | 0xA000, **twelve),  # overlays in the bits above
        mr_image(4095 - values, PhotometricInterpretation="MONOCHROME1", **twelve),
        mr_image(values, "big", **twelve),
        mr_image(values, "rle", **twelve),
        mr_image(values // 2, RescaleSlope=2, **twelve),
        mr_image(values.astype(np.int16) - 2000, RescaleIntercept=2000),
        mr_image(((values.astype(np.int16) - 2000) & 0xFFF).astype(np.int16), RescaleIntercept=2000, **twelve),
    ):
        assert np.array_equal(pixels(save(dataset, path)), values)


@pytest.mark.parametrize(
    "twin", ["_RLE", "_bigendian", "_implicit", "_jp2klossless", "_jpeg_ls_lossless", "JPEG Lossless"]
)
def test_a_compressed_file_has_the_grey_values_of_its_plain_twin(tmp_path, twin):
    """pydicom's own files; JPEG Lossless as SimpleITK writes it."""
    plain = get_testdata_file("MR_small.dcm")
    if twin.startswith("_"):
        path = get_testdata_file(f"MR_small{twin}.dcm")
    else:
        pytest.importorskip("libjpeg")
        path = str(tmp_path / "a.dcm")
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.SetFileName(path)
        before = locale.setlocale(locale.LC_ALL)  # GDCM's JPEG writer sets it to "C"
        writer.Execute(sitk.ReadImage(plain))
        locale.setlocale(locale.LC_ALL, before)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    assert np.array_equal(pixels(path), pydicom.dcmread(plain).pixel_array)
    assert read_image(path)[1] == read_image(plain)[1] is not None


# of OpenJPH: 100 times the row and 37 times the column, 16 bit
HTJ2K = base64.b64decode(
    "/0//UQApQAAAAAAQAAAADAAAAAAAAAAAAAAAEAAAAAwAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
    "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAH0AAf+TwAAmcfsFB3QAAMAAE0AAEwCi/gIHdACu/gKHdADAABNAABMAUFAB"
    "gnQA9/0AAjQAwAAVMAAFWCQS6aBCMQJ2AMCBAwf+wDGBvrYAwAArIAAWiAiCIAjy54p6cIJ3AMZGo9FoNBr6CEB79iEB7LoA/9k="
)


def encoded(values, syntax, stream):
    """An image whose compressed pixels come from elsewhere."""
    dataset = mr_image(values)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    return dataset


def test_high_throughput_jpeg_2000(tmp_path):
    row, column = np.indices((12, 16), np.uint16)
    values, path = 100 * row + 37 * column, tmp_path / "a.dcm"
    if int(pydicom.__version__.split(".")[0]) < 3:
        known = save(
            encoded(values, "1.2.840.10008.1.2.4.100", HTJ2K), path
        )  # it writes no syntax that it does not know
        known.write_bytes(known.read_bytes().replace(b"1.2.840.10008.1.2.4.100", b"1.2.840.10008.1.2.4.201"))
        refused(path, "which pydicom 2.* does not know; pip")
    else:
        for number in (201, 202, 203):
            assert np.array_equal(pixels(save(encoded(values, f"1.2.840.10008.1.2.4.{number}", HTJ2K), path)), values)
        refused(save(encoded(values[:, :9], "1.2.840.10008.1.2.4.201", HTJ2K), path), "compressed frame 1 says 12 x 16")


@pytest.mark.parametrize(
    ("number", "package"), [(70, "monai-dirnet[jpeg]"), (80, "pyjpegls"), (90, "pylibjpeg-openjpeg")]
)
def test_a_decoder_that_is_missing_is_named(tmp_path, monkeypatch, number, package):
    def missing(dataset):
        raise RuntimeError("Unable to decompress: all plugins are missing dependencies")

    path = save(
        encoded(NOISE, f"1.2.840.10008.1.2.4.{number}", b"\xff\xd8\xff\xc3\0\x0b\x08\0\x28\0\x3c\xff\xd9"),
        tmp_path / "a",
    )
    monkeypatch.setattr(pydicom.FileDataset, "pixel_array", property(missing), raising=False)
    refused(path, f"no decoder for its compression, .*: pip install '{re.escape(package)}'")


def test_three_equal_channels_are_grey(tmp_path):
    for number, bands in enumerate((np.stack([NOISE] * 3, -1), np.stack([NOISE, NOISE, 255 - NOISE], -1))):
        colour = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "RGB"}
        paths = save(mr_image(NOISE, PixelData=bands.tobytes(), **colour), tmp_path / "a.dcm"), tmp_path / "a.png"
        Image.fromarray(bands).save(paths[1])
        for path in paths:
            if number == 0:
                assert np.array_equal(pixels(path), NOISE)
            else:
                refused(path, "expected a grey image, found colour")
    palette = mr_image(NOISE, PhotometricInterpretation="PALETTE COLOR")
    refused(save(palette, tmp_path / "p.dcm"), "found a palette of colours")


def test_each_frame_of_an_enhanced_object_has_its_own_scale(tmp_path):
    dataset = mr_image(np.stack([NOISE, NOISE]))
    dataset.PerFrameFunctionalGroupsSequence = items = [pydicom.Dataset(), pydicom.Dataset()]
    for item, (slope, intercept) in zip(items, ((1, 0), (2, -3)), strict=True):
        scale = pydicom.Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = slope, intercept
        item.PixelValueTransformationSequence = [scale]
    frames, spacing = read_image(save(dataset, tmp_path / "a.dcm"))
    assert np.array_equal(frames, np.stack([NOISE, 2.0 * NOISE - 3]))
    assert spacing == (1.5, 1.25)
    del items[1]
    dataset.PerFrameFunctionalGroupsSequence = items[:1]
    with pytest.raises(InputError, match=r"expected the groups of 2 frames .* found 1"):
        read_image(save(dataset, tmp_path / "a.dcm"))


def test_a_file_without_the_mark_of_its_format(tmp_path):
    for syntax in ("implicit", "explicit"):
        whole, name = content(syntax)
        (tmp_path / name).write_bytes(unmarked(whole))
        assert np.array_equal(pixels(tmp_path / name), NOISE)
