"""Run Python in the project's own environment, made on first use.

    python3 .ci/env.py EXTRAS [ARGUMENT ...]

makes ``.venv`` beside ``setup.cfg``, installs the package there in place with the given
extras (``plot``, ``geometry``, ``test``, ``doc``, ``lint``, ``bench``, separated by
commas) in the versions of ``.ci/constraints.txt``, and calls its Python with the
arguments. Needs Python 3.11 or later and pip, nothing else.

On Linux, pip's usual source gives a build of torch for CUDA, with several GB of
libraries. Unless SK_WMVL_TORCH=cuda is set, the CPU build is taken from PyTorch's own
index, and from pip's usual sources only where that index cannot be reached.

SK_WMVL_VENV and SK_WMVL_CONSTRAINTS name another folder and another list of versions.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("SK_WMVL_VENV", ROOT / ".venv")).absolute()
CONSTRAINTS = Path(
    os.environ.get("SK_WMVL_CONSTRAINTS", ROOT / ".ci" / "constraints.txt")
).absolute()
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def create():
    """Make an empty environment, unless there is one."""
    if not PYTHON.exists():
        venv.create(FOLDER, with_pip=False, symlinks=os.name != "nt")


def pip_install(*arguments):
    """Install into the environment with this Python's pip, or else with its own."""
    pip = [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    if importlib.util.find_spec("pip") is None:
        subprocess.check_call([PYTHON, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
        pip = [PYTHON, "-m", "pip"]
    subprocess.check_call(
        [*pip, "install", "--quiet", "--disable-pip-version-check"]
        + ["--constraint", str(CONSTRAINTS), *arguments]
    )


def cpu_index():
    """Return pip's options that ask for the CPU build of torch."""
    if os.environ.get("SK_WMVL_TORCH") == "cuda" or sys.platform != "linux":
        return []  # on other systems the usual build has no CUDA
    try:
        urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=10).close()
    except OSError:
        print("PyTorch's CPU index cannot be reached: using pip's usual sources.")
        return []
    return ["--extra-index-url", CPU_INDEX]


def install(extras):
    """Make the environment and install the package, unless both were done before."""
    content = (ROOT / "setup.cfg").read_bytes() + CONSTRAINTS.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    stamp = FOLDER / f".installed-{extras}"
    if stamp.exists() and stamp.read_text() == digest:
        return
    print(f"Installing sk_wmvl[{extras}] into {FOLDER} ...", flush=True)
    create()
    pip_install("torch", *cpu_index())
    pip_install("--editable", f"{ROOT}[{extras}]")
    stamp.write_text(digest)


def main():
    """Install what is missing and hand over."""
    if sys.version_info < (3, 11):  # noqa: UP036 - the user's Python may be older
        sys.exit(f"sk_wmvl needs Python 3.11 or later; this is {sys.version}.")
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        install(sys.argv[1])
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"The installation failed (status {error.returncode}); the message is "
            f"above. The versions asked for are those of {CONSTRAINTS}."
        )
    try:
        sys.exit(subprocess.call([PYTHON, *sys.argv[2:]]))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
