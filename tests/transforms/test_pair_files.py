"""Two files to a pair, and what is said of files that are none."""

import gzip
import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image

from transforms.errors import InputError
from transforms.pair_files import list_pairs, read_slice
from transforms.paths import stem

NOISE = np.random.default_rng(0).integers(256, size=(40, 60), dtype=np.uint8)  # rows, columns


@pytest.fixture(scope="module")
def dicom(phantom_dir):
    return sorted((phantom_dir / "SCD_IMAGES_01/SCD0000101/CINESAX_300").iterdir())[:2]


def save(array, path, spacing=(1.3, 1.5)):
    """An array (rows, columns) or (slices, rows, columns) by the file's kind; spacing x, y."""
    if path.name.endswith((".png", ".jpg")):
        Image.fromarray(array).save(path)
    else:
        grid = np.diag([*spacing, 8, 1])
        nib.save(nib.Nifti1Image((array if array.ndim == 3 else array[None]).T.astype(np.float32), grid), path)
    return path


def values(path):
    return np.squeeze(sitk.GetArrayFromImage(read_slice(path)))


# --- slices that are ---


def test_every_kind_of_file_gives_the_same_image(tmp_path, dicom):
    for kind in ("png", "nii", "nii.gz"):
        np.testing.assert_array_equal(values(save(NOISE, tmp_path / f"a.{kind}")), NOISE)
    for path in dicom:
        np.testing.assert_array_equal(values(path), pydicom.dcmread(path).pixel_array)


def test_slice_keeps_its_geometry(tmp_path, dicom):
    image = read_slice(save(NOISE, tmp_path / "a.nii"))
    assert image.GetSize() == (60, 40, 1)
    assert image.GetSpacing() == pytest.approx((1.3, 1.5, 8))
    header = pydicom.dcmread(dicom[0])
    image = read_slice(dicom[0])
    assert image.GetSpacing()[:2] == pytest.approx(tuple(header.PixelSpacing)[::-1])
    assert image.GetOrigin() == pytest.approx(tuple(header.ImagePositionPatient))


def test_datalist_of_pairs(tmp_path, monkeypatch):
    (tmp_path / "data/images").mkdir(parents=True)
    for name in "abc":
        save(NOISE, tmp_path / f"data/images/{name}.nii.gz")
    items = [
        {"moving": "images/a.nii.gz", "fixed": "images/b.nii.gz"},
        {"moving": "images/a.nii.gz", "fixed": str(tmp_path / "data/images/c.nii.gz"), "name": "mine"},
    ]
    (tmp_path / "data/pairs.json").write_text(json.dumps({"test": items}))
    monkeypatch.chdir(tmp_path)
    pairs = list_pairs(None, None, "data/pairs.json")  # its paths are relative to its own folder
    assert [pair["name"] for pair in pairs] == ["a_to_b", "mine"]
    assert pairs[0]["moving"] == "data/images/a.nii.gz"
    assert pairs[1]["fixed"] == str(tmp_path / "data/images/c.nii.gz")


# --- lists that are none ---


@pytest.mark.parametrize(
    "given", [(None, None, None), ("a", None, None), (None, "b", None), ("a", "b", "c"), (None, "b", "c")]
)
def test_two_files_or_a_datalist(given):
    with pytest.raises(ValueError, match="name --moving and --fixed, two image files, or --datalist, a JSON file"):
        list_pairs(*given)


PAIR = {"moving": "a.png", "fixed": "b.png"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{'test': []}", "is no JSON file: "),
        ("[" * 100_000, "nested too deep"),
        ('{"test": [], "x": NaN}', "is no JSON file: it holds NaN; expected finite numbers"),
        (b'{"test": [{"moving": "\xff"}]}', "is no JSON file: 'utf-8' codec can't decode"),
        ([PAIR], 'expected {"test": [{"moving": path, "fixed": path}, ...]}, found [{'),
        ({"training": [PAIR]}, 'expected {"test": [{"moving": path, "fixed": path}, ...]}, found {'),
        ({"test": PAIR}, 'expected {"test": [{"moving": path, "fixed": path}, ...]}, found {'),
        ({"test": ["a.png"]}, 'test[0]: expected {"moving": path, "fixed": path}, found \'a.png\''),
        ({"test": [PAIR, {"moving": "a.png"}]}, 'test[1]: expected {"moving": path, "fixed": path}, found None as'),
        ({"test": [{"moving": "a.png", "fixed": 2}]}, "found 2 as 'fixed'"),
        ({"test": []}, "lists no pair"),
        ({"test": [{**PAIR, "name": 3}]}, "test[0]: expected a text as 'name', found 3"),
        ({"test": [{**PAIR, "name": "x"}, {**PAIR, "name": "x"}]}, "2 pairs would be written as 'x'; give each its"),
        ({"test": [PAIR, PAIR, PAIR]}, "3 pairs would be written as 'a_to_b'; give each its own \"name\""),
        ({"test": [{**PAIR, "name": "../x"}]}, "the name of a pair begins the names of its files, which '../x' cannot"),
        ({"test": [{**PAIR, "name": ".."}]}, "which '..' cannot"),
        ({"test": [{**PAIR, "name": ""}]}, "which '' cannot"),
    ],
)
def test_datalist_of_another_form(tmp_path, content, message):
    for name in "ab":
        save(NOISE, tmp_path / f"{name}.png")
    path = tmp_path / "pairs.json"
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        list_pairs(None, None, str(path))
    assert str(path) in str(caught.value)


def test_files_that_are_not_there(tmp_path):
    save(NOISE, tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match=rf"fixed image '{tmp_path}/b.png' does not exist"):
        list_pairs(str(tmp_path / "a.png"), str(tmp_path / "b.png"), None)
    with pytest.raises(FileNotFoundError, match=rf"datalist '{tmp_path}/c.json' does not exist"):
        list_pairs(None, None, str(tmp_path / "c.json"))
    with pytest.raises(FileNotFoundError, match=rf"file '{tmp_path}/b.png' does not exist"):
        read_slice(tmp_path / "b.png")


# --- images that are none ---


def test_volume(tmp_path):
    path = save(np.stack([NOISE] * 5), tmp_path / "b.nii")
    message = f"{path}: expected one slice, found an image of size (60, 40, 5) (x, y, ...)"
    with pytest.raises(ValueError, match=re.escape(message)):
        read_slice(path)


def test_cine_where_one_frame_is_asked(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((60, 40, 1, 4), np.float32), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=re.escape("expected one slice, found an image of size (60, 40, 1, 4)")):
        read_slice(tmp_path / "a.nii")


def test_colour(tmp_path):
    Image.fromarray(np.stack([NOISE, NOISE, 255 - NOISE], -1)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"{tmp_path}/a.png: expected a grey image, found colour"):
        read_slice(tmp_path / "a.png")


def test_values_that_are_not_finite(tmp_path):
    save(np.where(NOISE < 9, np.nan, NOISE), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=rf"{tmp_path}/a.nii: holds values that are not finite"):
        read_slice(tmp_path / "a.nii")


@pytest.mark.parametrize("part", [0, 0.1, 0.6, 0.99])
@pytest.mark.parametrize("name", ["a.dcm", "a.png", "a.jpg", "a.nii", "a.nii.gz"])
def test_truncated_file(tmp_path, dicom, name, part):
    """SimpleITK alone makes zeros of what a truncated NIfTI or JPEG lacks."""
    if name == "a.dcm":
        content = dicom[0].read_bytes()
    elif name == "a.nii.gz":  # deflated anew: noise fills blocks to the end
        content = gzip.compress(save(NOISE, tmp_path / "whole.nii").read_bytes())
    else:
        content = save(NOISE, tmp_path / f"whole{Path(name).suffix}").read_bytes()
    path = tmp_path / name
    path.write_bytes(content)
    read_slice(path)
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=rf"{path}: (cannot be read|has no pixels|.*bytes of pixels, found)"):
        read_slice(path)


def test_file_that_is_no_image(tmp_path):
    for name in ("a.png", "a.nii", "a.dcm", "notes"):
        (tmp_path / name).write_text("not an image")
        message = rf"{tmp_path}/{name}: cannot be read"
        with pytest.raises(ValueError, match=message):
            read_slice(tmp_path / name)


def test_compressed_nifti_beside_another_of_its_name(tmp_path):
    """ITK opens x.nii.gz and takes the pixels of x.nii."""
    compressed = save(NOISE, tmp_path / "x.nii.gz")
    plain = save(255 - NOISE, tmp_path / "x.nii")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_slice(compressed))[0], NOISE)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_slice(plain))[0], 255 - NOISE)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("a/IM.0001.dcm", "IM.0001"),
        ("X.NII.GZ", "X"),
        ("1.2.840.5", "1.2.840.5"),
        ("b/frame.png", "frame"),
        (".dcm", ".dcm"),
    ],
)
def test_a_stem_keeps_the_dots_that_are_no_suffix(file, expected):
    assert stem(file) == expected
