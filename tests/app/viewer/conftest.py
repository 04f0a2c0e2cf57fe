"""A folder of cines whose motion is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dirnet.registrar import Registrar
from transforms.cine_files import read_cine_stack
from transforms.phantom import Phantom, write_scd

SIZE, PHASES, SLICES = (96, 112), 10, 2


@pytest.fixture(scope="session")
def cines(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """``folder`` of three phantoms; of the first its ``series``, its ``stack`` as it is read, the true ``lumens``
    (S, T, H, W) in the order of that, and ``ed``."""
    folder = write_scd(tmp_path_factory.mktemp("cines") / "phantom", 3, SIZE, PHASES, SLICES)
    series = next(folder.glob("SCD_IMAGES_01/SCD0000101/*"))
    stack, phantom = read_cine_stack(series), Phantom(0, SIZE, PHASES, SLICES)
    lumens = np.array([[phantom.lumen(number, phase) for phase in range(PHASES)] for number in range(SLICES)])
    if int(Path(stack.files[0][0]).stem.rsplit("-", 1)[1]) > PHASES:  # read by place, made from base to apex
        lumens = lumens[::-1]
    return SimpleNamespace(folder=folder, series=series, stack=stack, lumens=lumens, ed=phantom.ed)


@pytest.fixture(scope="session")
def registrar() -> Registrar:
    return Registrar.load()


@pytest.fixture(scope="session")
def dice() -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda a, b: 2 * np.sum(a & b) / (np.sum(a) + np.sum(b))
