import os
import stat

import pytest

from dirnet.files import refuse_overwriting, write_aside


def test_a_file_takes_its_place_whole(tmp_path):
    path = tmp_path / "new" / "result.nii.gz"
    with write_aside(path) as aside:
        assert (aside.parent, aside.name[-7:]) == (path.parent, ".nii.gz")
        aside.write_text("all")
        assert not path.exists()
    assert path.read_text() == "all"
    assert list(path.parent.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("before")

    def fail():
        with write_aside(path) as aside:
            aside.write_text("ha")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_results_are_replaced_only_when_asked(tmp_path):
    path = tmp_path / "result.txt"
    refuse_overwriting(path)
    path.touch()
    with pytest.raises(FileExistsError, match=r"result\.txt' exists; .*--overwrite True"):
        refuse_overwriting(tmp_path / "other.txt", path)
    refuse_overwriting(path, overwrite=True)
    with pytest.raises(ValueError, match="overwrite must be True or False, got 'true'"):
        refuse_overwriting(path, overwrite="true")
