"""What processes that train together share."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from dirnet import InputError, errors
from dirnet.training.distributed import SharedBatchNorm, local_device


def _normalise(rank, processes, folder):
    """A share's outputs, gradients and statistics into a file; the loss tells the pixels from each other."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=processes)
    norm = _norm()
    shared = SharedBatchNorm(norm)
    share = _batch()[rank::processes].requires_grad_()
    output = shared(share)
    (output * output.detach().sin()).sum().backward()
    for parameter in shared.parameters():
        dist.all_reduce(parameter.grad)
    result = {"output": output.detach(), "input": share.grad, "state": shared.state_dict()}
    torch.save({**result, "weight": shared.weight.grad, "bias": shared.bias.grad}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _norm():
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(3).double()
    torch.nn.init.normal_(norm.weight)
    return norm


def _batch():
    return torch.randn(6, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 + 100


def test_shared_normalisation_is_that_of_the_whole_batch(tmp_path):
    other = multiprocessing.get_context("spawn").Process(target=_normalise, args=(1, 2, tmp_path))
    other.start()
    _normalise(0, 2, tmp_path)
    other.join()
    norm, batch = _norm(), _batch().requires_grad_()
    output = norm(batch)
    (output * output.detach().sin()).sum().backward()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(found["output"], output[rank::2].detach(), rtol=0, atol=1e-9)
        torch.testing.assert_close(found["input"], batch.grad[rank::2], rtol=0, atol=1e-9)
        for name in ("weight", "bias"):
            torch.testing.assert_close(found[name], getattr(norm, name).grad, rtol=0, atol=1e-9)
        for name, value in norm.state_dict().items():
            torch.testing.assert_close(found["state"][name], value, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("processes", "gpus", "message"), [(4, 2, "this machine has 2 GPUs"), (2, 1, "has 1 GPU$")])
def test_more_processes_than_gpus_are_refused(monkeypatch, processes, gpus, message):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ValueError, match=message):
        local_device()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: processes)
    assert local_device() == torch.device("cuda", 1)


def test_only_the_first_of_processes_that_fail_says_why(monkeypatch, capsys):
    store = dist.TCPStore("localhost", 0, is_master=True)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a run")
    errors._report(InputError, InputError("what is wrong"), None)
    errors._report(RuntimeError, RuntimeError("Connection closed by peer"), None)
    assert capsys.readouterr().err == "error: what is wrong\n"
