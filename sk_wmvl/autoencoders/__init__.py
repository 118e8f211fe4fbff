"""Auto-encoders: encoders, likelihoods, divergences and their training.

Imports every room below estimators but score methods.
"""

from sk_wmvl.autoencoders._base import (
    BaseDivergence,
    BaseEncoder,
    BaseLikelihood,
    BasePosterior,
)
from sk_wmvl.autoencoders.bernoulli import BernoulliLikelihood
from sk_wmvl.autoencoders.code_energy import CodeEnergy
from sk_wmvl.autoencoders.decoder import Decoder
from sk_wmvl.autoencoders.explicit import ExplicitEncoder
from sk_wmvl.autoencoders.gan import Adversarial
from sk_wmvl.autoencoders.gaussian import GaussianLikelihood
from sk_wmvl.autoencoders.implicit import ImplicitEncoder
from sk_wmvl.autoencoders.kl import KullbackLeibler
from sk_wmvl.autoencoders.latent import LatentSpace
from sk_wmvl.autoencoders.marginal import RowLikelihood, importance_log_likelihood
from sk_wmvl.autoencoders.mmd import MaximumMeanDiscrepancy
from sk_wmvl.autoencoders.networks import ConvDecoder, ConvEncoder
from sk_wmvl.autoencoders.normal import NormalPosterior
from sk_wmvl.autoencoders.power_spherical import PowerSphericalPosterior
from sk_wmvl.autoencoders.presets import PRESETS
from sk_wmvl.autoencoders.squared_error import SquaredError
from sk_wmvl.autoencoders.von_mises_fisher import VonMisesFisherPosterior

POSTERIORS: dict[str, type[BasePosterior]] = {
    "gaussian": NormalPosterior,
    "power_spherical": PowerSphericalPosterior,
    "vmf": VonMisesFisherPosterior,
}

# Each is made from the estimator's step size and weight of the regularisation.
DIVERGENCES = {
    "gan": lambda epsilon=1e-3, alpha=1e-5: Adversarial(alpha),
    "kl": KullbackLeibler,
    "mmd": lambda epsilon=1e-3, alpha=0.0: MaximumMeanDiscrepancy(),
}

__all__ = [
    "DIVERGENCES",
    "POSTERIORS",
    "PRESETS",
    "Adversarial",
    "BaseDivergence",
    "BaseEncoder",
    "BaseLikelihood",
    "BasePosterior",
    "BernoulliLikelihood",
    "CodeEnergy",
    "ConvDecoder",
    "ConvEncoder",
    "Decoder",
    "ExplicitEncoder",
    "GaussianLikelihood",
    "ImplicitEncoder",
    "KullbackLeibler",
    "LatentSpace",
    "MaximumMeanDiscrepancy",
    "NormalPosterior",
    "PowerSphericalPosterior",
    "RowLikelihood",
    "SquaredError",
    "VonMisesFisherPosterior",
    "importance_log_likelihood",
]
