"""Entries of ``net_params`` become parameters of the estimator, for searches."""

from sklearn.base import BaseEstimator

__all__ = ["NetParamsMixin"]


class NetParamsMixin(BaseEstimator):
    """Adds ``net__key`` to the parameters of an estimator with `net_params`.

    Values are passed on unchecked. skorch reports a wrong one in `fit`.
    """

    def get_params(self, deep: bool = True) -> dict:
        """Return the parameters; with `deep`, entries of `net_params` as ``net__key``.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of components.

        Returns
        -------
        params : dict
        """
        params = super().get_params(deep=deep)
        if deep and isinstance(self.net_params, dict):
            params |= {f"net__{k}": v for k, v in self.net_params.items()}
        return params

    def set_params(self, **params):
        """Set parameters; ``net__key`` sets one entry of `net_params`.

        Parameters
        ----------
        **params : dict
            Parameters.

        Returns
        -------
        self : estimator
        """
        inner = {k[5:]: params.pop(k) for k in list(params) if k.startswith("net__")}
        super().set_params(**params)
        if inner:
            self.net_params = {**(self.net_params or {}), **inner}
        return self
