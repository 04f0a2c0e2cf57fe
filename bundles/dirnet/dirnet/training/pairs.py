"""Pairs of files registered one after the other by a MONAI evaluator: what ``inference.json`` does in an iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events
from rich.console import Console

from ..errors import InputError
from ..files.aside import refuse_overwriting
from ..files.formats import result_files
from ..registrar import Registrar
from ..registration import Registration
from ..volume import VolumeRegistration

__all__ = ["PairRegistration"]


class PairRegistration:
    """An evaluator's ``iteration_update``, and its handler: registers a pair and writes its results.

    A pair that cannot be read or registered is named and left out, and the others are done. When all are done, the run
    ends with an error if there was one.

    Args:
        registrar: that registers, slices or by a 3-D network volumes.
        pairs: all that will come, as :func:`transforms.pair_files.list_pairs` gives them.
        output_dir: where the results go.
        formats: of the results, see :func:`dirnet.files.exports.save_registration`.
        overwrite: whether files that exist may be replaced.
        align: of volumes, see :meth:`~dirnet.registrar.Registrar.register_volume`.

    Raises:
        InputError: when there is no such format.
        FileExistsError: before anything is computed, when a result exists and may not be replaced.
    """

    def __init__(
        self,
        registrar: Registrar,
        pairs: Sequence[Mapping[str, str]],
        output_dir: str | Path,
        formats: Sequence[str],
        overwrite: bool = False,
        align: str = "place",
    ) -> None:
        self.align = align
        self.registrar = registrar
        self.folder = Path(output_dir)
        self.formats = formats
        self.overwrite = overwrite
        for pair in pairs:
            names = result_files(pair["name"], formats).values()
            refuse_overwriting(*(self.folder / name for some in names for name in some), overwrite=overwrite)
        self.pairs = len(pairs)
        self.failed: list[str] = []
        self.console = Console()

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def __call__(self, engine: Engine, pair: Mapping[str, str]) -> dict[str, Registration | VolumeRegistration]:
        """
        Args:
            engine: not looked at.
            pair: ``moving`` and ``fixed``, paths; ``name``, which begins the results' names.
        """
        try:
            registration = self._register(pair["moving"], pair["fixed"])
            registration.save(self.folder, pair["name"], self.formats, self.overwrite)
        except (InputError, FileNotFoundError) as error:
            self.failed.append(str(error))
            self._print(f"{pair['name']}: failed: {error}")
            return {}
        largest = np.linalg.norm(registration.ddf, axis=0).max()
        unit = "px" if self.registrar.spatial_dims == 2 else "voxels"
        self._print(
            f"{pair['name']}: NCC {registration.ncc_before:.3f} before, {registration.ncc_after:.3f} after; largest "
            f"displacement {largest:.1f} {unit}; {registration.folded_percent:.3f} % folded; "
            f"written to {self.folder / pair['name']}_*"
        )
        return {"registration": registration}

    def _register(self, moving: str, fixed: str) -> Registration | VolumeRegistration:
        if self.registrar.spatial_dims == 3:
            return self.registrar.register_volume(moving, fixed, self.align)
        return self.registrar.register(moving, fixed)

    def finish(self, engine: Engine) -> None:
        """
        Raises:
            InputError: when a pair failed.
        """
        if self.failed:
            count = f"{len(self.failed)} of {self.pairs} pairs failed: " if self.pairs > 1 else ""
            raise InputError(count + "; ".join(self.failed))

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)
