"""Install the wheel into an empty environment, and run the README's example from there.

    python3 .ci/wheel.py [FOLDER]

takes the one wheel in FOLDER (default ``dist``), which ``python -m build`` put there. The
environment is new and has what the wheel asks for, in the versions of
``.ci/constraints.txt``, and nothing else: a module that is not declared, or a file that
the wheel lacks, is missing here. The checkout is not on the path.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import readme

CHECK = """
import pathlib, sk_wmvl
folder = pathlib.Path(sk_wmvl.__file__).parent
assert folder.parent.name == "site-packages", folder
assert (folder / "py.typed").exists()
"""


def main():
    """Do what the first lines of this file say."""
    dist = Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    print(f"{wheel.name} from {sdist.name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SK_WMVL_VENV"] = f"{folder}/venv"
        import env  # reads the variable

        env.create()
        env.pip_install("torch", *env.cpu_index())
        env.pip_install(str(wheel))
        for code in (CHECK, readme.example()):
            subprocess.check_call([env.PYTHON, "-I", "-c", code], cwd=folder)
        main_job = [env.PYTHON, "-I", "-m", "sk_wmvl", "--help"]
        subprocess.check_call(main_job, cwd=folder, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
