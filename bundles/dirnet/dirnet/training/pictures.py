"""Pictures of registrations: fixed, moving, warped, differences and the warped grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import list_data_collate
from monai.inferers import Inferer
from monai.networks import eval_mode
from PIL import Image
from torch import nn

from ..files.pictures import picture, planes_of, save_picture
from .engines import PreparePair
from .scores import ScoreTable

__all__ = ["QuantilePictures", "RegistrationPictures", "rows_of_registration"]


def rows_of(batch: Mapping[str, Any], output: Mapping[str, Any], index: int = 0) -> list[dict[str, Any]]:
    """Rows for :func:`picture` of one registration in an evaluator's batch and output: a slice has one, a volume three,
    one a plane."""
    volumes = output["image"].dim() == 5
    masks = {"moving": batch["moving_masks" if volumes else "moving_lumen"]}
    masks["fixed"] = output["label"]["fixed_masks" if volumes else "fixed_lumen"]
    masks["warped"] = output["pred"].get("warped_masks", masks["moving"])
    tensors = {
        "moving": output["image"][index, 0],
        "fixed": output["label"]["fixed"][index, 0],
        "warped": output["pred"]["warped"][index, 0],
        "ddf": output["pred"]["ddf"][index],
        **{f"{role}_masks": mask[index] if volumes else mask[index, :1] for role, mask in masks.items()},
    }
    arrays = {name: tensor.float().cpu().numpy() for name, tensor in tensors.items()}
    if volumes:
        return [
            {**plane, "title": f"{batch['moving_patient'][index]}\nto {batch['fixed_patient'][index]}\n{name}"}
            for name, plane in planes_of(arrays, batch["spacing"][index].tolist()).items()
        ]
    title = f"{batch['patient'][index]}, slice {int(batch['slice'][index])}\n{batch['direction'][index]}"
    return [{**arrays, "title": title}]


def rows_of_registration(
    dataset: Sequence[Any],
    index: int,
    network: nn.Module,
    inferer: Inferer,
    device: torch.device | str,
    prepare_batch: Callable[..., Any] | None = None,
) -> list[dict[str, Any]]:
    """Rows for :func:`picture` of registration ``index`` of a data set, made now.

    Args:
        dataset: of pairs, or of :class:`transforms.pairing.PairPhasesd`'s lists of equally many.
        index: counted through these lists, as in an evaluation's table.
        network, inferer, device: what registers, and where.
        prepare_batch: an evaluator's; of slices by default.
    """
    first = dataset[0]
    number = len(first) if isinstance(first, list) else 1
    item = dataset[index // number]
    batch = list_data_collate([item[index % number] if isinstance(item, list) else item])
    inputs, target, _, options = (prepare_batch or PreparePair())(batch, device)
    with torch.inference_mode(), eval_mode(network):
        prediction = inferer(inputs, network, **options)
    return rows_of(batch, {"image": inputs, "label": target, "pred": prediction})


class RegistrationPictures:
    """Shows the same few registrations each time a validator has run: in TensorBoard, and the last time as a file.

    Args:
        writer: TensorBoard's ``SummaryWriter``.
        path: of the PNG file.
        step: gives the iteration that the pictures carry.
        count: registrations shown, spread evenly over the validator's.
    """

    def __init__(self, writer: Any, path: str | Path, step: Callable[[], int], count: int = 4) -> None:
        self.writer = writer
        self.path = Path(path)
        self.step = step
        self.count = count
        self.rows: list[list[dict[str, Any]]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.rows.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.COMPLETED, self.show)

    def collect(self, engine: Engine) -> None:
        """Take evenly spread registrations of each batch, so that no image is kept that is not shown."""
        state: Any = engine.state
        number = len(state.output["image"])
        wanted = round(state.iteration * self.count / state.epoch_length) - len(self.rows)
        for k in range(min(wanted, number)):
            self.rows.append(rows_of(state.batch, state.output, k * number // wanted))

    def show(self, engine: Engine) -> None:
        save_picture(picture([row for rows in self.rows for row in rows], crop=128), self.path)
        with Image.open(self.path) as image:  # not add_figure, which would draw it once more
            self.writer.add_image("registrations", np.asarray(image), self.step(), dataformats="HWC")


class QuantilePictures:
    """Shows the worst, the best and three registrations between of an evaluation, by the Dice after it.

    Args:
        path: of the PNG file.
        table: the handler that scores each registration; attach it first.
        quantiles: which of the scored registrations, 0 the worst.
    """

    def __init__(
        self, path: str | Path, table: ScoreTable, quantiles: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)
    ) -> None:
        self.path = Path(path)
        self.table = table
        self.quantiles = quantiles

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self.show)

    def show(self, engine: Any) -> None:
        dice = np.array([row["dice_after"] for row in self.table.rows])
        order = [int(index) for index in np.argsort(dice) if not np.isnan(dice[index])]
        if not order:
            return
        rows: list[dict[str, Any]] = []
        for quantile in self.quantiles:
            index = order[round(quantile * (len(order) - 1))]
            # once more, rather than to keep the images of all registrations until it is known which are shown
            found = rows_of_registration(
                engine.data_loader.dataset,
                index,
                engine.network,
                engine.inferer,
                engine.state.device,
                engine.prepare_batch,
            )
            rows += [{**row, "title": f"{row['title']}, Dice {dice[index]:.2f}"} for row in found]
        save_picture(picture(rows, crop=128), self.path)
