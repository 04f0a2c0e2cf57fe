"""How alike two images are, as losses: smaller is more alike.

Each is called with the warped image and the fixed one, (B, 1, H, W[, D]), and gives a scalar, the mean over the batch.
A training, ``RegistrationLoss`` and ``Refinement`` take any of them, and any other module that is called so, such as
``torch.nn.MSELoss``. ``docs/similarities.md`` says which to use when.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .splines import bspline

__all__ = [
    "LocalNCCLoss",
    "MINDLoss",
    "MultiScaleSimilarity",
    "MutualInformationLoss",
    "NCCLoss",
    "NGFLoss",
    "Similarity",
    "ncc",
]

FLAT = 1e-6  # variance below which an image is held constant: a standard deviation of 0.001 of images in [0, 1]


def ncc(image: Tensor, target: Tensor) -> Tensor:
    """Normalised cross-correlation of each image with its target: (B, ...), (B, ...) -> (B,), in [-1, 1].

    Centred first and in float32 at least, also under autocast; the variances are held off zero, so that a constant
    image scores 0 with a finite gradient.

    Raises:
        ValueError: when the shapes differ.
    """
    a, b = (values.flatten(1) for values in _alike(image, target))
    with torch.autocast(image.device.type, enabled=False):
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
        floor = FLAT * a.shape[1]
        norm = (a.square().sum(1).clamp_min(floor) * b.square().sum(1).clamp_min(floor)).sqrt()
        return (a * b).sum(1) / norm


class Similarity(nn.Module):
    """A loss by how alike two images are; a subclass says it of each pair, by :meth:`of_each`.

    It computes in float32 at least, also under autocast.
    """

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """
        Args:
            image: the warped image, (B, 1, H, W[, D]).
            target: the fixed image, of the same shape.

        Returns:
            a scalar, the mean over the batch.

        Raises:
            ValueError: when the shapes differ.
        """
        image, target = _alike(image, target)
        with torch.autocast(image.device.type, enabled=False):
            return self.of_each(image, target).mean()

    def of_each(self, image: Tensor, target: Tensor) -> Tensor:
        """The loss of each pair, (B, 1, H, W[, D]), (B, 1, H, W[, D]) -> (B,)."""
        raise NotImplementedError


class NCCLoss(Similarity):
    """Minus :func:`ncc`, in [-1, 1]: for images of which one is a linear function of the other.

    Source: de Vos et al., "End-to-End Unsupervised Deformable Image Registration with a Convolutional Neural Network",
    DLMIA 2017.
    """

    def of_each(self, image: Tensor, target: Tensor) -> Tensor:
        return -ncc(image, target)


class LocalNCCLoss(Similarity):
    """Minus the mean of the squared NCC of box-shaped windows, in [-1, 0]: for images whose brightness and contrast
    change from place to place. It is blind to the contrast's sign.

    Windows lie inside the image, and those in which the target is constant don't count. A perfect match is so -1.
    MONAI's ``LocalNormalizedCrossCorrelationLoss`` pads with zeros, whose border matches itself in any two images,
    scores constant windows 0, and loses all digits where the images have a large mean. Where neither matters the two
    agree.

    Source: Avants et al., "Symmetric diffeomorphic image registration with cross-correlation", Medical Image Analysis
    2008; Balakrishnan et al., "VoxelMorph", IEEE TMI 2019, has it as a network's loss.

    Args:
        window: side of the windows in pixels, odd.
        noise: standard deviation at or below which a window is constant, in intensities.

    Raises:
        InputError: when the window is no odd number from 3; when called, when an image is smaller than a window.
    """

    def __init__(self, window: int = 9, noise: float = 0.01) -> None:
        super().__init__()
        if type(window) is not int or window < 3 or window % 2 == 0:
            raise InputError(f"similarity: window must be an odd number from 3, got {window!r}")
        self.window = window
        self.noise = noise

    def extra_repr(self) -> str:
        return f"window={self.window}, noise={self.noise}"

    def of_each(self, image: Tensor, target: Tensor) -> Tensor:
        if min(image.shape[2:]) < self.window:
            raise InputError(
                f"similarity: windows of {self.window} pixels do not fit into images {list(image.shape[2:])}"
            )
        # centred as a whole: else the squares' differences lose their digits
        a, b = (values - values.flatten(1).mean(1).view(-1, *[1] * (values.dim() - 1)) for values in (image, target))
        mean_a, mean_b, aa, bb, ab = (_box(values, self.window) for values in (a, b, a * a, b * b, a * b))
        floor = self.noise**2
        spread = bb - mean_b * mean_b
        known = (spread > floor).to(spread.dtype)
        squared = (ab - mean_a * mean_b).square()
        squared = squared / ((aa - mean_a * mean_a).clamp_min(floor) * spread.clamp_min(floor))
        return -(squared * known).flatten(1).sum(1) / known.flatten(1).sum(1).clamp_min(1)


class MultiScaleSimilarity(nn.Module):
    """Mean of a similarity over the images as they are and smoothed: what is far apart is seen in the smooth ones.

    Multi-scale NCC is this of :class:`NCCLoss`. MONAI's ``MultiScaleLoss`` hands over the two images in the other
    order, pads with zeros, and smooths by weights whose sum is not 1, which changes the images' intensities.

    Args:
        similarity: called with image and target; :class:`NCCLoss` by default.
        sigmas: of the Gaussians in pixels; 0 leaves the images as they are.

    Raises:
        InputError: when there is no sigma, or one is below 0.
    """

    def __init__(self, similarity: nn.Module | None = None, sigmas: Sequence[float] = (0.0, 2.0)) -> None:
        super().__init__()
        if not sigmas or min(sigmas) < 0:
            raise InputError(f"similarity: sigmas must be numbers of pixels from 0, got {sigmas!r}")
        self.similarity = NCCLoss() if similarity is None else similarity
        self.sigmas = tuple(sigmas)

    def extra_repr(self) -> str:
        return f"sigmas={self.sigmas}"

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """As :meth:`Similarity.forward`."""
        from transforms.augmentation import blur  # here: it loads MONAI, which a registration without it saves

        image, target = _alike(image, target)
        with torch.autocast(image.device.type, enabled=False):
            smoothed = [(blur(image, s), blur(target, s)) if s else (image, target) for s in self.sigmas]
            return torch.stack([self.similarity(*pair) for pair in smoothed]).mean()


class MutualInformationLoss(Similarity):
    """Minus the mutual information of the two images' intensities, in nats: for images whose intensities depend on
    each other in any way, such as those of two modalities.

    From a joint histogram of all pixels, in which a cubic B-spline spreads the image's intensities and each of the
    target's falls into one bin; the gradient is so that of the image alone. Bins span the range of each image of the
    batch. MONAI's ``GlobalMutualInformationLoss`` takes 10 times as long and keeps a weight for each pixel and bin; its
    Gaussian kernel has no gradient outside [0, 1], and its B-spline takes one range for the whole batch and is nan for
    a constant image.

    Source: Mattes et al., "PET-CT image registration in the chest using free-form deformations", IEEE TMI 2003.

    Args:
        bins: of each image's intensities.

    Raises:
        InputError: when they are no whole number from 5.
    """

    def __init__(self, bins: int = 32) -> None:
        super().__init__()
        if type(bins) is not int or bins < 5:
            raise InputError(f"similarity: bins must be a whole number from 5, got {bins!r}")
        self.bins = bins

    def extra_repr(self) -> str:
        return f"bins={self.bins}"

    def of_each(self, image: Tensor, target: Tensor) -> Tensor:
        joint = self.joint(image, target)
        parts = joint.sum(2), joint.sum(1)
        return sum(_negative_entropy(part) for part in parts) - _negative_entropy(joint.flatten(1))

    def joint(self, image: Tensor, target: Tensor) -> Tensor:
        """Joint histogram of each pair, (B, bins of the target, bins of the image), of sum 1."""
        count, bins = len(image), self.bins
        place = 1 + (bins - 3) * _in_range(image)  # a cubic B-spline reaches over two bins on either side
        first = place.detach().floor().clamp(1, bins - 3) - 1
        row = ((bins - 1) * _in_range(target)).detach().round()
        row = row + bins * torch.arange(count, device=row.device)[:, None]
        where = (bins * row + first).long()
        joint = place.new_zeros(count * bins * bins)
        for step in range(4):
            joint = joint.index_add(0, (where + step).flatten(), bspline(place - first - step, 3).flatten())
        return joint.view(count, bins, bins) / place.shape[1]


class MINDLoss(Similarity):
    """Mean squared difference of the images' MIND-SSC descriptors, 0 to 1: for images of two modalities, or with
    brightness and noise that change from place to place.

    A descriptor says, for each pixel, how alike patches around it are among each other: those one ``distance`` away
    along an axis, each with those along the other axes. An image (H, W) is taken as a slice of a volume that doesn't
    change from slice to slice. With the four patches of the plane alone, an edge along an axis would not be seen.

    Source: Heinrich et al., "Towards realtime multimodal fusion for image-guided interventions using
    self-similarities", MICCAI 2013.

    Args:
        distance: of the patches from the pixel, in pixels.
        radius: of the patches, squares of ``2 * radius + 1`` pixels.
        noise: standard deviation, in intensities, by which patches differ at least. Where less happens, the descriptor
            is that of a constant image, and not one of enlarged noise.

    Raises:
        InputError: when the distance is no whole number from 1, the radius none from 0, or the noise not above 0.
    """

    def __init__(self, distance: int = 2, radius: int = 1, noise: float = 0.001) -> None:
        super().__init__()
        for name, value, least in (("distance", distance, 1), ("radius", radius, 0)):
            if type(value) is not int or value < least:
                raise InputError(f"similarity: {name} must be a whole number from {least}, got {value!r}")
        if not noise > 0:
            raise InputError(f"similarity: noise must be a number above 0, got {noise!r}")
        self.distance = distance
        self.radius = radius
        self.noise = noise

    def extra_repr(self) -> str:
        return f"distance={self.distance}, radius={self.radius}, noise={self.noise}"

    def of_each(self, image: Tensor, target: Tensor) -> Tensor:
        difference = self.descriptor(image) - self.descriptor(target)
        return (self._shares(image) * difference.square()).sum(1).flatten(1).mean(1)

    def descriptor(self, image: Tensor) -> Tensor:
        """MIND-SSC of images: (B, 1, H, W, D) to (B, 12, H, W, D), in (0, 1]; (B, 1, H, W) to (B, 8, H, W), of which
        the last four stand for two of a volume's each."""
        around = [self.distance] * 2 * (image.dim() - 2)
        padded = F.pad(image, around, mode="replicate")
        patches = [self._shifted(padded, axis, sign) for axis in range(image.dim() - 2) for sign in (-1, 1)]
        pairs = [(a, b) for (i, a), (j, b) in combinations(enumerate(patches), 2) if i // 2 != j // 2]
        if image.dim() == 4:  # the patches before and behind the slice are the pixel's own
            pairs += [(patch, image) for patch in patches]
        squares = torch.cat([(a - b).square() for a, b in pairs], 1)
        squares = F.pad(squares, [self.radius] * 2 * (image.dim() - 2), mode="replicate")
        apart = _box(squares, 2 * self.radius + 1)
        apart = apart - apart.amin(1, keepdim=True)
        variance = (self._shares(image) * apart).sum(1, keepdim=True)
        usual = variance.detach().flatten(1).mean(1).view(-1, *[1] * (image.dim() - 1))
        return torch.exp(-apart / variance.clamp(0.001 * usual, 1000 * usual).clamp_min(self.noise**2))

    def _shifted(self, padded: Tensor, axis: int, sign: int) -> Tensor:
        """The image, padded by the distance on all sides, from one distance away along an axis."""
        for other in range(padded.dim() - 2):
            start = self.distance * (1 + sign * (other == axis))
            padded = padded.narrow(other + 2, start, padded.shape[other + 2] - 2 * self.distance)
        return padded

    @staticmethod
    def _shares(image: Tensor) -> Tensor:
        """How much each channel of the descriptor counts, to be multiplied with it."""
        parts = [1.0] * 4 + [2.0] * 4 if image.dim() == 4 else [1.0] * 12
        return (image.new_tensor(parts) / 12).view(-1, *[1] * (image.dim() - 2))


class NGFLoss(Similarity):
    """Mean of 1 minus the squared cosine between the images' normalised gradients, 0 to 1: for images of two
    modalities that share their edges. It is blind to the contrast's sign.

    Source: Haber and Modersitzki, "Intensity gradient based registration and fusion of multi-modal images", MICCAI
    2006. Gradients are central differences, one-sided at the border.

    Args:
        edge: size of a gradient that counts half, in intensities a pixel: well above noise, below the edges that
            matter. It is the paper's ε.

    Raises:
        InputError: when it is not above 0.
    """

    def __init__(self, edge: float = 0.02) -> None:
        super().__init__()
        if not edge > 0:
            raise InputError(f"similarity: edge must be a number above 0, got {edge!r}")
        self.edge = edge

    def extra_repr(self) -> str:
        return f"edge={self.edge}"

    def of_each(self, image: Tensor, target: Tensor) -> Tensor:
        axes = list(range(2, image.dim()))
        a, b = (torch.cat(torch.gradient(values, dim=axes), 1) for values in (image, target))
        sizes = [gradient.square().sum(1) + self.edge**2 for gradient in (a, b)]
        return 1 - ((a * b).sum(1).square() / (sizes[0] * sizes[1])).flatten(1).mean(1)


def _alike(image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32, or in float64 where one is.

    Raises:
        ValueError: when the shapes differ.
    """
    if image.shape != target.shape:
        raise ValueError(f"image {list(image.shape)} and target {list(target.shape)} differ in shape")
    kind = torch.promote_types(torch.promote_types(image.dtype, target.dtype), torch.float32)
    return image.to(kind), target.to(kind)


def _box(images: Tensor, side: int) -> Tensor:
    """Means of the boxes of ``side`` pixels that lie inside images (B, C, H, W[, D]), one axis after the other.

    By sums of shifted images: on a CPU torch's average pooling takes two to three times as long.
    """
    for axis in range(2, images.dim()):
        size = images.shape[axis] - side + 1
        total = images.narrow(axis, 0, size)
        for start in range(1, side):
            total = total + images.narrow(axis, start, size)
        images = total / side
    return images


def _in_range(images: Tensor) -> Tensor:
    """Intensities of each image between its smallest, 0, and its largest, 1: (B, ...) -> (B, N)."""
    values = images.flatten(1)
    low, high = (bound.detach()[:, None] for bound in torch.aminmax(values, dim=1))
    return (values - low) / (high - low).clamp_min(FLAT**0.5)


def _negative_entropy(shares: Tensor) -> Tensor:
    """Sum of ``p log p``, (B, N) -> (B,); its gradient is finite at 0."""
    return (shares * shares.clamp_min(1e-12).log()).sum(1)
