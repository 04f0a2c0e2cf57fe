"""Files to arrays: orientation, spacing, intensities, contours and masks; the cache; and damaged files."""

import gzip
import os
import re

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.data import PersistentDataset
from monai.data.utils import pickle_hashing
from PIL import Image

from transforms import cine
from transforms.cine import (
    contour_area,
    fingerprint,
    rasterise,
    read_contour,
    read_image,
    read_mask,
    scale_intensity,
)
from transforms.loading import LoadCined
from transforms.scd import scan
from transforms.sources import read_records

SIZE = (6, 9)  # rows, columns
PIXELS = np.arange(54, dtype=np.uint8).reshape(SIZE)
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def record(phantom_dir):
    return scan(phantom_dir)[0]


def save_nifti(array, path, zooms=None):
    """An array (x, y, ...)."""
    image = nib.Nifti1Image(np.asarray(array, np.float32), np.eye(4))
    image.header.set_zooms(zooms or [1] * array.ndim)
    nib.save(image, path)
    return path


def save_dicom(source, path, **changes):
    dataset = pydicom.dcmread(source)
    for key, value in changes.items():
        setattr(dataset, key, value)
    dataset.save_as(path)
    return path


# --- images ---


@pytest.mark.parametrize(
    ("shape", "zooms", "expected"),
    [
        ((9, 6), (1.3, 1.5), SIZE),
        ((9, 6, 1), (1.3, 1.5, 8), SIZE),
        ((9, 6, 4), (1.3, 1.5, 50), (4, *SIZE)),
        ((9, 6, 1, 4), (1.3, 1.5, 8, 50), (4, *SIZE)),
        ((9, 6, 1, 4, 1), (1.3, 1.5, 8, 50, 1), (4, *SIZE)),
    ],
)
def test_nifti_is_x_y_with_time_last(tmp_path, shape, zooms, expected):
    frames = np.arange(np.prod(expected)).reshape(expected)
    image, spacing = read_image(save_nifti(frames.T.reshape(shape), tmp_path / "a.nii", zooms))
    np.testing.assert_array_equal(image, frames)
    assert image.dtype == np.float32
    assert spacing == pytest.approx((1.5, 1.3))  # row, column


def test_dicom(record, tmp_path):
    source = record["frames"][3]
    path = save_dicom(source, tmp_path / "IM3", PixelSpacing=[1.5, 1.3], RescaleSlope=2, RescaleIntercept=-10)
    image, spacing = read_image(path)
    np.testing.assert_array_equal(image, 2.0 * pydicom.dcmread(source).pixel_array - 10)
    assert image.shape == (48, 64)
    assert spacing == (1.5, 1.3)
    assert read_image(save_dicom(source, path, PixelSpacing=None))[1] is None


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_grey_pictures_in_every_mode(tmp_path, mode):
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).convert(mode).save(path)
    image, spacing = read_image(path)
    np.testing.assert_array_equal(image, PIXELS)
    assert spacing is None


def test_16_bit_picture(tmp_path):
    pixels = PIXELS.astype(np.uint16) * 1000
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], pixels)


def test_spacing_is_the_record_s_else_the_file_s_else_assumed(tmp_path):
    nifti = save_nifti(RANDOM.random((9, 6, 3)), tmp_path / "a.nii", (1.3, 1.5, 50))
    pictures = [str(tmp_path / f"{i}.png") for i in range(2)]
    for path in pictures:
        Image.fromarray(PIXELS).save(path)
    for frames, given, spacing, assumed in (
        ([nifti], None, [1.5, 1.3], False),
        ([nifti], [2, 3], [2, 3], False),
        (pictures, [2, 3], [2, 3], False),
        (pictures, None, [1.28, 1.28], True),
    ):
        loaded = LoadCined()({"frames": frames, "spacing": given})
        assert loaded["spacing"] == pytest.approx(spacing)
        assert loaded["spacing_assumed"] is assumed


# --- intensities ---


def test_intensities_are_scaled_between_percentiles_of_the_whole_cine():
    frames = np.stack([np.linspace(100, 600, 1000), np.linspace(100, 1100, 1000)]).reshape(2, 25, 40)
    scaled = scale_intensity(frames, (0, 100))
    np.testing.assert_allclose(scaled, (frames - 100) / 1000, atol=1e-6)
    assert scaled.dtype == np.float32
    low, high = np.percentile(frames, (1, 95))
    np.testing.assert_allclose(scale_intensity(frames), np.clip((frames - low) / (high - low), 0, 1), atol=1e-6)


def test_a_bright_spot_does_not_set_the_scale():
    frames = RANDOM.uniform(0, 100, (4, 50, 50))
    bright = frames.copy()
    bright[:, 10:14, 10:14] = 1e5  # 0.6 % of the pixels
    others = np.ones(bright.shape, bool)
    others[:, 10:14, 10:14] = False
    assert np.abs(scale_intensity(bright) - scale_intensity(frames))[others].max() < 0.01
    assert (scale_intensity(bright)[~others] == 1).all()


def test_images_of_one_value_or_nearly():
    assert (scale_intensity(np.full((2, 5, 5), 7.0)) == 0).all()
    sparse = np.zeros((2, 50, 50))
    sparse[0, 3, 4] = 0.25
    assert (scale_intensity(sparse) == (sparse > 0)).all()


def test_cine_is_float16_between_0_and_1(record):
    image = LoadCined()(record)["image"]
    assert image.dtype == torch.float16
    assert (image.min(), image.max()) == (0, 1)
    frames = np.stack([pydicom.dcmread(path).pixel_array for path in record["frames"]])
    np.testing.assert_allclose(image, scale_intensity(frames), atol=5e-4)
    assert torch.equal(LoadCined((0, 100))(record)["image"][0] == 1, torch.from_numpy(frames[0] == frames.max()))


# --- contours and masks ---


def write_contour(path, points):
    np.savetxt(path, points, fmt="%.2f")
    return path


def test_a_pixel_covers_from_its_number_up_to_the_next(tmp_path):
    """Columns 2 to 6 of rows 1 to 3, wherever in those pixels the vertices lie."""
    expected = np.zeros(SIZE, np.uint8)
    expected[1:4, 2:7] = 1
    for offset in (0, 0.25, 0.5, 0.75, 0.99):
        points = np.array([(2, 1), (6, 1), (6, 3), (2, 3)]) + offset
        np.testing.assert_array_equal(rasterise(points, SIZE), expected)
        np.testing.assert_array_equal(read_mask(write_contour(tmp_path / "a.txt", points), SIZE), expected)


def test_contour_along_the_border_fills_the_image(tmp_path):
    path = write_contour(tmp_path / "a.txt", [(0, 0), (9, 0), (9, 6), (0, 6)])
    assert read_mask(path, SIZE).all()
    assert contour_area(path) == 54


def test_contour_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("1.5 2\r\n\r\n  4e0\t2.25 \n4 5\n")
    np.testing.assert_array_equal(read_contour(path), [(1.5, 2), (4, 2.25), (4, 5)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected three points or more, a line 'x y' each, found 0"),
        ("\n1 2\n3 4\n", "expected three points or more, a line 'x y' each, found 2"),
        ("1 2\n3 4\nfive 6\n", "line 3: expected two numbers, 'x y' in pixels, found 'five 6'"),
        ("1 2\n\n3 4 5\n6 7\n", "line 3: expected two numbers, 'x y' in pixels, found '3 4 5'"),
        ("1 2\n3 nan\n5 6\n", "line 2: expected two numbers, 'x y' in pixels, found '3 nan'"),
        ("\x89PNG\r\n\x1a\n\0\0", "line 1: expected two numbers, 'x y' in pixels, found"),
        (
            "1 2\n9.5 2\n4 5\n",
            "contour outside the image: x from 1 to 9.5, y from 2 to 5; the image has 9 columns and 6 rows",
        ),
        ("1 2\n3 7\n4 5\n", "contour outside the image: x from 1 to 4, y from 2 to 7; the image has 9 columns"),
        ("1 2\n3 4\n-0.5 5\n", "contour outside the image: x from -0.5 to 3"),
    ],
)
def test_contour_of_another_form(tmp_path, text, message):
    path = tmp_path / "c.txt"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        read_contour(path, SIZE)


def test_missing_contour(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"file '{tmp_path}/c.txt' does not exist"):
        read_contour(tmp_path / "c.txt")


@pytest.mark.parametrize("inside", [1, 3, 255])
def test_masks_have_any_one_value(tmp_path, inside):
    mask = np.uint8(PIXELS > 30)
    Image.fromarray(mask * np.uint8(inside)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", SIZE), mask)
    np.testing.assert_array_equal(read_mask(save_nifti(mask.T * inside, tmp_path / "a.nii"), SIZE), mask)


def test_mask_with_nothing_in_it(tmp_path):
    Image.new("L", SIZE[::-1]).save(tmp_path / "a.png")
    assert not read_mask(tmp_path / "a.png", SIZE).any()


def test_mask_of_several_structures(tmp_path):
    """Which of them is meant cannot be known."""
    path = save_nifti(PIXELS.T % 4, tmp_path / "a.nii")
    with pytest.raises(ValueError, match=rf"{path}: expected the mask of one structure, 0 and one other value; found"):
        read_mask(path, SIZE)


def test_mask_of_another_size(tmp_path):
    Image.fromarray(PIXELS.T).save(tmp_path / "a.png")
    message = rf"{tmp_path}/a.png: mask of 9x6 pixels \(rows x columns\), frames of 6x9 pixels \(rows x columns\)"
    with pytest.raises(ValueError, match=message):
        read_mask(tmp_path / "a.png", SIZE)


@pytest.mark.parametrize("index", [20, -1])
def test_mask_on_a_frame_that_the_cine_has_not(record, index):
    path = next(iter(record["lumen"].values()))
    with pytest.raises(ValueError, match=rf"{path}: lumen drawn on frame {index}; the cine has frames 0 to 19"):
        LoadCined()({**record, "lumen": {index: path}})


# --- cines that are none ---


def test_cine_of_one_frame(record, tmp_path):
    nifti = save_nifti(RANDOM.random((9, 6, 1)), tmp_path / "a.nii")
    for path in (record["frames"][0], nifti):
        with pytest.raises(ValueError, match=rf"{path}: a cine needs two frames or more, found 1"):
            LoadCined()({"frames": [path]})
    with pytest.raises(ValueError, match="no file: a cine needs two frames or more, found 0"):
        LoadCined()({"frames": []})


def test_frames_of_different_sizes(tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    for path, pixels in zip(paths, (PIXELS, PIXELS, PIXELS.T), strict=True):
        Image.fromarray(pixels).save(path)
    message = rf"{paths[2]}: frame of 9x6 .* in a cine whose first frame, {paths[0]}, has 6x9 pixels"
    with pytest.raises(ValueError, match=message):
        LoadCined()({"frames": paths})


def test_whole_cine_among_frames(record, tmp_path):
    nifti = save_nifti(RANDOM.random((64, 48, 5)), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=rf"{nifti}: expected one frame of a cine of 2 files, found 5"):
        LoadCined()({"frames": [record["frames"][0], nifti]})


# --- files that cannot be read ---


def test_missing_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"file '{tmp_path}/a.dcm' does not exist"):
        read_image(tmp_path / "a.dcm")


@pytest.fixture(scope="module")
def whole(record, tmp_path_factory):
    """A file of each kind, with noise, so that compressed ones are long."""
    folder = tmp_path_factory.mktemp("whole")
    noise = RANDOM.integers(256, size=(40, 60), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    Image.fromarray(noise).save(folder / "a.jpg")
    save_nifti(noise, folder / "a.nii")
    (folder / "a.nii.gz").write_bytes(gzip.compress((folder / "a.nii").read_bytes()))
    save_dicom(record["frames"][0], folder / "a.dcm")
    return folder


@pytest.mark.parametrize("part", [0, 0.1, 0.6, 0.99])
@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.dcm", "DICOM"), ("a.png", "a picture"), ("a.jpg", "a picture"), ("a.nii", "NIfTI"), ("a.nii.gz", "NIfTI")],
)
def test_truncated_file(whole, tmp_path, name, kind, part):
    content = (whole / name).read_bytes()
    read_image(whole / name)
    (tmp_path / name).write_bytes(content[: int(part * len(content))])
    with pytest.raises(
        ValueError, match=rf"{tmp_path}/{name}: (cannot be read as {kind}: .+|.*found \d+|has no pixels)"
    ):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "kind"), [("notes.txt", "DICOM"), ("a.png", "a picture"), ("a.nii", "NIfTI"), ("a.nii.gz", "NIfTI")]
)
def test_file_that_is_no_image(tmp_path, name, kind):
    (tmp_path / name).write_text("not an image")
    with pytest.raises(ValueError, match=rf"{tmp_path}/{name}: cannot be read as {kind}: "):
        read_image(tmp_path / name)


def test_image_of_another_form(record, tmp_path):
    bands = np.stack([PIXELS, PIXELS, 255 - PIXELS], axis=-1)
    Image.fromarray(bands).save(tmp_path / "colour.png")
    Image.fromarray(PIXELS).save(tmp_path / "two.tif", save_all=True, append_images=[Image.fromarray(PIXELS)])
    save_nifti(np.zeros((9, 6, 5, 4)), tmp_path / "stack.nii")
    save_nifti(np.full((9, 6), np.nan), tmp_path / "nan.nii")
    save_dicom(record["frames"][0], tmp_path / "flat.dcm", PixelSpacing=[0, 1])
    grey = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "RGB", "Columns": 16}
    save_dicom(record["frames"][0], tmp_path / "colour.dcm", **grey, Rows=64)
    for name, message in {
        "colour.png": "expected a grey image, found colour",
        "colour.dcm": "expected a grey image, found colour",
        "two.tif": "expected one image, found 2",
        "stack.nii": "expected one slice .* found .9, 6, 5, 4",
        "nan.nii": "holds values that are not finite",
        r"flat.dcm": r"PixelSpacing is 0\\1; expected 2 numbers from 0.001 to 1000",
    }.items():
        with pytest.raises(ValueError, match=rf"{tmp_path}/{name}: .*{message}"):
            read_image(tmp_path / name)


# --- the cache ---


def test_fingerprint_follows_record_and_files(record, tmp_path):
    for number in range(2):
        Image.fromarray(PIXELS + np.uint8(number)).save(tmp_path / f"{number}.png")
    contour = write_contour(tmp_path / "c.txt", [(1, 1), (4, 1), (4, 4)])
    small = {"frames": [str(tmp_path / f"{i}.png") for i in range(2)], "lumen": {0: str(contour)}, "spacing": None}
    first = fingerprint(small)
    assert fingerprint(dict(reversed(small.items()))) == first
    assert fingerprint({**small, "frames": [tmp_path / "0.png", tmp_path / "1.png"]}) == first  # Path or str
    seen = {first, fingerprint({**small, "spacing": [1, 1]}), fingerprint({**small, "frames": small["frames"][::-1]})}
    time = contour.stat().st_mtime_ns
    write_contour(contour, [(1, 1), (4, 1), (4, 5), (1, 4)])
    os.utime(contour, ns=(time, time))  # another size, the same time
    seen.add(fingerprint(small))
    os.utime(contour, ns=(0, 0))  # the same size, another time
    seen.add(fingerprint(small))
    assert len(seen) == 5
    contour.unlink()
    with pytest.raises(FileNotFoundError, match=rf"file '{contour}' does not exist"):
        fingerprint(small)


def test_cached_cine_is_not_read_again(record, tmp_path, monkeypatch):
    def dataset(record, transform):
        """As the configs have it."""
        cache = {"cache_dir": tmp_path, "hash_func": fingerprint, "hash_transform": pickle_hashing}
        return PersistentDataset([record], transform, **cache)

    reads = []
    monkeypatch.setattr(cine, "read_image", lambda path: reads.append(path) or read_image(path))
    first = dataset(record, LoadCined())[0]
    assert len(reads) == 20
    again = dataset(record, LoadCined())[0]  # as a second run does
    assert len(reads) == 20
    assert torch.equal(first["image"], again["image"])
    assert first["lumen"].keys() == again["lumen"].keys() == record["lumen"].keys()
    assert {key: first[key] for key in ("frames", "spacing")} == {key: again[key] for key in ("frames", "spacing")}
    dataset(record, LoadCined((0, 100)))[0]  # asked for otherwise
    assert len(reads) == 40
    dataset({**record, "spacing": [1, 1]}, LoadCined())[0]  # another record
    assert len(reads) == 60


def test_enhanced_dicom_keeps_spacing_and_scale_in_groups(tmp_path, phantom_dir):
    source = next(phantom_dir.glob("SCD_IMAGES_01/*/*/*.dcm"))
    dataset = pydicom.dcmread(source)
    plain, _ = read_image(source)
    measures, scale, shared = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing = [1.7, 1.2]
    scale.RescaleSlope, scale.RescaleIntercept = 2, -3
    shared.PixelMeasuresSequence = [measures]
    shared.PixelValueTransformationSequence = [scale]
    del dataset.PixelSpacing
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.NumberOfFrames = 2
    dataset.PixelData = dataset.PixelData * 2
    dataset.save_as(tmp_path / "enhanced.dcm")
    image, spacing = read_image(tmp_path / "enhanced.dcm")
    assert spacing == (1.7, 1.2)
    np.testing.assert_array_equal(image, np.stack([2 * plain - 3] * 2))


def test_masks_that_are_not_asked_for_are_not_read(tmp_path, phantom_dir):
    record = read_records(phantom_dir, "")[0]
    index = next(iter(record["epicardium"]))
    damaged = tmp_path / "damaged.txt"
    damaged.write_text("1 2 three")
    record = {**record, "epicardium": {index: str(damaged)}}
    assert "epicardium" not in LoadCined()(record)
    with pytest.raises(ValueError, match=r"damaged.txt: line 1"):
        LoadCined(structures=("lumen", "epicardium"))(record)
