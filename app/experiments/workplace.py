"""Where the experiments train and evaluate: by the bundle's configs and a method's overlay, nothing twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, run

from dirnet.files.aside import write_aside
from dirnet.training.pictures import rows_of_registration
from dirnet.training.record import check_same
from transforms.cine import fingerprint

from .machine import machine
from .methods import CONFIGS, Method

__all__ = ["Workplace"]

MADE_FILE = "made.json"


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
        """Whether a network's training is complete.

        Raises:
            ValueError: when it was done with other settings or data than it would be now; names the differences.
        """
        folder = self.training_dir(method)
        if not (folder / "model_final.pt").is_file():
            return False
        parser = self._parser("train.json", method, **self._training_options(method))
        check_same(folder, parser.get_parsed_content("about"))
        return True

    def train(self, method: Method) -> None:
        """Train a network, or go on with its training where it was stopped."""
        options = self._training_options(method)
        run(
            run_id="training",
            config_file=_files("train.json", method),
            **options,
            resume=(self.training_dir(method) / "last.pt").is_file(),
        )

    def is_evaluated(self, method: Method, split: str) -> bool:
        """Whether a method's registrations of a split are there, made as they would be made now."""
        try:
            made = json.loads((self.evaluation_dir(method, split) / MADE_FILE).read_text())
        except (FileNotFoundError, ValueError):
            return False
        return made["key"] == self._key(method, split)

    def evaluate(self, method: Method, split: str) -> None:
        """Register a split by a method, and keep how and where that was done beside the results."""
        folder = self.evaluation_dir(method, split)
        key = self._key(method, split)
        (folder / MADE_FILE).unlink(missing_ok=True)
        run(
            config_file=_files("evaluate.json", method),
            **self._evaluation_options(method, split),
            output_dir=str(folder),
            overwrite=True,  # what a stop left unfinished, or what has changed since
        )
        with write_aside(folder / MADE_FILE) as path:
            path.write_text(json.dumps({"key": key, **machine()}, indent=1) + "\n")

    def made(self, method: Method, split: str) -> dict[str, Any]:
        """On which machine, and when, a split was registered by a method."""
        made = json.loads((self.evaluation_dir(method, split) / MADE_FILE).read_text())
        return {name: value for name, value in made.items() if name != "key"}

    def register(self, method: Method, split: str, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The images of some of a split's registrations, each as :func:`dirnet.files.pictures.picture` takes it."""
        parser = self._parser("evaluate.json", method, **self._evaluation_options(method, split))
        dataset, network, inferer, device = map(parser.get_parsed_content, ("dataset", "network", "inferer", "device"))
        return [rows_of_registration(dataset, index, network, inferer, device)[0] for index in indices]

    def _training_options(self, method: Method) -> dict[str, Any]:
        return {
            "dataset_dir": self.dataset_dir,
            "output_dir": str(self.training_dir(method)),
            "iterations": self.iterations,
            "seed": self.seed,
            **method.options,
        }

    def _evaluation_options(self, method: Method, split: str) -> dict[str, Any]:
        options = {"dataset_dir": self.dataset_dir, "split": split}
        return {**options, "ckpt_file": str(self.training_dir(method) / "model.pt")} if method.trained else options

    def _parser(self, config: str, method: Method, **options: Any) -> ConfigParser:
        parser = ConfigParser()
        parser.read_config(_files(config, method))
        parser.update(options)
        return parser

    def _key(self, method: Method, split: str) -> str:
        """Hash of all that a method's registrations of a split follow from: configs, images and masks, weights."""
        parts = [Path(file).read_text() for file in _files("evaluate.json", method)]
        parser = self._parser("evaluate.json", method, **self._evaluation_options(method, split))
        parts += [fingerprint(record).decode() for record in parser.get_parsed_content("records")]
        if method.trained or method.shipped:
            parts.append(hashlib.sha256(Path(parser.get_parsed_content("ckpt_file")).read_bytes()).hexdigest())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _files(config: str, method: Method) -> list[str]:
    # an evaluation builds a trained network as its checkpoint says
    overlay = None if method.trained and config == "evaluate.json" else method.overlay
    return [str(path) for path in (CONFIGS / config, overlay) if path is not None]
