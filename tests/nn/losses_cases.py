"""The cases of tests/golden/losses.npz, with our functions: what each is called with there."""

import functools
import math

from fstensor import nn
from fstensor import numpy as fnp

REDUCTIONS = ("none", "mean", "sum")


def weighted(function):
    return lambda *arrays, **options: function(*arrays[:-1], weight=arrays[-1], **options)


def of_logs(function):
    return lambda x, *others, **options: function(nn.log_softmax(x), *others, **options)


def both_logs(x, t, **options):
    return nn.kl_div(nn.log_softmax(x), nn.log_softmax(t), log_target=True, **options)


def all_weights(x, t, weight, pos_weight):
    return nn.binary_cross_entropy_with_logits(x, t, weight=weight, pos_weight=pos_weight)


def squares(x, y):
    return fnp.sum((x - y) ** 2, -1)


# Each with all reductions.
REDUCED = {
    "l1_loss": nn.l1_loss,
    "l1_loss_weight": weighted(nn.l1_loss),
    "mse_loss": nn.mse_loss,
    "mse_loss_weight": weighted(nn.mse_loss),
    "smooth_l1_loss": nn.smooth_l1_loss,
    "huber_loss": nn.huber_loss,
    "huber_loss_weight": weighted(nn.huber_loss),
    "poisson_nll_loss": nn.poisson_nll_loss,
    "gaussian_nll_loss": nn.gaussian_nll_loss,
    "kl_div": of_logs(nn.kl_div),
    "kl_div_log": both_logs,
    "nll_loss": of_logs(nn.nll_loss),
    "nll_loss_weight": of_logs(weighted(nn.nll_loss)),
    "cross_entropy": nn.cross_entropy,
    "cross_entropy_smooth": functools.partial(weighted(nn.cross_entropy), label_smoothing=0.1),
    "cross_entropy_soft": nn.cross_entropy,
    "cross_entropy_soft_smooth": functools.partial(weighted(nn.cross_entropy), label_smoothing=0.2),
    "cross_entropy_pixels": nn.cross_entropy,
    "binary_cross_entropy": nn.binary_cross_entropy,
    "binary_cross_entropy_with_logits": nn.binary_cross_entropy_with_logits,
    "margin_ranking_loss": nn.margin_ranking_loss,
    "hinge_embedding_loss": nn.hinge_embedding_loss,
    "soft_margin_loss": nn.soft_margin_loss,
    "cosine_embedding_loss": nn.cosine_embedding_loss,
    "multi_margin_loss": nn.multi_margin_loss,
    "multilabel_margin_loss": nn.multilabel_margin_loss,
    "multilabel_soft_margin_loss": nn.multilabel_soft_margin_loss,
    "triplet_margin_loss": nn.triplet_margin_loss,
    "ctc_loss": of_logs(nn.ctc_loss),
}
# A function and its options.
OTHERS = {
    "smooth_l1_loss_beta": (nn.smooth_l1_loss, {"beta": 0.3}),
    "smooth_l1_loss_zero": (nn.smooth_l1_loss, {"beta": 0.0}),
    "huber_loss_delta": (nn.huber_loss, {"delta": 0.3}),
    "poisson_nll_loss_full": (nn.poisson_nll_loss, {"full": True}),
    "poisson_nll_loss_mean": (nn.poisson_nll_loss, {"log_input": False, "eps": 1e-3}),
    "gaussian_nll_loss_full": (nn.gaussian_nll_loss, {"full": True, "eps": 1e-3}),
    "kl_div_batchmean": (of_logs(nn.kl_div), {"reduction": "batchmean"}),
    "cross_entropy_pixels_soft": (nn.cross_entropy, {}),
    "cross_entropy_ignore": (nn.cross_entropy, {"ignore_index": 0, "label_smoothing": 0.3}),
    "cross_entropy_extreme": (nn.cross_entropy, {"reduction": "none"}),
    "binary_cross_entropy_edges": (nn.binary_cross_entropy, {"reduction": "none"}),
    "binary_cross_entropy_weight": (weighted(nn.binary_cross_entropy), {}),
    "binary_cross_entropy_with_logits_extreme": (
        nn.binary_cross_entropy_with_logits,
        {"reduction": "none"},
    ),
    "binary_cross_entropy_with_logits_weight": (all_weights, {}),
    "margin_ranking_loss_margin": (nn.margin_ranking_loss, {"margin": 0.5}),
    "hinge_embedding_loss_margin": (nn.hinge_embedding_loss, {"margin": 0.3}),
    "cosine_embedding_loss_margin": (
        nn.cosine_embedding_loss,
        {"margin": -0.5, "reduction": "none"},
    ),
    "multi_margin_loss_square": (weighted(nn.multi_margin_loss), {"p": 2, "margin": 0.7}),
    "multilabel_soft_margin_loss_weight": (weighted(nn.multilabel_soft_margin_loss), {}),
    "triplet_margin_loss_swap": (
        nn.triplet_margin_loss,
        {"swap": True, "margin": 0.5, "p": 1.0, "eps": 1e-3, "reduction": "none"},
    ),
    "triplet_margin_with_distance_loss": (
        nn.triplet_margin_with_distance_loss,
        {"distance_function": squares, "swap": True, "margin": 2.0},
    ),
    "hinge_loss": (nn.hinge_loss, {"margin": 0.6, "reduction": "none"}),
    "focal_loss": (nn.focal_loss, {"reduction": "none"}),
    "focal_loss_options": (nn.focal_loss, {"alpha": 0.6, "gamma": 0.5, "reduction": "none"}),
    "ctc_loss_impossible": (of_logs(nn.ctc_loss), {"zero_infinity": True, "reduction": "none"}),
    "ctc_loss_joined": (of_logs(nn.ctc_loss), {"reduction": "none"}),
    "ctc_loss_blank": (of_logs(nn.ctc_loss), {"blank": 4, "reduction": "sum"}),
    "normalize": (nn.normalize, {}),
    "normalize_one": (nn.normalize, {"axis": 0, "p": 1.0, "eps": 0.5}),
    "normalize_three": (nn.normalize, {"p": 3.0}),
    "cosine_similarity": (nn.cosine_similarity, {}),
    "cosine_similarity_axis": (nn.cosine_similarity, {"axis": 0, "eps": 0.5}),
    "pairwise_distance": (nn.pairwise_distance, {}),
    "pairwise_distance_same": (nn.pairwise_distance, {"eps": 0.0}),
    "pairwise_distance_one": (nn.pairwise_distance, {"p": 1.0, "keepdims": True}),
    "cdist": (nn.cdist, {}),
    "cdist_one": (nn.cdist, {"p": 1.0}),
    "cdist_three": (nn.cdist, {"p": 3.0}),
    "cdist_inf": (nn.cdist, {"p": math.inf}),
}
CASES = {
    f"{name}_{reduction}": functools.partial(function, reduction=reduction)
    for name, function in REDUCED.items()
    for reduction in REDUCTIONS
} | {name: functools.partial(function, **options) for name, (function, options) in OTHERS.items()}
