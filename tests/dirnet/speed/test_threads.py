"""Threads: how many, and that they yield while they wait."""

import os
import subprocess
import sys

import pytest
import torch

from dirnet.speed.threads import available_cores, prepare, use


def test_cores_are_those_of_the_affinity_and_of_the_container(tmp_path):
    cores = len(os.sched_getaffinity(0))
    assert available_cores(tmp_path / "none") == cores
    first, second = tmp_path / "first", tmp_path / "second"  # versions of control groups
    (first / "cpu").mkdir(parents=True)
    second.mkdir()
    for quota, expected in (("-1", cores), ("150000", min(cores, 2)), ("50000", 1)):
        (first / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (first / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
        assert available_cores(first) == expected
        (second / "cpu.max").write_text(f"{quota.replace('-1', 'max')} 100000\n")
        assert available_cores(second) == expected
    (second / "cpu.max").write_text("")
    assert available_cores(second) == cores


def test_what_the_user_has_set_stays():
    environment = {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "7"}
    prepare(environment)
    assert environment == {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "7"}
    environment = {}
    prepare(environment)
    assert environment == {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(available_cores())}


def test_the_package_prepares_before_torch_is_loaded():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    script = "import dirnet, sys, os; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "PASSIVE\n"


def test_use():
    before = torch.get_num_threads()
    try:
        use(1)
        assert torch.get_num_threads() == 1
        use(None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ValueError, match="threads must be a whole number from 1, got 'two'"):
        use("two")
