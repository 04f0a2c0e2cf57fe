"""Registering files through monai.bundle, read back by SimpleITK."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from transforms.sources import read_records


def _resampled(moving: Path, fixed: Path, ddf: Path) -> np.ndarray:
    """The moving file through the field file, by SimpleITK alone."""
    transform = sitk.DisplacementFieldTransform(sitk.ReadImage(str(ddf), sitk.sitkVectorFloat64))
    image = sitk.ReadImage(str(moving), sitk.sitkFloat32)
    outside = -1e6
    return sitk.GetArrayFromImage(sitk.Resample(image, sitk.ReadImage(str(fixed)), transform, sitk.sitkLinear, outside))


def _write(array: np.ndarray, path: Path, spacing=(1.4, 1.1), origin=(-7.0, 30.0), direction=None) -> Path:
    image = sitk.GetImageFromArray(array)
    if path.suffix != ".png":
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection(direction or (0.8, -0.6, 0.6, 0.8))
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def frames(phantom_dir):
    record = read_records(phantom_dir, "")[0]
    return [Path(record["frames"][record[phase]]) for phase in ("ed", "es")]


@pytest.fixture(params=["dicom", "nifti", "png"])
def pair(request, frames, tmp_path):
    """Moving and fixed files; NIfTI and PNG are not square, nor multiples of 16."""
    if request.param == "dicom":
        return frames
    arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0, :45, :61] for path in frames]
    if request.param == "png":
        scaled = [(np.clip(array / 600, 0, 1) * 255).astype(np.uint8) for array in arrays]
        return [_write(array, tmp_path / f"{i}.png") for i, array in enumerate(scaled)]
    origins = ((-7.0, 30.0), (-5.5, 31.0))  # moving and fixed at different places
    return [
        _write(array.astype(np.float32), tmp_path / f"{i}.nii.gz", origin=origin)
        for i, (array, origin) in enumerate(zip(arrays, origins, strict=True))
    ]


def test_simpleitk_applies_the_field_to_the_same_image(run, weights, pair, tmp_path):
    moving, fixed = pair
    out = tmp_path / "out"
    result = run("inference", "--moving", moving, "--fixed", fixed, "--ckpt_file", weights, "--output_dir", out)
    assert result.returncode == 0, result.stderr[-3000:]
    (warped_file,), (ddf_file,) = list(out.glob("*_warped.nii.gz")), list(out.glob("*_ddf.nii.gz"))
    warped, reference = sitk.ReadImage(str(warped_file)), sitk.ReadImage(str(fixed))
    assert warped.GetSize() == reference.GetSize()
    for geometry in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(warped, geometry)() == pytest.approx(getattr(reference, geometry)(), abs=1e-4)

    array, expected = sitk.GetArrayFromImage(warped), _resampled(moving, fixed, ddf_file)
    inside = expected > -1e5  # beyond the moving image the project repeats its border
    assert inside.mean() > 0.9
    assert np.abs(array - expected)[inside].max() < 2e-3 * array.max()
    assert np.abs(array - sitk.GetArrayFromImage(sitk.ReadImage(str(moving)))).max() > 0.1 * array.max()
    assert next(out.glob("*_overview.png")).stat().st_size > 10_000
    assert "NCC" in result.stdout


def test_a_datalist_of_pairs(run, weights, frames, tmp_path):
    pairs = [{"moving": str(frames[0]), "fixed": str(frames[1])}]
    pairs.append({"moving": str(frames[1]), "fixed": str(frames[0]), "name": "back"})
    (tmp_path / "pairs.json").write_text(json.dumps({"test": pairs}))
    options = ["--datalist", tmp_path / "pairs.json", "--ckpt_file", weights, "--output_dir", tmp_path / "out"]
    result = run("inference", *options)
    assert result.returncode == 0, result.stderr[-3000:]
    names = {f"{frames[0].stem}_to_{frames[1].stem}", "back"}
    kinds = ("warped.nii.gz", "ddf.nii.gz", "overview.png")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{n}_{kind}" for n in names for kind in kinds}

    again = run("inference", *options)
    assert again.returncode != 0
    assert "--overwrite True" in again.stderr.splitlines()[-1]
    assert run("inference", *options, "--overwrite", True).returncode == 0


@pytest.mark.parametrize("fault", ["sizes", "missing", "truncated", "volume", "axes", "nothing"])
def test_wrong_files_end_on_one_line_and_leave_nothing(run, weights, frames, tmp_path, fault):
    moving, fixed = frames
    if fault == "sizes":
        moving = _write(np.ones((64, 40), np.float32), tmp_path / "other.nii.gz")
        expected = ["other.nii.gz) has 64x40", "48x64"]
    elif fault == "missing":
        moving = tmp_path / "absent.dcm"
        expected = ["moving image", "absent.dcm", "does not exist"]
    elif fault == "truncated":
        moving = tmp_path / "cut.dcm"
        moving.write_bytes(frames[0].read_bytes()[:-5000])
        expected = ["cut.dcm"]
    elif fault == "volume":
        volume = sitk.GetImageFromArray(np.ones((5, 48, 64), np.float32))
        moving = tmp_path / "volume.nii.gz"
        sitk.WriteImage(volume, str(moving))
        expected = ["volume.nii.gz", "one slice", "(64, 48, 5)"]
    elif fault == "axes":
        image = sitk.ReadImage(str(fixed))
        image.SetDirection(np.reshape(image.GetDirection(), (3, 3))[:, [1, 0, 2]].ravel().tolist())
        moving = tmp_path / "turned.nii.gz"
        sitk.WriteImage(image, str(moving))
        expected = ["run in different directions"]
    options = ["--moving", moving, "--fixed", fixed]
    if fault == "nothing":
        options, expected = [], ["--moving", "--datalist"]
    result = run("inference", *options, "--ckpt_file", weights, "--output_dir", tmp_path / "out")
    assert result.returncode != 0
    for part in expected:
        assert part in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_bad_pair_does_not_stop_the_others(run, weights, frames, tmp_path):
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(frames[0].read_bytes()[:-5000])
    pairs = [{"moving": str(file), "fixed": str(frames[1]), "name": file.stem} for file in (cut, frames[0])]
    (tmp_path / "pairs.json").write_text(json.dumps({"test": pairs}))
    options = ["--datalist", tmp_path / "pairs.json", "--ckpt_file", weights, "--output_dir", tmp_path / "out"]
    result = run("inference", *options, "--formats", "['itk','numpy']")
    assert result.returncode != 0
    assert result.stderr.splitlines()[-1].startswith(f"error: 1 of 2 pairs failed: {cut}: ")
    kinds = ("transform.h5", "ddf.npy")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{frames[0].stem}_{kind}" for kind in kinds}
