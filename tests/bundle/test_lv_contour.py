"""The bundle of first contours: the checks of MONAI's model zoo, and its three workflows on the phantom."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
import torch
from monai.bundle import ckpt_export, create_workflow, verify_net_in_out
from monai.utils import set_determinism

from app.pack import pack
from dirnet.errors import InputError
from dirnet.nets.weights import load_network


@pytest.fixture(scope="module")
def lv_contour(bundle):
    return bundle.parent / "lv_contour"


@pytest.fixture
def files(lv_contour):
    return {
        "config_file": str(lv_contour / "configs" / "inference.json"),
        "meta_file": str(lv_contour / "configs" / "metadata.json"),
    }


def test_network_takes_and_gives_what_the_metadata_says(files):
    verify_net_in_out("network_def", **files)


def test_exported_torchscript_draws_the_same(files, lv_contour, tmp_path):
    ckpt_export("network_def", filepath=str(tmp_path / "model.ts"), bundle_root=str(lv_contour), **files)
    image = torch.rand(2, 1, 128, 128)
    network = load_network(lv_contour / "models" / "model.pt")
    torch.testing.assert_close(torch.jit.load(tmp_path / "model.ts")(image), network(image), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("config", "kind"), [("train", "train"), ("evaluate", "infer"), ("inference", "infer")])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_workflows_have_every_property_and_run(lv_contour, phantom_dir, tmp_path, config, kind):
    out = tmp_path / "out"
    options = {"dataset_dir": str(phantom_dir), "output_dir": str(out)}
    if config == "train":
        options |= {"iterations": 2, "batch_size": 2, "cache_dir": str(tmp_path / "cache")}
        options |= {"network_def#options#channels": [8, 8], "network_def#options#strides": [2]}
    if config == "inference":
        options |= {"cines": str(next(phantom_dir.glob("SCD_IMAGES_01/*/*")))}
    path = str(lv_contour / "configs" / f"{config}.json")
    workflow = create_workflow(config_file=path, workflow_type=kind, logging_file=False, **options)
    assert workflow.check_properties() == []
    workflow.run()
    workflow.finalize()
    set_determinism(None)
    if config == "train":
        assert load_network(out / "model_final.pt").definition["options"]["channels"] == [8, 8]
    if config == "evaluate":
        slices, patients = (pd.read_csv(out / f"{name}.csv") for name in ("slices", "patients"))
        assert slices[slices.structure == "lumen"].dice.mean() > 0.4  # a phantom is not what it learned from
        assert patients.drawn_ef.between(20, 80).all()
        summary = json.loads((out / "summary.json").read_text())
        assert summary["ef_from_drawn_ed"]["mean_absolute_error"] < 15
        assert summary["structures"]["lumen"]["slices"] == (slices.structure == "lumen").sum()
    if config == "inference":
        assert {file.suffix for file in out.glob("*_first_contours.*")} == {".gz", ".json", ".png"}


def test_metadata_is_complete_and_of_this_release(bundle, lv_contour):
    own, other = (json.loads((root / "configs" / "metadata.json").read_text()) for root in (lv_contour, bundle))
    assert own.keys() == other.keys()
    assert own["version"] in own["changelog"]
    for key in ("monai_version", "pytorch_version", "numpy_version", "required_packages_version"):
        assert own[key] == other[key]


def test_packed_bundle_draws_in_a_folder_of_its_own(phantom_dir, tmp_path):
    with pytest.raises(InputError, match="there is no bundle 'heart'"):
        pack(tmp_path / "heart.zip", "heart")
    with zipfile.ZipFile(pack(tmp_path / "lv_contour.zip", "lv_contour")) as content:
        content.extractall(tmp_path)
    root = tmp_path / "lv_contour"
    command = [sys.executable, "-E", "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    command += ["--cines", str(next(phantom_dir.glob("SCD_IMAGES_01/*/*"))), "--frame", "0"]
    subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert len(list(root.glob("runs/first_contours/*_first_contours.nii.gz"))) == 1
