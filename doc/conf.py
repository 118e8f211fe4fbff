"""Settings of the documentation; build with ``-W``."""

import sk_wmvl

project = "sk_wmvl"
author = "The sk_wmvl developers"
copyright = f"2026, {author}"
release = version = sk_wmvl.__version__

extensions = ["numpydoc", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["_build"]
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say more
numpydoc_show_class_members = False

html_theme = "furo"
html_static_path = ["_static"]
html_title = f"sk_wmvl {version}"
