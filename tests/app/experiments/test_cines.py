"""Whole cines followed and judged, on small phantoms whose numbers other code counts again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from matplotlib.path import Path as Polygon
from typer.testing import CliRunner

from app.experiments import cines
from app.experiments.__main__ import app
from app.experiments.cine_scores import judge, read_patients
from app.experiments.ways import WAYS, Follower, Way, chain
from dirnet.fields.resampling import warp
from dirnet.registrar import Registrar
from transforms.phantom import write_scd
from transforms.sources import read_records


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three phantoms of four slices; of the first one the last slice is not drawn at ES."""
    folder = write_scd(tmp_path_factory.mktemp("cines") / "data", patients=3, size=(48, 64), slices=4)
    record = [record for record in read_records(folder, "") if record["patient"] == "PH-01"][-1]
    Path(record["lumen"][record["es"]]).unlink()
    return folder


@pytest.fixture(scope="module")
def results(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    result = CliRunner().invoke(app, ["cines", "--dataset_dir", str(data), "--output_dir", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def patients(data):
    found, left_out = read_patients(read_records(data, ""))
    assert left_out == {}
    return {patient.name: patient for patient in found}


def polygon_pixels(path):
    """Pixels inside or on a contour, counted without the project's rasteriser."""
    points = np.floor(np.loadtxt(path))
    rows, columns = np.indices((48, 64))
    centres = np.stack([columns.ravel(), rows.ravel()], 1)
    polygon = Polygon(points)
    return int((polygon.contains_points(centres, radius=1e-6) | polygon.contains_points(centres, radius=-1e-6)).sum())


def test_drawn_volumes_are_counted_pixels(results, data):
    rows = pd.read_csv(results / "cines.csv").set_index(["patient", "way"])
    assert len(rows) == 3 * len(WAYS)
    for name in ("PH-01", "PH-02"):
        records = [record for record in read_records(data, "") if record["patient"] == name]
        header = pydicom.dcmread(records[0]["frames"][0])
        millilitres = np.prod(header.PixelSpacing) * float(header.SpacingBetweenSlices) / 1000
        both = [record for record in records if record["es"] in record["lumen"]]
        ed, es, ed_of_all = (
            millilitres * sum(polygon_pixels(record["lumen"][record[phase]]) for record in part)
            for part, phase in ((both, "ed"), (both, "es"), (records, "ed"))
        )
        row = rows.loc[(name, "chain")]
        assert (row["slices"], row["slices_ed"]) == (len(both), 4)
        # the polygon's border is a matter of the rasteriser, of which a pixel or two may differ
        assert row["edv_drawn_ml"] == pytest.approx(ed, rel=0.03)
        assert row["ef_drawn_percent"] == pytest.approx(100 * (ed - es) / ed, abs=2)
        assert row["ef_all_drawn_percent"] == pytest.approx(100 * (ed_of_all - es) / ed_of_all, abs=2)
        assert (row["ef_all_drawn_percent"] == row["ef_drawn_percent"]) == (name == "PH-02")


def test_numbers_follow_from_the_masks(patients):
    patient = patients["PH-01"]
    assert patient.both.sum() == 3
    result = judge(patient, "direct", Registrar.load())
    millilitres = np.prod(patient.cine.spacing) * patient.cine.distance / 1000
    ml = millilitres * result.followed.masks[patient.both].sum((0, 2, 3))
    np.testing.assert_allclose(result.ml, ml)
    row = result.row
    assert (row["ed_found"], row["es_found"]) == (ml.argmax(), ml.argmin())
    assert row["ef_percent"] == pytest.approx(100 * (1 - ml.min() / ml.max()))
    assert row["ef_there_percent"] == pytest.approx(100 * (1 - ml[patient.es] / ml[patient.ed]))
    drawn, found = patient.drawn["es"], result.followed.masks[:, patient.es]
    overlaps = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in zip(drawn, found, strict=True) if a.any()]
    assert row["dice"] == pytest.approx(np.mean(overlaps), abs=1e-6)
    missing = [row["slice"] for row in result.slices if row["missing"]]
    assert missing == [patient.numbers[k] for k in np.flatnonzero(~patient.both)] == [3]


def test_files(results):
    slices = pd.read_csv(results / "slices.csv")
    assert slices.groupby("way").size().to_dict() == dict.fromkeys(WAYS, 12)
    scored = slices[~slices["missing"] & (slices["split"] == "validation")]
    text = (results / "cines.md").read_text()
    mean = scored[scored["way"] == "direct"]["dice"].mean()
    assert f"| direct | {mean:.3f} ± " in text.split("## Validation split")[1]
    assert "12 slices are drawn at ED, and 11 of these at ES too; the other 1" in text
    assert {path.stem for path in (results / "figures").glob("*.png")} == {"contours", "strain", "volumes"}


def test_direct_is_what_the_registrar_does(patients):
    patient, registrar = patients["PH-02"], Registrar.load()
    arguments = patient.cine.images[1], patient.drawn["ed"][1], patient.ed
    expected = registrar.propagate(*arguments)
    follower = Follower(registrar, WAYS["direct"])
    followed = follower.propagate(*arguments)
    for name in ("masks", "ddf", "folded_percent", "ncc_before", "ncc_after"):
        np.testing.assert_array_equal(getattr(followed, name), getattr(expected, name))
    assert len(follower.milliseconds) == 1


@pytest.mark.parametrize(("count", "frame"), [(7, 0), (8, 5), (2, 1), (3, 2)])
def test_chain_adds_up_known_shifts(monkeypatch, count, frame):
    """Each frame t is the first one shifted by p[t], so the field from a to b is p[b] - p[a]."""
    places = torch.tensor([[0, 0], [1, 2], [3, 1], [2, -1], [-1, 0], [0, 3], [1, 1], [-2, 2]]).float()[:count]
    places[:, 0] += torch.arange(count) / 100  # all different
    frames = places[:, 0, None, None, None].expand(-1, 1, 12, 16)  # by which each image is known
    links = []

    def register(registrar, moving, fixed):
        found = [[int((places[:, 0] == image[0, 0, 0]).nonzero()[0, 0]) for image in part] for part in (moving, fixed)]
        links.append(list(zip(*found, strict=True)))
        return (places[found[1]] - places[found[0]])[..., None, None].expand(-1, 2, 12, 16)

    monkeypatch.setattr("app.experiments.ways._register", register)
    ddf = chain(None, frames, frame)
    torch.testing.assert_close(ddf, (places - places[frame])[..., None, None].expand(-1, 2, 12, 16))
    (pairs,) = links  # one pass
    assert len(pairs) == count - 1
    assert all((b - a) % count in (1, count - 1) for a, b in pairs)
    # the shorter way: none is further than half a cycle
    assert sum((b - a) % count == 1 for a, b in pairs) >= count // 2


def test_chain_resamples_once(patients):
    """A chain's mask is the drawn one by the composed field."""
    patient = patients["PH-02"]
    mask, frame = patient.drawn["ed"][1], patient.ed
    registrar = Registrar.load()
    followed = Follower(registrar, WAYS["chain"]).propagate(patient.cine.images[1], mask, frame)
    drawn = torch.from_numpy(mask).float().expand(20, 1, -1, -1)
    warped = (warp(drawn, torch.from_numpy(followed.ddf))[:, 0] > 0.5).numpy()
    assert (followed.masks != warped).sum() < 0.02 * warped.sum()
    assert (followed.ddf[frame] == 0).all()
    shift = Way("one pixel down", lambda registrar, frames, frame: torch.ones(20, 2, 48, 64))
    moved = Follower(registrar, shift).propagate(patient.cine.images[1], mask, frame).masks
    np.testing.assert_array_equal(moved[3][10:-10, 10:-10], mask[11:-9, 11:-9])


def test_slices_keep_their_numbers_and_frames(patients):
    patient = patients["PH-03"]
    assert sorted(patient.numbers) == [0, 1, 2, 3]
    for k, number in enumerate(patient.numbers):
        file = patient.cine.files[k][patient.ed]
        assert pydicom.dcmread(file).InstanceNumber == number * 20 + patient.ed + 1
    assert (patient.drawn["ed"].sum((1, 2)) > patient.drawn["es"].sum((1, 2))).all()


def test_without_whole_cines_it_says_what_was_expected(tmp_path, data):
    bare = shutil.copytree(data, tmp_path / "data")
    for path in bare.glob("SCD_ManualContours/*/contours-manual/*/*"):
        path.unlink()
    with pytest.raises(
        ValueError, match=r"none of the 12 records .* expected of a patient all slices as one DICOM"
    ) as e:
        cines.run(str(bare), tmp_path / "out", None)
    assert "PH-01: its end-diastole or end-systole is unknown" in str(e.value)
    assert not (tmp_path / "out").exists()


def test_a_broken_cine_is_left_out_by_name(tmp_path, data):
    broken = shutil.copytree(data, tmp_path / "data")
    series = next(broken.glob("SCD_IMAGES_01/SCD0000201/CINESAX_*"))
    frame = series / "IM-0001-0001.dcm"
    frame.write_bytes(frame.read_bytes()[:-1000])
    patients, left_out = read_patients(read_records(broken, ""))
    assert [patient.name for patient in patients] == ["PH-01", "PH-03"]
    assert list(left_out) == ["PH-02"]
    assert "IM-0001-0001.dcm" in left_out["PH-02"]
