# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The log of a run: what is printed, what is kept, and that it cleans up after itself."""

from __future__ import annotations

import logging

import pytest

from msolve.io.log import RunLog
from msolve.io.result import Step

STEP = Step(0, 1.05, "K_G", -3.0, 1e-5, 15, False, 300, 500, 800, 2300, 0.23, (0.1, 0.0))


def test_rank_0_prints_lines_and_keeps_everything_in_a_file(tmp_path, capsys):
    logger = logging.getLogger("msolve")
    before = list(logger.handlers)
    with RunLog(0, tmp_path, "msolve: crack") as log:
        logger.info("W bcc, a = 3.14 Å")
        with log.phase("solve"):
            log.progress("minimise", 3, -1.0, 0.01)
        log(None, None, STEP)
    told = capsys.readouterr().out
    assert "W bcc, a = 3.14 Å" in told
    assert "1.05 K_G" in told and "15 !" in told
    assert "\x1b" not in told
    kept = (tmp_path / "msolve.log").read_text(encoding="utf-8")
    assert "minimise: iteration 3, residual 1.00e-02 eV/Å" in kept
    assert set(log.take_seconds()) == {"solve"}
    assert log.take_seconds() == {}
    assert logger.handlers == before


def test_other_ranks_are_silent(tmp_path, capsys):
    with RunLog(1, tmp_path / "none", "msolve: crack", n_ranks=2) as log:
        logging.getLogger("msolve").warning("hm")
        with log.phase("solve"):
            log.progress("minimise", 3, -1.0, 0.01)
        log.step(STEP)
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "none").exists()
    assert "solve" in log.seconds


def test_an_error_is_kept_in_the_file(tmp_path):
    with pytest.raises(RuntimeError), RunLog(0, tmp_path, "msolve: crack"):
        raise RuntimeError("a bug")
    assert "RuntimeError: a bug" in (tmp_path / "msolve.log").read_text(encoding="utf-8")
