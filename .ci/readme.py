"""Print the example of README.rst: its first block of Python."""

import textwrap
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.rst"


def example():
    """Return the lines of the block."""
    after = README.read_text("utf-8").split(".. code-block:: python\n", 1)[1]
    lines = []
    for line in after.splitlines():
        if line and not line.startswith(" "):
            break
        lines.append(line)
    return textwrap.dedent("\n".join(lines)).strip() + "\n"


if __name__ == "__main__":
    print(example(), end="")
