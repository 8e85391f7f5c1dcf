"""Losses and distances, and their gradients, as PyTorch computes them in float64.

Run as `python losses.py` with PyTorch; writes tests/golden/losses.npz. The operand x stands there
as `operand/x`. Of the case `name` there are the names of its operands, `name/operands`, the value,
`name/value`, and gradients of the sum of the value times cos(0), cos(1), ... in its operands,
`name/grad0`, ... The cases with our functions are in tests/nn/losses_cases.py.
"""

import sys
from pathlib import Path

import numpy as np

# Floats in which some losses of PyTorch have no derivative.
FIXED = {
    "signs",
    "row_signs",
    "binary",
    "counts",
    "weights",
    "class_weights",
    "edge_targets",
    "extreme_binary",
}


def operands():
    """By name; rounded, so that they are short. Some elements lie where formulas change."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return np.round(rng.normal(size=shape), 3)

    x, y, z = normal(3, 4), normal(3, 4), normal(3, 4)
    x[1, 1], z[2] = y[1, 1], x[2]
    wide = 3 * x
    wide[0, 0], y[0, 0] = 2.0, 1.0
    probabilities = np.round(rng.uniform(0.05, 0.95, (3, 4)), 3)
    of_all = probabilities / probabilities.sum(-1, keepdims=True)
    edges = np.array([0.0, 0.0, 1.0, 1.0, 0.5, 0.25])
    logits = normal(5, 4)
    extreme = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 3.0], [1e4, 1e4, 1e4]])
    return {
        "x": x,
        "y": y,
        "z": z,
        "wide": wide,
        "weights": np.round(rng.uniform(0.2, 2, (3, 4)), 3),
        "probabilities": probabilities,
        "of_all": of_all,
        "with_zero": np.array([[0.0, 1.0, 0.0, 0.0], [0.25] * 4, [0.5, 0.0, 0.5, 0.0]]),
        "edges": edges,
        "edge_targets": np.array([0.0, 1.0, 0.0, 1.0, 0.25, 1.0]),
        "binary": (rng.uniform(size=(3, 4)) < 0.5).astype(float),
        "signs": np.where(rng.uniform(size=(3, 4)) < 0.5, 1.0, -1.0),
        "row_signs": np.array([1.0, -1.0, -1.0]),
        "counts": np.array([[0.0, 1, 2, 7], [3, 0, 1, 12], [5, 4, 2, 1]]),
        "variances": np.array([[0.5, 2.0, 1e-9, 0.0], [1.0, 0.3, 0.7, 4.0], [0.2, 0.1, 3.0, 1.5]]),
        "row_variances": np.array([0.5, 0.0, 2.0]),
        "logits": logits,
        "classes": np.array([0, 3, 2, -100, 1]),
        "class_weights": np.array([0.5, 2.0, 1.0, 0.25]),
        "pixels": normal(2, 3, 3, 4),
        "pixel_classes": rng.integers(0, 4, (2, 3, 3)),
        "extreme": extreme,
        "extreme_classes": np.array([1, 1, 0]),
        "extreme_logits": np.array([1e4, -1e4, 1e4, -1e4, 0.0, 40.0, -40.0]),
        "extreme_binary": np.array([1.0, 1.0, 0.0, 0.0, 0.5, 1.0, 0.0]),
        "row_classes": np.array([2, 0, 3]),
        "label_lists": np.array([[3, 0, -1, 1], [-1, 2, 0, 1], [0, 1, 2, 3]]),
        "times": normal(7, 4, 5),
        "labels": np.array([[1, 1, 2], [3, 4, 3], [2, 0, 0], [1, 0, 0]]),
        "times_of": np.array([7, 5, 6, 4]),
        "labels_of": np.array([3, 3, 1, 0]),
        "short_times_of": np.array([7, 3, 3, 4]),
        "too_long": np.array([[1, 1, 2], [3, 4, 3], [2, 2, 1], [1, 0, 0]]),
        "other_labels": np.array([[1, 1, 2], [3, 0, 3], [2, 4, 4], [1, 4, 4]]),
        "too_long_of": np.array([3, 3, 3, 1]),
        "labels_joined": np.array([1, 1, 2, 3, 4, 3, 2]),
        "points": np.array([[0.3, -0.4], [1.0, 2.0], [0.3, -0.4], [0.0, 0.5]]),
        "others": np.array([[0.3, -0.4], [-1.2, 0.7], [0.1, 0.5]]),
        "with_zeros": np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 0.0], [3.0, 1.0, 4.0]]),
        "more_zeros": np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [-1.0, 0.5, 2.0]]),
    }


def cases(torch):
    f = torch.nn.functional
    reductions = ("none", "mean", "sum")

    def all_reductions(name, function, *names, **options):
        return {f"{name}_{r}": (function, names, {**options, "reduction": r}) for r in reductions}

    def last_axis_second(function):
        return lambda x, t, **options: function(torch.movedim(x, -1, 1), t, **options)

    def classes_second(x, t, **options):
        return f.cross_entropy(torch.movedim(x, -1, 1), torch.movedim(t, -1, 1), **options)

    def weighted(function):
        return lambda *arrays, **options: function(*arrays[:-1], weight=arrays[-1], **options)

    def ctc(x, *others, **options):
        return f.ctc_loss(f.log_softmax(x, -1), *others, **options)

    def kl(x, t, **options):
        return f.kl_div(f.log_softmax(x, -1), t, **options)

    def nll(x, t, **options):
        return f.nll_loss(f.log_softmax(x, -1), t, **options)

    def log_kl(x, t, **options):
        return f.kl_div(f.log_softmax(x, -1), f.log_softmax(t, -1), log_target=True, **options)

    def focal(x, t, alpha=0.25, gamma=2.0):
        entropy = f.binary_cross_entropy_with_logits(x, t, reduction="none")
        p = torch.sigmoid(x)
        p_t = p * t + (1 - p) * (1 - t)
        return (alpha * t + (1 - alpha) * (1 - t)) * entropy * (1 - p_t) ** gamma

    def hinge(x, y, margin=1.0):
        return torch.clamp_min(margin - x * y, 0)

    def squares(x, y):
        return torch.sum((x - y) ** 2, -1)

    def with_distance(*arrays, **options):
        return f.triplet_margin_with_distance_loss(*arrays, distance_function=squares, **options)

    found = {}
    found |= all_reductions("l1_loss", f.l1_loss, "x", "y")
    found |= all_reductions("l1_loss_weight", weighted(f.l1_loss), "x", "y", "weights")
    found |= all_reductions("mse_loss", f.mse_loss, "x", "y")
    found |= all_reductions("mse_loss_weight", weighted(f.mse_loss), "x", "y", "weights")
    found |= all_reductions("smooth_l1_loss", f.smooth_l1_loss, "wide", "y")
    found |= all_reductions("huber_loss", f.huber_loss, "wide", "y")
    found |= all_reductions("huber_loss_weight", weighted(f.huber_loss), "wide", "y", "weights")
    found |= all_reductions("poisson_nll_loss", f.poisson_nll_loss, "x", "counts")
    found |= all_reductions("gaussian_nll_loss", f.gaussian_nll_loss, "x", "y", "variances")
    found |= all_reductions("kl_div", kl, "x", "of_all")
    found |= all_reductions("kl_div_log", log_kl, "x", "y")
    found |= all_reductions("nll_loss", nll, "logits", "classes")
    found |= all_reductions("nll_loss_weight", weighted(nll), "logits", "classes", "class_weights")
    found |= all_reductions("cross_entropy", f.cross_entropy, "logits", "classes")
    found |= all_reductions(
        "cross_entropy_smooth",
        weighted(f.cross_entropy),
        "logits",
        "classes",
        "class_weights",
        label_smoothing=0.1,
    )
    found |= all_reductions("cross_entropy_soft", f.cross_entropy, "x", "of_all")
    found |= all_reductions(
        "cross_entropy_soft_smooth",
        weighted(f.cross_entropy),
        "x",
        "of_all",
        "class_weights",
        label_smoothing=0.2,
    )
    found |= all_reductions(
        "cross_entropy_pixels", last_axis_second(f.cross_entropy), "pixels", "pixel_classes"
    )
    found |= all_reductions(
        "binary_cross_entropy", f.binary_cross_entropy, "probabilities", "binary"
    )
    found |= all_reductions(
        "binary_cross_entropy_with_logits", f.binary_cross_entropy_with_logits, "x", "binary"
    )
    found |= all_reductions("margin_ranking_loss", f.margin_ranking_loss, "x", "y", "signs")
    found |= all_reductions("hinge_embedding_loss", f.hinge_embedding_loss, "x", "signs")
    found |= all_reductions("soft_margin_loss", f.soft_margin_loss, "x", "signs")
    found |= all_reductions("cosine_embedding_loss", f.cosine_embedding_loss, "x", "y", "row_signs")
    found |= all_reductions("multi_margin_loss", f.multi_margin_loss, "x", "row_classes")
    found |= all_reductions("multilabel_margin_loss", f.multilabel_margin_loss, "x", "label_lists")
    found |= all_reductions(
        "multilabel_soft_margin_loss", f.multilabel_soft_margin_loss, "x", "binary"
    )
    found |= all_reductions("triplet_margin_loss", f.triplet_margin_loss, "x", "y", "z")
    found |= all_reductions("ctc_loss", ctc, "times", "labels", "times_of", "labels_of")
    found |= {
        "smooth_l1_loss_beta": (f.smooth_l1_loss, ("wide", "y"), {"beta": 0.3}),
        "smooth_l1_loss_zero": (f.smooth_l1_loss, ("wide", "y"), {"beta": 0.0}),
        "huber_loss_delta": (f.huber_loss, ("wide", "y"), {"delta": 0.3}),
        "poisson_nll_loss_full": (f.poisson_nll_loss, ("x", "counts"), {"full": True}),
        "poisson_nll_loss_mean": (
            f.poisson_nll_loss,
            ("probabilities", "counts"),
            {"log_input": False, "eps": 1e-3},
        ),
        "gaussian_nll_loss_full": (
            f.gaussian_nll_loss,
            ("x", "y", "row_variances"),
            {"full": True, "eps": 1e-3},
        ),
        "kl_div_batchmean": (kl, ("x", "of_all"), {"reduction": "batchmean"}),
        "cross_entropy_pixels_soft": (classes_second, ("pixels", "pixels"), {}),
        "cross_entropy_ignore": (
            f.cross_entropy,
            ("x", "row_classes"),
            {"ignore_index": 0, "label_smoothing": 0.3},
        ),
        "cross_entropy_extreme": (
            f.cross_entropy,
            ("extreme", "extreme_classes"),
            {"reduction": "none"},
        ),
        "binary_cross_entropy_edges": (
            f.binary_cross_entropy,
            ("edges", "edge_targets"),
            {"reduction": "none"},
        ),
        "binary_cross_entropy_weight": (
            weighted(f.binary_cross_entropy),
            ("probabilities", "binary", "weights"),
            {},
        ),
        "binary_cross_entropy_with_logits_extreme": (
            f.binary_cross_entropy_with_logits,
            ("extreme_logits", "extreme_binary"),
            {"reduction": "none"},
        ),
        "binary_cross_entropy_with_logits_weight": (
            lambda x, t, w, p: f.binary_cross_entropy_with_logits(x, t, w, pos_weight=p),
            ("x", "probabilities", "weights", "class_weights"),
            {},
        ),
        "margin_ranking_loss_margin": (
            f.margin_ranking_loss,
            ("x", "y", "signs"),
            {"margin": 0.5},
        ),
        "hinge_embedding_loss_margin": (f.hinge_embedding_loss, ("x", "signs"), {"margin": 0.3}),
        "cosine_embedding_loss_margin": (
            f.cosine_embedding_loss,
            ("with_zeros", "more_zeros", "row_signs"),
            {"margin": -0.5, "reduction": "none"},
        ),
        "multi_margin_loss_square": (
            weighted(f.multi_margin_loss),
            ("x", "row_classes", "class_weights"),
            {"p": 2, "margin": 0.7},
        ),
        "multilabel_soft_margin_loss_weight": (
            weighted(f.multilabel_soft_margin_loss),
            ("x", "binary", "weights"),
            {},
        ),
        "triplet_margin_loss_swap": (
            f.triplet_margin_loss,
            ("x", "y", "z"),
            {"swap": True, "margin": 0.5, "p": 1.0, "eps": 1e-3, "reduction": "none"},
        ),
        "triplet_margin_with_distance_loss": (
            with_distance,
            ("x", "y", "z"),
            {"swap": True, "margin": 2.0},
        ),
        "hinge_loss": (hinge, ("x", "signs"), {"margin": 0.6}),
        "focal_loss": (focal, ("x", "binary"), {}),
        "focal_loss_options": (focal, ("x", "probabilities"), {"alpha": 0.6, "gamma": 0.5}),
        "ctc_loss_impossible": (
            ctc,
            ("times", "too_long", "short_times_of", "too_long_of"),
            {"zero_infinity": True, "reduction": "none"},
        ),
        "ctc_loss_joined": (
            ctc,
            ("times", "labels_joined", "times_of", "labels_of"),
            {"reduction": "none"},
        ),
        "ctc_loss_blank": (
            ctc,
            ("times", "other_labels", "times_of", "labels_of"),
            {"blank": 4, "reduction": "sum"},
        ),
        "normalize": (f.normalize, ("with_zeros",), {"dim": -1}),
        "normalize_one": (f.normalize, ("with_zeros",), {"dim": 0, "p": 1.0, "eps": 0.5}),
        "normalize_three": (f.normalize, ("with_zeros",), {"dim": -1, "p": 3.0}),
        "cosine_similarity": (f.cosine_similarity, ("with_zeros", "more_zeros"), {"dim": -1}),
        "cosine_similarity_axis": (f.cosine_similarity, ("x", "y"), {"dim": 0, "eps": 0.5}),
        "pairwise_distance": (f.pairwise_distance, ("x", "z"), {}),
        "pairwise_distance_same": (f.pairwise_distance, ("x", "z"), {"eps": 0.0}),
        "pairwise_distance_one": (f.pairwise_distance, ("x", "y"), {"p": 1.0, "keepdim": True}),
        "cdist": (torch.cdist, ("points", "others"), {}),
        "cdist_one": (torch.cdist, ("points", "others"), {"p": 1.0}),
        "cdist_three": (torch.cdist, ("points", "others"), {"p": 3.0}),
        "cdist_inf": (torch.cdist, ("points", "others"), {"p": float("inf")}),
    }
    return found


def main():
    import torch

    given = operands()
    results = {f"operand/{name}": value for name, value in given.items()}
    for name, (function, names, options) in cases(torch).items():
        arrays = []
        results[f"{name}/operands"] = np.array(names)
        for operand in names:
            tensor = torch.tensor(given[operand])
            moves = tensor.is_floating_point() and operand not in FIXED
            arrays.append(tensor.requires_grad_() if moves else tensor)
        value = function(*arrays, **options)
        results[f"{name}/value"] = value.detach().numpy()
        weights = torch.cos(torch.arange(value.numel(), dtype=value.dtype)).reshape(value.shape)
        (value * weights).sum().backward()
        for i, array in enumerate(arrays):
            if array.grad is not None:
                results[f"{name}/grad{i}"] = array.grad.numpy()
    target = Path(__file__).parents[1] / "losses.npz"
    np.savez_compressed(target, **results)
    print(f"{len(results)} arrays, {target.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
