"""What a session that only collects does without."""

import subprocess
import sys

import pytest

from tests.suite.sessions import GATE, session

HEAVY = {
    *("scipy.stats", "scipy.optimize", "scipy.special", "scipy.ndimage"),
    *("pandas", "matplotlib", "sklearn", "PIL.Image", "jinja2"),
    *("torchvision", "tensorboard", "torch._dynamo", "torch.onnx"),
}
"""What only judging, reading pictures, training or printing needs."""

COLLECT = """
import sys, pytest
status = pytest.main(sys.argv[1:])
print("imported:", *sys.modules)
sys.exit(status)
"""


@pytest.mark.nightly
def test_collecting_imports_nothing_that_only_judges_or_draws(tmp_path):
    (tmp_path / "test_bench.py").write_text(GATE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "my_models.py").touch()
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, *session("--collect-only", "-q")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::test_accuracy[digits-stn]" in done.stdout
    imported = set(done.stdout.partition("imported:")[2].split())
    assert "torch" in imported
    assert imported & HEAVY == set()
