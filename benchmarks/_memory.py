"""Peak memory, measured in a process of its own."""

import multiprocessing
import resource
from pathlib import Path

__all__ = ["in_own_process", "peak_bytes"]


def peak_bytes():
    """Return the peak resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss counts the parent's peak too
        line = next(x for x in status.read_text().splitlines() if "VmHWM" in x)
        return 1024 * int(line.split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_own_process(function, *args):
    """Return function(*args), called in a new process that has done nothing before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)
