"""What a network is compared with: elastix, the conventional registration, through ``itk-elastix``; dense optical flow,
through OpenCV; and none.

They are inferers, so that the bundle's ``evaluate.json`` scores them as it scores a network: the same pairs, masks and
measures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import itk
import numpy as np
import SimpleITK as sitk
import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from dirnet.errors import InputError
from dirnet.fields.resampling import warp

__all__ = ["ElastixInferer", "IdentityInferer", "OpticalFlowInferer"]

GRID = ("GridSize", "GridOrigin", "GridSpacing", "GridDirection")  # as ITK orders them too


class PairByPairInferer(Inferer):
    """Registers one pair after the other by :meth:`register`."""

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> tuple[Callable[[], np.ndarray], float]:
        """Two images (H, W) to what gives their field, (2, H, W) in pixels, (row, column), pull-back; and the seconds
        that the registration took."""
        raise NotImplementedError

    def __call__(self, inputs: Tensor, network: nn.Module, masks: Tensor | None = None) -> dict[str, Any]:  # type: ignore[override]
        """
        Args:
            inputs: pair (B, 2, H, W), moving and fixed.
            network: not used.
            masks: (B, C, H, W) float, of the moving image, to be warped too.

        Returns:
            as :class:`dirnet.training.engines.RegistrationInferer`.
        """
        found = [self.register(moving, fixed) for moving, fixed in inputs.cpu().numpy()]
        ddf = torch.from_numpy(np.stack([field() for field, _ in found]).astype(np.float32)).to(inputs.device)
        seconds = sum(taken for _, taken in found) / len(inputs)
        result = {"warped": warp(inputs[:, :1], ddf), "ddf": ddf, "seconds": seconds}
        if masks is not None:
            result["warped_masks"] = warp(masks, ddf) > 0.5
        return result


class ElastixInferer(PairByPairInferer):
    """Registers each pair of a batch by elastix: cubic B-spline, normalised correlation, stochastic gradient descent
    with adaptive steps.

    Its time is that of the registration, with the warped image and without the displacement field, which elastix
    computes by itself and slowly.

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

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> tuple[Callable[[], np.ndarray], float]:
        images = [itk.image_view_from_array(np.ascontiguousarray(image)) for image in (fixed, moving)]
        start = time.perf_counter()
        _, transform = itk.elastix_registration_method(*images, parameter_object=self.parameters)
        seconds = time.perf_counter() - start
        return lambda: _field(transform.GetParameterMap(0), fixed.shape), seconds


def _field(parameters: Mapping[str, Sequence[str]], shape: Sequence[int]) -> np.ndarray:
    """DDF (2, H, W) of elastix's B-spline, through ITK's own: transformix takes longer than the registration."""
    grid = [float(value) for name in GRID for value in parameters[name]]
    spline = sitk.BSplineTransform(2, 3)
    spline.SetFixedParameters(grid)
    spline.SetParameters([float(value) for value in parameters["TransformParameters"]])
    field = sitk.TransformToDisplacementField(spline, sitk.sitkVectorFloat32, list(shape)[::-1])
    return sitk.GetArrayFromImage(field)[..., ::-1].transpose(2, 0, 1)  # (x, y) last to (row, column) first


class OpticalFlowInferer(PairByPairInferer):
    """Dense optical flow of images of 8 bits, by OpenCV.

    Its settings were chosen among 30 on every fourth slice of the validation split.

    Args:
        method: "farneback" (Farnebäck, SCIA 2003) or "dis" (Kroeger et al., ECCV 2016).

    Raises:
        InputError: when there is no such method, or OpenCV is not installed.
    """

    def __init__(self, method: str) -> None:
        super().__init__()
        if method not in ("farneback", "dis"):
            raise InputError(f"optical flow: expected farneback or dis, got {method!r}")
        try:
            import cv2
        except ModuleNotFoundError as error:
            raise InputError("optical flow needs OpenCV: pip install opencv-python-headless") from error
        if method == "dis":
            dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
            dis.setFinestScale(0)
            self._flow = partial(dis.calc, flow=None)
        else:
            self._flow = partial(
                cv2.calcOpticalFlowFarneback,
                flow=None,
                pyr_scale=0.5,
                levels=4,
                winsize=27,
                iterations=3,
                poly_n=9,
                poly_sigma=2.0,
                flags=cv2.OPTFLOW_FARNEBACK_GAUSSIAN,
            )

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> tuple[Callable[[], np.ndarray], float]:
        start = time.perf_counter()
        # from fixed to moving: where each pixel of the fixed image lies in the moving one
        flow = self._flow(*(np.round(255 * image.clip(0, 1)).astype(np.uint8) for image in (fixed, moving)))
        seconds = time.perf_counter() - start
        return lambda: flow[..., ::-1].transpose(2, 0, 1), seconds


class IdentityInferer(Inferer):
    """No registration: the moving image as it is."""

    def __call__(self, inputs: Tensor, network: nn.Module, masks: Tensor | None = None) -> dict[str, Any]:  # type: ignore[override]
        result = {"warped": inputs[:, :1], "ddf": torch.zeros_like(inputs), "seconds": 0.0}
        if masks is not None:
            result["warped_masks"] = masks > 0.5
        return result
