"""What is run by tests/forking.py is as a process of its own."""

import os
import signal

ACT = """
import os, sys, time
print(os.getcwd(), os.environ["WHO"], *sys.argv[1:])
print("said", file=sys.stderr)
if sys.argv[1] == "raise":
    raise KeyError("why")
if sys.argv[1] == "sleep":
    sys.stdout.flush()
    time.sleep(100)
sys.exit(3)
"""


def test_a_fork_is_a_process_of_its_own(forks, tmp_path):
    (tmp_path / "act.py").write_text(ACT)
    ended = forks.run("act", 1, "b c", cwd=tmp_path, env={"WHO": "me"})
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, f"{tmp_path} me 1 b c\n", "said\n")
    failed = forks.run("act", "raise", cwd=tmp_path, env={"WHO": "you"})
    assert (failed.returncode, failed.stderr.splitlines()[-1]) == (1, "KeyError: 'why'")
    sleeping = forks.start("act", "sleep", cwd=tmp_path, env={"WHO": "me"}, together=True)
    assert sleeping.pid != os.getpid()
    assert sleeping.poll() is None
    sleeping.kill()
    output, errors = sleeping.communicate()
    assert output == errors  # in one file
    assert sleeping.returncode == -signal.SIGKILL
    assert "WHO" not in os.environ
