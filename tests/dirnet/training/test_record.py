"""The record of a run: whole, compared when it is resumed; and the folder's lock."""

import copy
import subprocess
import sys

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from dirnet import DIRNet, InputError
from dirnet.nets.losses import NCCLoss, RegistrationLoss
from dirnet.training.record import check_parts, check_run, check_same, release, whole_config, write_record

CONFIG = {
    "output_dir": "runs/a",
    "similarity": {"_target_": "dirnet.nets.losses.NCCLoss"},
    "optimizer": {"lr": 0.01, "weight_decay": 0},
    "train": {"dataset": {"turn": True, "progress": True}, "inferer": {"amp": False}},
    "about": {"config": "$record.whole_config()"},
}


def test_an_expression_of_a_config_gets_the_whole_config():
    parser = ConfigParser(copy.deepcopy(CONFIG), globals={"record": "dirnet.training.record"})
    parser["optimizer#weight_decay"] = 0.1
    parser.parse()
    found = parser.get_parsed_content("about")["config"]
    assert found["optimizer"] == {"lr": 0.01, "weight_decay": 0.1}
    assert found["similarity"] == CONFIG["similarity"]
    assert whole_config() == {}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimizer#weight_decay", 0.1, r"optimizer#weight_decay 0 \(now 0.1\)"),
        ("similarity", {"_target_": "torch.nn.L1Loss"}, r"similarity#_target_ .*NCCLoss.* \(now .*L1Loss"),
        ("train#dataset#turn", False, r"train#dataset#turn True \(now False\)"),
        ("optimizer#betas", [0.5, 0.9], r"optimizer#betas#0 None \(now 0.5\)"),
        ("output_dir", "elsewhere", None),
        ("train#dataset#progress", False, None),
    ],
)
def test_a_resume_with_another_option_is_refused_by_name(tmp_path, key, value, message):
    write_record(tmp_path, {"config": CONFIG})
    parser = ConfigParser(copy.deepcopy(CONFIG))
    parser[key] = value
    if message is None:
        check_same(tmp_path, {"config": parser.get()})
        return
    with pytest.raises(InputError, match=message):
        check_same(tmp_path, {"config": parser.get()})


def test_parts_that_do_not_fit():
    cpu, loss = torch.device("cpu"), RegistrationLoss()
    check_parts(DIRNet(), loss, cpu)
    with pytest.raises(InputError, match=r"^network_def: torch.nn.modules.linear.Linear has no displacement"):
        check_parts(nn.Linear(1, 1), loss, cpu)
    with pytest.raises(InputError, match=r"^network_def: this training is of 2-D slices, the network is 3-D"):
        check_parts(DIRNet(spatial_dims=3), loss, cpu)
    with pytest.raises(InputError, match=r"^loss: .*found NCCLoss; what compares two images is named by --similarity"):
        check_parts(DIRNet(), NCCLoss(), cpu)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"^device: 'cuda', but PyTorch finds no GPU here"):
            check_parts(DIRNet(), loss, torch.device("cuda"))


TRAINING = "import sys; from dirnet.training.record import *; check_run(sys.argv[1], False, {}); print('on'); input()"


@pytest.mark.parametrize("killed", [False, True])
def test_two_trainings_do_not_share_a_folder(tmp_path, killed):
    command = [sys.executable, "-u", "-c", TRAINING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "on\n"
        with pytest.raises(InputError, match=rf"another training runs in '{tmp_path}' \(process {other.pid}\)"):
            check_run(tmp_path, False, {})
        if killed:
            other.kill()
    check_run(tmp_path, False, {})
    release(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_resume_lets_go_of_the_folder(tmp_path):
    torch.save({}, tmp_path / "last.pt")
    write_record(tmp_path, {"settings": {"seed": 0}})
    with pytest.raises(InputError, match=r"seed 0 \(now 1\)"):
        check_run(tmp_path, True, {"settings": {"seed": 1}})
    assert not (tmp_path / ".lock").exists()
