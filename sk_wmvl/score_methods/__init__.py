"""Score methods: kernel estimators of the score, by regularised linear systems.

Imports the tools only.
"""

from sk_wmvl.score_methods._base import BaseScoreMethod, System
from sk_wmvl.score_methods._matrix_kernel import BaseMatrixKernel
from sk_wmvl.score_methods.choice import GRID, choose_regularization
from sk_wmvl.score_methods.curl_free import CurlFreeKernel
from sk_wmvl.score_methods.diagonal import DiagonalKernel
from sk_wmvl.score_methods.field import KernelField, SpanField
from sk_wmvl.score_methods.kernel_exponential import KernelExponential
from sk_wmvl.score_methods.landweber import Landweber
from sk_wmvl.score_methods.nu_method import NuMethod
from sk_wmvl.score_methods.spectral_cutoff import SpectralCutoff
from sk_wmvl.score_methods.stein import Stein

SCORE_METHODS: dict[str, type[BaseScoreMethod]] = {
    "kef": KernelExponential,
    "landweber": Landweber,
    "nu": NuMethod,
    "ssge": SpectralCutoff,
    "stein": Stein,
}

MATRIX_KERNELS: dict[str, type[BaseMatrixKernel]] = {
    "curl-free": CurlFreeKernel,
    "diagonal": DiagonalKernel,
}

__all__ = [
    "GRID",
    "MATRIX_KERNELS",
    "SCORE_METHODS",
    "BaseMatrixKernel",
    "BaseScoreMethod",
    "CurlFreeKernel",
    "DiagonalKernel",
    "KernelExponential",
    "KernelField",
    "Landweber",
    "NuMethod",
    "SpanField",
    "SpectralCutoff",
    "Stein",
    "System",
    "choose_regularization",
]
