"""Stages inside a cell move the bar that a terminal shows, while nobody sees the notebook."""

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from sparseguard.report import site
from tests.report.test_site import write

RUN = "from sparseguard.grid import cells, run_grid\nlen(run_grid(cells('mnist', 'split', 'none', 1, 'smoke', [0])))"


def test_stages_are_seen_below_papermills_bar_before_the_cell_ends(tmp_path: Path) -> None:
    write(tmp_path, "one", "# One", RUN)
    inside, outside = pty.openpty()
    termios.tcsetwinsize(outside, (24, 120))
    command = [sys.executable, "-m", "papermill", str(tmp_path / "one.ipynb"), str(tmp_path / "out.ipynb")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}  # as outside
    running = subprocess.Popen(command, env=environment, stdout=outside, stderr=outside)
    os.close(outside)
    seen = b""
    try:
        while part := os.read(inside, 4096):
            seen += part
    except OSError:  # nobody writes any more
        pass
    finally:
        os.close(inside)
    text = seen.decode()
    assert running.wait() == 0, text
    parts = ("training the target", " 33 % |", "measuring", " 100 % |", "| 3/3")
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts), text
    assert "training" not in (tmp_path / "out.ipynb").read_text(encoding="utf-8"), "seen, not kept"


def test_the_report_tells_them_as_they_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "QUIET", 0.0)
    write(tmp_path, "01_cells", "# Cells", RUN)
    site.build(tmp_path, tmp_path / "out", {})
    told = capsys.readouterr().out
    stage = told.index("01_cells: 0 of 1 cells; none, seed 0: training the ")
    assert told.index("running 01_cells …") < stage < told.index("01_cells done")
