"""Spaces that data live on."""

from sk_wmvl.manifolds._base import BaseManifold
from sk_wmvl.manifolds.euclidean import Euclidean

MANIFOLDS = {"euclidean": Euclidean}

__all__ = ["MANIFOLDS", "BaseManifold", "Euclidean"]
