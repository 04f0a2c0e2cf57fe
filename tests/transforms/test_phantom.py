"""The phantom's truth is true, and what it writes is what SCD looks like."""

import csv

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from transforms.phantom import PATHOLOGIES, Phantom, write_scd


@pytest.fixture(scope="module", params=range(4), ids=list(PATHOLOGIES))
def phantom(request):
    return Phantom(request.param)


def warp(moving, ddf):
    return map_coordinates(moving, np.indices(moving.shape) + ddf, order=3, mode="nearest")


def fill(contour, size):
    """The rule by which SCD's contour files give SCD's PNG masks."""
    mask = Image.new("L", size[::-1])
    ImageDraw.Draw(mask).polygon([(int(x), int(y)) for x, y in contour], fill=1, outline=1)
    return np.array(mask, bool)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_true_displacement_turns_moving_into_fixed(phantom):
    for slice in range(phantom.slices):
        cine = phantom.cine(slice, noise=False)
        for moving, fixed in ((phantom.es, phantom.ed), (phantom.ed, phantom.es), (3, 12)):
            ddf = phantom.displacement(slice, moving, fixed)
            before = np.abs(cine[moving] - cine[fixed]).mean()
            # Tissue from beyond the image's border cannot be there, so a margin is left out.
            after = np.abs(warp(cine[moving], ddf) - cine[fixed])[8:-8, 8:-8].mean()
            assert after < 0.15 * before
            lumen = warp(phantom.lumen(slice, moving).astype(float), ddf) > 0.5
            assert dice(lumen, phantom.lumen(slice, fixed)) > 0.96


def test_displacement_is_row_column_pixels_pulled_back():
    """A point followed through the field lands on the same tissue: its place at ED is the same."""
    phantom = Phantom(5, size=(96, 128))
    ddf = phantom.displacement(0, phantom.es, phantom.ed)
    assert ddf.shape == (2, 96, 128)
    assert ddf.dtype == np.float32
    material = phantom._material(0, phantom.es)
    found = np.stack([warp(axis, ddf) for axis in material])
    expected = phantom._material(0, phantom.ed)
    inside = (slice(None), slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.01)
    there, back = (phantom.displacement(0, *pair) for pair in ((3, 12), (12, 3)))
    round_trip = back + np.stack([warp(axis, back) for axis in there])
    assert np.abs(round_trip[inside]).max() < 0.01


def test_same_phase_is_not_displaced(phantom):
    assert not phantom.displacement(1, 4, 4).any()


def test_no_folding(phantom):
    for pair in ((phantom.es, phantom.ed), (phantom.ed, phantom.es)):
        for slice in range(phantom.slices):
            place = np.indices(phantom.size) + phantom.displacement(slice, *pair)
            down, across = np.diff(place, axis=1), np.diff(place, axis=2)
            for rows in ([0, -1], [1, None]):  # forward and backward differences, both ways
                for columns in ([0, -1], [1, None]):
                    d, a = down[:, :, columns[0] : columns[1]], across[:, rows[0] : rows[1]]
                    assert (d[0] * a[1] - d[1] * a[0]).min() > 0.05


def test_heart_beats_as_hearts_do(phantom):
    for slice in range(phantom.slices):
        lumen = np.array([phantom.lumen(slice, phase).sum() for phase in range(20)])
        wall = np.array([phantom.epicardium(slice, phase).sum() for phase in range(20)]) - lumen
        assert lumen.argmax() == phantom.ed
        assert lumen.argmin() == phantom.es
        assert 0.35 < 1 - lumen.min() / lumen.max() < 0.75
        assert 0.85 < wall[phantom.es] / wall[phantom.ed] < 1.1
    base, apex = (phantom.lumen(slice, phantom.ed).sum() for slice in (0, 2))
    assert apex < 0.6 * base


def test_infarct_moves_less_than_the_wall_across():
    phantom = Phantom(1)
    assert phantom.pathology == "Heart failure with infarct"
    motion = phantom._motions[0]
    wall = 27 * np.stack([motion.infarct, -motion.infarct], axis=1)
    infarct, across = 27 - np.hypot(*(motion.to_space(wall, phantom.es) - motion.shift[phantom.es][:, None]))
    assert infarct < 0.6 * across


def test_blood_is_bright_and_myocardium_dark(phantom):
    frame = phantom.cine(0)[phantom.ed]
    assert frame.dtype == np.float32
    assert 0 <= frame.min() < 50
    assert 300 < frame.max() < 1500
    lumen, heart = phantom.lumen(0, phantom.ed), phantom.epicardium(0, phantom.ed)
    assert np.median(frame[lumen]) > 2 * np.median(frame[heart & ~lumen])


def test_seed_fixes_everything():
    one, same, other = Phantom(3, slices=1), Phantom(3, slices=1), Phantom(7, slices=1)
    np.testing.assert_array_equal(one.cine(0), same.cine(0))
    np.testing.assert_array_equal(one.displacement(0, 2, 9), same.displacement(0, 2, 9))
    assert one.spacing != other.spacing
    assert np.abs(one.cine(0) - other.cine(0)).mean() > 10


def test_filled_contour_is_the_mask(phantom):
    for slice in range(phantom.slices):
        for structure in ("lumen", "epicardium"):
            for phase in (phantom.ed, phantom.es):
                mask = fill(phantom.contour(slice, phase, structure), phantom.size)
                assert dice(mask, getattr(phantom, structure)(slice, phase)) > 0.98
    with pytest.raises(ValueError, match="atrium"):
        phantom.contour(0, 0, "atrium")


@pytest.mark.parametrize("wrong", [{"phases": 1}, {"slices": 0}, {"size": (16, 128)}])
def test_impossible_phantom_is_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        Phantom(0, **wrong)


def test_scd_layout(tmp_path):
    folder = write_scd(tmp_path / "new" / "scd", patients=6, size=(64, 80), phases=5, slices=2)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["scd"]
    text = (folder / "scd_patientdata.csv").read_text(encoding="utf-8")
    assert text.startswith("\ufeffPatientID,OriginalID,Gender,Age,Pathology\nSCD0000101,PH-1,")
    patients = list(csv.DictReader(text[1:].splitlines()))
    assert len(patients) == 6
    assert {row["Pathology"] for row in patients} == set(PATHOLOGIES)
    splits = list(csv.DictReader((folder / "splits.csv").read_text().splitlines()))
    assert [row["patient"] for row in splits] == [f"PH-{n:02d}" for n in range(1, 7)]
    assert [row["split"] for row in splits] == ["training"] * 4 + ["validation", "online"]

    phantom = Phantom(1, (64, 80), 5, 2)  # the second patient of seed 0
    files = sorted((folder / "SCD_IMAGES_01/SCD0000201/CINESAX_300").iterdir())
    assert [file.name for file in files] == [f"IM-0001-{n:04d}.dcm" for n in range(1, 11)]
    images = [pydicom.dcmread(file) for file in files]
    for number, image in enumerate(images, 1):
        slice, phase = divmod(number - 1, 5)
        assert image.InstanceNumber == number
        assert image.PixelSpacing == list(phantom.spacing)
        assert image.SliceLocation == slice * phantom.thickness
        assert image.file_meta.TransferSyntaxUID.name == "Explicit VR Little Endian"
        assert image.pixel_array.dtype == np.int16
        np.testing.assert_allclose(image.pixel_array, phantom.cine(slice)[phase], atol=0.51)
    assert len({image.SOPInstanceUID for image in images}) == 10
    assert len({image.SeriesInstanceUID for image in images}) == 1
    across, down = np.reshape(images[0].ImageOrientationPatient, (2, 3)).astype(float)
    step = np.subtract(images[5].ImagePositionPatient, images[0].ImagePositionPatient).astype(float)
    np.testing.assert_allclose(step, -np.cross(across, down) * phantom.thickness, atol=1e-3)  # from base to apex

    contours = folder / "SCD_ManualContours/PH-02/contours-manual/IRCCI-expert"
    expected = {}
    for slice in range(2):
        for phase, letter, structure in (
            (phantom.ed, "i", "lumen"),
            (phantom.es, "i", "lumen"),
            (phantom.ed, "o", "epicardium"),
        ):
            name = f"IM-0001-{5 * slice + phase + 1:04d}-{letter}contour-manual.txt"
            expected[name] = getattr(phantom, structure)(slice, phase)
    assert {file.name for file in contours.iterdir()} == set(expected)
    for name, mask in expected.items():
        assert dice(fill(np.loadtxt(contours / name), phantom.size), mask) > 0.95  # 100 pixels and fewer


def test_same_seed_writes_same_bytes_and_other_seed_other_patients(tmp_path):
    one, same, other = (
        write_scd(tmp_path / name, 3, (32, 32), 2, 1, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    names = sorted(file.relative_to(one) for file in one.rglob("*") if file.is_file())
    assert all((one / name).read_bytes() == (same / name).read_bytes() for name in names)
    image = "SCD_IMAGES_01/SCD0000101/CINESAX_300/IM-0001-0001.dcm"
    assert (one / image).read_bytes() != (other / image).read_bytes()


def test_writes_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="mine exists and is not an empty folder"):
        write_scd(tmp_path / "mine")
    assert [(file.name, file.read_text()) for file in (tmp_path / "mine").iterdir()] == [("note.txt", "keep")]

    with pytest.raises(ValueError, match="3 patients"):
        write_scd(tmp_path / "few", patients=2)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("transforms.phantom.scd_files._write_contours", fail)
    with pytest.raises(OSError, match="disk full"):
        write_scd(tmp_path / "broken", 3, (32, 32), 2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    monkeypatch.undo()

    (tmp_path / "empty").mkdir()
    assert write_scd(tmp_path / "empty", 3, (32, 32), 2, 1) == tmp_path / "empty"


def test_the_right_ventricle():
    """Beside the left one, as bright as blood, on the side of the lesser columns."""
    phantom = Phantom(1, slices=2)
    for phase in (phantom.ed, phantom.es):
        rv, outer = phantom.rv(0, phase), phantom.epicardium(0, phase)
        assert not (rv & outer).any()
        assert np.argwhere(rv)[:, 1].mean() < np.argwhere(outer)[:, 1].mean() - 15
        image = phantom.cine(0, noise=False)[phase]
        assert np.median(image[rv]) == pytest.approx(np.median(image[phantom.lumen(0, phase)]), rel=0.2)
