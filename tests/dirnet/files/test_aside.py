import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from dirnet.files.aside import refuse_overwriting, write_aside, write_set_aside


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


def write_set(folder, text, *names, overwrite=False):
    with write_set_aside(folder, names, overwrite) as aside:
        for name in names:
            (aside / name).write_text(text)


def test_a_set_takes_its_place_at_once(tmp_path):
    folder = tmp_path / "new"
    with write_set_aside(folder, ["a.txt", "b.txt"]) as aside:
        assert aside.parent == folder
        for name in ("a.txt", "b.txt", "not asked for.txt"):
            (aside / name).write_text("first")
        assert list(folder.iterdir()) == [aside]
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a.txt": "first", "b.txt": "first"}
    write_set(folder, "second", "a.txt", "b.txt", overwrite=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a.txt": "second", "b.txt": "second"}
    with write_set_aside(folder, ["sub/a.txt"]) as aside:
        (aside / "sub").mkdir()
        (aside / "sub" / "a.txt").write_text("first")
    assert (folder / "sub" / "a.txt").read_text() == "first"
    with pytest.raises(FileExistsError, match=r"b\.txt' exists"):
        write_set(folder, "third", "b.txt", "c.txt")
    assert not (folder / "c.txt").exists()


def test_a_failure_leaves_the_set_that_was_there(tmp_path):
    write_set(tmp_path, "before", "a.txt", "c.txt")

    def fail():
        with write_set_aside(tmp_path, ["a.txt", "b.txt", "c.txt"], overwrite=True) as aside:
            (aside / "a.txt").write_text("after")
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "before", "c.txt": "before"}

    (tmp_path / "d.txt").mkdir()  # the last cannot take its place
    with pytest.raises(OSError, match=r"d\.txt"):
        write_set(tmp_path, "after", "a.txt", "b.txt", "c.txt", "d.txt", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "c.txt", "d.txt"}
    assert {(tmp_path / name).read_text() for name in ("a.txt", "c.txt")} == {"before"}


def test_of_two_sets_at_once_one_is_whole(tmp_path):
    names = [f"{number}.txt" for number in range(20)]
    for _ in range(20):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda text: write_set(tmp_path, text, *names, overwrite=True), "abcd"))
        assert len({(tmp_path / name).read_text() for name in names}) == 1


def test_a_set_does_not_replace_one_written_meanwhile(tmp_path):
    def late():
        with write_set_aside(tmp_path, ["a.txt", "b.txt"]) as aside:
            (aside / "a.txt").write_text("late")
            (aside / "b.txt").write_text("late")
            write_set(tmp_path, "sooner", "a.txt", "b.txt")

    with pytest.raises(FileExistsError, match=r"a\.txt' exists"):
        late()
    assert {path.read_text() for path in tmp_path.iterdir()} == {"sooner"}
