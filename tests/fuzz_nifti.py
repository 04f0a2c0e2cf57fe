"""More inputs for :mod:`tests.fuzz`: NIfTI, NRRD, MetaImage, DICOM Segmentations and RT Structure Sets, datalists, and
arrays in Python.

``python -m tests.fuzz_nifti --number 10000`` damages these alone.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import io
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from pydicom import config

from dirnet.files.dicom import write_segmentation, write_structure_set
from dirnet.files.images import as_array, as_image
from dirnet.files.nifti import read_displacement
from tests import fuzz
from tests.fuzz import Kind, flip, splice, truncate
from transforms.cine import read_image
from transforms.cine_files import CineStack, read_cine_stack
from transforms.drawings import read_masks
from transforms.loading import LoadCined
from transforms.pair_files import list_pairs, read_slice
from transforms.phantom import write_scd
from transforms.sources import read_records

AFFINE = np.array([[-1.5, 0, 0, 48], [0, -1.2, 0, 30], [0, 0, 8, 20], [0, 0, 0, 1]])
NOISE = np.random.default_rng(0).integers(1, 999, (24, 32, 2, 5)).astype(np.int16)  # x, y, slice, time
DRAWN = np.zeros(NOISE.shape[:3], np.uint8)
DRAWN[8:16, 10:20] = 1


# --- how they are damaged ---


NUMBERS = [np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1e30, -1e30, 1e-30, 0.5, 2.0, 348.0]
INTEGERS = [0, -1, 1, 2, 3, 4, 7, 8, 16, 32, 64, 128, 255, 256, 512, 1024, 2048, 2304, 32767, -32768]
FIELDS = {
    "dim": 6,
    "pixdim": 6,
    "srow_x": 4,
    "srow_y": 4,
    "srow_z": 4,
    **dict.fromkeys(("datatype", "bitpix", "sform_code", "qform_code", "xyzt_units", "vox_offset"), 0),
    **dict.fromkeys(("scl_slope", "scl_inter", "quatern_b", "quatern_c", "qoffset_x", "intent_code"), 0),
}


def change_header(content: bytes, rng: np.random.Generator) -> bytes:
    """Fields of a NIfTI header hold what no valid file has."""
    compressed = content[:2] == b"\x1f\x8b"
    plain = bytearray(gzip.decompress(content) if compressed else content)
    header = nib.Nifti1Header(bytes(plain[:348]), check=False)
    for _ in range(rng.integers(1, 4)):
        name = str(rng.choice(list(FIELDS)))
        value = rng.choice(NUMBERS if header[name].dtype.kind == "f" else INTEGERS)
        with np.errstate(all="ignore"):
            if FIELDS[name]:
                header[name].flat[rng.integers(FIELDS[name])] = np.asarray(value).astype(header[name].dtype)
            else:
                header[name] = np.asarray(value).astype(header[name].dtype)
    plain[:348] = header.binaryblock
    return gzip.compress(plain, 1) if compressed else bytes(plain)


def inflate(content: bytes, rng: np.random.Generator) -> bytes:
    """A header that says far more than there is, or a file that holds far more than its header says."""
    plain = bytearray(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    if rng.random() < 0.5:
        header = nib.Nifti1Header(bytes(plain[:348]), check=False)
        header["dim"][1 : 1 + rng.integers(1, 4)] = rng.choice([500, 3000, 32767])
        plain[:348] = header.binaryblock
    return gzip.compress(plain + bytes(int(rng.choice([10**6, 10**7, 10**8]))), 1)


TEXTS = ["nan", "inf", "-inf", "1e300", "1e999", "0", "-1", "9" * 20, "", "a", "300000000"]


def change_text(content: bytes, rng: np.random.Generator) -> bytes:
    """Numbers in a header of text are others."""
    head, rest = content[:400], content[400:]
    words = set(head.replace(b"(", b" ").replace(b",", b" ").split())
    numbers = [word for word in words if not word.strip(b"-.0123456789")]
    if not numbers:
        return flip(content, rng)
    for number in rng.choice(sorted(numbers), rng.integers(1, 3)):
        head = head.replace(bytes(number), str(rng.choice(TEXTS)).encode(), rng.integers(1, 3))
    return head + rest


VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    3,
    10**400,
    1e999,
    float("nan"),
    1e-300,
    "",
    "\0",
    "\ud800",
    "a" * 5000,
    "..",
    [],
    {},
]


def change_json(content: bytes, rng: np.random.Generator) -> bytes:
    """A value, anywhere, is another, or absent."""
    whole = json.loads(content)
    place, key = None, None
    node = whole
    while isinstance(node, dict | list) and len(node) and (place is None or rng.random() < 0.8):
        place, key = node, (rng.choice(sorted(node)) if isinstance(node, dict) else int(rng.integers(len(node))))
        node = node[key]
    if rng.random() < 0.1:
        del place[key]
    elif rng.random() < 0.1:
        return content.replace(b"null", b"[" * 100_000) if b"null" in content else b"[" * 100_000
    else:
        place[key] = VALUES[rng.integers(len(VALUES))]
    if isinstance(place, dict) and rng.random() < 0.2:
        place[str(rng.choice(["", "-1", "99", "00", "9" * 5000, "x"]))] = node
    return json.dumps(whole).encode()


def change_seed(content: bytes, rng: np.random.Generator) -> bytes:
    return str(rng.integers(2**31)).encode()


# --- what is made and read ---


@functools.cache
def _folder() -> Path:
    """Valid files that others refer to."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    _save(NOISE, folder / "cine.nii")
    _save(NOISE[:, :, :1], folder / "slice.nii")
    _save(DRAWN[:, :, :1], folder / "mask.nii")
    write_scd(folder / "phantom", patients=3, size=(32, 32), phases=3, slices=1)
    return folder


def _save(array: np.ndarray, path: Path) -> Path:
    image = nib.Nifti1Image(array, AFFINE)
    if array.ndim == 4:
        image.header.set_zooms((1.5, 1.2, 8, 0.04))
    nib.save(image, path)
    return path


@functools.cache
def _cine() -> CineStack:
    return read_cine_stack(_folder() / "cine.nii")


@functools.cache
def _series() -> CineStack:
    return read_cine_stack(next((_folder() / "phantom").glob("SCD_IMAGES_01/*/*")))


def _nifti(array: np.ndarray, name: str) -> Callable[[Path], Path]:
    return lambda folder: _save(array, folder / name)


def _read_slice(path: Path) -> list[np.ndarray]:
    image, spacing = read_image(path)
    return [image, np.array(spacing), *_arrays(read_slice(path))]


def _arrays(image: sitk.Image) -> list[np.ndarray]:
    geometry = image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    return [sitk.GetArrayFromImage(image), *map(np.array, geometry)]


def _read_mask(path: Path) -> list[np.ndarray]:
    return [read_masks(path, _cine())]


def _write_field(folder: Path) -> Path:
    vectors = np.random.default_rng(0).normal(size=(24, 32, 2, 1, 3)).astype(np.float32)
    image = nib.Nifti1Image(vectors, AFFINE)
    image.header.set_intent(1007)
    nib.save(image, folder / "field.nii")
    return folder / "field.nii"


def _write_itk(name: str, compressed: bool) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        image = sitk.GetImageFromArray(NOISE[:, :, :1, 0].T)
        image.SetSpacing((1.5, 1.2, 8))
        sitk.WriteImage(image, str(folder / name), useCompression=compressed)
        return folder / name

    return make


def _write_seg(folder: Path) -> Path:
    masks = np.zeros(_series().images.shape, bool)
    masks[:, 1, 8:16, 10:20] = True
    write_segmentation(folder / "seg.dcm", masks, _series().files)
    return folder / "seg.dcm"


def _write_structure_set(folder: Path) -> Path:
    masks = np.zeros(_series().images.shape, bool)
    masks[:, 1, 8:16, 10:20] = True
    write_structure_set(folder / "rtstruct.dcm", masks, _series().files)
    return folder / "rtstruct.dcm"


def change_contours(content: bytes, rng: np.random.Generator) -> bytes:
    """An element of an ROI or a contour is absent, or holds what no valid file has."""
    with config.disable_value_validation():
        dataset = pydicom.dcmread(io.BytesIO(content))
        [region], [drawn] = dataset.StructureSetROISequence, dataset.ROIContourSequence
        item = [region, drawn, drawn.ContourSequence[0]][rng.integers(3)]
        element = list(item)[rng.integers(len(item))]
        if element.VR == "SQ" or rng.random() < 0.2:
            del item[element.tag]
        else:
            values = [text.encode() for text in (*fuzz.TEXTS, "POINT", "1\\2\\3")]
            if element.keyword == "ContourData" and rng.random() < 0.5:
                texts = list(map(str, element.value))
                texts[rng.integers(len(texts))] = str(rng.choice(fuzz.TEXTS))
                values = ["\\".join(texts).encode()]
            item[element.tag] = fuzz._raw(element.tag, element.VR, values[rng.integers(len(values))])
        out = io.BytesIO()
        dataset.save_as(out)
    return out.getvalue()


def _write_datalist(folder: Path) -> Path:
    files = {name: str(_folder() / f"{name}.nii") for name in ("slice", "mask")}
    record = {"patient": "A", "slice": 0, "frames": [files["slice"]], "ed": 0, "es": 2, "spacing": [1.2, 1.5]}
    record |= {"lumen": {"0": files["mask"], "2": files["mask"]}, "epicardium": None, "pathology": "Normal"}
    (folder / "datalist.json").write_text(json.dumps({"name": "made", "training": [record], "test": [record]}))
    return folder / "datalist.json"


def _read_datalist(path: Path) -> Iterable[np.ndarray]:
    for record in read_records(path, ""):
        try:
            item = LoadCined()(record)
        except (ValueError, FileNotFoundError) as error:
            if type(error) is ValueError:
                raise
            continue  # it names the record's file, not the datalist
        yield from (item["image"].numpy(), np.array(item["spacing"]), *(m.numpy() for m in item["lumen"].values()))


def _write_pairs(folder: Path) -> Path:
    pairs = [{"moving": str(_folder() / "mask.nii"), "fixed": str(_folder() / "mask.nii"), "name": "mine"}]
    (folder / "pairs.json").write_text(json.dumps({"test": pairs, "x": None}))
    return folder / "pairs.json"


def _read_pairs(path: Path) -> Iterable[np.ndarray]:
    try:
        pairs = list_pairs(None, None, str(path))
    except FileNotFoundError:
        return  # it names the image
    for pair in pairs:
        yield from _arrays(read_slice(pair["moving"]))


def _write_seed(folder: Path) -> Path:
    (folder / "seed").write_text("1")
    return folder / "seed"


def _read_object(path: Path) -> list[np.ndarray]:
    """An object in Python that may be handed in as an image."""
    try:
        rng = np.random.default_rng(int(path.read_text()))
    except ValueError:
        return []
    shape = [(24, 32), (1, 24, 32), (24, 32, 1), (1, 24, 32, 1), (2, 24, 32), (24, 0), (24,), ()][rng.integers(8)]
    array = rng.normal(size=shape)
    if array.size and rng.random() < 0.3:
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e300])
    affine = AFFINE.copy()
    for _ in range(rng.integers(3)):
        affine[rng.integers(4), rng.integers(4)] = rng.choice([np.nan, np.inf, 0, -1, 1e300, 1e-300, 3])
    kinds = [
        "float16",
        "float32",
        "uint8",
        "int64",
        "bool",
        "complex64",
        "O",
        "S3",
        "U3",
        "M8[s]",
        "m8[s]",
        "V4",
        "f4,i4",
    ]
    kinds += ["sparse", "bfloat16", "csr", "meta", "tensor", "list", "ragged", "masked", "None"]
    kinds += ["MetaTensor", "nibabel", "SimpleITK"] * 4
    kind = kinds[rng.integers(len(kinds))]
    made: Any = None
    try:
        with np.errstate(all="ignore"):
            made = _object(kind, array, affine, rng)
    except Exception:
        return []  # its library refuses it
    arrays = _arrays(as_image(made, path.name))
    return (
        arrays if isinstance(made, sitk.Image | MetaTensor | nib.Nifti1Image) else [*arrays, as_array(made, path.name)]
    )


def _object(kind: str, array: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> Any:
    tensor = torch.from_numpy(array)
    if kind == "SimpleITK":
        image = sitk.GetImageFromArray(array)
        spacing, origin = (
            rng.choice([1.5, np.nan, np.inf, 1e300, 1e-300], image.GetDimension()).tolist() for _ in "ab"
        )
        if rng.random() < 0.5:
            image.SetSpacing(spacing)
        if rng.random() < 0.5:
            image.SetOrigin(origin)
        return image
    made = {
        "sparse": tensor.to_sparse,
        "csr": lambda: tensor.to_sparse_csr(),
        "bfloat16": tensor.bfloat16,
        "meta": lambda: tensor.to("meta"),
        "tensor": lambda: tensor.requires_grad_(),
        "list": array.tolist,
        "ragged": lambda: [array.tolist(), [1]],
        "masked": lambda: np.ma.masked_array(array, array > 0),
        "None": lambda: None,
        "MetaTensor": lambda: MetaTensor(tensor, affine=torch.from_numpy(affine)),
        "nibabel": lambda: nib.Nifti1Image(array, affine),
    }
    return made[kind]() if kind in made else array.astype(kind)


NIFTI = (flip, truncate, splice, inflate, change_header, change_header, change_header)
TEXT = (flip, truncate, splice, change_text, change_text)
KINDS = {
    "cine.nii": Kind(_nifti(NOISE, "a.nii"), fuzz._read_cine, NIFTI),
    "cine.nii.gz": Kind(_nifti(NOISE, "a.nii.gz"), fuzz._read_cine, NIFTI),
    "mask.nii": Kind(_nifti(DRAWN, "a.nii"), _read_mask, NIFTI),
    "mask.nii.gz": Kind(_nifti(DRAWN, "a.nii.gz"), _read_mask, NIFTI),
    "slice.nii": Kind(_nifti(NOISE[:, :, :1, 0], "a.nii"), _read_slice, NIFTI),
    "field.nii": Kind(_write_field, lambda path: [read_displacement(path)], NIFTI),
    "a.nrrd": Kind(_write_itk("a.nrrd", False), lambda path: _arrays(read_slice(path)), TEXT),
    "b.nrrd": Kind(_write_itk("b.nrrd", True), lambda path: _arrays(read_slice(path)), TEXT),
    "a.mha": Kind(_write_itk("a.mha", False), lambda path: _arrays(read_slice(path)), TEXT),
    "b.mha": Kind(_write_itk("b.mha", True), lambda path: _arrays(read_slice(path)), TEXT),
    "seg.dcm": Kind(_write_seg, lambda path: [read_masks(path, _series())], fuzz.DICOM),
    "rtstruct.dcm": Kind(
        _write_structure_set,
        lambda path: [read_masks(path, _series())],
        (flip, truncate, splice, fuzz.change_dicom, change_contours, change_contours, change_contours),
    ),
    "datalist": Kind(_write_datalist, _read_datalist, (flip, truncate, splice, change_json, change_json, change_json)),
    "pairs": Kind(_write_pairs, _read_pairs, (flip, truncate, splice, change_json, change_json)),
    "object": Kind(_write_seed, _read_object, (change_seed,)),
}
fuzz.KINDS |= KINDS


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=10000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", nargs="*", default=list(KINDS), choices=list(KINDS))
    options = parser.parse_args()
    raise SystemExit(bool(fuzz.run(options.first, options.number, options.seed, options.kind)))
