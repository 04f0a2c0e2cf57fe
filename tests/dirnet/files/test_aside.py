import itertools
import os
import shutil
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from dirnet.files.aside import refuse_overwriting, write_aside, write_set_aside
from tests.interruptions import contents, file_size_limited, in_child


def test_a_file_takes_its_place_whole(tmp_path):
    path = tmp_path / "new" / "result.nii.gz"
    with write_aside(path) as aside:
        assert aside.name == path.name
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
        for name in ("a.txt", "b.txt", "not asked for.txt"):
            (aside / name).write_text("first")
        assert not set(folder.glob("*.txt"))
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


OLD = {"a.txt": b"old a", "sub/c.txt": b"old c"}
NEW = {"a.txt": b"new a", "b.txt": b"new b", "sub/c.txt": b"new c"}


def write_new(folder):
    with write_set_aside(folder, list(NEW), overwrite=True) as aside:
        (aside / "sub").mkdir()
        for name, content in NEW.items():
            (aside / name).write_bytes(content)


def write_old(folder):
    (folder / "sub").mkdir(parents=True)
    for name, content in OLD.items():
        (folder / name).write_bytes(content)


def write_other(folder):
    with write_aside(folder / "other.txt") as aside:
        aside.write_bytes(b"")


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_of_a_killed_set_the_old_or_the_new_is_whole(tmp_path, monkeypatch, links):
    def refuse(*_, **__):
        raise PermissionError("no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    outcomes = []
    for moment in itertools.count():  # at each change to a file
        folder = tmp_path / str(moment)
        write_old(folder)
        status, *_ = in_child(lambda folder=folder: write_new(folder), kill_at=moment)
        if links:  # nothing is out of sight, not even for a moment
            assert contents(folder).keys() >= OLD.keys()
        write_other(folder)
        found = contents(folder)
        del found["other.txt"]
        assert found in (OLD, NEW), moment
        assert not list(folder.glob(".*"))
        outcomes.append(found == NEW)
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert outcomes == sorted(outcomes)  # the old until some moment, then the new
    assert True in outcomes[:-1]
    assert len(outcomes) > 20


def test_putting_back_can_be_killed_too(tmp_path):
    mixed = []
    for moment in range(30):
        folder = tmp_path / str(moment)
        write_old(folder)
        in_child(lambda folder=folder: write_new(folder), kill_at=moment)
        seen = {name: content for name, content in contents(folder).items() if name in NEW}
        mixed += [folder] if seen not in (OLD, NEW) else []
    assert len(mixed) == len(NEW) - 1
    for moment in range(40):
        folder = tmp_path / f"{moment} again"
        shutil.copytree(mixed[-1], folder)
        in_child(lambda folder=folder: write_other(folder), kill_at=moment)
        write_other(folder)
        assert contents(folder) == {**OLD, "other.txt": b""}, moment
        assert not list(folder.glob(".*"))


def test_what_was_written_since_a_kill_is_not_put_back(tmp_path):
    for moment in range(30):
        folder = tmp_path / str(moment)
        write_old(folder)
        in_child(lambda folder=folder: write_new(folder), kill_at=moment)
        (folder / "a.txt").write_bytes(b"of the user")
        write_other(folder)
        assert (folder / "a.txt").read_bytes() == b"of the user"


def test_a_live_writer_is_not_swept(tmp_path):
    code = """
import sys
from dirnet.files.aside import write_set_aside
with write_set_aside(sys.argv[1], ["late.txt"]) as aside:
    print("open", flush=True)
    sys.stdin.readline()
    (aside / "late.txt").write_text("late")
"""
    command = [sys.executable, "-c", code, tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as live, subprocess.Popen(command, **pipes) as killed:
        assert [process.stdout.readline() for process in (live, killed)] == ["open\n"] * 2
        killed.kill()
        killed.wait()
        assert len(list(tmp_path.glob(".writing-*"))) == 2
        with write_set_aside(tmp_path, ["c.txt"]) as aside:  # and of this process
            write_other(tmp_path)
            (aside / "c.txt").touch()
        assert len(list(tmp_path.glob(".writing-*"))) == 1
        live.communicate("\n")
    assert sorted(contents(tmp_path)) == ["c.txt", "late.txt", "other.txt"]


def test_the_umask_holds_and_is_left_alone(tmp_path, monkeypatch):
    """It is the whole process's: taken away for a moment, other threads' files came out writable by all."""
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.delattr(os, "umask")
            write_other(tmp_path)
            write_new(tmp_path / "set")
    finally:
        os.umask(before)
    files = [tmp_path / "other.txt", *((tmp_path / "set" / name) for name in NEW)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}
    assert stat.S_IMODE((tmp_path / "set").stat().st_mode) == 0o750


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(OSError, match=r"^'/proc/1' cannot be written to: "):
        write_other(type(tmp_path)("/proc/1"))
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/new' cannot be written to: Not a directory"):
        write_other(tmp_path / "file" / "new")

    def deleted():
        with write_set_aside(tmp_path / "new" / "deep", ["a.txt", "b.txt"]) as aside:
            (aside / "a.txt").touch()
            (tmp_path / "new").rename(tmp_path / "gone")
            (aside / "b.txt").touch()

    with pytest.raises(FileNotFoundError, match=r"^'.*new/deep' cannot be written to: No such file or directory$"):
        deleted()
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    def write():
        with write_set_aside(tmp_path / "new" / "deep", ["a.txt", "b.txt"]) as aside:
            (aside / "a.txt").touch()
            (aside / "b.txt").write_bytes(bytes(2000))

    with file_size_limited(1000), pytest.raises(OSError, match=r"^'.*new/deep' cannot be written to: File too large$"):
        write()
    assert not list(tmp_path.iterdir())


def test_the_errors_of_others_stay_theirs(tmp_path):
    def read():
        with write_set_aside(tmp_path / "new", ["a.txt"]):
            (tmp_path / "source.dcm").read_bytes()

    with pytest.raises(FileNotFoundError, match=r"\[Errno 2\] .*source\.dcm'$"):
        read()
    assert not list(tmp_path.iterdir())
