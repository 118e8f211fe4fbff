"""What code costs: processor time, taken in turns, and peak memory, in a process apart."""

import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import torch

__all__ = ["in_own_process", "make_step", "peak_bytes", "time_interleaved"]


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


def make_step(module, loss_of):
    """Return a function that takes one optimizer step.

    Parameters
    ----------
    module : torch.nn.Module
        What is trained, in place.
    loss_of : callable
        From the module to the loss.
    """
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-5, fused=True)

    def step():
        optimizer.zero_grad()
        loss_of(module).backward()
        optimizer.step()

    return step


def time_interleaved(functions, *, n_rounds, n_calls=1, n_warm_up=3):
    """Return seconds per call of each function, of shape (n_rounds,).

    In every round each function runs in turn: what slows the machine down for a while
    slows all of them, and ratios of medians are fair. The seconds are of processor time:
    on a shared machine the wall clock adds whole time slices of other processes, to long
    calls more often than to short ones.

    Parameters
    ----------
    functions : dict of callables
    n_rounds : int
    n_calls : int, default=1
        Calls per round and function.
    n_warm_up : int, default=3
        Calls before the first round.

    Returns
    -------
    seconds : dict of arrays
    """
    for function in functions.values():
        for _ in range(n_warm_up):
            function()
    seconds = {name: np.empty(n_rounds) for name in functions}
    for k in range(n_rounds):
        for name, function in functions.items():
            start = time.process_time()
            for _ in range(n_calls):
                function()
            seconds[name][k] = (time.process_time() - start) / n_calls
    return seconds
