"""Pairs of image files, and one slice from a file with its geometry."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from reprlib import repr as short
from typing import Any

import SimpleITK as sitk

from .cine import is_picture, read_image
from .dicom import dicom_pixels, frame_headers, numbers, read_dicom
from .errors import InputError
from .grids import check_place, known_grid
from .itk_files import is_itk, read_itk
from .nifti_files import is_nifti, read_nifti
from .paths import check_file, stem
from .records import read_json
from .values import check_finite

__all__ = ["list_pairs", "read_slice"]


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
    if not pairs:
        raise InputError(f"{datalist} lists no pair")
    for pair in pairs:
        for role in ("moving", "fixed"):
            try:
                check_file(pair[role])
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{role} image '{pair[role]}' does not exist") from error
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
    content = read_json(path)
    items = content.get("test") if isinstance(content, dict) else None
    if not isinstance(items, list):
        raise InputError(
            f'{path}: expected {{"test": [{{"moving": path, "fixed": path}}, ...]}}, found {short(content)}'
        )
    return [_pair(path, number, item) for number, item in enumerate(items)]


def _pair(path: Path, number: int, item: Any) -> dict[str, str]:
    expected = f'{path}: test[{number}]: expected {{"moving": path, "fixed": path}}'
    if not isinstance(item, dict):
        raise InputError(f"{expected}, found {short(item)}")
    for key in ("moving", "fixed"):
        if not isinstance(item.get(key), str):
            raise InputError(f"{expected}, found {short(item.get(key))} as '{key}'")
    if not isinstance(item.get("name", ""), str):
        raise InputError(f"{path}: test[{number}]: expected a text as 'name', found {short(item['name'])}")
    return {**item, **{key: str(path.parent / item[key]) for key in ("moving", "fixed")}}


def read_slice(path: str | Path) -> sitk.Image:
    """A grey image file of one slice with its geometry: size (W, H), or (W, H, 1) with its place in space.

    DICOM and pictures are read as :func:`transforms.cine.read_image` does; a DICOM file that does not say where it
    lies has no place.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it cannot be read whole, or it is colour, a volume or a series.
    """
    check_file(path)
    if is_picture(path):
        return sitk.GetImageFromArray(read_image(path)[0])
    if is_nifti(path):
        image = read_nifti(path).image
    elif is_itk(path):
        image = read_itk(path)
    else:
        return _read_dicom_slice(Path(path))
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path}: expected a grey image, found {image.GetNumberOfComponentsPerPixel()} components")
    if image.GetDimension() > 3 or image.GetSize()[2:] not in ((), (1,)):
        raise InputError(f"{path}: expected one slice, found an image of size {image.GetSize()} (x, y, ...)")
    check_place(image, path)
    check_finite(sitk.GetArrayViewFromImage(image), path)
    return image


def _read_dicom_slice(path: Path) -> sitk.Image:
    dataset = read_dicom(path)
    headers = frame_headers(dataset, path)
    array = dicom_pixels(dataset, headers, path)
    if array.ndim != 2:
        raise InputError(f"{path}: expected one slice, found {len(array)} frames")
    (header,) = headers
    if (grid := known_grid(header, path)) is not None:
        image = sitk.GetImageFromArray(array[None])
        image.CopyInformation(grid)
        return image
    image = sitk.GetImageFromArray(array)
    if spacing := numbers(header, "PixelSpacing", path):
        image.SetSpacing(spacing[::-1])
    return image
