"""Two image files to a pair."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from monai.transforms import Transform

from .cine import scale_intensity

__all__ = ["LoadPaird", "list_pairs", "read_slice"]


def list_pairs(moving: str | None, fixed: str | None, datalist: str | None) -> list[dict[str, str]]:
    """What to register: one pair of files, or a datalist JSON ``{"test": [{"moving": path, "fixed": path}, ...]}``.

    Paths in a datalist are relative to its folder. Each pair gets a ``name``, the datalist's or
    "<moving>_to_<fixed>", under which its results are written.

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: when neither or both are given, the datalist has another form, or two pairs share a name.
    """
    if (datalist is None) == (moving is None and fixed is None) or (moving is None) != (fixed is None):
        raise ValueError("name --moving and --fixed, two image files, or --datalist, a JSON file of pairs")
    if datalist is None:
        pairs = [{"moving": str(moving), "fixed": str(fixed)}]
    else:
        pairs = _read_datalist(Path(datalist))
    for pair in pairs:
        for role in ("moving", "fixed"):
            if not Path(pair[role]).is_file():
                raise FileNotFoundError(f"{role} image '{pair[role]}' does not exist")
        pair.setdefault("name", f"{_stem(pair['moving'])}_to_{_stem(pair['fixed'])}")
    names = [pair["name"] for pair in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two pairs would be written as '{name}'; give each a \"name\" in the datalist")
        if Path(name).name != name:
            raise ValueError(f"'{name}' is no file name")
    return pairs


def _read_datalist(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"datalist '{path}' does not exist")
    try:
        items = json.loads(path.read_text())["test"]
        pairs = [
            {**item, "moving": str(path.parent / item["moving"]), "fixed": str(path.parent / item["fixed"])}
            for item in items
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path}: expected {{"test": [{{"moving": path, "fixed": path}}, ...]}} ({error!r})'
        ) from error
    if not pairs:
        raise ValueError(f"{path} lists no pair")
    return pairs


def _stem(path: str) -> str:
    return Path(path).name.removesuffix(".gz").rsplit(".", 1)[0]


class LoadPaird(Transform):
    """Files ``moving`` and ``fixed`` of one slice each to images (1, H, W), each scaled to [0, 1] by its percentiles.

    Adds ``moving_file`` and ``fixed_file``, the paths.

    Raises:
        ValueError: when a file cannot be read, is no single slice, or the two differ in size.
    """

    def __init__(self, percentiles: tuple[float, float] = (1.0, 99.0)) -> None:
        self.percentiles = tuple(percentiles)

    def __call__(self, pair: Mapping[str, str]) -> dict[str, Any]:
        item: dict[str, Any] = {"name": pair["name"]}
        for role in ("moving", "fixed"):
            image = sitk.GetArrayViewFromImage(read_slice(pair[role]))
            image = np.squeeze(image, 0) if image.ndim == 3 else image
            item[role] = torch.from_numpy(scale_intensity(image, self.percentiles)).unsqueeze(0)
            item[f"{role}_file"] = str(pair[role])
        if item["moving"].shape != item["fixed"].shape:
            (_, height, width), (_, fixed_height, fixed_width) = item["moving"].shape, item["fixed"].shape
            raise ValueError(
                f"moving and fixed differ in size: {pair['moving']} has {height}x{width} pixels (rows x columns), "
                f"{pair['fixed']} has {fixed_height}x{fixed_width}"
            )
        return item


def read_slice(path: str | Path) -> sitk.Image:
    """A grey image file of one slice with its geometry: size (W, H), or (W, H, 1) with its place in space.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when SimpleITK cannot read it, or it is colour, a volume or a series.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"image file '{path}' does not exist")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path}: cannot be read as an image: {reason}") from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"{path}: expected a grey image, found {image.GetNumberOfComponentsPerPixel()} components")
    if image.GetDimension() > 3 or image.GetSize()[2:] not in ((), (1,)):
        raise ValueError(f"{path}: expected one slice, found an image of size {image.GetSize()} (x, y, ...)")
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise ValueError(f"{path}: holds values that are not finite")
    return image
