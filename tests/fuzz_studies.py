"""More inputs for :mod:`tests.fuzz`: enhanced MR, label map, fractional and several-segment DICOM Segmentations,
structure sets of several ROIs, 3D Slicer's files, saved masks, stacks, and the layouts of public data sets.

``python -m tests.fuzz_studies --number 10000`` damages these alone.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom import config

from dirnet.cine.saving import LABELS, write_masks
from dirnet.files.dicom import write_segmentation, write_structure_set
from dirnet.files.segments import write_segments
from tests import fuzz
from tests.dicom import mr_image, write_enhanced, write_segmentation_by_highdicom
from tests.fuzz import Kind, flip, splice, truncate
from tests.fuzz_nifti import VALUES, change_text
from tests.layouts import write_acdc, write_mnms, write_ukb
from transforms.cine_files import CineStack, read_cine_stack
from transforms.drawings import read_keyframes, read_structures
from transforms.layouts import read_folder
from transforms.loading import LoadCined
from transforms.phantom import write_scd
from transforms.saved_masks import describe
from transforms.stacks import read_slices

PIXELS = np.random.default_rng(0).integers(1, 255, size=(2, 3, 24, 32), dtype=np.uint8)  # slice, time, row, column
ORDER = [(slice_, time) for time in (2, 0, 1) for slice_ in (1, 0)]


# --- how they are damaged ---


def change_items(content: bytes, rng: np.random.Generator) -> bytes:
    """Elements anywhere, those of sequences within sequences too, are absent or hold what no valid file has."""
    with config.disable_value_validation():
        dataset = pydicom.dcmread(io.BytesIO(content))
        found = [(item, element) for item, element in _elements(dataset) if element.tag != 0x7FE00010]
        for at in rng.choice(len(found), rng.integers(1, 4)):
            item, element = found[at]
            if element.tag not in item:
                continue
            if rng.random() < 0.25:
                del item[element.tag]
            elif element.VR == "SQ":
                item[element.tag].value = [list(element.value) * 2, [], [pydicom.Dataset()]][rng.integers(3)]
            elif element.VR in ("US", "UL", "SS", "FD", "FL", "AT", "OW", "OB", "OF"):
                item[element.tag] = fuzz._raw(element.tag, element.VR, rng.bytes(int(rng.choice([0, 2, 4, 8]))))
            else:
                value = [text.encode() for text in (*fuzz.TEXTS, "1\\2\\3", "LABELMAP", "PHASE", "1.2.3")]
                item[element.tag] = fuzz._raw(element.tag, element.VR, value[rng.integers(len(value))])
        out = io.BytesIO()
        try:
            dataset.save_as(out)
        except Exception:  # pydicom does not write everything
            return splice(content, rng)
    return out.getvalue()


def _elements(dataset: pydicom.Dataset) -> Iterable[tuple[pydicom.Dataset, pydicom.DataElement]]:
    for element in dataset:
        yield dataset, element
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item)


def change_words(content: bytes, rng: np.random.Generator) -> bytes:
    """Words of a text file are others, or lines are."""
    lines = content.decode(errors="replace").splitlines() or [""]
    texts = [str(value) for value in (*VALUES, *fuzz.TEXTS, "1.0", "٣", "A0S9V9", "patient001")]
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(lines)))
        parts = lines[at].replace(":", ":\0").replace(",", ",\0").split("\0")
        parts[rng.integers(len(parts))] = texts[rng.integers(len(texts))]
        lines[at] = ["".join(parts), "", lines[at] * 2][rng.integers(3)]
    return "\n".join(lines).encode(errors="replace")


# --- what is made and read ---


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    write_scd(folder / "phantom", patients=3, size=(32, 40), phases=3, slices=2)
    write_acdc(folder / "acdc", 2)
    write_mnms(folder / "mnms")
    write_ukb(folder / "ukb", 2)
    return folder


@functools.cache
def _series() -> CineStack:
    return read_cine_stack(next((_folder() / "phantom").glob("SCD_IMAGES_01/*/*")))


def _drawn() -> dict[str, np.ndarray]:
    masks = {name: np.zeros(_series().images.shape, bool) for name in ("lumen", "epicardium", "rv")}
    masks["lumen"][:, 1, 8:16, 10:20] = masks["epicardium"][:, 1, 6:18, 8:22] = True
    masks["rv"][0, 1, 8:14, 24:30] = True
    return masks


def _write_seg(folder: Path) -> Path:
    write_segmentation(folder / "seg.dcm", _drawn(), _series().files)
    return folder / "seg.dcm"


def _write_kind(kind: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        pixels = _drawn()["lumen"][:, 1].astype(np.float32 if kind == "FRACTIONAL" else np.uint8)
        images = [files[1] for files in _series().files]
        return write_segmentation_by_highdicom(folder / "seg.dcm", images, pixels, kind)

    return make


def _write_structure_set(folder: Path) -> Path:
    write_structure_set(folder / "rtstruct.dcm", _drawn(), _series().files)
    return folder / "rtstruct.dcm"


def _write_slicer(folder: Path) -> Path:
    cine, drawn = _series(), _drawn()
    labels = np.where(drawn["lumen"], 1, np.where(drawn["epicardium"], 2, 0)).astype(np.uint8)[:, 1]
    grid = sitk.Image([*cine.grids[0].GetSize()[:2], 2], sitk.sitkUInt8)
    grid.SetSpacing((*cine.grids[0].GetSpacing()[:2], cine.distance))
    grid.SetOrigin(cine.grids[0].GetOrigin())
    grid.SetDirection(cine.grids[0].GetDirection())
    write_segments(folder / "a.seg.nrrd", labels, {"lumen": 1, "myocardium": 2}, grid)
    return folder / "a.seg.nrrd"


def _write_saved(folder: Path) -> Path:
    masks = folder / "a_masks.nii.gz"
    write_masks(masks, _drawn(), _series())
    frames = {"lumen": {0: [1], 1: [1]}, "epicardium": {0: [1], 1: [1]}, "rv": {0: [1]}}
    about = describe(masks, LABELS, frames, {"lumen": {1: {1: "network, mended"}}})
    (folder / "a_masks.json").write_text(json.dumps(about))
    return folder


def _read_saved(folder: Path) -> list[np.ndarray]:
    return list(read_keyframes([folder / "a_masks.nii.gz"], _series()).values())


def _read_drawing(path: Path) -> list[np.ndarray]:
    return list(read_structures(path, _series(), lumen_needed=False).values())


def _write_stack(folder: Path) -> Path:
    for number in range(3):
        image = mr_image(PIXELS[0, number], InstanceNumber=number + 1)
        image.ImagePositionPatient = [0, 0, 8 * number]
        image.save_as(folder / f"{number}.dcm")
    return folder


def _read_stack(path: Path) -> list[np.ndarray]:
    image, _ = read_slices(path)
    return [
        sitk.GetArrayFromImage(image),
        *map(np.array, (image.GetSpacing(), image.GetOrigin(), image.GetDirection())),
    ]


def _layout(name: str, table: str) -> Callable[[Path], Path]:
    """A data set of links, its table a file of its own, which alone is damaged."""

    def make(folder: Path) -> Path:
        for source in (_folder() / name).rglob("*"):
            if not source.is_file():
                continue
            target = folder / "set" / source.relative_to(_folder() / name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.match(table):
                target.write_bytes(source.read_bytes())
            else:
                target.symlink_to(source)
        return folder / "set"

    return make


def _read_layout(path: Path) -> Iterable[np.ndarray]:
    for record in read_folder(path):
        item = LoadCined(structures=("lumen", "epicardium", "rv"))(record)
        yield from (item["image"].numpy(), np.array(item["spacing"]))


ITEMS = (flip, truncate, splice, fuzz.change_dicom, change_items, change_items, change_items)
KINDS = {
    "enhanced": Kind(lambda folder: write_enhanced(folder / "a.dcm", PIXELS, ORDER), fuzz._read_cine, ITEMS),
    "segments": Kind(_write_seg, _read_drawing, ITEMS),
    "label map": Kind(_write_kind("LABELMAP"), _read_drawing, ITEMS),
    "fractional": Kind(_write_kind("FRACTIONAL"), _read_drawing, ITEMS),
    "rois": Kind(_write_structure_set, _read_drawing, ITEMS),
    "slicer": Kind(_write_slicer, _read_drawing, (flip, truncate, splice, change_text, change_words, change_words)),
    "saved": Kind(_write_saved, _read_saved, (flip, truncate, splice)),
    "stack": Kind(_write_stack, _read_stack, ITEMS),
}
fuzz.KINDS |= KINDS

# whose tables alone are damaged; what is read names a file of the layout
TABLES = {
    "acdc": (_layout("acdc", "Info.cfg"), "Info.cfg"),
    "mnms": (_layout("mnms", "*.csv"), "*.csv"),
}


def find_layout_faults(numbers: Iterable[int], seed: int) -> list[str]:
    """Faults of layouts whose tables are damaged, a line each; of :func:`tests.fuzz.fault`'s contract all but that the
    folder is named: a file in it is."""
    found = []
    for number in numbers:
        rng = np.random.default_rng((seed, number))
        name = list(TABLES)[number % len(TABLES)]
        make, table = TABLES[name]
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder))
            tables = sorted(path.rglob(table))
            file = tables[rng.integers(len(tables))]
            mutation = (flip, truncate, splice, change_words, change_words, change_words)[rng.integers(6)]
            file.write_bytes(mutation(file.read_bytes(), rng))
            trouble = fuzz.fault(Kind(make, _read_layout), path)
            if trouble and not (trouble.startswith("is not one line") and folder in trouble and "\\n" not in trouble):
                found.append(f"{number} ({name}, {mutation.__name__}): {trouble}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=10000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--layouts", type=int, default=0, help="so many of the tables of layouts besides")
    options = parser.parse_args()
    faults = fuzz.run(options.first, options.number, options.seed, options.kind)
    layouts = find_layout_faults(range(options.layouts), options.seed)
    print("\n".join(layouts))
    print(f"{options.number} + {options.layouts} inputs, {len(faults) + len(layouts)} faults")
    raise SystemExit(bool(faults or layouts))
