"""Freed memory stays with the process."""

import platform
import resource
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys, torch
from dirnet.speed.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of 4 kB, to count
for _ in range(20):
    block = torch.ones(10_000_000)  # 40 MB
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_blocks_that_were_freed_are_used_again():
    faults = {
        way: int(subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, text=True, check=True).stdout)
        for way in ("keep", "free")
    }
    block = 40_000_000 / resource.getpagesize()
    assert faults["free"] - faults["keep"] > 5 * block  # of 20: a kept block can be some bytes too short for the next
