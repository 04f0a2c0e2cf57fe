"""Training: one step without its data, and whole pipelines from frames in memory to new weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.engines import Trainer

from dirnet.models import SHIPPED_WEIGHTS
from dirnet.nets.inference import bfloat16_pays
from dirnet.training.engines import compile_layers

from .measure import SIZE, Bench, Line, Row
from .plain import PlainNetwork, plain_dataset, plain_trainer

__all__ = ["rows"]

CONFIG = SHIPPED_WEIGHTS.parents[1] / "configs" / "train.json"
HANDLERS = ("LrScheduleHandler", "TensorBoardStatsHandler")  # of each iteration; not those that validate and save
PASSES = "step"
WARM_UP, MEASURED, AHEAD = 5, 20, 5  # iterations of a run; three runs or more make 60
LEAST_RATE, LEAST_RATIO = 110, 2  # of whole images; of either


def rows(bench: Bench) -> Iterator[list[Row]]:
    """One step, and pipelines on windows as in ``train.json`` and on whole images."""
    compiles = yield from _steps(bench)
    for crop_size in ([128, 128], [SIZE, SIZE]):
        yield bench.measure(_pipelines(bench, crop_size, compiles))


def _steps(bench: Bench) -> Generator[list[Row], None, bool]:
    """Network, field, warp, loss, gradients and Adam, on a batch of whole images; returns whether they compile."""
    config = _config(bench, [SIZE, SIZE], 1)
    batch = config["batch_size"]
    pair = torch.rand(batch, 2, SIZE, SIZE, device=bench.device).contiguous(memory_format=torch.channels_last)

    def step(amp: bool, folds: bool, compiled: bool = False) -> Callable[[], None]:
        own = _config(bench, [SIZE, SIZE], 1, amp=amp, **({} if folds else {"regularization_weight": 0}))
        network, loss = own.get_parsed_content("network"), own.get_parsed_content("loss")
        inferer, optimizer = own.get_parsed_content("train#inferer"), own.get_parsed_content("optimizer")
        compile_layers(network, compiled)

        def call() -> None:
            optimizer.zero_grad()
            loss(inferer(pair, network), pair[:, 1:]).backward()
            optimizer.step()

        return call

    def line(name: str, call: Callable[[], None]) -> Line:
        return Line(f"step, {name}", call, batch, passes=PASSES)

    amp = bfloat16_pays(bench.device)
    kind = "bfloat16" if amp else "float32"
    lines = [line(f"{kind}, loss on folds: as in train.json", step(amp, True))]
    lines.append(line(f"{kind}, without the loss on folds", step(amp, False)))
    if amp:
        lines.append(line("float32, loss on folds", step(False, True)))
    compiled = step(amp, True, compiled=True)
    start = time.perf_counter()
    try:
        compiled()
    except Exception as error:  # no compiler, or one that fails: each has errors of its own
        bench.skipped.append(f"torch.compile: {type(error).__name__}: {str(error).strip().splitlines()[0]}")
        compiles = False
    else:
        compiles = True
        seconds = time.perf_counter() - start
        name = "step, torch.compile of the network: warm-up, once"
        yield [Row(name, batch, f"{SIZE}x{SIZE}", PASSES, 1e3 * seconds, 0.0, 1)]
        lines.append(line(f"{kind}, loss on folds, torch.compile of the network", compiled))
    yield bench.measure(lines)
    return compiles


def _config(bench: Bench, crop_size: list[int], iterations: int, **options: object) -> ConfigParser:
    """``train.json`` on the phantom in this benchmark's folder."""
    parser = ConfigParser()
    parser.read_config(CONFIG)
    parser.update(
        {
            "dataset_dir": str(bench.phantom),
            "output_dir": str(bench.folder / "training"),
            "cache_dir": str(bench.folder / "cache"),
            "crop_size": crop_size,
            "iterations": iterations,
            **options,
        }
    )
    parser["train"]["handlers"] = [item for item in parser["train"]["handlers"] if item["_target_"] in HANDLERS]
    parser["train"]["dataset"]["progress"] = False
    return parser


def _pipelines(bench: Bench, crop_size: list[int], compiles: bool) -> list[Line]:
    """From cines in memory: pairs drawn and turned, by the plain pipeline ahead, and steps on them."""
    iterations = WARM_UP + MEASURED + AHEAD
    config = _config(bench, crop_size, iterations)
    batch, size = config["batch_size"], "x".join(map(str, crop_size))
    workers = min(4, bench.threads)
    records = config.get_parsed_content("train_records")
    dataset = plain_dataset(records, crop_size, workers)

    def ours(compiled: bool = False) -> float:
        config = _config(bench, crop_size, iterations)
        trainer = config.get_parsed_content("train#trainer")
        compile_layers(config.get_parsed_content("network_def"), compiled)
        try:
            return _seconds_a_step(trainer, bench.device)
        finally:
            config.get_parsed_content("writer").close()

    def plain() -> float:
        loss, rate = config.get_parsed_content("loss"), config["learning_rate"]
        network = PlainNetwork(config.get_parsed_content("network_def").definition)
        trainer = plain_trainer(dataset, network, loss, batch, iterations, rate, bench.device, workers)
        return _seconds_a_step(trainer, bench.device)

    def line(name: str, call: Callable[[], float], rate: float | None, ratio: float | None) -> Line:
        return Line(name, call, batch, size, "data + step", least_rate=rate, least_ratio=ratio, times_itself=True)

    rate = LEAST_RATE if crop_size == [SIZE, SIZE] else None
    lines = [line("pipeline of train.json", ours, rate, None)]
    if compiles:
        lines.append(line("pipeline of train.json, --compile True", lambda: ours(compiled=True), rate, None))
    return [
        *lines,
        line(f"plain MONAI pipeline, loading processes: {workers}", plain, None, LEAST_RATIO),
    ]


def _seconds_a_step(trainer: Trainer, device: torch.device) -> float:
    """Run a trainer, and time ``MEASURED`` of its iterations after ``WARM_UP``. ``AHEAD`` more are never run: a loader
    that had no more to do would leave the last ones to the network alone."""
    ends: list[float] = []

    def note() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ends.append(time.perf_counter())
        if len(ends) == WARM_UP + MEASURED:
            trainer.terminate()

    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.run()
    return (ends[-1] - ends[WARM_UP - 1]) / MEASURED
