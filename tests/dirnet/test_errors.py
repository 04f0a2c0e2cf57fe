import sys

import pytest

from dirnet import errors


def wrapped(cause):
    """``cause`` as MONAI's configs and transforms hand it on."""
    try:
        try:
            try:
                raise cause
            except Exception as error:
                raise RuntimeError("applying transform LoadCined") from error
        except RuntimeError as error:
            raise RuntimeError("Failed to evaluate ConfigExpression: ...") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("cause", [errors.InputError("a.dcm: too short"), FileNotFoundError("a.dcm: too short")])
def test_the_message_of_a_wrong_input_stands_alone(cause, capsys, monkeypatch):
    error = wrapped(cause)
    errors._report(type(error), error, error.__traceback__)
    assert capsys.readouterr().err == "error: a.dcm: too short\n"
    monkeypatch.setenv("DIRNET_TRACEBACK", "1")
    errors._report(type(error), error, error.__traceback__)
    assert "Traceback" in capsys.readouterr().err


def test_other_errors_keep_their_traceback(capsys):
    error = wrapped(KeyError("bug"))
    errors._report(type(error), error, error.__traceback__)
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("message", ["", "interrupted; go on by --resume True"])
def test_an_interruption_is_one_line_and_exit_status_130(message, capsys, monkeypatch):
    error = KeyboardInterrupt(message) if message else KeyboardInterrupt()
    with pytest.raises(SystemExit) as ended:
        errors._report(KeyboardInterrupt, error, None)
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip() == (message or "interrupted")
    monkeypatch.setenv("DIRNET_TRACEBACK", "1")
    with pytest.raises(SystemExit):
        errors._report(KeyboardInterrupt, error, None)
    assert capsys.readouterr().err.startswith("KeyboardInterrupt")


def test_other_programs_keep_their_hook(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    errors.show_cause_alone()
    assert sys.excepthook is sys.__excepthook__
    monkeypatch.setattr(sys, "argv", ["/somewhere/monai/bundle/__main__.py", "run"])
    errors.show_cause_alone()
    assert sys.excepthook is errors._report


def test_an_option_that_no_config_has_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"iterations": 5, "net": {"channels": 1}}')
    (tmp_path / "b.json").write_text('{"net#channels": 2, "extra": 1}')
    one, both = str(tmp_path / "a.json"), str([str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    errors.check_options(["run", "training", "--config_file", one, "--iterations", "-3", "--net#channels", "4"])
    errors.check_options(["run", f"--config_file={both}", "--extra=2", "--meta_file", "x"])
    with pytest.raises(ValueError, match=r"option --iteration; is it --iterations\?"):
        errors.check_options(["run", "--config_file", one, "--iteration", "4"])
    with pytest.raises(ValueError, match="option --extra"):
        errors.check_options(["run", "--config_file", one, "--extra", "4"])
