# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Files appear whole or not at all, and what a file system refuses is told."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import h5py
import numpy as np
import pytest

from msolve.errors import OutputError
from msolve.io.files import hdf5, whole, write_whole


def test_a_file_appears_when_it_is_finished(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with whole(path) as unfinished:
        unfinished.write_text("half")
        assert not path.exists()
        assert unfinished.suffix == ".txt"
    assert path.read_text() == "half"
    assert os.listdir(path.parent) == ["file.txt"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"old")
    with pytest.raises(ZeroDivisionError), whole(path) as unfinished:
        unfinished.write_bytes(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(OutputError, match=r"a\.json: cannot be written: .*; "):
        write_whole(tmp_path / "results" / "a.json", b"")


LIMITED = """
import resource, sys
from pathlib import Path
from msolve.errors import OutputError
from msolve.io.files import write_whole
path = Path(sys.argv[1])
write_whole(path, b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    write_whole(path, bytes(2000))
except OutputError as error:
    print(error)
"""


def test_a_limit_on_file_sizes_is_told_and_the_old_file_stays(tmp_path):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    path = tmp_path / "file"
    told = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith(f"{path}: cannot be written: File too large; ")
    assert "ulimit -f" in told.stdout
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux' /dev/full")
def test_a_full_disk_is_told(tmp_path):
    # The name that is written to leads to a device that is always full.
    (tmp_path / ".unfinished-file").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"No space left on device .* make room"):
        write_whole(tmp_path / "file", b"more than nothing")
    assert os.listdir(tmp_path) == []


def test_hdf5_in_memory_is_what_h5py_reads_and_always_the_same(tmp_path):
    arrays = {"x": np.linspace(0, 1, 7).reshape(7, 1), "cells": np.arange(6).reshape(2, 3)}
    content = hdf5(arrays, {"name": "a"})
    assert content == hdf5(arrays, {"name": "a"})
    write_whole(tmp_path / "f.h5", content)
    with h5py.File(tmp_path / "f.h5") as file:
        assert file.attrs["name"] == "a"
        for name, values in arrays.items():
            assert (file[name][:] == values).all()
