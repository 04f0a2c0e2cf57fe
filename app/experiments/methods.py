"""The rows of Table 1, and how each is trained and evaluated: by the bundle's configs and an overlay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, run

import dirnet
from dirnet.handlers import row_of_registration

__all__ = ["METHODS", "Method", "Workplace", "choose"]

CONFIGS = Path(dirnet.__file__).parents[1] / "configs"
OVERLAYS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class Method:
    """A way to register.

    Args:
        name: on the command line and in file names.
        title: in tables and figures.
        overlay: config that is laid over the bundle's ``train.json`` and ``evaluate.json``; None for these as they are.
        trained: whether it is a network.
        splits: on which it is scored.
        weights: of its training, which are scored: the best by validation, or the last.
    """

    name: str
    title: str
    overlay: Path | None
    trained: bool = True
    splits: tuple[str, ...] = ("validation", "test")
    weights: str = "model.pt"


METHODS = {
    method.name: method
    for method in (
        Method("before", "no registration", OVERLAYS / "before.json", trained=False),
        Method("elastix", "elastix, as in the paper", OVERLAYS / "elastix.json", trained=False),
        Method("elastix_tuned", "elastix, tuned", OVERLAYS / "elastix_tuned.json", trained=False),
        Method("bl", "BL", CONFIGS / "variants" / "bl.json"),
        Method("a1", "A1, max pooling", CONFIGS / "variants" / "a1.json"),
        Method("a2", "A2, strided convolutions", CONFIGS / "variants" / "a2.json"),
        Method("b1", "B1, quadratic B-spline", CONFIGS / "variants" / "b1.json"),
        Method("b2", "B2, thin-plate spline", CONFIGS / "variants" / "b2.json"),
        Method("c1", "C1, two more convolutions", CONFIGS / "variants" / "c1.json"),
        Method("c2", "C2, fully connected", CONFIGS / "variants" / "c2.json"),
        Method("fine", "fine: C1, 32 kernels, 8 px", None),
        Method(
            "shipped",
            "fine, more patients",
            OVERLAYS / "more_patients.json",
            splits=("test",),
            weights="model_final.pt",
        ),
    )
}


def choose(names: str) -> list[Method]:
    """Methods by their names, separated by commas, in the order of the table.

    Raises:
        ValueError: when there is no such method.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in METHODS]
    if unknown or not wanted:
        raise ValueError(f"rows must be some of {','.join(METHODS)}; got {names!r}")
    return [method for name, method in METHODS.items() if name in wanted]


@dataclass(frozen=True)
class Workplace:
    """Where an experiment reads and writes: its trainings and evaluations, none of them done twice.

    Args:
        output_dir: of the experiment.
        dataset_dir: of the bundle's configs.
        iterations, seed: of each training.
    """

    output_dir: Path
    dataset_dir: str
    iterations: int
    seed: int

    def training_dir(self, method: Method) -> Path:
        return self.output_dir / "training" / method.name

    def evaluation_dir(self, method: Method, split: str) -> Path:
        return self.output_dir / "evaluation" / split / method.name

    def is_trained(self, method: Method) -> bool:
        return not method.trained or (self.training_dir(method) / "model_final.pt").is_file()

    def is_evaluated(self, method: Method, split: str) -> bool:
        folder = self.evaluation_dir(method, split)
        return all((folder / name).is_file() for name in ("registrations.csv", "summary.json", "worst_to_best.png"))

    def train(self, method: Method) -> None:
        """Train a network, or go on with its training where it was stopped."""
        folder = self.training_dir(method)
        run(
            run_id="training",
            config_file=_files("train.json", method),
            dataset_dir=self.dataset_dir,
            output_dir=str(folder),
            iterations=self.iterations,
            seed=self.seed,
            resume=(folder / "last.pt").is_file(),
        )

    def evaluate(self, method: Method, split: str) -> None:
        run(
            config_file=_files("evaluate.json", method),
            dataset_dir=self.dataset_dir,
            **self._checkpoint(method),
            split=split,
            output_dir=str(self.evaluation_dir(method, split)),
            overwrite=True,  # what a stop left unfinished
        )

    def register(self, method: Method, split: str, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The images of some of a split's registrations, each as :func:`dirnet.handlers.picture` takes it."""
        parser = ConfigParser()
        parser.read_config(_files("evaluate.json", method))
        parser.update({"dataset_dir": self.dataset_dir, "split": split, **self._checkpoint(method)})
        parts = (parser.get_parsed_content(key) for key in ("dataset", "network", "inferer", "device"))
        dataset, network, inferer, device = parts
        return [row_of_registration(dataset, index, network, inferer, device) for index in indices]

    def _checkpoint(self, method: Method) -> dict[str, Any]:
        return {"ckpt_file": str(self.training_dir(method) / method.weights)} if method.trained else {}


def _files(config: str, method: Method) -> list[str]:
    return [str(path) for path in (CONFIGS / config, method.overlay) if path is not None]
