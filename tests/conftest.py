"""Data that tests share."""

import os
from pathlib import Path

import pytest

from transforms.phantom import write_scd


@pytest.fixture(scope="session")
def phantom_dir(tmp_path_factory):
    """Three phantoms in SCD's layout, one a split, 2 slices of 20 frames of 48x64 pixels; not to be changed."""
    return write_scd(tmp_path_factory.mktemp("data") / "phantom", patients=3, size=(48, 64), slices=2)


@pytest.fixture(scope="session")
def scd_dir():
    """The Sunnybrook Cardiac Data, where they are."""
    if not os.environ.get("SCD_DIR"):
        pytest.skip("SCD_DIR, the folder of the Sunnybrook Cardiac Data, is not set")
    return Path(os.environ["SCD_DIR"])
