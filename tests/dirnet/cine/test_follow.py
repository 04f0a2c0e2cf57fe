"""A whole cine followed: its volumes and files."""

import json

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dirnet import Registrar
from dirnet.cine.follow import follow
from dirnet.cine.phases import Phases
from dirnet.cine.saving import save
from dirnet.errors import InputError
from transforms.authors import ACCEPTED, MENDED, UNSEEN
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_authors, read_keyframes, read_masks, read_structures
from transforms.phantom import write_scd

PHASES = 3


@pytest.fixture(scope="module")
def registrar():
    return Registrar.load()


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """The DICOM files of one phantom: 5 slices, 3 phases, 10 mm apart."""
    folder = write_scd(tmp_path_factory.mktemp("phantom") / "a", patients=3, size=(48, 48), phases=PHASES, slices=5)
    return next(folder.glob("SCD_IMAGES_01/SCD0000101/*"))


def discs(cine, radius=8):
    """(S, T, H, W), the same on the first frame of all slices."""
    drawn = np.zeros(cine.images.shape, bool)
    rows, columns = np.ogrid[: drawn.shape[2], : drawn.shape[3]]
    drawn[:, 0] = np.hypot(rows - drawn.shape[2] / 2, columns - drawn.shape[3] / 2) < radius
    return drawn


def test_each_slice_counts_by_its_own_height(tmp_path, registrar, series, caplog):
    """Without the second slice from the base the two beside it stand for 15 mm."""
    (tmp_path / "cine").mkdir()
    for path in series.iterdir():
        if (int(pydicom.dcmread(path).InstanceNumber) - 1) // PHASES != 1:
            (tmp_path / "cine" / path.name).write_bytes(path.read_bytes())
    cine = read_cine_stack(tmp_path / "cine")
    followed = follow(registrar, cine, {"lumen": discs(cine)})
    assert cine.positions == pytest.approx([0, 10, 20, 40], abs=0.01)
    assert followed.volumes["lumen"].ml == pytest.approx([10, 10, 15, 15] @ followed.areas["lumen"] / 1000, rel=1e-3)
    assert followed.numbers["slice_distances_mm"] == pytest.approx([10, 10, 20], abs=0.01)

    save(followed, tmp_path, "a")
    assert json.loads((tmp_path / "a_numbers.json").read_text()) == followed.numbers
    assert "a_masks.nii.gz: has no place in space" in caplog.text
    assert np.array_equal(read_masks(tmp_path / "a_masks.nii.gz", cine), followed.masks)  # pixel by pixel
    assert np.array_equal(read_masks(tmp_path / "a_segmentation.dcm", cine), followed.masks)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(tmp_path / "a_masks.nii.gz"))
    reader.ReadImageInformation()
    assert (reader.GetMetaData("qform_code"), reader.GetMetaData("sform_code")) == ("0", "0")


def test_masks_lie_where_the_cine_does(tmp_path, registrar, series, caplog):
    cine = read_cine_stack(series)
    followed = follow(registrar, cine, {"lumen": discs(cine)})
    save(followed, tmp_path, "a")
    assert not caplog.records
    masks = sitk.ReadImage(str(tmp_path / "a_masks.nii.gz"))
    for number, grid in enumerate(cine.grids):
        assert masks.TransformIndexToPhysicalPoint((0, 0, number, 0))[:3] == pytest.approx(grid.GetOrigin(), abs=0.02)


def three_structures(cine):
    lumen, outer, right = discs(cine, 8), discs(cine, 13), np.roll(discs(cine, 5), 18, 3)
    return {"lumen": lumen, "epicardium": outer, "rv": right}


def test_what_was_saved_can_be_opened_again(tmp_path, registrar, series):
    """Drawn frames as they were drawn, from masks and segmentation; what was followed from them is the same again."""
    cine = read_cine_stack(series)
    drawn = three_structures(cine)
    drawn["lumen"][3, 2], drawn["lumen"][4, 0] = drawn["lumen"][3, 0], False  # slices on frames of their own
    drawn["lumen"][4, 1] = drawn["lumen"][3, 0]
    followed = follow(registrar, cine, drawn)
    save(followed, tmp_path, "a")
    for file in ("a_masks.nii.gz", "a_segmentation.dcm"):
        again = read_keyframes([tmp_path / file], cine)
        assert list(again) == list(drawn)
        for structure, masks in drawn.items():
            assert np.array_equal(again[structure], masks), (file, structure)
    whole = read_structures(tmp_path / "a_rtstruct.dcm", cine)
    assert {name: np.array_equal(masks, followed.structures[name]) for name, masks in whole.items()} == dict.fromkeys(
        drawn, True
    )


def test_saved_masks_that_were_changed_count_as_drawn(tmp_path, registrar, series, caplog):
    cine = read_cine_stack(series)
    followed = follow(registrar, cine, {"lumen": discs(cine)})
    save(followed, tmp_path, "a")
    path = tmp_path / "a_masks.nii.gz"
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(image, str(path), useCompression=False)
    assert read_keyframes([path], cine)["lumen"].any((0, 2, 3)).all()
    assert "a_masks.nii.gz has changed since it was saved: all frames in it count as drawn" in caplog.text


def test_only_what_was_redrawn_is_followed_again(registrar, series):
    cine = read_cine_stack(series)
    drawn = three_structures(cine)
    first = follow(registrar, cine, drawn)
    drawn["rv"][2, 1] = drawn["rv"][2, 0]
    said = []
    second = follow(registrar, cine, drawn, earlier=first, progress=lambda *counts: said.append(counts))
    assert [second.slices[n] is first.slices[n] for n in range(5)] == [True, True, False, True, True]
    assert said == [(n, 5) for n in range(1, 6)]
    assert np.array_equal(second.structures["rv"][2, 1], drawn["rv"][2, 1])


def test_a_slice_left_out_at_end_systole_counts_at_end_diastole(registrar, series):
    cine = read_cine_stack(series)
    drawn = {"lumen": discs(cine)}
    whole = follow(registrar, cine, drawn)
    ed, es = whole.function.ed, whole.function.es
    found = follow(registrar, cine, drawn, phases=Phases(left_out_es=frozenset({4})), earlier=whole)
    assert (found.function.ed, found.function.es) == (ed, es)
    assert found.function.edv == pytest.approx(whole.function.edv)
    volumes = whole.areas["lumen"][:, es] * cine.distance / 1000
    assert found.function.esv == pytest.approx(volumes[:4].sum(), rel=1e-4)
    assert not found.masks[4, es].any()
    assert found.masks[4, ed].any()
    never = follow(registrar, cine, drawn, phases=Phases(ed, es, frozenset({4}), frozenset({4})), earlier=whole)
    assert never.volumes["lumen"].counted == 4


def test_two_drawn_frames_are_the_phases(registrar, series):
    """The ejection fraction is then that of the drawn contours, whatever the frames between."""
    cine = read_cine_stack(series)
    drawn = discs(cine)
    drawn[:, 2] = discs(cine, 5)[:, 0]
    function = follow(registrar, cine, {"lumen": drawn}).function
    assert (function.ed, function.es) == (0, 2)
    areas = drawn[0].sum((1, 2))
    assert function.ejection_fraction == pytest.approx(100 * (1 - areas[2] / areas[0]))
    assert follow(registrar, cine, {"lumen": drawn}, phases=Phases(ed=1)).function.ed == 1


def test_slices_drawn_on_a_frame_each_say_nothing_of_the_phases(registrar, series):
    """Such as one by a reader and the others, at end-diastole as a network finds it, by that."""
    cine = read_cine_stack(series)
    drawn = discs(cine)
    drawn[2, [0, 1]] = drawn[2, [1, 0]]
    followed = follow(registrar, cine, {"lumen": drawn})
    volumes = followed.volumes["lumen"].ml
    assert (followed.function.ed, followed.function.es) == (volumes.argmax(), volumes.argmin())


def test_what_a_reader_has_to_know_stands_first_among_the_warnings(registrar, series):
    cine = read_cine_stack(series)
    plain = follow(registrar, cine, {"lumen": discs(cine)})
    authors = {"lumen": {n: {0: UNSEEN if n < 2 else MENDED} for n in (0, 1, 3)}}
    noted = follow(registrar, cine, {"lumen": discs(cine)}, earlier=plain, authors=authors, notes=["one thing"])
    assert noted.numbers["warnings"] == [
        "slices 0, 1: contours were drawn by a network, and nobody has looked at them: mend them where they are wrong",
        "slice 3: contours were drawn by a network and mended by the reader",
        "one thing",
        *plain.numbers["warnings"],
    ]


def test_who_drew_comes_back_with_what_was_saved(tmp_path, registrar, series):
    cine = read_cine_stack(series)
    drawn = three_structures(cine)
    authors = {"lumen": {0: {0: ACCEPTED}, 2: {0: MENDED}}, "epicardium": {1: {0: UNSEEN}}}
    save(follow(registrar, cine, drawn, authors=authors), tmp_path, "a", formats=["masks"])
    path = tmp_path / "a_masks.nii.gz"
    again = read_keyframes([path], cine)
    assert read_authors([path], again) == authors
    assert read_authors([path], {"lumen": again["lumen"]}) == {"lumen": authors["lumen"]}
    about = json.loads((tmp_path / "a_masks.json").read_text())
    for by, why in (({"lumen": {"0": {"0": "a robot"}}}, "'a robot'"), ({"lumen": {"0": {"3": ACCEPTED}}}, "frame 3")):
        (tmp_path / "a_masks.json").write_text(json.dumps({**about, "by": by}))
        with pytest.raises(InputError, match=f"a_masks.json: expected .*{why}"):
            read_keyframes([path], cine)
    (tmp_path / "a_masks.json").write_text(json.dumps({key: about[key] for key in ("labels", "drawn", "sha256")}))
    assert read_authors([path], read_keyframes([path], cine)) == {}  # of those who saved before this was noted


def test_masks_of_a_network_that_another_program_has_changed_are_still_a_networks(tmp_path, registrar, series, caplog):
    cine = read_cine_stack(series)
    authors = {"lumen": {1: {0: UNSEEN}}}
    save(follow(registrar, cine, {"lumen": discs(cine)}, authors=authors), tmp_path, "a", formats=["masks"])
    path = tmp_path / "a_masks.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(path)), str(path), useCompression=False)
    assert read_authors([path], read_keyframes([path], cine)) == {"lumen": {1: {0: MENDED}}}
    assert caplog.text.count("has changed since it was saved") == 1
    for name in ("epicardium", "myocardium"):  # the wall is merged into the epicardium
        files = [f"{name}={path}"]
        assert read_authors(files, read_keyframes(files, cine)) == {"epicardium": {1: {0: MENDED}}}
