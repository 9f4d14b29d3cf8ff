# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The example of the README, run as it stands."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readme_example_runs_and_prints_what_it_says(tmp_path):
    code, ten_lines = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    # The other one stands in a page whose code is run as well.
    assert ten_lines in (ROOT / "docs" / "howto-library.md").read_text()
    # Only the place of the input changes, so that the output does not go into the checkout.
    code = code.replace("solver_configs/", f"{ROOT}/solver_configs/")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    error = re.search(r"error against all atoms: ([0-9.]+) angstrom", done.stdout)
    assert error is not None, done.stdout
    assert 0 < float(error.group(1)) < 0.002
    assert (tmp_path / "results" / "vacancy" / "result.json").is_file()
