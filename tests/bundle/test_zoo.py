"""The checks of MONAI's model zoo, on the weights that are shipped."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ckpt_export, create_workflow, onnx_export, verify_net_in_out
from monai.bundle import load as load_bundle
from monai.utils import set_determinism

from app.pack import pack
from dirnet.nets.weights import load_network


@pytest.fixture
def files(bundle):
    return {
        "config_file": str(bundle / "configs" / "inference.json"),
        "meta_file": str(bundle / "configs" / "metadata.json"),
    }


@pytest.fixture(scope="module")
def network(bundle):
    return load_network(bundle / "models" / "model.pt")


def test_network_takes_and_gives_what_the_metadata_says(files):
    verify_net_in_out("network_def", **files)


def test_exported_torchscript_gives_the_same_field_at_any_size(files, bundle, network, tmp_path):
    ckpt_export("network_def", filepath=str(tmp_path / "model.ts"), bundle_root=str(bundle), **files)
    exported = torch.jit.load(tmp_path / "model.ts")
    for shape in ((1, 2, 256, 256), (3, 2, 100, 77), (1, 2, 7, 40)):
        pair = torch.rand(shape)
        torch.testing.assert_close(exported(pair), network(pair), atol=1e-4, rtol=0)


@pytest.mark.parametrize("options", [{}, {"args_file": "onnx_export.json"}], ids=["of one size", "of any size"])
def test_exported_onnx_gives_the_same_field(files, bundle, network, tmp_path, options):
    checkpoint = str(bundle / "models" / "model.pt")
    options = {name: str(bundle / "configs" / value) for name, value in options.items()}
    onnx_export("network_def", filepath=str(tmp_path / "model.onnx"), ckpt_file=checkpoint, **files, **options)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for shape in [(1, 2, 256, 256), *([(3, 2, 100, 77), (1, 2, 7, 40)] if options else [])]:
        pair = torch.rand(shape)
        (field,) = session.run(None, {session.get_inputs()[0].name: pair.numpy()})
        np.testing.assert_allclose(field, network(pair).detach().numpy(), atol=1e-4)


def test_exported_program_gives_the_same_field_at_any_size(run, network, tmp_path):
    result = run("inference", "--run_id", "export", "--filepath", tmp_path / "model.pt2")
    assert result.returncode == 0, result.stderr[-3000:]
    program = torch.export.load(tmp_path / "model.pt2").module()
    for shape in ((1, 2, 256, 256), (3, 2, 100, 77), (1, 2, 16, 41)):
        pair = torch.rand(shape)
        torch.testing.assert_close(program(pair), network(pair), atol=1e-4, rtol=0)
    with pytest.raises(AssertionError, match="Guard failed"):  # as docs/export.md says
        program(torch.rand(1, 2, 15, 40))


@pytest.mark.parametrize(("config", "kind"), [("train", "train"), ("evaluate", "infer"), ("inference", "infer")])
def test_workflows_have_every_property_and_run(bundle, phantom_dir, weights, tmp_path, config, kind):
    options = {"dataset_dir": str(phantom_dir), "output_dir": str(tmp_path / "out"), "cache_dir": str(tmp_path / "c")}
    if config == "train":
        options |= {"iterations": 2, "batch_size": 2, "spatial_size": [64, 64]}
    else:
        options |= {"ckpt_file": str(weights)}
    if config == "inference":
        frames = sorted(phantom_dir.glob("SCD_IMAGES_01/*/*/*.dcm"))[:2]
        options |= {"moving": str(frames[0]), "fixed": str(frames[1])}
    path = str(bundle / "configs" / f"{config}.json")
    workflow = create_workflow(config_file=path, workflow_type=kind, logging_file=False, **options)
    assert workflow.check_properties() == []
    workflow.run()
    workflow.finalize()
    set_determinism(None)
    assert list((tmp_path / "out").glob("*.*"))


def test_metadata_is_complete_and_of_this_release(bundle):
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    required = """schema version changelog monai_version pytorch_version numpy_version required_packages_version task
                  description authors copyright network_data_format intended_use data_source references"""
    assert set(required.split()) <= set(metadata)
    assert metadata["version"] in metadata["changelog"]
    pins = (bundle.parents[1] / "requirements.txt").read_text()
    versions = metadata["required_packages_version"] | {
        name: metadata[f"{key}_version"] for name, key in (("torch", "pytorch"), ("monai", "monai"), ("numpy", "numpy"))
    }
    for name, version in versions.items():
        assert f"{name}=={version}\n" in pins


def test_packed_bundle_runs_in_a_folder_of_its_own(phantom_dir, tmp_path):
    archive = pack(tmp_path / "dirnet.zip")
    with pytest.raises(FileExistsError, match=r"dirnet\.zip"):
        pack(archive)
    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path)
    root = tmp_path / "dirnet"
    frames = sorted(phantom_dir.glob("SCD_IMAGES_01/*/*/*.dcm"))[:2]

    def python(*arguments: str) -> str:
        # -E: without the PYTHONPATH of this checkout; the working folder comes first on the path
        command = [sys.executable, "-E", *arguments]
        return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout

    assert str(root) in python("-c", "import dirnet; print(dirnet.__file__)")
    assert str(root) in python("-c", "import transforms.cine; print(transforms.cine.__file__)")
    inference = ["-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    python(*inference, "--moving", str(frames[0]), "--fixed", str(frames[1]))
    assert len(list(root.glob("runs/inference/*_warped.nii.gz"))) == 1


def test_loads_by_name_as_monai_loads_bundles(bundle, network):
    loaded = load_bundle(bundle.name, bundle_dir=str(bundle.parent), source="monaihosting")
    pair = torch.rand(1, 2, 64, 64)
    torch.testing.assert_close(loaded.eval()(pair), network(pair))
