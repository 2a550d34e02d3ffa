"""How far the same cell comes out on different machines, as far as one processor can tell.

Each cell is computed with the vector instructions of older processors, in a process of its own: sums are taken in
another order there, and a training that starts alike ends elsewhere. Prints the largest gap of each metric, which
``sparseguard.shipping.COMPARED`` is taken from.

    python benchmarks/machines.py --scale quick
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from itertools import combinations

from sparseguard import Experiment
from sparseguard.device import device_name
from sparseguard.shipping import COMPARED

LEVELS = {
    "all": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "NUMBA_CPU_NAME": "haswell", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
             "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE": {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41",
            "NUMBA_CPU_NAME": "haswell"},
}  # fmt: skip
CELLS = ({"defense": "none"}, {"defense": "none_conv"}, {"defense": "sparse_guard", "lam": 0.5})
SCRIPT = (
    "import json, sys; from sparseguard import Experiment; "
    "print(json.dumps(Experiment(**json.loads(sys.argv[1])).run(store=None, progress=False, device='cpu').metrics))"
)


def measured(cell: dict[str, object], level: str) -> dict[str, float]:
    """Metrics of a cell in a process with the instructions of a level."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | LEVELS[level]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(cell)], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="quick")
    scale = parser.parse_args().scale
    print(f"{device_name('cpu')}; scale {scale}")
    largest = dict.fromkeys(COMPARED, 0.0)
    for row in CELLS:
        cell = {"dataset": "mnist", "setting": "split", "scale": scale, "fid": False} | row
        runs = {level: measured(cell, level) for level in LEVELS}
        for metric in COMPARED:
            gaps = [abs(a[metric] - b[metric]) for a, b in combinations(runs.values(), 2)]
            largest[metric] = max(largest[metric], *gaps)
        shown = "; ".join(f"{level} {run['psnr']:.2f} dB, {run['accuracy']:.3f}" for level, run in runs.items())
        print(f"{Experiment(**cell).label}: {shown}", flush=True)
    print("largest gaps: " + ", ".join(f"{metric} {gap:.3f}" for metric, gap in largest.items()))


if __name__ == "__main__":
    main()
