"""A beating left ventricle in a chest, whose motion is known: the data of tests and of a first run.

Everything is a smooth function of position, so nothing is interpolated and no truth is an estimate:
the tissue of a slice is painted once, as it lies at ED, and a frame looks it up where the motion says
its pixels came from. Lengths are in mm and points are arrays of shape (2, ...), (row, column), measured
from the middle of the LV at ED, unless a docstring says pixels.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from scipy.interpolate import PchipInterpolator

# Pathology as SCD names it: area ejection fraction, lumen radius and wall thickness at ED (mm), and how
# much of its motion the wall loses in the middle of an infarct. Each is drawn between two ends.
PATHOLOGIES = {
    "Normal": ((0.58, 0.66), (23, 27), (8, 10), (0, 0)),
    "Heart failure with infarct": ((0.54, 0.60), (26, 30), (8, 10), (0.7, 0.95)),
    "Heart failure without infarct": ((0.42, 0.50), (27, 31), (8, 10), (0, 0)),
    "Hypertrophy": ((0.60, 0.68), (20, 24), (12, 15), (0, 0)),
}


def _turn(points: np.ndarray, angle: float | np.ndarray) -> np.ndarray:
    """Turns points about the origin by an angle in radians, from the row axis towards the column axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * points[0] - sin * points[1], sin * points[0] + cos * points[1]])


def _direction(angle: float | np.ndarray) -> np.ndarray:
    """Unit vectors (2, ...), from the column axis (patient's left, on the right) towards the row axis."""
    return np.stack([np.sin(angle), np.cos(angle)])


def _products(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """rows @ columns, (K, I) and (I, N). Not by BLAS, whose threads cost more here than they bring."""
    return np.einsum("ki,in->kn", rows, columns)


@dataclass(frozen=True)
class Motion:
    """Where the tissue of one slice goes: between its place at a phase and its place at ED.

    A pull of the whole heart, then a twist, then a contraction that takes the squared radius p to
    p + contraction · rise(p) · fade(p): inside the wall rise ≈ fade ≈ 1, which keeps its area and so
    thickens it; fade lets the surroundings follow less and less. Each of the three is one to one, so
    nothing folds.
    """

    activation: np.ndarray  # (phases,) 0 at ED, 1 at ES
    shift: np.ndarray  # (phases, 2) mm
    twist: float  # radians at ES
    contraction: float  # mm² at ES, taken off the squared radius
    core: float  # mm², squared radius within which the contraction rises
    infarct: np.ndarray  # (2,) unit direction of its middle
    loss: float  # share of the contraction lost there
    reach: float = 65.0**2  # mm², squared radius where the motion has faded to 1/e

    def to_material(self, points: np.ndarray, phase: int) -> np.ndarray:
        """Places at a phase, (2, ...) mm → places of the same tissue at ED, (2, ...) mm."""
        points = points - self._pull(points, phase)
        squared = np.maximum((points**2).sum(0), 1e-9)
        points = _turn(points, -self._angle(squared, phase))
        material, _ = self._contract(squared, self._hypokinesia(points, squared), phase)
        return points * np.sqrt(material / squared)

    def to_space(self, points: np.ndarray, phase: int) -> np.ndarray:
        """The inverse of `to_material`, by Newton for the radius and a fixed point for the pull."""
        material = np.maximum((points**2).sum(0), 1e-9)
        hypokinesia = self._hypokinesia(points, material)
        slope = 1 + self.activation[phase] * self.contraction / self.core
        # Two lower bounds of the root: Newton climbs to it from there, as the curve is concave.
        squared = np.maximum(material - self.activation[phase] * self.contraction, material / slope)
        for _ in range(10):
            value, slope = self._contract(squared, hypokinesia, phase)
            squared = np.maximum(squared + (material - value) / slope, 1e-12)
        pulled = _turn(points * np.sqrt(squared / material), self._angle(squared, phase))
        points = pulled
        for _ in range(10):
            points = pulled + self._pull(points, phase)
        return points

    def _fade(self, squared: np.ndarray) -> np.ndarray:
        return np.exp(-((squared / self.reach) ** 2))

    def _pull(self, points: np.ndarray, phase: int) -> np.ndarray:
        return np.multiply.outer(self.shift[phase], self._fade((points**2).sum(0)))

    def _angle(self, squared: np.ndarray, phase: int) -> np.ndarray:
        return self.twist * self.activation[phase] * self._fade(squared)

    def _hypokinesia(self, points: np.ndarray, squared: np.ndarray) -> np.ndarray:
        """Share of the contraction lost along each point's direction."""
        cosine = (self.infarct[0] * points[0] + self.infarct[1] * points[1]) / np.sqrt(squared)
        return self.loss * np.exp(2.5 * (cosine - 1))

    def _contract(self, squared: np.ndarray, hypokinesia: np.ndarray, phase: int) -> tuple[np.ndarray, np.ndarray]:
        """Squared radius at a phase → squared radius at ED, and the derivative of this."""
        gone = np.exp(-squared / self.core)
        fade = self._fade(squared)
        near = self.core / 3
        vigour = 1 - hypokinesia * squared / (squared + near)  # the centre has no direction, so no infarct
        value = (1 - gone) * fade * vigour
        slope = (
            gone / self.core * fade * vigour
            - value * 2 * squared / self.reach**2
            - (1 - gone) * fade * hypokinesia * near / (squared + near) ** 2
        )
        amount = self.activation[phase] * self.contraction
        return squared + amount * value, 1 + amount * slope


class Ellipses:
    """A union of ellipses."""

    def __init__(self, *ellipses: tuple[float, float, float, float, float]):
        """Each: centre row and column, half height and half width in mm, turn in radians."""
        row, column, height, width, angle = np.array(ellipses, float).T
        cos, sin = np.cos(angle), np.sin(angle)
        half = np.minimum(height, width) / 2
        down = np.stack([cos, -sin, sin * column - cos * row]) / height
        across = np.stack([sin, cos, -sin * row - cos * column]) / width
        self.axes = [(np.sqrt(half) * axis).T.astype(np.float32) for axis in (down, across)]
        self.half = half[:, None].astype(np.float32)

    def outside(self, points: np.ndarray) -> np.ndarray:
        """Distance in mm beyond the nearest border, about (best along the short axis); negative inside.

        points: (3, N) of row, column, 1. With ρ = 1 on the border it is (ρ² − 1) / 2 · shorter half axis.
        """
        down, across = (_products(axis, points) for axis in self.axes)
        return (down**2 + across**2 - self.half).min(0)


class Anatomy:
    """The tissue of one slice at ED: the outlines of the LV, and the signal at any point.

    The picture is the usual short-axis view: chest wall at the upper left, the right ventricle left of
    the left one, lung at the right, the diaphragm below with liver, stomach and spleen.
    """

    def __init__(self, rng: np.random.Generator, lumen: float, wall: float, depth: float, edge: float):
        """Radii in mm, depth from 0 (base) to 1 (apex), half width of every edge in mm.

        All slices of a patient are given the same state of rng: they differ by depth alone.
        """
        self.radius = {"lumen": lumen, "epicardium": lumen + wall}
        self.edge = edge
        self.tilt = rng.uniform(-0.25, 0.25)
        self.oval = rng.uniform(-0.06, 0.06)
        self.contrast = rng.uniform(0.9, 1.1, 6)
        # The tissue's grain: sums of waves, of wave number (row, column) in radians a mm, and of phase.
        self.waves = np.column_stack([rng.normal(0, 0.3, (8, 2)), rng.uniform(0, 6, 8)]).astype(np.float32)

        def near(*ellipse: float, spread: float = 3.0) -> tuple:
            """The ellipse, somewhat moved and resized."""
            row, column, height, width, angle = ellipse
            height, width = rng.uniform(0.92, 1.08, 2) * (height, width)
            return *rng.normal((row, column), spread), height, width, angle

        def on_wall(angle: float, radius: float, size: float) -> tuple:
            return *_direction(angle) * radius * lumen, size * lumen, size * lumen, 0

        def scatter(number: int, low: tuple, high: tuple, *shape: float) -> Ellipses:
            return Ellipses(*((*rng.uniform(low, high), *shape, rng.uniform(0, 3)) for _ in range(number)))

        self.skin = Ellipses(near(62, 38, 128, 142, 0.5))
        self.fat, self.muscle = rng.uniform(6, 16), rng.uniform(7, 10)
        outer = lumen + wall
        right = outer * (1 - 0.4 * depth)  # the right ventricle ends before the left one
        self.right = Ellipses(near(2, -0.72 * outer, 0.95 * right, 0.85 * right, 0.3, spread=1))
        self.sac = Ellipses((0, 0, 1.1 * outer, 1.06 * outer, 0), (2, -0.7 * outer, 1.1 * right, 0.9 * right + 4, 0.3))
        self.papillaries = Ellipses(
            *(on_wall(angle, 0.72, 0.19) for angle in rng.normal((0.9, -0.8), 0.1)),
            *(on_wall(angle, 0.98, 0.08) for angle in rng.uniform(-2, 2, 8)),  # trabeculae
        )
        self.vessels = scatter(14, (-75, 25), (30, 90), 1.5, 1.5)
        self.summit = rng.uniform(-60, -10)  # column where the diaphragm is highest
        self.floor = 1.02 * outer + rng.uniform(2, 8)  # and its row there
        self.ducts = scatter(12, (self.floor + 8, -90), (self.floor + 60, 10), 1.6, 5)
        self.stomach = Ellipses(near(self.floor + 26, 30, 11, 24, 0.2))
        self.spleen = Ellipses(near(self.floor + 26, 84, 30, 13, -0.1))
        self.spine = Ellipses(near(118, -30, 17, 20, 0))
        self.aorta = Ellipses(near(98, -4, 10, 10, 0))

    def outline(self, structure: str, directions: np.ndarray) -> np.ndarray:
        """Radius of the lumen or epicardium in mm along unit directions (2, ...): slightly oval."""
        row, column = directions
        return self.radius[structure] * (1 + self.oval * (row**2 - column**2))

    def outside(self, structure: str, points: np.ndarray) -> np.ndarray:
        """Distance in mm beyond the border of lumen or epicardium along the radius, negative inside."""
        radius = np.maximum(np.hypot(*points), 1e-6)
        return radius - self.outline(structure, points / radius)

    def signal(self, points: np.ndarray) -> np.ndarray:
        """Signal at points (2, ...) at ED, roughly as a scanner scales it: blood 350, myocardium 95."""
        shape = points.shape[1:]
        points = points.reshape(2, -1).astype(np.float32)
        row, column = _turn(points, self.tilt).astype(np.float32)
        body = np.stack([row, column, np.ones_like(row)])
        blood, muscle, fat, lung, liver, gut = (self.contrast * (350, 95, 400, 16, 115, 190)).tolist()
        image = np.full_like(row, 4)

        def lay(signal: float, *borders: np.ndarray) -> None:
            """Lays a tissue over what is there, inside all the borders (distances, negative inside)."""
            beyond = np.maximum.reduce(borders) / self.edge
            np.add(image, (signal - image) / (1 + np.exp(np.minimum(beyond, 60))), out=image)

        skin = self.skin.outside(body)
        chest = skin + self.fat + self.muscle
        diaphragm = self.floor + (column - self.summit) ** 2 / 600 - row
        lay(fat, skin)
        lay(muscle, skin + self.fat)
        lay(lung, chest)
        lay(0.35 * blood, self.vessels.outside(body), chest)
        lay(liver, chest, diaphragm)
        lay(1.5 * liver, self.ducts.outside(body), chest, diaphragm)
        lay(gut, self.stomach.outside(body), chest, diaphragm + 3)
        lay(0.7 * gut, self.spleen.outside(body), chest, diaphragm + 3)
        lay(1.3 * liver, self.spine.outside(body))
        lay(blood, self.aorta.outside(body))

        right, lumen = self.right.outside(body), self.outside("lumen", points)
        lay(0.6 * fat, self.sac.outside(body), chest)
        lay(muscle, right - 3)
        lay(0.92 * blood, right)
        lay(muscle, self.outside("epicardium", points))
        lay(blood, lumen)
        lay(1.15 * muscle, self.papillaries.outside(body), lumen)
        grain = np.cos(_products(self.waves, body)).sum(0)
        return (image * (1 + 0.02 * grain)).reshape(shape)


class Phantom:
    """One patient: a few short-axis slices over one heartbeat, the same for the same arguments.

    Pathology goes round with the seed. Images smaller than about 112 pixels hold a smaller heart.

    Attributes:
        size: rows and columns of a frame. phases, slices: how many.
        spacing: (row, column) mm.
        thickness: distance between slices, mm.
        ed, es: phase with the largest and with the smallest lumen.
        pathology: one of `PATHOLOGIES`.
    """

    def __init__(self, seed: int, size: tuple[int, int] = (128, 128), phases: int = 20, slices: int = 3):
        if phases < 2 or slices < 1 or min(size) < 32:
            raise ValueError(
                f"a phantom needs 2 phases, 1 slice and 32 pixels a side at least, got {phases} phases, "
                f"{slices} slices, size {tuple(size)}"
            )
        rng = np.random.default_rng(seed)
        self.seed, self.size, self.phases, self.slices = seed, tuple(size), phases, slices
        self.pathology = list(PATHOLOGIES)[seed % len(PATHOLOGIES)]
        self.spacing = (round(rng.uniform(1.25, 1.4), 4),) * 2
        self.thickness = float(rng.choice([8, 10]))
        self.ed = phases - 1 - int(phases >= 10 and rng.random() < 0.3)
        self.es = int(phases * rng.uniform(0.3, 0.44))
        self._mm = np.array(self.spacing) * max(1, 112 / min(size))  # of the heart, a pixel
        lean = np.outer(np.arange(slices) - (slices - 1) / 2, rng.uniform(-2, 2, 2))  # of the long axis
        self._centres = (np.array(size) - 1) / 2 + rng.uniform(-4, 4, 2) + lean  # of the LV, pixels
        self._coil = _direction(rng.uniform(-2.4, -0.8)) * rng.uniform(0.5, 1)
        self._noise = rng.uniform(5, 10)
        self._anatomies, self._motions = zip(*self._build(rng), strict=True)

    def cine(self, slice: int, noise: bool = True) -> np.ndarray:
        """Frames (phases, H, W) float32 of a slice, 0 to about 1000.

        Without noise the coil's uneven field, which does not move with the heart, is left out too: then a
        frame warped with `displacement` is the other frame.
        """
        anatomy = self._anatomies[slice]
        frames = np.stack([anatomy.signal(self._material(slice, phase)) for phase in range(self.phases)])
        if not noise:
            return frames
        rng = np.random.default_rng([self.seed, slice % self.slices])
        row, column = self._pixels() / np.reshape(self.size, (2, 1, 1)) - 0.5
        field = np.exp(self._coil[0] * row + self._coil[1] * column - 0.5 * (row**2 + column**2))
        real, imaginary = self._noise * rng.standard_normal((2, *frames.shape), dtype=np.float32)
        return np.hypot(frames * field.astype(np.float32) + real, imaginary)  # the magnitude: Rician

    def lumen(self, slice: int, phase: int) -> np.ndarray:
        """Mask (H, W) of the pixels whose centre lies in the LV's lumen, papillary muscles included."""
        return self._anatomies[slice].outside("lumen", self._material(slice, phase)) < 0

    def epicardium(self, slice: int, phase: int) -> np.ndarray:
        """Mask (H, W) of the pixels whose centre lies in the LV, lumen and wall."""
        return self._anatomies[slice].outside("epicardium", self._material(slice, phase)) < 0

    def displacement(self, slice: int, moving_phase: int, fixed_phase: int) -> np.ndarray:
        """True DDF (2, H, W) float32, pixels, (row, column): fixed(x) = moving(x + ddf(x))."""
        if moving_phase == fixed_phase:
            return np.zeros((2, *self.size), np.float32)  # exactly
        moved = self._to_pixels(slice, moving_phase, self._material(slice, fixed_phase))
        return (moved - self._pixels()).astype(np.float32)

    def contour(self, slice: int, phase: int, structure: str, points: int = 240) -> np.ndarray:
        """Border of "lumen" or "epicardium" as SCD's files hold it: (points, 2) x, y in pixels, open.

        Pixel (r, c) covers x in [c, c + 1) and y in [r, r + 1), and every pixel that the contour crosses
        belongs to the structure. So half a pixel is added, and the border is drawn inside the true one, by
        0.58 pixels: the filled contour then has the area of the mask.
        """
        if structure not in ("lumen", "epicardium"):
            raise ValueError(f'structure must be "lumen" or "epicardium", got {structure!r}')
        directions = _direction(np.linspace(0, 2 * np.pi, points, endpoint=False))
        border = directions * self._anatomies[slice].outline(structure, directions)
        row, column = self._to_pixels(slice, phase, border)
        along_row, along_column = np.roll((row, column), -1, 1) - np.roll((row, column), 1, 1)
        inwards = np.stack([-along_row, along_column]) * 0.58 / np.hypot(along_row, along_column)  # x, y
        return (np.stack([column, row]) + 0.5 + inwards).T

    def _build(self, rng: np.random.Generator) -> list[tuple[Anatomy, Motion]]:
        """Anatomy and motion of each slice, base first."""
        fraction, radius, wall, loss = (rng.uniform(*ends) for ends in PATHOLOGIES[self.pathology])
        since = (np.arange(self.phases) - self.ed) % self.phases / self.phases
        peak = since[self.es]
        rest = 1 - peak
        # Contraction, fast filling, rest, the atrium's kick.
        times = [0, 0.5 * peak, peak, peak + 0.4 * rest, peak + 0.75 * rest, 1]
        activation = PchipInterpolator(times, [0, 0.6, 1, 0.35, 0.22, 0])(since)
        swing = np.sin(2 * np.pi * since)
        shift = np.outer(activation, rng.normal(0, 1.2, 2)) + np.outer(swing, rng.normal(0, 0.6, 2))
        infarct = _direction(rng.uniform(0, 2 * np.pi))
        twists = np.radians(rng.uniform((-6, 4), (-2, 10)))  # base one way, apex the other
        same = rng.integers(2**32)

        slices = []
        for depth in np.linspace(0, 1, self.slices) if self.slices > 1 else [0.5]:
            lumen = radius * (1 - 0.35 * depth**2)
            thickness = wall * (1 - 0.2 * depth)
            anatomy = Anatomy(np.random.default_rng(same), lumen, thickness, depth, edge=0.35 * self._mm[0])
            core = (0.4 * lumen) ** 2
            # So that the lumen's squared radius at ES is 1 − fraction of that at ED.
            contraction = fraction * lumen**2 / -np.expm1(-(1 - fraction) * lumen**2 / core)
            twist = twists[0] + depth * (twists[1] - twists[0])
            slices.append((anatomy, Motion(activation, shift, twist, contraction, core, infarct, loss)))
        return slices

    def _pixels(self) -> np.ndarray:
        """Pixel centres (2, H, W)."""
        return np.indices(self.size, dtype=float)

    def _material(self, slice: int, phase: int) -> np.ndarray:
        """Where the tissue in each pixel of a frame lies at ED, (2, H, W) mm."""
        points = (self._pixels().T - self._centres[slice]) * self._mm
        return self._motions[slice].to_material(points.T, phase)

    def _to_pixels(self, slice: int, phase: int, points: np.ndarray) -> np.ndarray:
        """Where tissue that lies at points (2, ...) mm at ED is found in a frame, (2, ...) pixels."""
        points = self._motions[slice].to_space(points, phase)
        return (points.T / self._mm + self._centres[slice]).T


def write_scd(
    folder: str | Path,
    patients: int = 12,
    size: tuple[int, int] = (128, 128),
    phases: int = 20,
    slices: int = 3,
    seed: int = 0,
) -> Path:
    """Writes phantoms as SCD is distributed: DICOM, contour files, and the table of patients.

    `splits.csv` (patient, split) is added, since these patients are in no list of the 2009 challenge:
    about two thirds training, the rest half validation, half online. The folder appears whole or not at
    all. Two seeds share no patient.

    Raises:
        FileExistsError: the folder is there already and not empty.
        ValueError: fewer than three patients, who cannot fill three splits.
    """
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder: choose another, or empty it")
    if patients < 3:
        raise ValueError(f"one patient in each of three splits needs 3 patients at least, got {patients}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    unfinished.mkdir()
    try:
        held_out = max(1, round(patients / 6))
        splits = ["training"] * (patients - 2 * held_out) + ["validation"] * held_out + ["online"] * held_out
        table, lists = ["PatientID,OriginalID,Gender,Age,Pathology"], ["patient,split"]
        for number, split in enumerate(splits, 1):
            phantom = Phantom(seed * 10_000 + number - 1, size, phases, slices)
            name, images = f"PH-{number:02d}", f"SCD{number:05d}01"
            _write_cines(unfinished / "SCD_IMAGES_01" / images / "CINESAX_300", phantom, images)
            contours = unfinished / "SCD_ManualContours" / name / "contours-manual" / "IRCCI-expert"
            _write_contours(contours, phantom)
            gender, age = ("Female", "Male")[number % 2], 30 + 7 * number % 50
            table.append(f"{images},PH-{number},{gender},{age},{phantom.pathology}")
            lists.append(f"{name},{split}")
        (unfinished / "scd_patientdata.csv").write_text("\n".join(table) + "\n", encoding="utf-8-sig")
        (unfinished / "splits.csv").write_text("\n".join(lists) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def _write_contours(folder: Path, phantom: Phantom) -> None:
    """Lumen at ED and ES, epicardium at ED alone, as SCD has them."""
    folder.mkdir(parents=True)
    kinds = [("i", "lumen", phantom.ed), ("i", "lumen", phantom.es), ("o", "epicardium", phantom.ed)]
    for slice in range(phantom.slices):
        for letter, structure, phase in kinds:
            file = f"IM-0001-{slice * phantom.phases + phase + 1:04d}-{letter}contour-manual.txt"
            np.savetxt(folder / file, phantom.contour(slice, phase, structure), fmt="%.2f")


def _write_cines(folder: Path, phantom: Phantom, patient: str) -> None:
    """One DICOM file a frame, int16; InstanceNumber goes through the phases of a slice, then on."""
    folder.mkdir(parents=True)
    source = [patient, *map(str, (phantom.seed, phantom.size, phantom.phases, phantom.slices))]

    def uid(of: str) -> str:
        return generate_uid(entropy_srcs=[*source, of])

    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # put right as it is written
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    # With preamble and complete file meta, pydicom 2 and 3 both write the standard's file format.
    image = FileDataset("", {}, preamble=bytes(128), file_meta=meta, is_implicit_VR=False)
    across, down = np.array([0, 0.6, -0.8]), np.array([-0.8, -0.48, -0.36])  # oblique, as a true short axis
    rows, columns = phantom.size
    corner = -(across * phantom.spacing[1] * (columns - 1) + down * phantom.spacing[0] * (rows - 1)) / 2
    beat = 700 + phantom.seed % 7 * 50  # ms
    # fmt: off
    header = {
        "SpecificCharacterSet": "ISO_IR 100", "ImageType": ["DERIVED", "SECONDARY", "CARDIAC", "PHANTOM"],
        "SOPClassUID": MRImageStorage, "StudyInstanceUID": uid("study"), "SeriesInstanceUID": uid("series"),
        "StudyDate": "", "StudyTime": "", "AccessionNumber": "", "ReferringPhysicianName": "", "StudyID": "",
        "PatientName": f"Phantom^{patient}", "PatientID": patient, "PatientBirthDate": "", "PatientSex": "",
        "SeriesDescription": "Synthetic short-axis cine, no person", "SeriesNumber": 300, "Modality": "MR",
        "Manufacturer": "monai-dirnet", "ManufacturerModelName": "phantom", "PatientPosition": "HFS",
        "ScanningSequence": "GR", "SequenceVariant": "SS", "ScanOptions": "", "MRAcquisitionType": "2D",
        "EchoTime": "", "EchoTrainLength": "", "NominalInterval": beat,
        "CardiacNumberOfImages": phantom.phases, "PositionReferenceIndicator": "",
        "FrameOfReferenceUID": uid("frame of reference"), "ImageOrientationPatient": [*across, *down],
        "SliceThickness": phantom.thickness, "SpacingBetweenSlices": phantom.thickness,
        "Rows": rows, "Columns": columns, "PixelSpacing": list(phantom.spacing),
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 1,
        "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "WindowCenter": 300, "WindowWidth": 600,
    }
    # fmt: on
    for keyword, value in header.items():
        setattr(image, keyword, value)
    for slice in range(phantom.slices):
        image.SliceLocation = location = slice * phantom.thickness
        position = corner + location * np.cross(across, down)
        image.ImagePositionPatient = [f"{v:.4f}" for v in position]
        for phase, frame in enumerate(phantom.cine(slice)):
            image.InstanceNumber = number = slice * phantom.phases + phase + 1
            image.TriggerTime = f"{beat * phase / phantom.phases:.3f}"
            image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = uid(str(number))
            image.PixelData = frame.round().clip(0, 32767).astype("<i2").tobytes()
            image.save_as(folder / f"IM-0001-{number:04d}.dcm")
