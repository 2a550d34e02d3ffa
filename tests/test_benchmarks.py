"""The benchmark runs and its own comparisons hold; its speeds are nobody's test."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_solver_benchmark_prints_its_table() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "sparse_coding.py"), "--layer", "1-4-28", "--batch", "2"]
    done = subprocess.run([*command, "--repeats", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| 1-4-28")]
    assert [row[2].split()[0] for row in rows] == ["textbook", "textbook", "euler", "lca", "fista"]
    excess = {row[2].split()[0]: float(row[5]) for row in rows}
    distance = {row[2].split()[0]: float(row[6]) for row in rows}
    assert all(-1e-5 < value < 0.05 for value in excess.values())
    assert excess["fista"] <= excess["textbook"] + 1e-5
    assert abs(distance["textbook"] - distance["euler"]) < 1e-4
    assert distance["lca"] < 1e-3
