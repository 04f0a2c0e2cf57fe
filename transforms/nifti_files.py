"""NIfTI files: the one place that reads them, judges them, and says where they lie in the patient.

A header may claim anything. It is compared with the file before memory is taken for its data, and a file that is
shorter than its header says, or whose pixel sizes or place are not finite, is refused.
"""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.nifti1 import data_type_codes
from nibabel.spatialimages import HeaderDataError

from .errors import InputError
from .grids import FARTHEST, LONGEST_PIXEL

__all__ = ["Nifti", "check_nifti", "check_time_axis", "is_nifti", "nifti_grid", "read_nifti"]

logger = logging.getLogger(__name__)

ENDINGS = (".nii", ".nii.gz", ".hdr", ".hdr.gz")
HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}  # by their first number, their length in bytes
MARKS = {b"n+1": 348, b"ni1": 348, b"n+2": 540, b"ni2": 540}
MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}
SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
# masks of 30 frames and 12 slices of 512x512 pixels are 94 MB, of which gzip may leave a thousandth
MOST_DATA = 2**27  # bytes, of a small file
MOST_DATA_PER_BYTE = 100  # of a larger one
AFTER_DATA = 2**20  # bytes that may lie before and after the data: extensions
SLICES_APART = (1.5, 20.0)  # mm; the frames of a cine are 0.02 to 0.1 s apart, 20 to 100 ms
RIGHT_ANGLES = 1e-3  # cosine that an angle between axes may be off


@dataclass(frozen=True)
class Nifti:
    """What a NIfTI file holds.

    Attributes:
        image: of 2 to 4 axes (x, y[, slice[, time]]), spacing in mm and s, in LPS.
        placed: whether the file says where it lies in the patient. Codes of 0 do not, nor does an affine of pixel
            sizes alone, with which arrays are saved.
        steps: of each axis as the file has them (pixdim).
        time_unit: "sec", "msec" or "usec"; None where the file has none.
        grid: one pixel (1, 1, 1) with the file's spacing, direction and origin, which a 2-D image cannot hold.
    """

    image: sitk.Image
    placed: bool
    steps: tuple[float, ...]
    time_unit: str | None
    grid: sitk.Image

    def at_place(self, array: np.ndarray) -> sitk.Image:
        """An array (slices, y, x) as a volume that begins where the file does."""
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(self.grid.GetSpacing())
        image.SetDirection(self.grid.GetDirection())
        image.SetOrigin(self.grid.GetOrigin())
        return image


def is_nifti(path: str | Path) -> bool:
    """Whether a file is named as NIfTI is."""
    return Path(path).name.lower().endswith(ENDINGS)


def read_nifti(path: str | Path) -> Nifti:
    """Read NIfTI-1 or NIfTI-2: one file or a pair .hdr and .img, gzipped or not, whatever the ending says.

    It lies where its sform says, if that has a code above 0; else where its qform says, if that has; else nowhere.
    Axes after the third that have length 1 are dropped.

    Raises:
        ValueError: names the file and what is wrong: fewer bytes than its header says, more than a file of its size
            can hold, values that are no real numbers, pixel sizes or a place that are not finite, axes that are not
            at right angles.
    """
    path = Path(path)
    with _named(path), _opened(path) as (header, data):
        shape, dtype = _layout(header)
        array = np.empty(math.prod(shape), dtype)
        _read_into(data, array.view(np.uint8).data)
        return _placed(path, header, _scaled(header, array).reshape(shape, order="F"))


def check_nifti(path: str | Path) -> None:
    """Judge a NIfTI file that another library is about to read.

    Raises:
        ValueError: as :func:`read_nifti`.
    """
    path = Path(path)
    with _named(path), _opened(path) as (header, data):
        shape, dtype = _layout(header)
        _geometry(path, header)
        _read_into(data, math.prod(shape) * dtype.itemsize)


def check_time_axis(path: str | Path, nifti: Nifti) -> None:
    """Check that a file is a cine (x, y, time) or (x, y, slice, time), as far as sizes and spacings tell.

    Raises:
        ValueError: when it has one time, its third axis has the spacing of slices where it has to be time, or its axes
            are in another order.
    """
    size, spacing = nifti.image.GetSize(), nifti.image.GetSpacing()
    expected = "expected a cine (x, y, time) or (x, y, slice, time)"
    if len(size) < 3 or size[-1] < 2:
        raise InputError(f"{path}: {expected}, found {size}: one time")
    if max(size[2:]) > max(64, min(size[:2])):
        raise InputError(f"{path}: {expected}, found {size}: are its axes in another order?")
    low, high = SLICES_APART
    if len(size) == 3 and low <= spacing[2] <= high and nifti.time_unit not in ("msec", "usec"):
        raise InputError(
            f"{path}: {expected}, found {size} with a third axis of {spacing[2]:g} mm: the slices of one time; if they "
            "are times of one slice, save it as (x, y, 1, time)"
        )
    if len(size) == 3 and 0.2 < spacing[2] < low:
        logger.warning(
            "%s: does not say what its third axis is; its %d images are taken as times of one slice", path, size[2]
        )
    if len(size) == 4 and not low <= spacing[2] <= high and low <= nifti.steps[3] <= high and size[2] > size[3]:
        raise InputError(
            f"{path}: {expected}, found {size} with steps of {nifti.steps[2]:g} and {nifti.steps[3]:g}: is time third?"
        )


def nifti_grid(path: str | Path) -> sitk.Image | None:
    """Where the first slice of a file lies, (W, H, 1) without content; None where the file does not say it.

    Raises:
        InputError: as :func:`read_nifti`, of the header alone.
    """
    path = Path(path)
    with _named(path), _bytes(path) as file:
        header, _ = _header(file)
        (width, height, *_), _ = _layout(header)
        sizes, axes, origin, placed = _geometry(path, header)
        return _grid((width, height, 1), sizes, axes, origin) if placed else None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: cannot be read as NIfTI: {error}") from error
    except (HeaderDataError, OSError, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as NIfTI: {type(error).__name__}: {reason}") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[nib.Nifti1Header, BinaryIO]]:
    """A file's header, and the file that holds its data, open where they begin; its end is judged afterwards."""
    with _bytes(path) as file:
        header, mark = _header(file)
        length = header.sizeof_hdr if mark.startswith(b"n+") else 0
        place, offset = (path, length) if length else (_data_of_pair(path), 0)
        begin = float(header["vox_offset"])
        if not offset <= begin <= AFTER_DATA:  # nan too
            raise InputError(f"damaged: expected its data at byte {offset} or later, found them at {begin:g}")
        _check_size(place, header, int(begin))
        with _bytes(place) as data:
            data.read(int(begin))
            yield header, data
            if isinstance(data, gzip.GzipFile) and len(data.read(AFTER_DATA + 1)) > AFTER_DATA:  # checks its sum too
                raise InputError("damaged: it holds more data than its header says")


@contextmanager
def _bytes(path: Path) -> Iterator[Any]:
    """A file's bytes, decompressed where they are gzip."""
    with path.open("rb") as file:
        if _is_compressed(path):
            with gzip.GzipFile(fileobj=file) as inner:
                yield inner
        else:
            yield file


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _header(file: BinaryIO) -> tuple[nib.Nifti1Header, bytes]:
    content = file.read(max(HEADERS))
    if len(content) < min(HEADERS):
        raise InputError(f"damaged: its header ends after {len(content)} bytes")
    for order in ("little", "big"):
        size = int.from_bytes(content[:4], order)
        if size in HEADERS and len(content) >= size:
            header = HEADERS[size](content[:size], endianness=order, check=False)
            mark = header["magic"].item()[:3]
            if MARKS.get(mark) == size:
                return header, mark
    raise InputError("damaged: it begins with no header of NIfTI-1 or NIfTI-2")


def _data_of_pair(path: Path) -> Path:
    name = path.name[: path.name.lower().rfind(".hdr")]
    for ending in (".img", ".img.gz"):
        if (found := path.with_name(name + ending)).is_file():
            return found
    raise InputError("incomplete: a header whose data are in another file; expected that beside it, named .img")


def _check_size(path: Path, header: nib.Nifti1Header, begin: int) -> None:
    """Before memory is taken on the header's word."""
    shape, dtype = _layout(header)
    claimed, size = math.prod(shape) * dtype.itemsize, path.stat().st_size
    if not _is_compressed(path) and begin + claimed > size:
        raise _too_short(claimed, max(size - begin, 0))
    if claimed > max(MOST_DATA, MOST_DATA_PER_BYTE * size):
        raise InputError(f"damaged: its header says {claimed} bytes of data, too many for a file of {size} bytes")


def _too_short(claimed: int, found: int) -> InputError:
    return InputError(f"truncated: its header says {claimed} bytes of data, the file holds {found}")


def _layout(header: nib.Nifti1Header) -> tuple[tuple[int, ...], np.dtype]:
    """Shape (x, y, ...) and type of the data."""
    dims = int(header["dim"][0])
    shape = tuple(int(n) for n in header["dim"][1 : dims + 1])
    if not 2 <= dims <= 7 or min(shape) < 1:
        raise InputError(f"damaged: expected 2 to 7 axes of 1 pixel or more, found dim {header['dim'].tolist()}")
    code = int(header["datatype"])
    known: Any = code in data_type_codes.label and data_type_codes.dtype[code]
    if not known or known.kind not in "iuf" or known.itemsize > 8:
        name = data_type_codes.label[code] if known else "unknown"
        raise InputError(f"unusable: expected integers or real numbers of 8 to 64 bits, found datatype {code} ({name})")
    return shape, header.get_data_dtype()


def _read_into(data: Any, target: memoryview | int) -> None:
    """Fill a buffer; of a number of bytes, read them alone."""
    claimed = target if isinstance(target, int) else len(target)
    scratch = memoryview(bytearray(2**20 if isinstance(target, int) else 0))
    done = 0
    while done < claimed:
        part = scratch[: claimed - done] if isinstance(target, int) else target[done : done + 2**24]
        got = data.readinto(part)
        if not got:
            raise _too_short(claimed, done)
        done += got


def _scaled(header: nib.Nifti1Header, array: np.ndarray) -> np.ndarray:
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if np.isinf([header["scl_slope"], header["scl_inter"]]).any():
        raise InputError(f"damaged: its values are to be scaled by {header['scl_slope']} and {header['scl_inter']}")
    slope, inter = header.get_slope_inter()  # None where the file says not to scale
    if slope is None or (slope, inter) == (1, 0):
        return array
    kind = np.float32 if array.dtype.itemsize <= 2 else np.float64
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by who takes the image
        return array * kind(slope) + kind(inter)


def _geometry(path: Path, header: nib.Nifti1Header) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Pixel sizes (x, y, z) in mm, axes (3, 3) and origin (3,) in LPS, and whether the file says where it lies."""
    dims, scale = int(header["dim"][0]), MM.get(_units(header)[0], 1.0)
    sizes = np.ones(3)
    sizes[:dims] = header["pixdim"][1 : min(dims, 3) + 1].astype(float) * scale
    if not ((sizes > 0) & (sizes <= LONGEST_PIXEL)).all():  # nan too
        found = " x ".join(f"{size:g}" for size in sizes[:dims])
        raise InputError(f"unusable: expected a pixel spacing above 0 mm, found {found} mm")
    forms = {name: int(header[f"{name}_code"]) > 0 for name in ("sform", "qform")}
    affines = {}
    for name in (name for name, used in forms.items() if used):
        try:
            affines[name] = getattr(header, f"get_{name}")()[:3].astype(float) * scale
        except ValueError as error:  # nibabel's, of a quaternion that is none
            raise InputError(f"damaged: its {name} is no rotation") from error
        if not (np.isfinite(affines[name]).all() and np.abs(affines[name]).max() <= FARTHEST):
            raise InputError(f"unusable: its {name} is not finite, or leads farther than {FARTHEST:g} mm")
    if not affines:
        return sizes, np.eye(3), np.zeros(3), False
    name, affine = next(iter(affines.items()))
    if len(affines) == 2 and np.abs(affine - affines["qform"]).max() > 0.1 * sizes.min():
        logger.warning("%s: its sform and its qform place it differently; it is placed by the sform", path)
    affine = np.diag([-1.0, -1.0, 1.0]) @ affine  # RAS to LPS
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    axes = affine[:, :3] / np.maximum(lengths, 1e-12)
    if not np.allclose(axes.T @ axes, np.eye(3), atol=RIGHT_ANGLES):
        raise InputError(f"unusable: its axes are not at right angles ({name}); resample it to a grid whose axes are")
    left, _, right = np.linalg.svd(axes)
    axes, origin = left @ right, affine[:, 3]  # ITK wants exactly right angles
    if not origin.any() and np.allclose(np.abs(axes), np.eye(3), atol=1e-6):
        return sizes, axes, origin, False
    if not np.allclose(lengths[:dims], sizes[:dims], rtol=0.01):
        found, said = (" x ".join(f"{size:.4g}" for size in each[:dims]) for each in (lengths, sizes))
        raise InputError(f"unusable: its {name} says pixels of {found} mm, its pixdim {said} mm; which are right?")
    return lengths, axes, origin, True


def _units(header: nib.Nifti1Header) -> tuple[str, str]:
    try:
        return header.get_xyzt_units()
    except KeyError:  # no such unit
        return "unknown", "unknown"


def _placed(path: Path, header: nib.Nifti1Header, array: np.ndarray) -> Nifti:
    """Data (x, y, ...) as an image at their place."""
    sizes, axes, origin, placed = _geometry(path, header)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim > 4:
        raise InputError(f"unusable: expected (x, y, slice, time) or fewer axes, found {array.shape}")
    dims, unit = array.ndim, _units(header)[1]
    image = sitk.GetImageFromArray(array.T, isVector=False)
    spacing = sizes[:dims].tolist()
    if dims == 4:
        step = float(header["pixdim"][4])
        if not 0 <= step < 1e6:  # nan too
            raise InputError(f"unusable: expected a time from frame to frame of 0 or more, found {step:g}")
        spacing.append(step * SECONDS.get(unit, 1.0) or 1.0)  # 0: not known
    image.SetSpacing(spacing)
    used = min(dims, 3)
    direction = np.eye(dims)
    direction[:used, :used] = axes[:used, :used]
    if dims > 2 or np.allclose(direction.T @ direction, np.eye(2), atol=1e-6):  # ITK keeps what 2-D can hold of a place
        image.SetDirection(direction.ravel().tolist())
        image.SetOrigin([*origin.tolist(), 0.0][:dims])
    steps = tuple(header["pixdim"][1 : dims + 1].tolist())
    return Nifti(image, placed, steps, unit if unit in SECONDS else None, _grid((1, 1, 1), sizes, axes, origin))


def _grid(shape: tuple[int, int, int], sizes: np.ndarray, axes: np.ndarray, origin: np.ndarray) -> sitk.Image:
    grid = sitk.Image(shape, sitk.sitkUInt8)
    grid.SetSpacing(sizes.tolist())
    grid.SetDirection(axes.ravel().tolist())
    grid.SetOrigin(origin.tolist())
    return grid
