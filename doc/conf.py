"""Settings of the documentation; build with ``-W``."""

import re

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


def skip_inherited(app, what, name, obj, skip, options):
    """Leave out what scikit-learn adds to a class, whose links lead to its own pages."""
    is_request = re.fullmatch(r"set_\w+_request|get_metadata_routing|set_output", name)
    return True if is_request else None


def setup(app):
    """Register the filter."""
    app.connect("autodoc-skip-member", skip_inherited)
