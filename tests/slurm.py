"""A Slurm of one node for tests: Debian's ``slurm-wlm`` and ``munge``, as root (``apt-get install slurm-wlm munge``).

``python tests/slurm.py`` starts one, says how to reach it, and ends it with Ctrl-C. All of it lies in one folder; keys,
ports and configuration are its own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scontrol", "scancel")
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
PATIENCE = 30.0
"""Seconds that it may take to start."""


def obstacle() -> str | None:
    """Why there can be none here; ``None`` if there can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=SEARCHED) is None]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "slurmd wants to be root"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _configuration(folder: Path, cores: int) -> str:
    host = socket.gethostname().split(".")[0]
    return f"""
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={_free_port()}
SlurmdPort={_free_port()}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
InactiveLimit=0
KillWait=5
MinJobAge=300
SchedulerParameters=batch_sched_delay=0,sched_interval=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm(cores: int = 2) -> Iterator[dict[str, str]]:
    """Start one; the environment variables that let its commands find it. It is ended, with all its jobs.

    Raises:
        RuntimeError: it does not start; the message holds what its log says.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(_configuration(folder, cores))
    (folder / "cgroup.conf").write_text("IgnoreSystemd=yes\n")
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    variables = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": SEARCHED}
    environment = os.environ | variables
    commands = [
        [
            "munged", "--foreground", "--force", f"--key-file={folder}/key", f"--socket={folder}/munge.socket",
            f"--log-file={folder}/munge.log", f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed",
        ],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D"],
    ]  # fmt: skip
    started: list[subprocess.Popen[bytes]] = []
    said = (folder / "said").open("wb")
    try:
        for command in commands:
            started.append(subprocess.Popen(command, env=environment, stdout=said, stderr=said))
            time.sleep(0.5)
        _wait(environment, folder)
        yield variables
    finally:
        subprocess.run(["scancel", "--user=root", "--full"], env=environment, capture_output=True, check=False)
        time.sleep(1)
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        said.close()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(environment: dict[str, str], folder: Path) -> None:
    start = time.monotonic()
    while time.monotonic() - start < PATIENCE:
        answer = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True, check=False
        )
        if answer.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in (*folder.glob("*.log"), folder / "said"))
    raise RuntimeError(f"Slurm does not start: {answer.stdout} {answer.stderr}\n{logs}")


if __name__ == "__main__":
    reason = obstacle()
    if reason:
        sys.exit(reason)
    with slurm(os.cpu_count() or 1) as found:
        print("\n".join(f"export {name}={value}" for name, value in found.items()), flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass
