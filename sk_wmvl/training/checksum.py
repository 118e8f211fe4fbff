"""Checksums of nested objects, by which one knows a pickle, or a fit, again."""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn

__all__ = ["checksum"]

PLAIN = str | bytes | bool | int | float | complex | None


def checksum(value: object) -> str:
    """Return a SHA-256 of the numbers and texts in nested objects.

    Objects that pickle in a way of their own are left out, because they need not look the
    same when loaded. So are estimators of this package, which have a checksum themselves.

    Parameters
    ----------
    value : object
        Of arrays, tensors, modules, plain values, containers and objects of these.
    """
    total = hashlib.sha256()
    _add(total, value, set())
    return total.hexdigest()


def _add(total, value: object, above: set[int]) -> None:
    """Add a value to a hash; `above` has what it is a part of, for cycles."""
    # a file that is mapped into memory holds the same array
    kind = np.ndarray if isinstance(value, np.ndarray) else type(value)
    total.update(kind.__qualname__.encode())
    if isinstance(value, PLAIN):
        total.update(repr(value).encode())
        return
    if isinstance(value, torch.Tensor):
        value = _bytes_of(value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        total.update(f"{value.dtype.str}{value.shape}".encode())
        total.update(np.ascontiguousarray(value).tobytes())
        return
    if id(value) in above:
        return
    above = above | {id(value)}
    for part in _parts(value):
        _add(total, part, above)


def _bytes_of(x: torch.Tensor) -> np.ndarray:
    """Return the bytes of a tensor, of any dtype; those of odd layouts are left out."""
    if x.layout != torch.strided or x.is_meta:
        return np.empty(0)
    x = x.detach().cpu().resolve_conj().contiguous().reshape(-1)
    return x.view(torch.uint8).numpy()


def _parts(value: object) -> list:
    """Return the parts of a container, module or object that a pickle keeps as they are."""
    if isinstance(value, np.ndarray):
        return list(value.ravel())
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, type) or not _is_kept_as_it_is(type(value)):
        return []
    if isinstance(value, nn.Module):
        # torch adds attributes of its own, which depend on its version
        plain = {k: v for k, v in vars(value).items() if not k.startswith("_")}
        children = [value._parameters, value._buffers, value._modules]
        return [*children, {k: v for k, v in plain.items() if k != "training"}]
    return [dict(getattr(value, "__dict__", {}))]


def _is_kept_as_it_is(kind: type) -> bool:
    """Return whether a pickle keeps all attributes of a kind of objects, and no others."""
    usual: type = object
    for known in (BaseEstimator, nn.Module):  # whose ways leave the attributes alone
        if issubclass(kind, known):
            usual = known
    ways = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")
    own = [k for k in ways if getattr(kind, k, None) is not getattr(usual, k, None)]
    # layers of torch add what older pickles lack
    homes = [getattr(getattr(kind, k), "__module__", None) or "" for k in own]
    return all(home.startswith("torch.nn.") for home in homes)
