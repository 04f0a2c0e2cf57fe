"""The bundle as a person runs it: ``python -m monai.bundle`` in a process of its own, see tests/forking.py."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dirnet.nets.networks import DIRNet
from tests.forking import Forker

BUNDLE = Path(__file__).parents[2] / "bundles" / "dirnet"


@pytest.fixture(scope="session")
def bundle() -> Path:
    return BUNDLE


@pytest.fixture(scope="session")
def run(forks: Forker, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess]:
    """``run("train", "--iterations", 5, ...)``: a config of the bundle, away from the user's data and cache.

    ``train+weak_labels`` lays one config over another. With ``processes`` it is the training on several GPUs, of which
    these processes have none, started by torchrun.
    """
    home = tmp_path_factory.mktemp("home")
    environment = {key: value for key, value in os.environ.items() if key not in ("SCD_DIR", "HIPPOCAMPUS_DIR")}
    # the cache is not in the working directory: a folder named dirnet there would be imported instead of the package
    environment |= {"XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}

    def run(
        config: str, *options: object, cwd: Path = home, env: dict[str, str] | None = None, processes: int = 0
    ) -> subprocess.CompletedProcess:
        own = environment | (env or {})
        names = [*config.split("+"), *(["multi_gpu_train"] if processes else [])]
        files = [str(BUNDLE / "configs" / f"{name}.json") for name in names]
        command = ["monai.bundle", "run", "--config_file", str(files) if len(files) > 1 else files[0]]
        command += map(str, options)
        if not processes:
            return forks.run(*command, cwd=cwd, env=own)
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1"]
        start += [f"--nproc_per_node={processes}", "-m", *command]
        own |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(torch.get_num_threads())}
        return subprocess.run(start, cwd=cwd, env=own, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an untrained C1 network that moves an image by some pixels, not everywhere alike."""
    torch.manual_seed(0)
    network = DIRNet(channels=32, poolings=3, extra_convolutions=True)
    torch.nn.init.normal_(network.regressor[-1].weight, std=20)
    torch.nn.init.constant_(network.regressor[-1].bias, 2)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(network.state_dict(), path)
    return path
