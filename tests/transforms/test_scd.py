"""A folder in SCD's layout, real or a phantom's, to records: who, which split, which phases, which contours."""

import csv
import json
import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transforms.cine import ASSUMED_SPACING, rasterise, read_contour, read_mask
from transforms.loading import LoadCined
from transforms.phantom import Phantom
from transforms.scd import _read_splits, scan
from transforms.sources import read_records

DICOM_PATIENTS = {"SC-HF-I-01", "SC-HF-I-02", "SC-HF-I-04", "SC-HF-I-05", "SC-HF-I-06"}  # of ../shared/data


@pytest.fixture(scope="module")
def scd_dir(scd_dir):
    if not (scd_dir / "SCD_EDES_PNG").is_dir():
        pytest.skip(f"SCD_DIR, {scd_dir}, holds no SCD_EDES_PNG to compare with")
    return scd_dir


@pytest.fixture(scope="module")
def scd(scd_dir):
    return scan(scd_dir)


@pytest.fixture
def copy(phantom_dir, tmp_path):
    """A copy of the phantoms to spoil: folders of its own, files of the original."""
    return Path(shutil.copytree(phantom_dir, tmp_path / "copy", copy_function=lambda a, b: Path(b).symlink_to(a)))


def rewrite(path, text):
    path.unlink()  # a link
    path.write_text(text)


# --- the real data ---


def test_scd_counts(scd):
    patients = {(record["split"], record["patient"]) for record in scd}
    assert Counter(split for split, _ in patients) == {"training": 15, "validation": 14, "test": 15}
    assert "SC-N-06" not in {patient for _, patient in patients}
    assert Counter(record["split"] for record in scd) == {"training": 132, "validation": 124, "test": 132}
    drawn = [record for record in scd if {record["ed"], record["es"]} <= set(record["lumen"])]
    assert Counter(record["split"] for record in drawn) == {"training": 125, "validation": 122, "test": 132}
    assert {record["patient"] for record in scd if len(record["frames"]) == 20} == DICOM_PATIENTS
    assert sum(len(record["frames"]) == 20 for record in scd) == 57
    assert len({record["pathology"] for record in scd}) == 4
    keys = [(record["patient"], record["slice"]) for record in scd]
    assert keys == sorted(set(keys))


def test_scd_phases_are_the_index_s(scd, scd_dir):
    """`index.csv` names ED and ES and was made by others; here they follow from the contours."""
    with (scd_dir / "SCD_EDES_PNG/index.csv").open(newline="") as file:
        index = {(row["patient"], int(row["slice"]), row["role"]): row for row in csv.DictReader(file)}
    compared = 0
    for record in scd:
        for role in ("ED", "ES"):
            row = index.get((record["patient"], record["slice"], role))
            if row is None:
                continue
            frame = Path(record["frames"][record[role.lower()]])
            if record["patient"] in DICOM_PATIENTS:
                assert record[role.lower()] == int(row["phase"])
                assert frame.name.endswith(f"-{int(row['instance']):04d}.dcm")
            else:
                assert frame.name == row["file"]
            assert record[role.lower()] in record["lumen"]
            compared += record["patient"] in DICOM_PATIENTS
    assert compared == sum(len(record["lumen"]) for record in scd if record["patient"] in DICOM_PATIENTS) > 80


def test_scd_contours_rasterise_to_the_masks(scd_dir):
    """Every pixel of every contour file of which there is a mask image."""
    compared = Counter()
    for path in sorted(scd_dir.glob("SCD_ManualContours/*/contours-manual/*/*.txt")):
        folder = {"icontour": "endocardium", "ocontour": "epicardium"}[path.name.split("-")[3]]
        name = f"{path.parts[-4]}-{'-'.join(path.name.split('-')[:3])}.png"
        expected = np.asarray(Image.open(scd_dir / "SCD_EDES_PNG" / folder / name))
        assert set(np.unique(expected)) == {0, 255}
        np.testing.assert_array_equal(rasterise(read_contour(path, expected.shape), expected.shape), expected // 255)
        np.testing.assert_array_equal(read_mask(scd_dir / "SCD_EDES_PNG" / folder / name, (256, 256)), expected // 255)
        compared[folder] += 1
    assert compared == {"endocardium": 96, "epicardium": 37}


def test_scd_spacing_is_the_file_s_or_assumed(scd):
    load = LoadCined()
    spacings = {}
    for patient in [*sorted(DICOM_PATIENTS), "SC-HF-I-09"]:
        cine = load(next(record for record in scd if record["patient"] == patient and record["lumen"]))
        assert cine["image"].shape[1:] == (256, 256)
        assert cine["spacing_assumed"] == (patient not in DICOM_PATIENTS)
        spacings[patient] = cine["spacing"]
    assert spacings.pop("SC-HF-I-09") == list(ASSUMED_SPACING) == [1.28, 1.28]
    assert len({row for row, _ in spacings.values()}) > 1
    assert all(1.289 <= row == column <= 1.368 for row, column in spacings.values())


def test_scd_hf_i_06_has_the_epicardium_of_its_masks(scd):
    """Its epicardial contour files are another patient's."""
    files = [
        (index == record["ed"], Path(file))
        for record in scd
        if record["patient"] == "SC-HF-I-06"
        for index, file in record["epicardium"].items()
    ]
    assert len(files) == 11
    assert all(at_ed and file.parent.name == "epicardium" and file.suffix == ".png" for at_ed, file in files)


def test_other_patient_s_epicardium_is_not_taken(tmp_path, caplog):
    """The contour files that circulate for SC-HF-I-06 are passed over when they are there."""
    folder = tmp_path / "SCD_ManualContours/SC-HF-I-06/contours-manual/IRCCI-expert"
    write_square(folder / "IM-0001-0003-icontour-manual.txt", 10)
    write_square(folder / "IM-0001-0003-ocontour-manual.txt", 14)
    write_frames(tmp_path / "SCD_IMAGES_01/SCD0000501/CINESAX_300", range(1, 21))
    (tmp_path / "scd_patientdata.csv").write_text("PatientID,OriginalID,Pathology\nSCD0000501,SC-HF-I-6,Normal\n")
    with caplog.at_level(logging.INFO):
        (record,) = scan(tmp_path)
    assert (record["patient"], record["ed"], record["es"]) == ("SC-HF-I-06", 2, None)
    assert list(record["lumen"]) == [2]
    assert record["epicardium"] == {}
    assert "SC-HF-I-06" in caplog.text
    mask = tmp_path / "SCD_EDES_PNG/epicardium/SC-HF-I-06-IM-0001-0003.png"
    mask.parent.mkdir(parents=True)
    mask.touch()
    assert scan(tmp_path)[0]["epicardium"] == {2: str(mask)}


# --- the phantom, and what is not as it should be ---


def write_square(path, side):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"5 5\n{5 + side} 5\n{5 + side} {5 + side}\n5 {5 + side}\n")


def write_frames(folder, instances):
    folder.mkdir(parents=True)
    for instance in instances:
        (folder / f"IM-0001-{instance:04d}.dcm").touch()  # scan() reads contours and tables alone


def test_phantom_records(phantom_dir):
    records = scan(phantom_dir)
    assert [(r["patient"], r["slice"], r["split"]) for r in records] == [
        (f"PH-{number:02d}", slice, split)
        for number, split in ((1, "training"), (2, "validation"), (3, "test"))
        for slice in (0, 1)
    ]
    for number, record in enumerate(records):
        phantom = Phantom(number // 2, (48, 64), 20, 2)
        assert (record["ed"], record["es"], record["pathology"]) == (phantom.ed, phantom.es, phantom.pathology)
        assert [Path(frame).name for frame in record["frames"]] == [
            f"IM-0001-{20 * record['slice'] + phase + 1:04d}.dcm" for phase in range(20)
        ]
        assert set(record["lumen"]) == {phantom.ed, phantom.es}
        assert set(record["epicardium"]) == {phantom.ed}
        cine = LoadCined(structures=("lumen", "epicardium"))(record)
        assert cine["spacing"] == pytest.approx(phantom.spacing)
        for structure in ("lumen", "epicardium"):
            for phase, mask in cine[structure].items():
                truth = getattr(phantom, structure)(record["slice"], phase)
                assert 2 * (mask.numpy() & truth).sum() / (mask.sum() + truth.sum()) > 0.93  # of few pixels


def test_ed_is_the_phase_of_the_larger_lumens_in_all(copy):
    """Not the first phase, nor the larger in each slice: ED is one phase a patient."""
    folder = copy / "SCD_ManualContours/PH-01/contours-manual/IRCCI-expert"
    for file in folder.iterdir():
        file.unlink()
    for instance, side in ((3, 12), (14, 24), (23, 16), (34, 14)):  # phases 2 and 13 of two slices
        write_square(folder / f"IM-0009-{instance:04d}-icontour-manual.txt", side)
    write_square(folder / "IM-0009-0008-p1contour-manual.txt", 30)  # papillary muscle
    first, second = scan(copy)[:2]
    assert (first["ed"], first["es"]) == (second["ed"], second["es"]) == (13, 2)
    assert set(first["lumen"]) == set(second["lumen"]) == {2, 13}


def test_series_with_the_drawn_frames_is_taken(copy):
    images = copy / "SCD_IMAGES_01/SCD0000101"
    write_frames(images / "CINESAX_200", range(101, 201))
    write_frames(images / "CINELAX_100", range(1, 121))
    records = [record for record in scan(copy) if record["patient"] == "PH-01"]
    assert len(records) == 2
    assert all(Path(frame).parent.name == "CINESAX_300" for record in records for frame in record["frames"])


@pytest.fixture
def png_dir(tmp_path):
    """Annotated frames alone: one slice with ED and ES, one with ED alone, and a patient to be left out."""
    folder = tmp_path / "SCD_EDES_PNG"
    rows = [
        ("SC-N-02", 3, 18, "ED", "b.png"),
        ("SC-N-02", 3, 7, "ES", "a.png"),
        ("SC-N-02", 4, 18, "ED", "c.png"),
        ("SC-N-06", 0, 18, "ED", "d.png"),
        ("SC-N-06", 0, 7, "ES", "e.png"),
    ]
    table = ["patient,slice,phase,role,file", *(",".join(map(str, row)) for row in rows)]
    for name in ("images", "endocardium", "epicardium"):
        (folder / name).mkdir(parents=True)
    (folder / "index.csv").write_text("\n".join(table))
    for row in rows:
        Image.new("L", (6, 4), row[2]).save(folder / "images" / row[4])
        Image.new("L", (6, 4), 255).save(folder / "endocardium" / row[4])
    Image.new("L", (6, 4), 255).save(folder / "epicardium" / "b.png")
    return tmp_path


def test_png_frames(png_dir, caplog):
    with caplog.at_level(logging.INFO):
        (record,) = scan(png_dir)
    assert "SC-N-06 is left out" in caplog.text
    assert "1 of 3 slices" in caplog.text
    png = png_dir / "SCD_EDES_PNG"
    assert record == {
        "patient": "SC-N-02",
        "slice": 3,
        "split": "training",
        "pathology": "unknown",
        "frames": [str(png / "images/a.png"), str(png / "images/b.png")],
        "ed": 1,
        "es": 0,
        "lumen": {0: str(png / "endocardium/a.png"), 1: str(png / "endocardium/b.png")},
        "epicardium": {1: str(png / "epicardium/b.png")},
        "rv": {},
        "spacing": None,
    }
    assert json.loads(json.dumps(record))["ed"] == 1  # plain


def test_png_frames_do_not_repeat_a_patient_with_cine(png_dir):
    (png_dir / "scd_patientdata.csv").write_text("PatientID,OriginalID,Pathology\nSCD1,SC-N-2,Normal\n")
    write_frames(png_dir / "SCD_IMAGES_01/SCD1/CINESAX_1", range(1, 21))
    records = scan(png_dir)
    assert [(record["patient"], len(record["frames"])) for record in records] == [("SC-N-02", 20)]


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dataset_dir '.*nowhere' does not exist; expected a folder in SCD's"):
        read_records(tmp_path / "nowhere", tmp_path)


def test_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"'{tmp_path}' holds no cine; expected DICOM under .* found nothing"):
        read_records(tmp_path, tmp_path)


def test_folder_without_cine(copy):
    shutil.rmtree(copy / "SCD_IMAGES_01/SCD0000101/CINESAX_300")
    assert {record["patient"] for record in scan(copy)} == {"PH-02", "PH-03"}
    shutil.rmtree(copy / "SCD_IMAGES_01")
    with pytest.raises(FileNotFoundError, match=r"holds no cine; .* found SCD_ManualContours, scd_patientdata.csv"):
        scan(copy)


def test_a_slice_without_all_phases_is_left_out_and_named(copy, caplog):
    slices = [(record["patient"], record["slice"]) for record in scan(copy)]
    (copy / "SCD_IMAGES_01/SCD0000201/CINESAX_300/IM-0001-0033.dcm").unlink()
    assert [(record["patient"], record["slice"]) for record in scan(copy)] == [s for s in slices if s != ("PH-02", 1)]
    assert "SCD0000201/CINESAX_300: slice 1 is left out: it has 19 of 20 phases, no file of instance 33" in caplog.text


def test_patient_in_no_split(copy):
    (copy / "splits.csv").unlink()
    with pytest.raises(ValueError, match=r"patient PH-01 is in no split .* name one in .*copy/splits.csv"):
        scan(copy)


def test_image_folder_that_no_table_lists(copy, caplog):
    rewrite(copy / "scd_patientdata.csv", "PatientID,OriginalID,Pathology\nSCD0000101,PH-1,Normal\n")
    assert {record["patient"] for record in scan(copy)} == {"PH-01"}
    assert "SCD0000201" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("scd_patientdata.csv", None, "scd_patientdata.csv is missing; expected a table with .*OriginalID"),
        ("scd_patientdata.csv", "a,b\n1,2\n", r"scd_patientdata.csv: expected the columns .*found \['a', 'b'\]"),
        ("scd_patientdata.csv", "PatientID,OriginalID,Pathology\nX,PH-one,N\n", "such as SC-HF-I-1, found 'PH-one'"),
        ("scd_patientdata.csv", "PatientID,OriginalID,Pathology\nX\n", "such as SC-HF-I-1, found ''"),
        ("scd_patientdata.csv", "", "scd_patientdata.csv: expected the columns .*found None"),
        ("splits.csv", "patient,split\nPH-01,train\n", "splits.csv: split must be one of .*'train'"),
        ("splits.csv", "patient\nPH-01\n", r"splits.csv: expected the columns \['patient', 'split'\]"),
    ],
)
def test_table_of_another_form(copy, name, text, message):
    (copy / name).unlink()
    if text is not None:
        (copy / name).write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        scan(copy)


def test_table_that_is_no_text(copy):
    (copy / "splits.csv").unlink()
    (copy / "splits.csv").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(ValueError, match=r"splits.csv: expected a table as text"):
        scan(copy)


def test_index_of_another_form(png_dir):
    index = png_dir / "SCD_EDES_PNG/index.csv"
    index.write_text(index.read_text().replace("SC-N-02,3,7", "SC-N-02,three,7"))
    with pytest.raises(ValueError, match=r"index.csv: expected numbers for slice and phase, found .*three"):
        scan(png_dir)


def test_broken_contour_is_named_by_scan(copy):
    path = next((copy / "SCD_ManualContours/PH-02/contours-manual/IRCCI-expert").glob("*-icontour-manual.txt"))
    rewrite(path, "")
    with pytest.raises(ValueError, match=rf"{path}: expected three points or more.* found 0"):
        scan(copy)


def test_splits_file_adds_to_the_challenge_and_overrides_it(copy):
    rewrite(copy / "splits.csv", "patient,split\nPH-01,training\nPH-02,validation\nPH-03,test\nSC-N-02,test\n")
    splits = _read_splits(copy / "splits.csv")
    assert (splits["SC-N-02"], splits["SC-N-03"], splits["PH-03"]) == ("test", "training", "test")
