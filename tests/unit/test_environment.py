# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The set-up files agree with each other: one list of packages, one list of requirements."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ENVIRONMENT = CHECKOUT / "environment"
SCRIPTS = [ENVIRONMENT / "enter", ENVIRONMENT / "run", ENVIRONMENT / "setup", CHECKOUT / ".ci/run"]
CONDA_NAMES = {"matplotlib": "matplotlib-base", "torch": "pytorch"}
ON_PYPI_ONLY = {"vesin"}


def without_comments(path: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def name_of(requirement: str) -> str:
    return re.split(r"[ <>=!\[]", requirement)[0]


def requirements() -> set[str]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return {name_of(requirement) for requirement in project["dependencies"]}


def conda_packages() -> set[str]:
    entries = without_comments(ENVIRONMENT / "environment.yml")
    return {name_of(entry[2:]) for entry in entries if entry.startswith("- ")}


def test_package_list_has_one_distinct_package_a_line():
    packages = without_comments(ENVIRONMENT / "packages.txt")
    assert len(packages) > 20
    assert len(set(packages)) == len(packages)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package) for package in packages)


@pytest.mark.parametrize("reader", ["setup", "Dockerfile"])
def test_the_one_package_list_is_read_not_copied(reader):
    text = (ENVIRONMENT / reader).read_text()
    assert "packages.txt" in text
    hyphenated = {name for name in without_comments(ENVIRONMENT / "packages.txt") if "-" in name}
    assert not hyphenated & set(re.findall(r"[\w+.-]+", text))


def test_conda_environment_has_every_python_requirement():
    needed = {CONDA_NAMES.get(name, name) for name in requirements() - ON_PYPI_ONLY}
    assert needed
    assert needed <= conda_packages()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_executable_and_parses(script):
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_run_inside_itself_keeps_folder_arguments_and_exit_status(tmp_path):
    result = subprocess.run(
        [ENVIRONMENT / "run", "bash", "-c", 'pwd; echo "$1"; exit 3', "bash", "two words"],
        cwd=tmp_path,
        env=os.environ | {"MSOLVE_ENVIRONMENT": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 3
    assert result.stdout.splitlines() == [str(tmp_path), "two words"]


def test_models_are_an_extra_each_and_a_wrong_word_is_told(tmp_path):
    done = subprocess.run(
        [ENVIRONMENT / "setup"],
        env=os.environ | {"MSOLVE_MODELS": "mice", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and not any(tmp_path.iterdir())
    told = re.search(r"MSOLVE_MODELS=mice: one of (.*) would do", done.stderr)
    assert told is not None, done.stderr
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    words = set(told[1].split())
    assert {"mace", "nequip"} <= words <= set(project["optional-dependencies"])
    makefile = (CHECKOUT / "Makefile").read_text()
    assert all(f"MSOLVE_MODELS={word}" in makefile for word in words - {"mace"})
