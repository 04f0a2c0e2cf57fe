"""Registrations to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from ignite.engine import Engine, Events
from rich.console import Console

from ..fields.jacobian import folded_percent
from ..fields.resampling import warp
from ..files.aside import refuse_overwriting, write_aside
from ..files.nifti import write_displacement
from ..files.pictures import picture, save_picture
from ..nets.losses import ncc

__all__ = ["RegistrationWriter"]

RESULTS = ("warped.nii.gz", "ddf.nii.gz", "overview.png")


class RegistrationWriter:
    """Writes each registration of an evaluator beside each other in one folder.

    - ``<name>_warped.nii.gz``: the moving image with its own intensities, float32, resampled once, in the fixed
      image's geometry;
    - ``<name>_ddf.nii.gz``: the displacement field as :func:`dirnet.fields.write_displacement` writes it;
    - ``<name>_overview.png``: fixed, moving, warped, differences and the warped grid.

    The batch is that of :class:`transforms.pair_files.LoadPaird`.

    Args:
        output_dir: where the files go.
        pairs: what will be registered, with its names.
        overwrite: whether files that exist may be replaced.

    Raises:
        FileExistsError: before anything is computed, when there is a result and it may not be replaced.
    """

    def __init__(self, output_dir: str | Path, pairs: Sequence[Mapping[str, str]], overwrite: bool = False) -> None:
        self.folder = Path(output_dir)
        for pair in pairs:
            refuse_overwriting(*(self.path(pair["name"], result) for result in RESULTS), overwrite=overwrite)
        self.console = Console()

    def path(self, name: str, result: str) -> Path:
        return self.folder / f"{name}_{result}"

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)

    def write(self, engine: Engine) -> None:
        batch, output = engine.state.batch, engine.state.output
        before = ncc(output["image"][:, :1], output["label"])
        after = ncc(output["pred"]["warped"], output["label"])
        folds = folded_percent(output["pred"]["ddf"])
        for i, name in enumerate(batch["name"]):
            ddf = output["pred"]["ddf"][i].float().cpu()
            fixed, moving = (sitk.ReadImage(batch[f"{role}_file"][i]) for role in ("fixed", "moving"))
            # the field first: it is the one that a file's geometry can rule out
            write_displacement(self.path(name, "ddf.nii.gz"), ddf.numpy(), fixed, moving)
            with write_aside(self.path(name, "warped.nii.gz")) as path:
                sitk.WriteImage(_resample(moving, ddf, fixed), str(path))
            images = {
                "moving": output["image"][i, 0],
                "fixed": output["label"][i, 0],
                "warped": output["pred"]["warped"][i, 0],
            }
            row: dict[str, Any] = {key: image.float().cpu().numpy() for key, image in images.items()}
            save_picture(
                picture([{**row, "ddf": ddf.numpy(), "title": name.replace("_to_", "\nto ")}]),
                self.path(name, "overview.png"),
            )
            self.console.print(
                f"{name}: NCC {before[i]:.3f} before, {after[i]:.3f} after; largest displacement "
                f"{np.linalg.norm(ddf.numpy(), axis=0).max():.1f} px; {folds[i]:.3f} % folded; "
                f"written to {self.path(name, '*')}",
                highlight=False,
                soft_wrap=True,
            )


def _resample(moving: sitk.Image, ddf: torch.Tensor, fixed: sitk.Image) -> sitk.Image:
    """The moving file's image at ``x + ddf(x)``, in the geometry of ``fixed``."""
    array = sitk.GetArrayFromImage(moving).astype(np.float32)
    image = torch.from_numpy(array.reshape(1, 1, *ddf.shape[1:]))
    warped = sitk.GetImageFromArray(warp(image, ddf.unsqueeze(0)).numpy().reshape(array.shape))
    warped.CopyInformation(fixed)
    return warped
