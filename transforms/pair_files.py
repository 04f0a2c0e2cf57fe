"""Pairs of image files, and one slice from a file with its geometry."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .cine import check_file, is_picture, read_image
from .dicom import dicom_pixels, frame_headers, numbers, read_dicom
from .errors import InputError
from .grids import slice_grid

SUFFIXES = (".nii.gz", ".nii", ".dcm", ".ima", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".mha", ".nrrd")
ITK_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")

__all__ = ["list_pairs", "read_slice", "stem"]


def list_pairs(moving: str | None, fixed: str | None, datalist: str | None) -> list[dict[str, str]]:
    """What to register: one pair of files, or a datalist JSON ``{"test": [{"moving": path, "fixed": path}, ...]}``.

    Paths in a datalist are relative to its folder. Each pair gets a ``name``, the datalist's or
    "<moving>_to_<fixed>", under which its results are written.

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: when neither or both are given, the datalist has another form, or two pairs share a name.
    """
    given = (moving is not None, fixed is not None, datalist is not None)
    if given not in ((True, True, False), (False, False, True)):
        raise InputError("name --moving and --fixed, two image files, or --datalist, a JSON file of pairs")
    if datalist is None:
        pairs = [{"moving": str(moving), "fixed": str(fixed)}]
    else:
        pairs = _read_datalist(Path(datalist))
    for pair in pairs:
        for role in ("moving", "fixed"):
            if not Path(pair[role]).is_file():
                raise FileNotFoundError(f"{role} image '{pair[role]}' does not exist")
        pair.setdefault("name", f"{stem(pair['moving'])}_to_{stem(pair['fixed'])}")
    for name, number in Counter(pair["name"] for pair in pairs).items():
        if number > 1:
            raise InputError(f"{datalist}: {number} pairs would be written as '{name}'; give each its own \"name\"")
        if name in ("", "..") or Path(name).name != name:
            raise InputError(f"{datalist}: the name of a pair begins the names of its files, which '{name}' cannot")
    return pairs


def _read_datalist(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"datalist '{path}' does not exist")
    try:
        items = json.loads(path.read_text(encoding="utf-8"))["test"]
        pairs = [
            {**item, "moving": str(path.parent / item["moving"]), "fixed": str(path.parent / item["fixed"])}
            for item in items
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{path}: expected {{"test": [{{"moving": path, "fixed": path}}, ...]}} ({error!r})'
        ) from error
    for pair in pairs:
        if not isinstance(pair.get("name", ""), str):
            raise InputError(f"{path}: expected a text as a pair's name, found {pair['name']!r}")
    if not pairs:
        raise InputError(f"{path} lists no pair")
    return pairs


def stem(path: str | Path) -> str:
    """A file's name without what its format adds to it; other dots stay, such as those of a UID."""
    name = Path(path).name
    known = [suffix for suffix in SUFFIXES if name.lower().endswith(suffix)]
    return name[: -len(known[0])] if known and len(name) > len(known[0]) else name


def read_slice(path: str | Path) -> sitk.Image:
    """A grey image file of one slice with its geometry: size (W, H), or (W, H, 1) with its place in space.

    DICOM and pictures are read as :func:`transforms.cine.read_image` does; a DICOM file that does not say where it
    lies has no place. NIfTI, MetaImage and NRRD are SimpleITK's.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it cannot be read whole, or it is colour, a volume or a series.
    """
    check_file(path)
    if is_picture(path):
        return sitk.GetImageFromArray(read_image(path)[0])
    if not str(path).lower().endswith(ITK_SUFFIXES):
        return _read_dicom_slice(Path(path))
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path}: cannot be read; expected a whole DICOM, NIfTI or PNG image ({reason})") from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path}: expected a grey image, found {image.GetNumberOfComponentsPerPixel()} components")
    if image.GetDimension() > 3 or image.GetSize()[2:] not in ((), (1,)):
        raise InputError(f"{path}: expected one slice, found an image of size {image.GetSize()} (x, y, ...)")
    pixels = sitk.GetArrayViewFromImage(image)
    if not np.isfinite(pixels).all():
        raise InputError(f"{path}: holds values that are not finite")
    name = str(path).lower()
    if name.endswith((".nii", ".nii.gz")):
        whole, _ = read_image(path)  # raises where SimpleITK makes zeros of what a truncated file lacks
        if not np.allclose(pixels.ravel(), whole.ravel(), rtol=1e-4, atol=1e-4 * np.ptp(whole)):
            raise InputError(
                f"{path}: SimpleITK reads other pixels than it holds, those of the uncompressed file "
                f"'{str(path).removesuffix('.gz')}' beside it: rename one of them"
            )
    return image


def _read_dicom_slice(path: Path) -> sitk.Image:
    dataset = read_dicom(path)
    headers = frame_headers(dataset, path)
    array = dicom_pixels(dataset, headers, path)
    if array.ndim != 2:
        raise InputError(f"{path}: expected one slice, found {len(array)} frames")
    (header,) = headers
    if all(numbers(header, name, path) for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")):
        image = sitk.GetImageFromArray(array[None])
        image.CopyInformation(slice_grid(header, path))
        return image
    image = sitk.GetImageFromArray(array)
    if spacing := numbers(header, "PixelSpacing", path):
        image.SetSpacing(spacing[::-1])
    return image
