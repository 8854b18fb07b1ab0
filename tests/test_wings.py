"""The judging wing reads plain data and never waits for torch."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "stn_core.records",
        "stn_core.gate",
        "stn_core.report.table",
        "stn_core.report.compare_table",
        "stn_core.suite.plugin",
    ],
)
def test_judging_never_imports_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
