"""The displacement field of a B-spline, boundary "zero", as others compute it."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dirnet.nets.splines import bspline

__all__ = ["TransposedSpline", "itk_field"]


class TransposedSpline(nn.Module):
    """Control points (B, 2, K_1, K_2) to the field of ``dirnet.nets.splines.BSplineTransformer(spacing, order)`` by
    transposed convolution with the sampled basis function.

    Args:
        spacing: even, so that the function's samples lie evenly about a cell's centre for every order.
        order: 2 or 3.
        separable: one convolution an axis; else one with the two-dimensional function.
        grouped: the two components are channels with a group each; else they are images of their own.
    """

    def __init__(self, spacing: int, order: int, separable: bool, grouped: bool) -> None:
        super().__init__()
        self.spacing, self.separable, self.grouped = spacing, separable, grouped
        # samples lie within the function's reach of (order + 1) / 2 spacings about the cell's centre, none on its end
        self.padding = spacing * order // 2
        places = torch.arange(-self.padding, self.padding + spacing)
        samples = bspline((places - (spacing - 1) / 2) / spacing, order)
        kernels = (samples[:, None], samples[None]) if separable else (samples[:, None] * samples,)
        groups = 2 if grouped else 1
        for number, kernel in enumerate(kernels):
            self.register_buffer(f"kernel{number}", kernel.expand(groups, 1, -1, -1).contiguous())

    def forward(self, control_points: Tensor) -> Tensor:
        s, p, groups = self.spacing, self.padding, 2 if self.grouped else 1
        field = control_points if self.grouped else control_points.flatten(0, 1).unsqueeze(1)
        if self.separable:
            field = F.conv_transpose2d(field, self.kernel0, stride=(s, 1), padding=(p, 0), groups=groups)
            field = F.conv_transpose2d(field, self.kernel1, stride=(1, s), padding=(0, p), groups=groups)
        else:
            field = F.conv_transpose2d(field, self.kernel0, stride=s, padding=p, groups=groups)
        return field if self.grouped else field.squeeze(1).unflatten(0, (-1, 2))


def itk_field(control_points: Tensor, spacing: int, order: int) -> Tensor:
    """One set of control points (2, K_1, K_2) to its field (2, H, W) by SimpleITK."""
    coefficients = []
    for component in control_points.flip(0).double().cpu().numpy():  # x first
        image = sitk.GetImageFromArray(np.pad(component, 3))  # ITK wants the points beyond the border given
        image.SetSpacing((spacing, spacing))
        image.SetOrigin(((spacing - 1) / 2 - 3 * spacing,) * 2)
        coefficients.append(image)
    transform = sitk.BSplineTransform(coefficients, order)
    size = [count * spacing for count in reversed(control_points.shape[1:])]
    field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat32, size)
    return torch.from_numpy(sitk.GetArrayFromImage(field)[..., ::-1].transpose(2, 0, 1).copy())
