"""Registration in Python: load a network once, register pairs, follow a drawn structure through a cine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor, nn

from transforms.cine import one_structure, scale_intensity

from .engines import bfloat16_pays, predict
from .exports import save_registration
from .fields import folded_percent
from .fused import for_inference
from .handlers.checkpoints import load_network
from .images import Image2D, as_image, pixels
from .losses import ncc
from .networks import DIRNet
from .resampling import warp

__all__ = ["SHIPPED_WEIGHTS", "Propagation", "Registrar", "Registration", "weights_file"]

SHIPPED_WEIGHTS = Path(__file__).parents[1] / "models" / "model.pt"


@dataclass(frozen=True)
class Registration:
    """How one slice lies on another.

    Attributes:
        moving, fixed: as they were given, with their geometry.
        warped: the moving image with its own intensities on the fixed image's grid, (H, W) float32, resampled once,
            linearly; beyond the moving image its border repeats.
        ddf: displacement field (2, H, W) in pixels, (row, column): ``warped(x) = moving(x + ddf(x))``.
        control_points: of the spline, (2, K_1, K_2) in pixels.
        folded_percent: pixels where the field folds, 0 to 100.
        ncc_before, ncc_after: normalised cross-correlation of moving and of warped with fixed.
        spline: that makes the field of the control points.
        moving_file, fixed_file: from which they were read; None for images that were not.
    """

    moving: sitk.Image
    fixed: sitk.Image
    warped: np.ndarray
    ddf: np.ndarray
    control_points: np.ndarray
    folded_percent: float
    ncc_before: float
    ncc_after: float
    spline: nn.Module
    moving_file: Path | None
    fixed_file: Path | None

    def warp_mask(self, mask: Image2D) -> np.ndarray:
        """A mask drawn on the moving image on the fixed image's grid, bool (H, W): warped linearly, cut at 0.5.

        Raises:
            ValueError: when it is of another size, or has more than one value but 0.
        """
        return _warp_mask(_mask(mask, self.ddf.shape[1:]), torch.from_numpy(self.ddf)[None])[0]

    @property
    def warped_image(self) -> sitk.Image:
        """:attr:`warped` in the geometry of the fixed image."""
        image = sitk.GetImageFromArray(self.warped.reshape(self.fixed.GetSize()[::-1]))
        image.CopyInformation(self.fixed)
        return image

    def save(
        self,
        folder: str | Path,
        name: str = "registration",
        formats: Sequence[str] = ("nifti", "picture"),
        overwrite: bool = False,
    ) -> list[Path]:
        """Write it to files; see :func:`dirnet.exports.save_registration` for the formats and errors."""
        return save_registration(self, folder, name, formats, overwrite)


@dataclass(frozen=True)
class Propagation:
    """A structure drawn on one frame of a cine, on all its frames.

    Attributes:
        frame: on which it was drawn.
        masks: (T, H, W) bool; on ``frame`` as it was drawn.
        ddf: (T, 2, H, W) float32 in pixels, from the drawn frame to each: ``warped_t(x) = drawn(x + ddf_t(x))``.
        folded_percent: (T,), pixels where each field folds, 0 to 100.
        ncc_before, ncc_after: (T,), similarity of the drawn frame with each, as it is and warped.
    """

    frame: int
    masks: np.ndarray
    ddf: np.ndarray
    folded_percent: np.ndarray
    ncc_before: np.ndarray
    ncc_after: np.ndarray


class Registrar:
    """A network that registers. One may be shared by several threads; it computes for one at a time.

    Args:
        network: a trained 2-D DIRNet.
        device: where it computes; a GPU, if there is one, by default.

    Example::

        >>> registrar = Registrar.load()
        >>> registration = registrar.register("es.dcm", "ed.dcm")
        >>> registration.ncc_after
    """

    def __init__(self, network: DIRNet, device: torch.device | str | None = None) -> None:
        if network.spatial_dims != 2:
            raise ValueError(f"a Registrar takes a 2-D network, got a {network.spatial_dims}-D one")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.amp = bfloat16_pays(self.device)
        self.network = for_inference(network, self.device, self.amp)
        # each computation uses all cores: two at once, each with its own team of threads, are slower than in turn
        self._computing = threading.Lock()

    @classmethod
    def load(cls, path: str | Path | None = None, device: torch.device | str | None = None) -> Registrar:
        """
        Args:
            path: a checkpoint, the folder of a training or a bundle's; the weights shipped with this one by default.
            device: see the class.

        Raises:
            FileNotFoundError: when there is no such file, or no weights in the folder.
            ValueError: when the file holds no weights of a DIRNet.
        """
        return cls(load_network(weights_file(path)), device)

    def register(self, moving: Image2D, fixed: Image2D) -> Registration:
        """Register one slice with another; see :func:`dirnet.images.as_image` for what may be given.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when one is no single slice, or the two differ in size.
        """
        images = {"moving": as_image(moving, "moving"), "fixed": as_image(fixed, "fixed")}
        arrays = {name: pixels(image) for name, image in images.items()}
        if arrays["moving"].shape != arrays["fixed"].shape:
            sizes = ", ".join(f"{name} has {a.shape[0]}x{a.shape[1]}" for name, a in arrays.items())
            raise ValueError(f"moving and fixed differ in size (rows x columns): {sizes}")
        if _run_apart(*images.values()):
            raise ValueError(
                "the rows of moving and fixed run in different directions in space; give both as files, or both as "
                "MONAI's readers load them (which have x first)"
            )
        pair = torch.stack([torch.from_numpy(scale_intensity(array)) for array in arrays.values()])[None]
        with self._computing:
            control_points, ddf = self._fields(pair)
            warped = warp(torch.from_numpy(arrays["moving"])[None, None], ddf)
            before, after, folded = _scores(pair, ddf)
        return Registration(
            **images,
            warped=warped[0, 0].numpy(),
            ddf=ddf[0].numpy(),
            control_points=control_points[0].numpy(),
            folded_percent=folded.item(),
            ncc_before=before.item(),
            ncc_after=after.item(),
            spline=self.network.transformer,
            moving_file=_file(moving),
            fixed_file=_file(fixed),
        )

    def propagate(self, cine: np.ndarray | Tensor | Sequence[np.ndarray], mask: Image2D, frame: int) -> Propagation:
        """Carry a structure drawn on one frame to all others: each field straight from that frame, all in one pass.

        Args:
            cine: (T, H, W) of one slice, such as :func:`transforms.cine.read_frames` gives.
            mask: of the structure on ``frame``, (H, W) or a file; 0 and one other value.
            frame: index in time, from 0.

        Raises:
            FileNotFoundError: when the mask is a file that does not exist.
            ValueError: when the cine has another form, there is no such frame, or the mask does not fit or is empty.
        """
        images = np.asarray(cine.cpu() if isinstance(cine, Tensor) else cine, np.float32)
        if images.ndim != 3 or len(images) < 2 or 0 in images.shape:
            raise ValueError(f"expected a cine (T, H, W) of two frames or more, found an array of {images.shape}")
        if not np.isfinite(images).all():
            raise ValueError("the cine holds values that are not finite")
        if not 0 <= frame < len(images):
            raise ValueError(f"frame must be 0 to {len(images) - 1}, got {frame}")
        drawn = _mask(mask, images.shape[1:])
        if not drawn.any():
            raise ValueError("the mask is empty: nothing is drawn on it")
        frames = torch.from_numpy(scale_intensity(images))[:, None]
        pairs = torch.cat([frames[frame].expand_as(frames), frames], 1)
        with self._computing:
            _, ddf = self._fields(pairs)
            ddf[frame] = 0
            scores = _scores(pairs, ddf)
            masks = _warp_mask(drawn, ddf)
        before, after, folded = (score.numpy() for score in scores)
        return Propagation(frame, masks, ddf.numpy(), folded, before, after)

    @torch.no_grad()
    def _fields(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs (B, 2, H, W) to control points and DDF, on the CPU."""
        pairs = pairs.to(self.device).contiguous(memory_format=torch.channels_last)
        control_points = predict(self.network, pairs, self.amp)
        ddf = self.network.transformer(control_points, list(pairs.shape[2:]))
        return control_points.cpu(), ddf.cpu()


def weights_file(path: str | Path | None = None) -> Path:
    """The file that :meth:`Registrar.load` reads of a checkpoint, the folder of a training or a bundle's.

    Raises:
        FileNotFoundError: when there are no weights in the folder.
    """
    path = SHIPPED_WEIGHTS if path is None else Path(path)
    if path.is_dir():
        found = [file for file in (path / "models" / "model.pt", path / "model.pt") if file.is_file()]
        if not found:
            raise FileNotFoundError(f"'{path}' holds no models/model.pt of a bundle and no model.pt of a training")
        path = found[0]
    return path


def _run_apart(moving: sitk.Image, fixed: sitk.Image) -> bool:
    """Whether the axes of two slices that have a place in space are swapped or turned against each other."""
    if moving.GetDimension() != 3 or fixed.GetDimension() != 3:
        return False
    axes = [np.reshape(image.GetDirection(), (3, 3))[:, :2] for image in (moving, fixed)]
    return bool(((axes[0] * axes[1]).sum(0) < 0.5).any())


def _file(image: Image2D) -> Path | None:
    return Path(image) if isinstance(image, str | Path) else None


def _scores(pairs: Tensor, ddf: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """NCC before and after, and folded pixels in %, (B,) each."""
    moving, fixed = pairs[:, :1], pairs[:, 1:]
    return ncc(moving, fixed), ncc(warp(moving, ddf), fixed), folded_percent(ddf)


def _mask(mask: Image2D, shape: Sequence[int]) -> np.ndarray:
    array = pixels(as_image(mask, "mask"))
    if array.shape != tuple(shape):
        raise ValueError(
            f"mask of {array.shape[0]}x{array.shape[1]}, images of {shape[0]}x{shape[1]} pixels (rows x columns)"
        )
    return one_structure(array, "mask")


def _warp_mask(mask: np.ndarray, ddf: Tensor) -> np.ndarray:
    """Mask (H, W) by each field (B, 2, H, W), from the original: bool (B, H, W)."""
    drawn = torch.from_numpy(mask.astype(np.float32)).expand(len(ddf), 1, *mask.shape)
    return (warp(drawn, ddf) > 0.5)[:, 0].numpy()
