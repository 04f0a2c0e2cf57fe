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
from dirnet.training.engines import PrepareVolumePair

__all__ = [
    "ElastixDefaultInferer",
    "ElastixInferer",
    "IdentityInferer",
    "OpticalFlowInferer",
    "PairByPairInferer",
    "PrepareSpacedPair",
    "field_of",
    "in_pixels",
]


class PairByPairInferer(Inferer):
    """Registers one pair after the other by :meth:`register`."""

    def register(
        self, moving: np.ndarray, fixed: np.ndarray, spacing: Sequence[float]
    ) -> tuple[Callable[[], np.ndarray], float]:
        """Two images (H, W[, D]) to what gives their field, (dims, H, W[, D]) in pixels, components in array order,
        pull-back; and the seconds that the registration took. ``spacing`` is that of the pixels, in array order."""
        raise NotImplementedError

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, masks: Tensor | None = None, spacing: Tensor | None = None
    ) -> dict[str, Any]:
        """
        Args:
            inputs: pair (B, 2, H, W[, D]), moving and fixed.
            network: not used.
            masks: (B, C, H, W[, D]) float, of the moving image, to be warped too.
            spacing: (B, dims) in mm; 1 by default.

        Returns:
            as :class:`dirnet.training.engines.RegistrationInferer`.
        """
        spacings = torch.ones(len(inputs), inputs.dim() - 2) if spacing is None else spacing
        pairs = zip(inputs.cpu().numpy(), spacings.tolist(), strict=True)
        found = [self.register(moving, fixed, mm) for (moving, fixed), mm in pairs]
        ddf = torch.from_numpy(np.stack([field() for field, _ in found]).astype(np.float32)).to(inputs.device)
        seconds = sum(taken for _, taken in found) / len(inputs)
        result = {"warped": warp(inputs[:, :1], ddf), "ddf": ddf, "seconds": seconds}
        if masks is not None:
            result["warped_masks"] = warp(masks, ddf) > 0.5
        return result


class PrepareSpacedPair(PrepareVolumePair):
    """Adds the size of the voxels to what the inferer is given: what registers in mm needs it."""

    def __call__(self, batchdata: Mapping[str, Any], *args: Any, **kwargs: Any) -> tuple:
        pair, target, others, options = super().__call__(batchdata, *args, **kwargs)
        return pair, target, others, {**options, "spacing": batchdata["spacing"]}


class ElastixStages(PairByPairInferer):
    """Registers each pair of a batch by elastix, in stages that each start from the one before.

    Its time is that of the registration, with the warped image and without the displacement field, which elastix
    computes by itself and slowly.

    Args:
        stages: elastix's parameters of each.
    """

    def __init__(self, stages: Sequence[Mapping[str, Sequence[str]]]) -> None:
        super().__init__()
        self.parameters = itk.ParameterObject.New()
        for stage in stages:
            self.parameters.AddParameterMap(stage)

    def __str__(self) -> str:
        stages = (dict(self.parameters.GetParameterMap(n)) for n in range(self.parameters.GetNumberOfParameterMaps()))
        return "; ".join(
            ", ".join(f"{name} {' '.join(values)}" for name, values in sorted(stage.items())) for stage in stages
        )

    def register(
        self, moving: np.ndarray, fixed: np.ndarray, spacing: Sequence[float]
    ) -> tuple[Callable[[], np.ndarray], float]:
        images = [itk.image_view_from_array(np.ascontiguousarray(image)) for image in (fixed, moving)]
        for image in images:
            image.SetSpacing(list(spacing)[::-1])
        start = time.perf_counter()
        _, transform = itk.elastix_registration_method(*images, parameter_object=self.parameters)
        seconds = time.perf_counter() - start
        maps = [transform.GetParameterMap(n) for n in range(transform.GetNumberOfParameterMaps())]
        return lambda: field_of(as_transform(maps), fixed.shape, spacing), seconds


class ElastixInferer(ElastixStages):
    """elastix with a cubic B-spline, normalised correlation, stochastic gradient descent with adaptive steps.

    Args:
        grid_spacing: of the control points at the last resolution, in mm, or in pixels without a spacing; twice that at
            the one before, ....
        resolutions: their number; the last is the full image.
        iterations: at each resolution.
        samples: random positions at which an iteration compares the images.
        downsample: whether the images are halved from each resolution to the one before, or only smoothed as much.
        bending_energy: weight of elastix's penalty on bending beside the correlation; 0 for none, as in the paper.
        spatial_dims: 2 or 3.
        metric: elastix's name of the similarity.
        affine: whether elastix's own affine registration, by mutual information, comes first.
    """

    def __init__(
        self,
        grid_spacing: float = 16,
        resolutions: int = 2,
        iterations: int = 100,
        samples: int = 2048,
        downsample: bool = True,
        bending_energy: float = 0,
        spatial_dims: int = 2,
        metric: str = "AdvancedNormalizedCorrelation",
        affine: bool = False,
    ) -> None:
        settings = default_stage("bspline", resolutions, float(grid_spacing))
        settings["Metric"] = [metric]
        settings["Registration"] = ["MultiResolutionRegistration"]
        if bending_energy > 0:
            settings["Metric"] = [metric, "TransformBendingEnergyPenalty"]
            settings["Metric1Weight"] = [str(bending_energy)]
            settings["Registration"] = ["MultiMetricMultiResolutionRegistration"]
        steps = [str(2**level) for level in reversed(range(resolutions))]
        settings["GridSpacingSchedule"] = steps
        pyramid = "RecursiveImagePyramid" if downsample else "SmoothingImagePyramid"
        for role in ("Fixed", "Moving"):
            settings[f"{role}ImagePyramid"] = [role + pyramid]
        settings["ImagePyramidSchedule"] = [step for step in steps for _ in range(spatial_dims)]
        settings["MaximumNumberOfIterations"] = [str(iterations)]
        settings["NumberOfSpatialSamples"] = [str(samples)]
        super().__init__([default_stage("affine"), settings] if affine else [settings])


class ElastixDefaultInferer(ElastixStages):
    """elastix as it comes: its own default parameters, which compare by mutual information.

    Args:
        stages: "affine", "bspline", ..., in order.
    """

    def __init__(self, stages: Sequence[str] = ("affine", "bspline")) -> None:
        super().__init__([default_stage(stage) for stage in stages])


def default_stage(*stage: Any) -> Any:
    """elastix's own parameters of a stage: its name; number of resolutions; spacing of control points. The same result
    twice, as real numbers."""
    settings = itk.ParameterObject.New().GetDefaultParameterMap(*stage)
    settings["ResultImagePixelType"] = ["float"]
    settings["RandomSeed"] = ["0"]
    return settings


GRID = ("GridSize", "GridOrigin", "GridSpacing", "GridDirection")  # as ITK orders them too


def as_transform(maps: Sequence[Mapping[str, Sequence[str]]]) -> sitk.CompositeTransform:
    """elastix's affine and B-spline transforms as ITK's own, the first applied first: transformix is slow."""
    whole = sitk.CompositeTransform(int(maps[0]["FixedImageDimension"][0]))
    for parameters in reversed(maps):  # ITK applies the last first
        dims = int(parameters["FixedImageDimension"][0])
        values = [float(value) for value in parameters["TransformParameters"]]
        kind = parameters["Transform"][0]
        if kind == "AffineTransform":
            part: sitk.Transform = sitk.AffineTransform(dims)
            part.SetFixedParameters([float(value) for value in parameters["CenterOfRotationPoint"]])
        elif kind.endswith("BSplineTransform"):
            part = sitk.BSplineTransform(dims, 3)
            part.SetFixedParameters([float(value) for name in GRID for value in parameters[name]])
        else:
            raise ValueError(f"elastix's {kind}: expected an AffineTransform or a BSplineTransform")
        part.SetParameters(values)
        whole.AddTransform(part)
    return whole


def field_of(transform: sitk.Transform, shape: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
    """DDF (dims, H, W[, D]) in pixels of a transform in mm, on a grid of a shape and spacing, in array order, at 0."""
    size, mm = list(shape)[::-1], list(spacing)[::-1]
    zero, axes = [0.0] * len(size), np.eye(len(size)).ravel().tolist()
    field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, size, zero, mm, axes)
    return in_pixels(sitk.GetArrayFromImage(field), spacing)


def in_pixels(field: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """ITK's field (H, W[, D], dims) in mm, x first, as a DDF (dims, H, W[, D]) in pixels, components in array order."""
    return np.moveaxis(field[..., ::-1] / np.asarray(spacing), -1, 0)


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

    def register(
        self, moving: np.ndarray, fixed: np.ndarray, spacing: Sequence[float]
    ) -> tuple[Callable[[], np.ndarray], float]:
        start = time.perf_counter()
        # from fixed to moving: where each pixel of the fixed image lies in the moving one
        flow = self._flow(*(np.round(255 * image.clip(0, 1)).astype(np.uint8) for image in (fixed, moving)))
        seconds = time.perf_counter() - start
        return lambda: flow[..., ::-1].transpose(2, 0, 1), seconds


class IdentityInferer(Inferer):
    """No registration: the moving image as it is."""

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, masks: Tensor | None = None, spacing: Tensor | None = None
    ) -> dict[str, Any]:
        still = torch.zeros(len(inputs), inputs.dim() - 2, *inputs.shape[2:], device=inputs.device)
        result = {"warped": inputs[:, :1], "ddf": still, "seconds": 0.0}
        if masks is not None:
            result["warped_masks"] = masks > 0.5
        return result
