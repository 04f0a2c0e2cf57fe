"""Training by several processes, one a GPU, that share each batch and learn what one process would."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any

import ignite.distributed as idist
import torch
import torch.distributed as dist
import torch.distributed.nn  # imported once there is a process group it would keep it, and its threads, to the end
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from ..errors import InputError
from ..fields.displacement import Displacement
from ..nets.losses import RegistrationLoss

__all__ = ["BatchLoss", "DistributedNetwork", "SharedBatchNorm", "local_device", "start", "stop"]

# the others wait so long while the first process reads the data or validates; when it fails, torchrun ends them at once
PROCESS_TIMEOUT = timedelta(hours=2)


def local_device() -> torch.device:
    """The GPU of this process, or the CPU on a machine without GPU.

    Raises:
        ValueError: when torchrun did not start the process, or started more of them than there are GPUs.
    """
    if "LOCAL_RANK" not in os.environ:
        raise InputError(
            "multi_gpu_train.json is for processes that torchrun starts: torchrun --standalone --nnodes=1 "
            "--nproc_per_node=2 -m monai.bundle run ..."
        )
    if not torch.cuda.is_available():
        return torch.device("cpu")
    processes, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if processes > gpus:
        raise InputError(f"--nproc_per_node={processes}, but this machine has {gpus} GPU{'s' if gpus > 1 else ''}")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


def start(device: torch.device | str) -> None:
    """Join the processes that torchrun started, by NCCL for a GPU, by gloo for a CPU; all but the first log nothing."""
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", timeout=PROCESS_TIMEOUT, device_id=device)
    else:
        dist.init_process_group("gloo", timeout=PROCESS_TIMEOUT)
    if dist.get_rank() > 0:
        logging.disable(logging.ERROR)


def stop(network: DistributedNetwork) -> None:
    """Leave the other processes when all of them have come here; the network cannot be called afterwards.

    Once nothing holds the process group its threads end: one that is left when the interpreter ends can abort it.
    """
    dist.barrier()
    held: Any = network
    held.reducer = held.logger = held.process_group = None
    dist.destroy_process_group()
    idist.sync()  # Ignite would go on to ask the group for its rank


class DistributedNetwork(DistributedDataParallel):
    """A :class:`~dirnet.nets.networks.DIRNet` whose gradients and batch normalisation are those of the whole batch.

    The network itself is changed in one thing, the class of its normalisation layers: its checkpoints are those of a
    network that one process trains. Validate with that network: all processes must call this one together.

    Args:
        network: on its device.
    """

    def __init__(self, network: nn.Module) -> None:
        device = next(network.parameters()).device
        _share_statistics(network, device)
        super().__init__(_Registering(network), device_ids=[device] if device.type == "cuda" else None)

    def displacement(self, pair: Tensor) -> Displacement:
        return self(pair)


class _Registering(nn.Module):
    """A network's method as the forward pass, which alone DistributedDataParallel prepares its gradients for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, pair: Tensor) -> Displacement:
        return self.network.displacement(pair)


def _share_statistics(network: nn.Module, device: torch.device) -> None:
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return
    for name, module in list(network.named_modules()):
        if isinstance(module, _BatchNorm):
            network.set_submodule(name, SharedBatchNorm(module))


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation by mean and variance over the equal shares of all processes, for a CPU, which PyTorch's
    ``SyncBatchNorm`` does not support.

    Args:
        norm: the layer whose place it takes, with its state.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, dtype=norm.weight.dtype)
        self.load_state_dict(norm.state_dict())
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        pass  # any

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))  # of bfloat16 under autocast
        axes = [axis for axis in range(x.dim()) if axis != 1]
        var, mean = (moment.double() for moment in torch.var_mean(x, axes, correction=0))
        # in double precision the square of the mean may be added and taken away again
        mean, square = _Sum.apply(torch.stack([mean, var + mean.square()])) / dist.get_world_size()
        var = square - mean.square()
        with torch.no_grad():
            number = x.numel() // x.shape[1] * dist.get_world_size()
            state: Any = self  # whose type allows for layers that track nothing
            state.num_batches_tracked += 1
            state.running_mean.lerp_(mean.to(x.dtype), self.momentum)
            state.running_var.lerp_((var * number / (number - 1)).to(x.dtype), self.momentum)
        shape = [1, -1] + [1] * (x.dim() - 2)
        scale = self.weight * (var + self.eps).rsqrt().to(x.dtype)
        return ((x - mean.to(x.dtype).view(shape)) * scale.view(shape) + self.bias.view(shape)).to(input.dtype)


class _Sum(torch.autograd.Function):
    """Sum over the processes; the gradient is that of the sum of their losses."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
        return tensor

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient.contiguous())


class BatchLoss:
    """Puts the loss of the whole batch, and its terms, in the place of those of a process's share.

    Attach it to the trainer of every process, before the handlers that log.

    Args:
        loss: the trainer's.
    """

    def __init__(self, loss: RegistrationLoss) -> None:
        self.loss = loss

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        output: Any = engine.state.output
        values = torch.stack([output["loss"].detach(), *self.loss.terms.values()])
        dist.all_reduce(values)
        total, *terms = values / dist.get_world_size()
        output["loss"] = total
        self.loss.terms = dict(zip(self.loss.terms, terms, strict=True))
