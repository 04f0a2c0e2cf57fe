"""What a network is compared with: elastix, the conventional registration, through ``itk-elastix``; and none.

They are inferers, so that the bundle's ``evaluate.json`` scores them as it scores a network: the same pairs, masks and
measures.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import itk
import numpy as np
import SimpleITK as sitk
import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from dirnet.fields.resampling import warp

__all__ = ["ElastixInferer", "IdentityInferer"]

GRID = ("GridSize", "GridOrigin", "GridSpacing", "GridDirection")  # as ITK orders them too


class ElastixInferer(Inferer):
    """Registers each pair of a batch by elastix: cubic B-spline, normalised correlation, stochastic gradient descent
    with adaptive steps.

    Args:
        grid_spacing: of the control points at the last resolution, in pixels; twice that at the one before, ....
        resolutions: their number; the last is the full image.
        iterations: at each resolution.
        samples: random positions at which an iteration compares the images.
        downsample: whether the images are halved from each resolution to the one before, or only smoothed as much.
        bending_energy: weight of elastix's penalty on bending beside the correlation; 0 for none, as in the paper.
    """

    def __init__(
        self,
        grid_spacing: float = 16,
        resolutions: int = 2,
        iterations: int = 100,
        samples: int = 2048,
        downsample: bool = True,
        bending_energy: float = 0,
    ) -> None:
        super().__init__()
        self.parameters = itk.ParameterObject.New()
        settings = self.parameters.GetDefaultParameterMap("bspline", resolutions, float(grid_spacing))
        settings["Metric"] = ["AdvancedNormalizedCorrelation"]
        settings["Registration"] = ["MultiResolutionRegistration"]
        if bending_energy > 0:
            settings["Metric"] = ["AdvancedNormalizedCorrelation", "TransformBendingEnergyPenalty"]
            settings["Metric1Weight"] = [str(bending_energy)]
            settings["Registration"] = ["MultiMetricMultiResolutionRegistration"]
        steps = [str(2**level) for level in reversed(range(resolutions))]
        settings["GridSpacingSchedule"] = steps
        pyramid = "RecursiveImagePyramid" if downsample else "SmoothingImagePyramid"
        for role in ("Fixed", "Moving"):
            settings[f"{role}ImagePyramid"] = [role + pyramid]
        settings["ImagePyramidSchedule"] = [step for step in steps for _ in range(2)]
        settings["MaximumNumberOfIterations"] = [str(iterations)]
        settings["NumberOfSpatialSamples"] = [str(samples)]
        settings["ResultImagePixelType"] = ["float"]
        settings["RandomSeed"] = ["0"]
        self.parameters.AddParameterMap(settings)

    def __str__(self) -> str:
        settings = dict(self.parameters.GetParameterMap(0))
        return ", ".join(f"{name} {' '.join(values)}" for name, values in sorted(settings.items()))

    def __call__(self, inputs: Tensor, network: nn.Module, masks: Tensor | None = None) -> dict[str, Any]:  # type: ignore[override]
        """
        Args:
            inputs: pair (B, 2, H, W), moving and fixed.
            network: not used.
            masks: (B, C, H, W) float, of the moving image, to be warped too.

        Returns:
            as :class:`dirnet.training.engines.RegistrationInferer`. The ``seconds`` are those of the registration, with
            the warped image and without the displacement field, which elastix computes by itself and slowly.
        """
        seconds, fields = 0.0, []
        for moving, fixed in inputs.cpu().numpy():
            moving, fixed = (itk.image_view_from_array(np.ascontiguousarray(image)) for image in (moving, fixed))
            start = time.perf_counter()
            _, transform = itk.elastix_registration_method(fixed, moving, parameter_object=self.parameters)
            seconds += time.perf_counter() - start
            fields.append(_field(transform.GetParameterMap(0), inputs.shape[2:]))
        ddf = torch.from_numpy(np.stack(fields).astype(np.float32)).to(inputs.device)
        result = {"warped": warp(inputs[:, :1], ddf), "ddf": ddf, "seconds": seconds / len(inputs)}
        if masks is not None:
            result["warped_masks"] = warp(masks, ddf) > 0.5
        return result


def _field(parameters: Mapping[str, Sequence[str]], shape: Sequence[int]) -> np.ndarray:
    """DDF (2, H, W) of elastix's B-spline, through ITK's own: transformix takes longer than the registration."""
    grid = [float(value) for name in GRID for value in parameters[name]]
    spline = sitk.BSplineTransform(2, 3)
    spline.SetFixedParameters(grid)
    spline.SetParameters([float(value) for value in parameters["TransformParameters"]])
    field = sitk.TransformToDisplacementField(spline, sitk.sitkVectorFloat32, list(shape)[::-1])
    return sitk.GetArrayFromImage(field)[..., ::-1].transpose(2, 0, 1)  # (x, y) last to (row, column) first


class IdentityInferer(Inferer):
    """No registration: the moving image as it is."""

    def __call__(self, inputs: Tensor, network: nn.Module, masks: Tensor | None = None) -> dict[str, Any]:  # type: ignore[override]
        result = {"warped": inputs[:, :1], "ddf": torch.zeros_like(inputs), "seconds": 0.0}
        if masks is not None:
            result["warped_masks"] = masks > 0.5
        return result
