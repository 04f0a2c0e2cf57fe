"""Volumes end to end: trained by the bundle's overlay, registered by the command line, exported."""

import re

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.bundle import ckpt_export, verify_net_in_out
from monai.bundle import run as run_bundle
from typer.testing import CliRunner

from app.command_line import app
from dirnet.nets.weights import load_network

SMALL = {"class": "dirnet.nets.pyramid.PyramidDIRNet", "channels": [4, 6, 8, 8], "boundary": "replicate", "spacing": 2}


@pytest.fixture(scope="module")
def training(bundle, tmp_path_factory):
    """A short training on the phantom: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("volumes")
    options = {
        "output_dir": str(folder / "run"),
        "iterations": 40,
        "val_interval": 20,
        "val_pairs": 4,
        "batch_size": 2,
        "crop_size": [24, 32, 24],
        "network_def#stages": [SMALL],
        "network_def#affine": {"channels": [4, 4, 4]},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HIPPOCAMPUS_DIR", raising=False)
        files = [str(bundle / "configs" / f"{name}.json") for name in ("train", "volumes")]
        run_bundle(run_id="training", config_file=files, **options)
    return folder / "run"


def test_training_learns_and_its_weights_register_two_files(training, tmp_path):
    moving, fixed = sorted((training / "phantom").rglob("images/*.nii.gz"))[:2]
    arguments = ["register", moving, fixed, "--weights", training, "--align", "centers"]
    arguments += ["--formats", "nifti,itk,picture", "--output_dir", tmp_path]
    result = CliRunner().invoke(app, [str(part) for part in arguments])
    assert result.exit_code == 0, result.output
    before, after = map(float, re.findall(r"NCC ([\d.]+) before, ([\d.]+) after", result.output)[0])
    assert after > before
    (warped,) = tmp_path.glob("*_warped.nii.gz")
    (transform,) = tmp_path.glob("*_transform.h5")
    again = sitk.Resample(
        sitk.ReadImage(moving, sitk.sitkFloat32), sitk.ReadImage(fixed), sitk.ReadTransform(transform)
    )
    inside = (slice(4, -4),) * 3
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(sitk.ReadImage(warped))[inside], sitk.GetArrayFromImage(again)[inside], atol=0.5
    )


def test_what_is_resumed_has_the_head_too(training):
    """Else the network would go on beside a new head."""
    assert set(torch.load(training / "last.pt", weights_only=True)["head"]) == {"weight", "bias"}


def test_weights_of_slices_do_not_take_a_place_for_volumes(training):
    image = sorted((training / "phantom").rglob("images/*.nii.gz"))[0]
    result = CliRunner().invoke(
        app, ["register", str(image), str(image), "--align", "centers", "--weights", "contours"]
    )
    assert result.exit_code != 0


def test_the_shipped_weights_are_what_their_metadata_says(bundle, tmp_path):
    files = {
        "config_file": [str(bundle / "configs" / f"{name}.json") for name in ("inference", "inference_volumes")],
        "meta_file": str(bundle / "configs" / "metadata_volumes.json"),
    }
    checkpoint = str(bundle / "models" / "hippocampus.pt")
    verify_net_in_out("network_def", **files)
    ckpt_export(
        "network_def", filepath=str(tmp_path / "model.ts"), bundle_root=str(bundle), ckpt_file=checkpoint, **files
    )
    exported, network = torch.jit.load(tmp_path / "model.ts"), load_network(checkpoint)
    pair = torch.rand(1, 2, 35, 50, 36)
    torch.testing.assert_close(exported(pair), network(pair), atol=1e-4, rtol=0)
