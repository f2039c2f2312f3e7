import os
import subprocess
import sys

from tests.conftest import ROOT


def test_a_manifest_that_can_not_be_read_is_one_line(tmp_path):
    environment = {**os.environ, "PLANTGFM_BENCH_MANIFEST": str(tmp_path / "absent.csv")}
    command = [sys.executable, "-m", "plantgfm.bench", "curation"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [f"error: {tmp_path / 'absent.csv'}: does not exist"]
