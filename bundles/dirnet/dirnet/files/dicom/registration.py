"""Displacement fields as DICOM Deformable Spatial Registration objects (PS3.3 A.39.2, C.20.3).

Such an object tells how to sample a Source coordinate system into the Registered one, the frame of reference that the
object itself names. For the grid point (i, j, k), at p = ImagePositionPatient + i * column step + j * row step + k *
depth step in the Registered system, the Source point is ``post * (pre * p + vector(i, j, k))``, in mm, LPS
(C.20.3.1.1). So it pulls back, as a DDF does: Registered is the fixed image's frame of reference, Source the moving
image's, and the vectors are those of :func:`dirnet.files.itk.displacement_image` with no sign turned. (The matrices of
the other object, the Spatial Registration without deformation, run the other way, from Source to Registered; PS3.17
O.1.)
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import config
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import DeformableSpatialRegistrationStorage, generate_uid
from torch import Tensor

from transforms.grids import slice_grid

from ...errors import InputError
from ..itk import displacement_image
from .objects import (
    GEOMETRY,
    code,
    copy_elements,
    fill_empty,
    maker,
    new_object,
    read_header,
    read_object,
    refer,
    reference,
    warn_of_malformed,
    write_objects,
)

__all__ = ["read_deformable_registration", "write_deformable_registration"]

GRID = ("ImagePositionPatient", "ImageOrientationPatient", "GridDimensions", "GridResolution", "VectorGridData")
IDENTITY = np.eye(4).ravel().tolist()


@config.disable_value_validation()  # its warnings quote the values, which may be a patient's
def write_deformable_registration(
    path: str | Path,
    ddf: Tensor | np.ndarray,
    fixed_file: str | Path,
    moving_file: str | Path,
    moving: sitk.Image | None = None,
    fixed_frame: int | None = None,
    moving_frame: int | None = None,
) -> None:
    """Write one DDF as a Deformable Spatial Registration of the moving image into the fixed one's coordinates.

    The grid is the fixed image's, one vector a pixel, of one plane: GridDimensions (W, H, 1), with the distance
    between slices as third resolution. The first item registers the fixed image, by the identity, as others do;
    the second the moving one, by the field between two identities. The object joins the fixed image's study in a new
    series of modality REG. The file appears whole or not at all; one that exists is replaced.

    Args:
        path: where to write.
        ddf: (2, H, W) in pixels, (row, column), pull-back; no batch axis.
        fixed_file, moving_file: DICOM files of the two images; each by its own geometry.
        moving: whose pixels the DDF leads to, where they are not those of ``moving_file``: what it was resampled to.
        fixed_frame, moving_frame: numbers from 1 of the frames that the images are in files of several, such as
            :attr:`transforms.cine_files.CineStack.frame_numbers` has them.

    Raises:
        FileNotFoundError: when a source does not exist.
        ValueError: when a source is not DICOM, has no such frame, has several and none is named, or lacks its geometry
            or frame of reference; when the DDF does not fit the fixed image, or is not finite.
    """
    needs = [*GEOMETRY, "FrameOfReferenceUID"]
    fixed, source = read_header(fixed_file, needs, fixed_frame), read_header(moving_file, needs, moving_frame)
    grids = [slice_grid(header, str(header.filename)) for header in (fixed, source)]
    field = displacement_image(ddf, grids[0], grids[1] if moving is None else moving)
    vectors = sitk.GetArrayFromImage(field).astype("<f4")
    if not np.isfinite(vectors).all():
        raise InputError("the displacement field holds values that are not finite")

    now = datetime.now()
    new = new_object(DeformableSpatialRegistrationStorage, fixed, now)
    new.Modality = "REG"
    new.SeriesInstanceUID = generate_uid(prefix=None)
    new.SeriesDescription = "DIRNet: deformable registration"
    new.update(maker())
    new.DeviceSerialNumber = "none"  # type 1, though software has none
    new.InstanceNumber = 1
    new.ContentLabel = "DIRNET"
    new.ContentDescription = "Displacement field of the moving image onto the fixed image"
    new.ContentCreatorName = ""
    same = _registered(fixed, fixed_frame, code("125021", "Frame of Reference Identity"))
    deformed = _registered(source, moving_frame, code("125024", "Image Content-based Alignment"))
    deformed.DeformableRegistrationGridSequence = [_grid_item(fixed, field, vectors)]
    new.DeformableRegistrationSequence = [same, deformed]
    refer(new, [fixed, source])
    fill_empty(new)
    warn_of_malformed([fixed, source])
    write_objects([new], [Path(path)])


@config.disable_value_validation()
def read_deformable_registration(path: str | Path) -> sitk.Image:
    """The displacement field of a Deformable Spatial Registration object, by whatever program, from its bytes alone.

    Returns:
        float64 vector image (W, H, D) of three components in mm, LPS, on the object's grid; pulls back, and is what
        ``sitk.DisplacementFieldTransform`` and :func:`dirnet.files.itk.ddf_from_image` take. Matrices before and after
        the deformation are part of it. Where the object leaves the deformation undefined, its vectors are nan.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is no such object, does not have one grid, or as many bytes as its grid needs.
    """
    found = read_object(path)
    items = [
        (item, part)
        for item in found.get("DeformableRegistrationSequence") or []
        for part in item.get("DeformableRegistrationGridSequence") or []
    ]
    if len(items) != 1:
        raise InputError(f"{path}: expected a Deformable Spatial Registration with one grid, found {len(items)} grids")
    item, part = items[0]
    if missing := [keyword for keyword in GRID if keyword not in part]:
        raise InputError(f"{path}: its grid lacks {', '.join(missing)}")
    size = [int(n) for n in part.GridDimensions]
    data = part.VectorGridData
    if len(data) != 12 * np.prod(size):
        raise InputError(f"{path}: expected {12 * np.prod(size)} bytes for a grid of {size}, found {len(data)}")
    order = "<" if found.file_meta.TransferSyntaxUID.is_little_endian else ">"
    vectors = np.frombuffer(data, f"{order}f4").reshape(*size[::-1], 3).astype(np.float64)

    row, column = np.reshape(part.ImageOrientationPatient, (2, 3)).astype(float)
    direction = np.stack([row, column, np.cross(row, column)], 1)
    resolution, origin = np.array(part.GridResolution, float), np.array(part.ImagePositionPatient, float)
    index = np.moveaxis(np.indices(size[::-1])[::-1], 0, -1)
    points = index @ (direction * resolution).T + origin
    deformed = _apply(_matrix(item, "PreDeformationMatrixRegistrationSequence"), points) + vectors
    targets = _apply(_matrix(item, "PostDeformationMatrixRegistrationSequence"), deformed)

    field = sitk.GetImageFromArray(targets - points, isVector=True)
    field.SetSpacing(resolution.tolist())
    field.SetOrigin(origin.tolist())
    field.SetDirection(direction.ravel().tolist())
    return field


def _registered(header: FileDataset, frame: int | None, method: list[Dataset]) -> Dataset:
    """An item that registers one image, or one frame of several, as yet by the identity."""
    matrix = Dataset()
    matrix.FrameOfReferenceTransformationMatrixType = "RIGID"
    matrix.FrameOfReferenceTransformationMatrix = IDENTITY
    item = Dataset()
    item.SourceFrameOfReferenceUID = header.FrameOfReferenceUID
    item.ReferencedImageSequence = [reference(header, frame)]
    item.RegistrationTypeCodeSequence = method  # CID 7100
    item.PreDeformationMatrixRegistrationSequence = [matrix]
    item.PostDeformationMatrixRegistrationSequence = [matrix]
    return item


def _grid_item(fixed: FileDataset, field: sitk.Image, vectors: np.ndarray) -> Dataset:
    item = Dataset()
    copy_elements(fixed, item, ["ImagePositionPatient", "ImageOrientationPatient"])
    item.GridDimensions = list(field.GetSize())
    item.GridResolution = list(field.GetSpacing())
    item.VectorGridData = vectors.tobytes()  # x fastest, then y: the order of the array (1, H, W, 3)
    return item


def _matrix(item: Dataset, sequence: str) -> np.ndarray:
    found = item.get(sequence)
    return np.reshape(found[0].FrameOfReferenceTransformationMatrix, (4, 4)).astype(float) if found else np.eye(4)


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]
