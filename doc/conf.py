"""Settings of the documentation; build with ``-W``."""

import os
import re
from pathlib import Path

from sphinx.addnodes import pending_xref
from sphinx.ext.autosummary import ImportExceptionGroup, import_by_name
from sphinx.util.nodes import make_refnode

import sk_wmvl

project = "sk_wmvl"
author = "The sk_wmvl developers"
copyright = f"2026, {author}"
release = version = sk_wmvl.__version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

# Links to other projects need their inventories, and so a network: on request only.
if os.environ.get("SK_WMVL_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "numpy": ("https://numpy.org/doc/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "sklearn": ("https://scikit-learn.org/stable/", None),
        "skorch": ("https://skorch.readthedocs.io/en/stable/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }

# `Name` in single backticks links to the object. A capitalised name that is no object is an
# error, so that no page speaks of a class by an old name; a name in lower case may be that
# of a parameter, and is printed as code where it does not link. The role "any" would ask
# for an object behind every parameter.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"[^A-Z].*$|[A-Z_]+$"), ("py:class", ".*")]

autosummary_ignore_module_all = False  # a room's page lists what the room exports
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say more
numpydoc_show_class_members = False

html_theme = "furo"
html_static_path = ["_static"]
html_title = f"sk_wmvl {version}"

# Names of other projects that stand in single backticks.
EXTERNAL = {
    "BayesianGaussianMixture": "sklearn.mixture.BayesianGaussianMixture",
    "ConvergenceWarning": "sklearn.exceptions.ConvergenceWarning",
    "FrozenEstimator": "sklearn.frozen.FrozenEstimator",
    "GaussianMixture": "sklearn.mixture.GaussianMixture",
    "GridSearchCV": "sklearn.model_selection.GridSearchCV",
    "KernelDensity": "sklearn.neighbors.KernelDensity",
    "KernelDensity.score": "sklearn.neighbors.KernelDensity.score",
    "StandardScaler": "sklearn.preprocessing.StandardScaler",
}


def drop_old_pages(app):
    """Delete the pages of objects that are gone or have another name."""
    for page in Path(app.srcdir, "generated").glob("*.rst"):
        try:
            import_by_name(page.stem)
        except ImportExceptionGroup:
            page.unlink()


def skip_inherited(app, what, name, obj, skip, options):
    """Leave out what scikit-learn adds to a class, whose links lead to its own pages."""
    is_request = re.fullmatch(r"set_\w+_request|get_metadata_routing|set_output", name)
    return True if is_request else None


def expand_external(app, doctree):
    """Give the names of other projects in full, for intersphinx to look up."""
    for node in doctree.findall(pending_xref):
        node["reftarget"] = EXTERNAL.get(node["reftarget"], node["reftarget"])


def link_by_name(app, env, node, content):
    """Link `Langevin` to ``sk_wmvl.samplers.Langevin`` from any page."""
    if node["refdomain"] != "py" or not node["reftarget"][0].isupper():
        return None
    objects = env.domains.python_domain.objects
    ending = "." + node["reftarget"]
    found = [
        (name, entry)
        for name, entry in objects.items()
        if name.endswith(ending) and not entry.aliased
    ]
    if len(found) != 1:
        return None
    name, entry = found[0]
    return make_refnode(
        app.builder, node["refdoc"], entry.docname, entry.node_id, content, name
    )


def setup(app):
    """Register the functions above."""
    app.connect("builder-inited", drop_old_pages)
    app.connect("autodoc-skip-member", skip_inherited)
    app.connect("doctree-read", expand_external)
    app.connect("missing-reference", link_by_name)
