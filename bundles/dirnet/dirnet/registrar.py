"""Registration in Python: load a network once, register pairs, follow a drawn structure through a cine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor, nn

from transforms.cine import scale_intensity
from transforms.volume_files import moved_onto, scaled

from .errors import InputError
from .fields.displacement import Displacement
from .fields.jacobian import folded_percent
from .fields.resampling import warp
from .fields.windows import window_around
from .files.images import Image2D, as_array, as_image, has_place, pixels
from .files.itk import displacement_transform
from .files.regrid import grids_differ, onto_grid, resample, warn_of_planes
from .models import weights_file
from .nets.adapters import check_registers
from .nets.inference import bfloat16_pays, default_device, for_inference, predict_displacement
from .nets.losses import ncc
from .nets.refinement import check_steps
from .nets.weights import load_network
from .propagation import (
    Drawing,
    Propagation,
    drawn_frames,
    follow_structures,
    leading,
    nearest_drawn,
    neighbours,
)
from .registration import Registration, as_mask
from .stack import StackImage, StackRegistration, as_stack, matched
from .trust import estimated_dice, mirrored_masks
from .volume import Volume, VolumeRegistration, as_volume, field_on, placed_pair, turned_like

__all__ = ["FrameFields", "Registrar", "direct_fields"]

logger = logging.getLogger(__name__)

MOST_PAIRS = 32  # at once, for the memory that they take


class Registrar:
    """The one act of registration: tensors in batches by :meth:`displacement`, images and files by :meth:`register`,
    stacks of slices by :meth:`register_stack`, whole cines by :meth:`propagate`; with a 3-D network, volumes by
    :meth:`register_volume`.

    It may be shared by several threads; it computes for one at a time.

    Args:
        network: a trained network that has ``displacement(pair)``: a :class:`~dirnet.nets.networks.DIRNet`, or
            another make in a :class:`~dirnet.nets.adapters.DenseNetwork`.
        device: where it computes; a GPU, if there is one, by default.
        refinement: steps of optimisation on each pair after the network's answer, see
            :func:`dirnet.nets.refinement.refine`.

    Raises:
        InputError: when the network cannot register; when ``refinement`` is no whole number from 0.

    Example::

        >>> registrar = Registrar.load()
        >>> registration = registrar.register("es.dcm", "ed.dcm")
        >>> registration.ncc_after
    """

    def __init__(self, network: nn.Module, device: torch.device | str | None = None, refinement: int = 0) -> None:
        check_registers(network)
        self.spatial_dims = int(network.spatial_dims)  # type: ignore[arg-type]  # a network's own attribute
        self.only_size = None if getattr(network, "any_size", True) else tuple(network.image_size)  # type: ignore[arg-type]
        self.device = torch.device(device or default_device())
        self.amp = bfloat16_pays(self.device, self.spatial_dims)
        self.refinement = check_steps(refinement)
        self.network = for_inference(network, self.device, self.amp)
        # each computation uses all cores: two at once, each with its own team of threads, are slower than in turn
        self._computing = threading.Lock()

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        device: torch.device | str | None = None,
        refinement: int = 0,
        spatial_dims: int | None = None,
    ) -> Registrar:
        """
        Args:
            path: "unsupervised" or "contours", the weights shipped with this bundle, "hippocampus" for volumes; a
                checkpoint; or the folder of a training or of a bundle. By default "contours", of the two for slices the
                more accurate.
            device, refinement: see the class.
            spatial_dims: 2 for weights of slices, 3 of volumes, where only these will do.

        Raises:
            FileNotFoundError: when there is no such file, or no weights in the folder.
            InputError: when the file holds no weights of a network that registers, or of the other dimensions.
        """
        registrar = cls(load_network(weights_file(path)), device, refinement)
        if spatial_dims is not None:
            registrar._check_dims(spatial_dims)
        return registrar

    @torch.no_grad()
    def displacement(self, pairs: Tensor, refinement: int | None = None) -> Displacement:
        """Register a batch of pairs.

        Args:
            pairs: (B, 2, H, W), of a 3-D network (B, 2, D, H, W), channel 0 moving, channel 1 fixed, each scaled to
                [0, 1] as :func:`transforms.cine.scale_intensity` does.
            refinement: as in the class, whose own is the default.

        Returns:
            their displacement on the CPU: ``ddf`` (B, 2, H, W) in pixels, (row, column), or (B, 3, D, H, W), pull-back.
        """
        with self._computing:
            layout = torch.channels_last if self.spatial_dims == 2 else torch.channels_last_3d
            pairs = pairs.to(self.device).contiguous(memory_format=layout)
            steps = self.refinement if refinement is None else refinement
            return predict_displacement(self.network, pairs, self.amp, steps).to("cpu")

    def register(self, moving: Image2D, fixed: Image2D) -> Registration:
        """Register one slice with another; see :func:`dirnet.files.images.as_image` for what may be given.

        An image without a place in space, such as an array or a PNG, is taken to lie where the other does. Where the
        two differ in size or pixel spacing, moving is resampled onto the grid of fixed by their places in space; else
        they are registered pixel by pixel, wherever they lie. Planes that differ are said.

        Raises:
            FileNotFoundError: when there is no such file.
            InputError: when one is no single slice, their rows run in different directions, or the two differ in size
                or spacing and do not lie in one plane, both known: see :func:`dirnet.files.regrid.onto_grid`.
        """
        self._check_dims(2)
        given = {"moving": moving, "fixed": fixed}
        images = {name: as_image(image, name) for name, image in given.items()}
        original = None
        placed = all(has_place(given[name], image) for name, image in images.items())
        files = [name if _file(image) is None else f"{name} ({image})" for name, image in given.items()]
        if grids_differ(images["moving"], images["fixed"]):
            original = images["moving"]
            images["moving"] = onto_grid(original, images["fixed"], placed, files)
        elif placed:
            warn_of_planes(images["moving"], images["fixed"], files)
        arrays = {name: pixels(image) for name, image in images.items()}
        images = _placed_alike(images)
        if _axes_differ(*images.values()):
            raise InputError(
                "the rows of moving and fixed run in different directions in space; give both as files, or both as "
                "MONAI's readers load them (which have x first)"
            )
        pair = torch.stack([torch.from_numpy(scale_intensity(array)) for array in arrays.values()])[None]
        displacement, before, network, after, folded = self._measured(pair)
        if original is None:
            warped = warp(torch.from_numpy(arrays["moving"])[None, None], displacement.ddf)[0, 0].numpy()
        else:  # once, from its own pixels
            there = displacement_transform(displacement.ddf[0], images["fixed"])
            warped = pixels(resample(original, images["fixed"], there))
        return Registration(
            **images,
            warped=warped,
            ddf=displacement.ddf[0].numpy(),
            parts=displacement.parts,
            folded_percent=folded.item(),
            ncc_before=before.item(),
            ncc_network=network.item(),
            ncc_after=after.item(),
            moving_file=_file(moving),
            fixed_file=_file(fixed),
            resampled_from=original,
        )

    def register_stack(self, moving: StackImage, fixed: StackImage) -> StackRegistration:
        """Register the slices of one stack at one time with those of another, each with the one at its place, in one
        batch; see :func:`dirnet.stack.as_stack` for what may be given.

        A stack without a place in space, such as an array, is taken to lie where the other does.

        Raises:
            FileNotFoundError: when there is no such file or folder.
            InputError: when one is no stack, or their slices do not correspond: see :func:`dirnet.stack.matched`.
        """
        self._check_dims(2)
        given = {"moving": moving, "fixed": fixed}
        names = [name if _file(image) is None else f"{name} ({image})" for name, image in given.items()]
        volumes = matched(as_stack(moving, "moving"), as_stack(fixed, "fixed"), names)
        arrays = [torch.from_numpy(sitk.GetArrayFromImage(volume).astype(np.float32)) for volume in volumes]
        scaled = [np.stack([scale_intensity(slice_) for slice_ in array.numpy()]) for array in arrays]
        pairs = torch.from_numpy(np.stack(scaled, 1))
        displacement, before, network, after, folded = self._measured(pairs)
        ddf = displacement.ddf
        return StackRegistration(
            *volumes,
            warped=warp(arrays[0][:, None], ddf)[:, 0].numpy(),
            ddf=torch.cat([torch.zeros_like(ddf[:, :1]), ddf], 1).transpose(0, 1).contiguous().numpy(),
            folded_percent=folded.numpy(),
            ncc_before=before.numpy(),
            ncc_network=network.numpy(),
            ncc_after=after.numpy(),
        )

    def register_volume(self, moving: Volume, fixed: Volume, align: str = "place") -> VolumeRegistration:
        """Register one volume with another by a 3-D network; see :func:`dirnet.volume.as_volume` for what may be given.

        Args:
            moving, fixed: of any sizes and spacings. The network sees moving resampled onto the grid of fixed, and was
                trained at a voxel size of its own.
            align: where moving lies at first: "place", by both places in the patient; or "centers", with its middle on
                that of fixed.

        Raises:
            FileNotFoundError: when there is no such file.
            InputError: when one is no volume, they do not lie on each other, there is no such alignment, or the network
                is a 2-D one.
        """
        self._check_dims(3)
        given = placed_pair(as_volume(moving, "moving"), as_volume(fixed, "fixed"), align)
        grid = sitk.DICOMOrient(given[1], "LPS")
        seen = moved_onto(scaled(given[0]), grid, align)
        pairs = torch.stack([torch.from_numpy(sitk.GetArrayFromImage(image)) for image in (seen, scaled(grid))])[None]
        displacement, before, network, after, folded = self._measured(pairs)
        ddf, transform = field_on(displacement, grid, seen, given[1])
        return VolumeRegistration(
            *given,
            warped=sitk.GetArrayFromImage(resample(given[0], given[1], transform)),
            ddf=ddf,
            transform=transform,
            folded_percent=folded.item(),
            ncc_before=before.item(),
            ncc_network=network.item(),
            ncc_after=after.item(),
            seen=turned_like(seen, given[1]),
        )

    def _check_dims(self, wanted: int) -> None:
        if self.spatial_dims != wanted:
            what = {2: "slices (2-D)", 3: "volumes (3-D)"}
            raise InputError(
                f"these weights register {what[self.spatial_dims]}, not {what[wanted]}; name others (--weights), or "
                f"use {'register_volume' if self.spatial_dims == 3 else 'register'}"
            )

    def _measured(self, pairs: Tensor) -> tuple[Displacement, Tensor, Tensor, Tensor, Tensor]:
        """The displacement of pairs; (B,) each, their NCC before, by the network alone and after, and the pixels that
        fold in %."""
        batches = [self.displacement(part) for part in pairs.split(MOST_PAIRS)]
        displacement = Displacement.concatenate(batches)
        before, after, folded = _scores(pairs, displacement.ddf)
        if not self.refinement:
            return displacement, before, after, after, folded
        alone = torch.cat([self.displacement(part, refinement=0).ddf for part in pairs.split(MOST_PAIRS)])
        return displacement, before, _scores(pairs, alone)[1], after, folded

    def propagate(
        self,
        cine: np.ndarray | Tensor | Sequence[np.ndarray],
        drawn: Image2D | Mapping[str, Image2D] | Drawing,
        frame: int | None = None,
        fields: FrameFields | None = None,
    ) -> Propagation:
        """Carry what is drawn on one frame of a cine, or on several, to all others.

        A window around what is drawn is registered, see :func:`dirnet.fields.windows.window_around`.

        Args:
            cine: (T, H, W) of one slice, such as :func:`transforms.cine.read_frames` gives.
            drawn: of the structures on ``frame``, by name, masks (H, W) or files, 0 and one other value; a single mask
                is the lumen. Without ``frame`` masks (T, H, W) by name: a frame without any of a structure was not
                drawn on, and follows from its two neighbours in the closed cycle that were.
            frame: index in time, from 0.
            fields: how the fields are found; by default each straight from the drawn frame, all in one pass.

        Raises:
            FileNotFoundError: when a mask is a file that does not exist.
            InputError: when the cine has another form, there is no such frame, a mask does not fit, or nothing is
                drawn; or a structure is unknown, see :data:`transforms.structures.STRUCTURES`.
        """
        self._check_dims(2)
        if self.only_size is not None:
            raise InputError(
                f"these weights register images of {self.only_size} pixels alone; a drawing is followed in a window "
                "around it, by weights for all sizes"
            )
        images = as_array(cine, "cine")
        if images.ndim != 3 or len(images) < 2 or 0 in images.shape:
            raise InputError(f"expected a cine (T, H, W) of two frames or more, found an array of {images.shape}")
        drawing = _as_drawing(drawn, frame, images.shape)
        keys = drawn_frames(drawing)
        if not keys:
            raise InputError("the mask is empty: nothing is drawn on it")
        window = window_around(np.any([drawing[name].any(0) for name in keys], 0))
        here = (slice(None), *window)
        frames = torch.from_numpy(scale_intensity(images)[here])[:, None]
        drawn_here = {name: drawing[name][here] for name in keys}
        found = self._fields(frames, keys, fields)

        masks, levels = follow_structures(drawn_here, keys, found)
        structures = {name: np.zeros(images.shape, bool) for name in masks}
        for name, mask in masks.items():
            structures[name][here] = mask

        lead = leading(keys)
        origins = nearest_drawn(keys[lead], len(frames))
        ddf = torch.stack([found[origin, target] for target, origin in enumerate(origins.tolist())])
        pairs = torch.cat([frames[origins], frames], 1)
        before, after, folded = (score.numpy() for score in _scores(pairs, ddf))
        estimate = np.ones(len(frames), np.float32)
        followed = np.flatnonzero(origins != np.arange(len(frames)))
        if len(followed):
            drawn_masks = torch.from_numpy(drawn_here[lead][origins[followed]])[:, None]
            estimate[followed] = self._estimated_dice(pairs[followed], drawn_masks, ddf[followed])
        return Propagation(keys, structures, window, levels, origins, ddf.numpy(), folded, before, after, estimate)

    def _fields(
        self, frames: Tensor, keys: Mapping[str, Sequence[int]], fields: FrameFields | None
    ) -> dict[tuple[int, int], Tensor]:
        """DDF (2, H, W) to each frame from the frames beside it that were drawn on, by both frames' numbers."""
        sides = [side for drawn in keys.values() for side in neighbours(drawn, len(frames))[:2]]
        pairs = sorted({(int(key), target) for side in sides for target, key in enumerate(side)})
        if fields is not None:
            every = {key: fields(self, frames, key) for key in {key for key, _ in pairs}}
            expected = (len(frames), 2, *frames.shape[2:])
            for found in every.values():
                if tuple(found.shape) != expected:
                    raise InputError(f"fields: expected those of the window, {expected}, found {tuple(found.shape)}")
            return {(key, target): every[key][target] for key, target in pairs}
        return dict(zip(pairs, _direct(self, frames, pairs), strict=True))

    def _estimated_dice(self, pairs: Tensor, drawn: Tensor, ddf: Tensor) -> np.ndarray:
        """Of a structure drawn on the moving images of pairs (B, 2, H, W), (B, 1, H, W), and followed by ``ddf``."""
        mirrored = mirrored_masks(lambda windows: self.displacement(windows, refinement=0).ddf, pairs, drawn)
        return estimated_dice(warp(drawn.float(), ddf) > 0.5, mirrored).numpy()


FrameFields = Callable[[Registrar, Tensor, int], Tensor]
"""Of a registrar, frames (T, 1, h, w) in [0, 1], of the window that is registered, and the drawn frame: DDF
(T, 2, h, w) from that frame to each."""


def direct_fields(registrar: Registrar, frames: Tensor, frame: int) -> Tensor:
    """Each field straight from the drawn frame, all in one pass; zero on the frame itself. See :data:`FrameFields`."""
    return _direct(registrar, frames, [(frame, target) for target in range(len(frames))])


def _direct(registrar: Registrar, frames: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """DDF (B, 2, H, W) of pairs of frames, moving and fixed, all in one pass; zero of a frame with itself."""
    moving, fixed = torch.tensor(pairs).unbind(1)
    differ = moving != fixed
    ddf = torch.zeros(len(pairs), 2, *frames.shape[2:])
    if differ.any():
        ddf[differ] = registrar.displacement(torch.cat([frames[moving[differ]], frames[fixed[differ]]], 1)).ddf
    return ddf


def _as_drawing(
    drawn: Image2D | Mapping[str, Image2D] | Drawing, frame: int | None, shape: Sequence[int]
) -> dict[str, np.ndarray]:
    """Masks (T, H, W) by structure."""
    given = dict(drawn) if isinstance(drawn, Mapping) else {"lumen": drawn}
    if frame is None:
        masks = {name: as_array(mask, name) > 0 for name, mask in given.items()}
        if any(mask.shape != tuple(shape) for mask in masks.values()):
            found = ", ".join(f"{name} {mask.shape}" for name, mask in masks.items())
            raise InputError(f"without a frame, expected masks of the cine's {tuple(shape)}, found {found}")
        return masks
    if not (isinstance(frame, int | np.integer) and 0 <= frame < shape[0]):
        raise InputError(f"frame must be 0 to {shape[0] - 1}, got {frame}")
    masks = {name: np.zeros(shape, bool) for name in given}
    for name, mask in given.items():
        masks[name][frame] = as_mask(mask, shape[1:])
    return masks


def _placed_alike(images: dict[str, sitk.Image]) -> dict[str, sitk.Image]:
    """Both with a place in space, where one has one: the other lies where it does, pixel by pixel."""
    placed = [name for name, image in images.items() if image.GetDimension() == 3]
    if len(placed) != 1:
        return images
    there = images[placed[0]]
    for name, image in images.items():
        if name not in placed:
            logger.warning(f"{name} has no place in space: taken to lie where {placed[0]} does, pixel by pixel")
            image = sitk.JoinSeries(image)
            image.CopyInformation(there)
            images = {**images, name: image}
    return images


def _axes_differ(moving: sitk.Image, fixed: sitk.Image) -> bool:
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
