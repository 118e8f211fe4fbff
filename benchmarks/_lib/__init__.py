"""What several benchmarks need, by subject.

=======================  ===========================================================
script                   the options of every script, and the sheet of its results
costs                    processor time, taken in turns, and peak memory
fits                     fits of our estimators, and the columns of likelihood tables
data                     where data sets are found, how they are read and split
uci_data                 breast cancer, RedWine, Parkinsons
table_data               tables that ship or that a package brings, dequantised
directional_data         directions, angles, rotations and compositions
manifold_data            the rarer manifolds
images                   MNIST and digits
euclidean_baselines      mixtures and kernels of scikit-learn
table_peers              flows, vines, mixtures and kernels, fitted as their users do
directional_kernels      kernel estimates on spheres, tori and rotations
manifold_kernels         kernel estimates on the rarer manifolds
parametric_baselines     von Mises mixtures, Dirichlet, logistic normal
figures                  the look of the paper's figures
density_figures          the two figures of densities on manifolds
paper_energy             the energy of the paper's experiments in the plane
checkpoints              long trainings that survive being cut off
vae_likelihood           the test log likelihood of a variational auto-encoder
lenet                    a classifier of digits, whose hidden layer gives features
autoencoder_pictures     sheets of samples, and maps of codes
=======================  ===========================================================

A script finds this folder because Python puts the script's own folder on the path; the
scripts of `paper` add the folder above theirs first. Files here import from `sk_wmvl` and
from each other, and never from a script.
"""
