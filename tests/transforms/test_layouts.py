"""Public data sets in their layouts give the records, frames and structures that were put into them."""

import json
import os
import re
from collections import defaultdict
from multiprocessing.pool import ThreadPool
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from tests.dicom import enhanced_image, group
from tests.layouts import ACDC, MNMS, frames, labels, phantom, save, structures, write_acdc, write_mnms, write_ukb
from transforms import loading
from transforms.cine import fingerprint, scale_intensity
from transforms.cine_files import read_cine_stack
from transforms.datalists import as_datalist
from transforms.errors import InputError
from transforms.layouts import read_folder
from transforms.loading import LoadCined
from transforms.phantom import write_scd
from transforms.sources import read_records
from transforms.structures import STRUCTURES

LOAD = LoadCined(structures=STRUCTURES)


@pytest.fixture(scope="module")
def acdc(tmp_path_factory):
    return write_acdc(tmp_path_factory.mktemp("layouts") / "acdc")


def seed_of(record):
    """Of the phantom that a patient is."""
    number = int(re.sub(r"^A(\d).*|^patient|^1", r"\1", record["patient"]))
    return number - 1 if record["patient"].startswith("patient") else number


def check_all(records):
    """Every record's phases, frames and masks are those of its phantom."""
    for record in records:
        patient, cine = phantom(seed_of(record)), LOAD(record)
        assert (record["ed"], record["es"]) == (patient.ed, patient.es)
        image = frames(patient)[:, :, record["slice"]].T.astype(np.float32)
        low, high = np.percentile(image, (1, 95))
        np.testing.assert_allclose(cine["image"], np.clip((image - low) / (high - low), 0, 1), atol=1e-3)
        assert cine["spacing"] == pytest.approx([1.4, 1.4])
        for structure in STRUCTURES:
            for frame, mask in cine[structure].items():
                np.testing.assert_array_equal(mask, structures(patient, record["slice"], frame)[structure])


def splits(records):
    found = defaultdict(set)
    for record in records:
        found[record["split"]].add(record["patient"])
    return {split: sorted(patients) for split, patients in found.items()}


def drawn(record):
    return {structure: sorted(record[structure]) for structure in STRUCTURES}


def test_acdc(acdc, caplog):
    records = read_folder(acdc)
    check_all(records)
    assert splits(records) == {
        "test": ["patient004"],
        "training": ["patient001", "patient002"],
        "validation": ["patient003"],
    }
    assert "no split is the validation: 1 of the 3 patients" in caplog.text
    caplog.clear()
    assert "validation" not in splits(read_folder(acdc, validation=False))
    assert not caplog.text
    assert {record["pathology"] for record in records} == {"DCM"}
    assert [record["slice"] for record in records] == 4 * [0, 1]
    assert all(drawn(record) == dict.fromkeys(STRUCTURES, sorted((record["ed"], record["es"]))) for record in records)
    for part in (acdc / "database" / "testing", acdc / "database" / "testing" / "patient004"):
        assert [record["patient"] for record in read_folder(part)] == 2 * ["patient004"]
    assert splits(read_folder(acdc / "database" / "testing")) == {"test": ["patient004"]}


def test_mnms(tmp_path):
    records = read_folder(write_mnms(tmp_path))
    check_all(records)
    assert splits(records) == {
        "training": ["A0S9V9", "A1S9V9", "A2S9V9"],
        "validation": ["A3S9V9"],
        "test": ["A4S9V9"],
    }
    assert {record["patient"]: record["pathology"] for record in records if seed_of(record) < 2} == {
        "A0S9V9": "unknown",
        "A1S9V9": "HCM",
    }
    assert all(any(drawn(record).values()) == (seed_of(record) != 2) for record in records)  # that is unlabeled


@pytest.mark.parametrize("copies", [True, False])
def test_uk_biobank(tmp_path, caplog, copies):
    """Frames of ED and ES follow from the copies of them; without, from what the label image fits, which is said."""
    records = read_folder(write_ukb(tmp_path / "ukb", copies=copies))
    check_all(records)
    assert splits(records) == {"training": ["1000000", "1000001"], "validation": ["1000002"]}
    assert ("it fits frame" in caplog.text) != copies
    (tmp_path / "ukb" / "1000000").rename(tmp_path / "ukb" / "elsewhere")
    for split, name in (("train", "1000001"), ("validation", "elsewhere"), ("test", "1000002")):
        (tmp_path / "ukb" / split).mkdir()
        (tmp_path / "ukb" / name).rename(tmp_path / "ukb" / split / name)
    assert splits(read_folder(tmp_path / "ukb")) == {
        "training": ["1000001"],
        "validation": ["elsewhere"],
        "test": ["1000002"],
    }


def test_a_folder_of_studies(tmp_path, caplog):
    scd = write_scd(tmp_path / "scd", patients=3, size=(48, 64), phases=6, slices=2)
    root = tmp_path / "studies"
    root.mkdir()
    for number, series in enumerate(sorted(scd.glob("SCD_IMAGES_*/*"))[:2]):
        series.rename(root / f"dicom{number}")
    save(frames(phantom(7)), root / "c.nii.gz")
    save(frames(phantom(8)), root / "d" / "cine.nii.gz")
    save(labels(phantom(8), 0, ACDC), root / "d" / "mask.nii.gz")
    (root / "notes.txt").write_text("no cine")
    (root / "report").mkdir()
    report = pydicom.dcmread(next((root / "dicom0").rglob("*.dcm")))
    del report.Rows, report.Columns, report.PixelData
    report.save_as(root / "report" / "sr.dcm")
    (root / "table.csv").mkdir()
    records = read_folder(root)
    assert splits(records) == {"training": ["c", "d", "dicom0"], "validation": ["dicom1"]}
    assert re.search(r"left out, no cine: .*report' holds no DICOM file of an image", caplog.text)
    assert re.search(r"left out, no cine: .*mask.nii.gz", caplog.text)
    for record in records:
        assert not any(drawn(record).values())
        assert record["ed"] == 0
        assert record["es"] > 0
        cine = LOAD(record)
        stack = read_cine_stack(root / record["patient"] if "dicom" in record["patient"] else record["frames"][0])
        assert cine["image"].shape == stack.images.shape[1:]
        far = np.abs(stack.images - stack.images[:, :1]).mean((0, 2, 3))
        assert record["es"] == far.argmax()


def write_magnitudes(path, pixels, first=0):
    """A multi-frame DICOM file of (slices, times, H, W), the first of which is the n-th of a stack."""
    items = [
        group(
            PlanePositionSequence={"ImagePositionPatient": [0, 0, 8 * (first + s)]},
            CardiacSynchronizationSequence={"NominalCardiacTriggerDelayTime": 25.0 * t},
        )
        for s, t in np.ndindex(pixels.shape[:2])
    ]
    path.parent.mkdir(exist_ok=True)
    enhanced_image(pixels.reshape(-1, *pixels.shape[2:]), items).save_as(path)


def test_slices_of_multi_frame_dicom(tmp_path):
    """All slices in one file, a file each, and two a file."""
    pixels = np.random.default_rng(0).integers(0, 999, (2, 4, 12, 16)).astype(np.uint16)
    write_magnitudes(tmp_path / "one" / "a.dcm", pixels)
    for number, part in enumerate(pixels):
        write_magnitudes(tmp_path / "several" / f"{number}.dcm", part[None], number)
    more = np.random.default_rng(1).integers(0, 999, (5, 4, 12, 16)).astype(np.uint16)
    for first, count in ((0, 2), (2, 2), (4, 1)):
        write_magnitudes(tmp_path / "two a file" / f"{first}.dcm", more[first : first + count], first)
    records = read_folder(tmp_path)
    assert [(record["patient"], record.get("file_slice")) for record in records] == [
        *(("one", 0), ("one", 1), ("several", None), ("several", None)),
        *(("two a file", number) for number in (0, 1, 0, 1, None)),
    ]
    for record in records:
        expected = scale_intensity((more if record["patient"] == "two a file" else pixels)[record["slice"]])
        np.testing.assert_allclose(LOAD(record)["image"], expected, atol=1e-3)


def test_only_what_is_drawn_on_a_slice_is_listed(tmp_path):
    root = write_acdc(tmp_path, patients=1)
    patient, folder = phantom(0), root / "database" / "testing" / "patient001"
    ed, es = (folder / f"patient001_frame{phase + 1:02d}_gt.nii.gz" for phase in (patient.ed, patient.es))
    volume = labels(patient, patient.ed, ACDC)
    volume[..., 0] = 0
    volume[..., 1][volume[..., 1] == ACDC["rv"]] = 0
    save(volume, ed)
    records = read_folder(root)
    both, one = sorted((patient.ed, patient.es)), [patient.es]
    assert [drawn(record) for record in records] == [
        dict.fromkeys(STRUCTURES, one),
        {"lumen": both, "epicardium": both, "rv": one},
    ]
    save(np.zeros_like(volume), ed)
    es.unlink()
    assert [drawn(record) for record in read_folder(root)] == 2 * [{structure: [] for structure in STRUCTURES}]


def info(folder, text):
    (folder / "Info.cfg").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: info(folder, "ED: 1\nGroup: NOR\n"), r"Info\.cfg: expected the number .* as ES, found ''"),
        (lambda folder: info(folder, "ED: 0\nES: 3\n"), r"Info\.cfg: expected the number .*, from 1, as ED, found '0'"),
        (lambda folder: info(folder, "ED: 7\nES: 3\n"), r"_4d\.nii\.gz: has 6 frames; frame 6, from 0, .* to be ED"),
        (lambda folder: info(folder, "ED: 3\nES: 3\n"), r"_4d\.nii\.gz: expected two phases, found frame 2"),
        (lambda folder: (folder / "patient001_4d.nii.gz").unlink(), r"patient001_4d\.nii\.gz' does not exist"),
        (lambda folder: save(np.ones((9, 9, 2), "u1"), folder / "patient001_frame06_gt.nii.gz"), "frame06_gt.nii.gz: "),
    ],
)
def test_what_is_wrong_in_a_layout_is_named(tmp_path, spoil, message):
    folder = write_acdc(tmp_path, patients=1) / "database" / "testing" / "patient001"
    spoil(folder)
    with pytest.raises((InputError, FileNotFoundError), match=message) as error:
        read_folder(tmp_path)
    assert "\n" not in str(error.value)


def test_what_is_wrong_in_m_and_ms_is_named(tmp_path):
    root = write_mnms(tmp_path)
    table = next(root.glob("*.csv"))
    text = table.read_text()
    table.write_text(text.replace(",5,1,60,,", ",five,1,60,,"))
    with pytest.raises(InputError, match=r"opendataset\.csv: .* as ED of A0S9V9, found 'five'"):
        read_folder(root)
    table.write_text("\n".join(line for line in text.splitlines() if "A4S9V9" not in line))
    labelled = root / "Training" / "Labeled" / "A0S9V9" / "A0S9V9_sa_gt.nii.gz"
    save(labels(phantom(0), 5, MNMS), labelled)
    with pytest.raises(InputError, match=r"A0S9V9_sa_gt\.nii\.gz: expected a label image with time"):
        read_folder(root)


def test_uk_biobank_s_frame_is_not_guessed_from_a_lumen_alone(tmp_path):
    folder = write_ukb(tmp_path, patients=1) / "1000000"
    save(np.uint8(labels(phantom(0), phantom(0).es, MNMS) == MNMS["lumen"]), folder / "label_sa_ES.nii.gz")
    assert read_folder(tmp_path)[0]["es"] == phantom(0).es
    save(frames(phantom(3))[..., 2], folder / "sa_ES.nii.gz")
    with pytest.raises(InputError, match=r"sa_ES\.nii\.gz: expected a copy of one of the 6 frames"):
        read_folder(tmp_path)
    (folder / "sa_ES.nii.gz").unlink()
    with pytest.raises(InputError, match=r"label_sa_ES\.nii\.gz: .*; expected sa_ES\.nii\.gz beside it"):
        read_folder(tmp_path)


def test_a_folder_that_holds_nothing_says_what_was_expected(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    for folder, found in ((tmp_path, "holds no cine"), (tmp_path / "nowhere", "does not exist")):
        with pytest.raises(FileNotFoundError, match=rf"{found}; expected the layout of the Sunnybrook data .* M&Ms"):
            read_folder(folder)


# --- records of one slice out of a file of several ---


def test_a_datalist_keeps_slice_and_labels(acdc, tmp_path):
    records = read_folder(acdc)
    path = tmp_path / "list.json"
    path.write_text(json.dumps(as_datalist(records)))
    again = read_records(path, "")
    assert sorted(again, key=lambda record: (record["patient"], record["slice"])) == sorted(
        records, key=lambda record: (record["patient"], record["slice"])
    )


def _counting(read, reads):
    return lambda path, *more, **options: reads.append(str(path)) or read(path, *more, **options)


def test_a_file_is_read_once_for_all_its_slices(acdc, monkeypatch):
    records = read_folder(acdc)
    reads = []
    for name in ("read_cine_stack", "read_structures"):
        read = getattr(loading, name)
        monkeypatch.setattr(loading, name, _counting(read, reads))
    loading._last_file.cache_clear()
    for record in records:
        LOAD(record)
    assert len(reads) == len(set(reads)) == 4 * 3
    loading._last_file.cache_clear()
    with ThreadPool(2) as pool:  # as MONAI's data sets do
        list(pool.imap(LOAD, records[:2]))
    assert len(reads) == 5 * 3


def test_a_changed_file_is_read_anew_and_has_another_fingerprint(tmp_path):
    root = write_acdc(tmp_path, patients=1)
    record = read_folder(root)[0]
    es = record["es"]
    assert LOAD(record)["rv"][es].any()
    prints = {fingerprint(record)}
    volume = labels(phantom(0), es, ACDC)
    volume[volume == ACDC["rv"]] = 0
    save(volume, Path(record["rv"][es]))
    assert not LOAD(record)["rv"][es].any()
    prints.add(fingerprint(record))
    save(np.flip(frames(phantom(0)), 2), Path(record["frames"][0]))
    flipped = LOAD(record)["image"]
    loading._last_file.cache_clear()
    np.testing.assert_array_equal(flipped, LOAD(record)["image"])
    prints.add(fingerprint(record))
    alone = {**record, **{structure: {} for structure in STRUCTURES}, "rv": {es: record["rv"][es]}}
    prints.add(fingerprint(alone))
    os.utime(record["rv"][es], ns=(1, 1))
    prints.add(fingerprint(alone))
    assert len(prints) == 5


def test_slice_and_labels_are_compared_with_the_files(acdc):
    record = read_folder(acdc)[0]
    with pytest.raises(InputError, match=r"patient004_4d\.nii\.gz: has slices 0 to 1, found 'file_slice' 2"):
        LOAD({**record, "file_slice": 2})
    with pytest.raises(InputError, match="expected one file"):
        LOAD({**record, "frames": 2 * record["frames"]})
    with pytest.raises(InputError, match=r"_4d\.nii\.gz: expected one slice .*'file_slice'"):
        LOAD({key: value for key, value in record.items() if key != "file_slice"})
    with pytest.raises(InputError, match=r"which is the lumen"):
        LOAD({**record, "labels": None})


def test_label_images_of_one_slice(tmp_path, acdc):
    """Frames as files of their own; a label image with time; a slice on which the lumen is not drawn."""
    record = read_folder(acdc)[0]
    patient, es = phantom(seed_of(record)), record["es"]
    cine = nib.load(record["frames"][0])
    names = []
    for time in range(6):
        names.append(str(tmp_path / f"{time}.nii"))
        nib.save(nib.Nifti1Image(np.asarray(cine.dataobj)[:, :, :1, time], cine.affine), names[-1])
    values = np.zeros((64, 48, 1, 6), np.uint8)
    values[..., es] = labels(patient, es, ACDC)[:, :, :1]
    values[..., 0][values[..., es] == ACDC["rv"]] = ACDC["rv"]
    nib.save(nib.Nifti1Image(values, cine.affine), tmp_path / "drawn.nii")
    files = dict.fromkeys((0, es), str(tmp_path / "drawn.nii"))
    single = {"frames": names, "labels": "acdc", "spacing": None, **dict.fromkeys(STRUCTURES, files)}
    loaded = LOAD(single)
    for structure in STRUCTURES:
        np.testing.assert_array_equal(loaded[structure][es], structures(patient, 0, es)[structure])
    assert loaded["rv"][0].any()
    assert not loaded["lumen"][0].any()
    with pytest.raises(InputError, match=r"drawn\.nii: drawn on 6 frames; the cine has 7"):
        LOAD({**single, "frames": [*names, names[0]], "rv": {6: files[es]}})
