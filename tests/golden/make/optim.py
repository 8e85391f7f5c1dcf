"""Trajectories of optimizers and values of schedules, as PyTorch and Optax compute them.

Run as `python optim.py torch` with PyTorch, and `python optim.py optax` with Optax; writes
tests/golden/optim_torch.npz and optim_optax.npz. The names are those of the cases in tests/optim.
"""

import sys
from pathlib import Path

import numpy as np

STEPS = 20
KEPT = [0, 1, 2, 4, 9, 19]


def problem():
    """Inputs, targets, and the first weights and biases."""
    rng = np.random.default_rng(0)
    shapes = {"x": (8, 3), "y": (8, 4), "w": (3, 4), "b": (4,)}
    return {k: np.round(rng.normal(size=s), 3) for k, s in shapes.items()}


def torch_optimizers(torch):
    o, s = torch.optim, torch.optim.lr_scheduler

    def cosine(optimizer):
        return s.CosineAnnealingLR(optimizer, 20, eta_min=0.01)

    return {
        "sgd": (o.SGD, {"lr": 0.1}),
        "sgd_cosine": (o.SGD, {"lr": 0.1, "momentum": 0.9}, cosine),
        "sgd_momentum": (
            o.SGD,
            {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        ),
        "sgd_nesterov": (
            o.SGD,
            {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
        ),
        "adadelta": (o.Adadelta, {}),
        "adadelta_options": (o.Adadelta, {"lr": 0.7, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
        "adagrad": (o.Adagrad, {"lr": 0.1}),
        "adagrad_options": (
            o.Adagrad,
            {
                "lr": 0.3,
                "lr_decay": 0.2,
                "weight_decay": 0.1,
                "initial_accumulator_value": 0.5,
                "eps": 1e-3,
            },
        ),
        "adam": (o.Adam, {"lr": 0.05}),
        "adam_options": (
            o.Adam,
            {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True},
        ),
        "adam_cosine": (o.Adam, {"lr": 0.05}, cosine),
        "adamw": (o.AdamW, {"lr": 0.05}),
        "adamw_options": (
            o.AdamW,
            {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.5, "amsgrad": True},
        ),
        "adamw_cosine": (o.AdamW, {"lr": 0.05, "weight_decay": 0.5}, cosine),
        "adamax": (o.Adamax, {"lr": 0.05}),
        "adamax_options": (
            o.Adamax,
            {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 0.1},
        ),
        "nadam": (o.NAdam, {"lr": 0.05}),
        "nadam_options": (
            o.NAdam,
            {
                "lr": 0.05,
                "betas": (0.8, 0.9),
                "eps": 1e-3,
                "weight_decay": 0.1,
                "momentum_decay": 0.1,
                "decoupled_weight_decay": True,
            },
        ),
        "nadam_coupled": (o.NAdam, {"lr": 0.05, "weight_decay": 0.1}),
        "radam": (o.RAdam, {"lr": 0.05}),
        "radam_options": (
            o.RAdam,
            {
                "lr": 0.05,
                "betas": (0.8, 0.9),
                "eps": 1e-3,
                "weight_decay": 0.1,
                "decoupled_weight_decay": True,
            },
        ),
        "radam_coupled": (o.RAdam, {"lr": 0.05, "weight_decay": 0.1}),
        "asgd": (o.ASGD, {"lr": 0.1}),
        "asgd_options": (
            o.ASGD,
            {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 5, "weight_decay": 0.1},
        ),
        "rmsprop": (o.RMSprop, {"lr": 0.02}),
        "rmsprop_options": (
            o.RMSprop,
            {
                "lr": 0.02,
                "alpha": 0.8,
                "eps": 1e-3,
                "weight_decay": 0.1,
                "momentum": 0.7,
                "centered": True,
            },
        ),
        "rmsprop_momentum": (o.RMSprop, {"lr": 0.02, "momentum": 0.9}),
        "rprop": (o.Rprop, {"lr": 0.1}),
        "rprop_options": (
            o.Rprop,
            {"lr": 0.3, "etas": (0.3, 1.5), "step_sizes": (0.01, 0.35)},
        ),
        "adafactor": (o.Adafactor, {"lr": 0.1}),
        "adafactor_options": (
            o.Adafactor,
            {"lr": 0.5, "beta2_decay": -0.5, "eps": (1e-3, 0.1), "d": 1.5, "weight_decay": 0.1},
        ),
        "muon": (o.Muon, {"lr": 0.1}),
        "muon_options": (
            o.Muon,
            {
                "lr": 0.1,
                "weight_decay": 0.3,
                "momentum": 0.8,
                "nesterov": False,
                "ns_coefficients": (2.0, -1.5, 0.5),
                "ns_steps": 3,
                "adjust_lr_fn": "match_rms_adamw",
            },
        ),
        "muon_spectral": (o.Muon, {"lr": 0.1, "adjust_lr_fn": "spectral_unclamped"}),
        "lbfgs": (o.LBFGS, {"lr": 0.2, "max_iter": 1, "history_size": 3}),
        "lbfgs_strong_wolfe": (
            o.LBFGS,
            {"max_iter": 1, "history_size": 4, "line_search_fn": "strong_wolfe", "max_eval": 100},
        ),
        "lbfgs_long_steps": (
            o.LBFGS,
            {"lr": 50.0, "max_iter": 1, "line_search_fn": "strong_wolfe", "max_eval": 100},
        ),
        "lbfgs_short_steps": (
            o.LBFGS,
            {"lr": 0.001, "max_iter": 1, "line_search_fn": "strong_wolfe", "max_eval": 100},
        ),
    }


def torch_trajectory(torch, given, make, options, scheduler=None):
    x, y = (torch.tensor(given[k]) for k in "xy")
    w, b = (torch.tensor(given[k], requires_grad=True) for k in "wb")
    if make is torch.optim.Muon:  # for matrices only
        b = torch.tensor(given["b"][:, None] * given["b"], requires_grad=True)
    optimizer = make([w, b], **options)
    schedule = None if scheduler is None else scheduler(optimizer)

    def closure():
        optimizer.zero_grad()
        shift = b if b.ndim == 1 else b.sum(0)
        loss = ((torch.tanh(x @ w + shift) - y) ** 2).mean()
        loss.backward()
        return loss

    ws, bs = [], []
    for _ in range(STEPS):
        optimizer.step(closure)
        if schedule is not None:
            schedule.step()
        ws.append(w.detach().numpy().copy())
        bs.append(b.detach().numpy().copy())
    extra = {}
    if make is torch.optim.ASGD:
        extra = {f"average_{k}": optimizer.state[p]["ax"].numpy() for k, p in (("w", w), ("b", b))}
    return {"w": np.stack(ws)[KEPT], "b": np.stack(bs)[KEPT], **extra}


def torch_sparse_adam(torch):
    """Rows of a table, some of them twice in a step."""
    rng = np.random.default_rng(1)
    start = np.round(rng.normal(size=(7, 2)), 3)
    indices = rng.integers(0, 7, size=(STEPS, 4))
    values = np.round(rng.normal(size=(STEPS, 4, 2)), 3)
    table = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.SparseAdam([table], lr=0.05, betas=(0.8, 0.95), eps=1e-4)
    tables = []
    for i, v in zip(indices, values, strict=True):
        table.grad = torch.sparse_coo_tensor(torch.tensor(i)[None], torch.tensor(v), (7, 2))
        optimizer.step()
        tables.append(table.detach().numpy().copy())
    return {"start": start, "indices": indices, "values": values, "table": np.stack(tables)[KEPT]}


def torch_averaging(torch):
    """Averages of a sequence of parameters."""
    swa_utils = torch.optim.swa_utils
    params = np.round(np.random.default_rng(3).normal(size=(7, 4)), 3)
    model = torch.nn.Linear(4, 1, bias=False)
    ema = swa_utils.get_ema_multi_avg_fn(0.9)
    models = {
        "swa": swa_utils.AveragedModel(model),
        "ema": swa_utils.AveragedModel(model, multi_avg_fn=ema),
    }
    for p in params:
        model.weight.data[0] = torch.tensor(p)
        for averaged in models.values():
            averaged.update_parameters(model)
    return {"params": params} | {
        name: averaged.module.weight.detach().numpy()[0] for name, averaged in models.items()
    }


def torch_schedules(torch):
    s = torch.optim.lr_scheduler

    def values(scheduler, momentum=False, lr=0.5):
        p = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([p], lr=lr, momentum=0.9)
        schedule = scheduler(optimizer)
        read = []
        for _ in range(101):
            read.append(float(optimizer.param_groups[0]["momentum" if momentum else "lr"]))
            optimizer.step()
            schedule.step()
        return np.array(read)

    cycle = {"max_lr": 0.5, "total_steps": 102}
    steep = {"anneal_strategy": "linear", "three_phase": True, "pct_start": 0.4}
    cyclic = {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 7, "step_size_down": 5}
    return {
        "step": values(lambda o: s.StepLR(o, 7, 0.5)),
        "multi_step": values(lambda o: s.MultiStepLR(o, [5, 20, 21, 80], 0.3)),
        "exponential": values(lambda o: s.ExponentialLR(o, 0.97)),
        "polynomial": values(lambda o: s.PolynomialLR(o, 60, 2.0)),
        "linear": values(lambda o: s.LinearLR(o, 0.25, 1.0, 30)),
        "constant_warmup": values(lambda o: s.ConstantLR(o, 1 / 3, 10)),
        "cosine_annealing": values(lambda o: s.CosineAnnealingLR(o, 40, 0.01)),
        "cosine_restarts": values(lambda o: s.CosineAnnealingWarmRestarts(o, 9, 1, 0.01)),
        "cosine_restarts_longer": values(lambda o: s.CosineAnnealingWarmRestarts(o, 5, 2, 0.01)),
        "one_cycle": values(lambda o: s.OneCycleLR(o, **cycle)),
        "one_cycle_momentum": values(lambda o: s.OneCycleLR(o, **cycle), momentum=True),
        "one_cycle_steep": values(lambda o: s.OneCycleLR(o, **cycle, **steep)),
        "one_cycle_steep_momentum": values(lambda o: s.OneCycleLR(o, **cycle, **steep), True),
        "cyclic": values(lambda o: s.CyclicLR(o, **cyclic)),
        "cyclic_triangular2": values(lambda o: s.CyclicLR(o, **cyclic, mode="triangular2")),
        "cyclic_exp_range": values(lambda o: s.CyclicLR(o, **cyclic, mode="exp_range", gamma=0.98)),
        "cyclic_momentum": values(lambda o: s.CyclicLR(o, **cyclic), momentum=True),
        "lambda": values(lambda o: s.LambdaLR(o, lambda t: 1 / (1 + 0.1 * t))),
        "multiplicative": values(lambda o: s.MultiplicativeLR(o, lambda t: 1 - 0.5 / (t + 2))),
        "chained": values(
            lambda o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 5), s.ExponentialLR(o, 0.9)])
        ),
        "joined": values(
            lambda o: s.SequentialLR(
                o, [s.LinearLR(o, 0.1, 1.0, 10), s.ExponentialLR(o, 0.95)], [10]
            )
        ),
        **torch_plateaus(torch),
    }


def torch_plateaus(torch):
    rng = np.random.default_rng(2)
    losses = np.round(np.exp(-np.arange(60) / 15) + 0.1 * rng.normal(size=60), 3)
    out = {"plateau_values": losses}
    cases = {
        "plateau": {"factor": 0.5, "patience": 3},
        "plateau_options": {
            "factor": 0.3,
            "patience": 1,
            "threshold": 0.05,
            "threshold_mode": "abs",
            "cooldown": 2,
            "min_lr": 0.01,
            "eps": 0.0,
        },
        "plateau_max": {"mode": "max", "factor": 0.5, "patience": 2, "threshold": 0.01},
    }
    for name, options in cases.items():
        p = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([p], lr=1.0)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        read = []
        for loss in losses:
            optimizer.step()
            schedule.step(-loss if name == "plateau_max" else loss)
            read.append(optimizer.param_groups[0]["lr"])
        out[name] = np.array(read)
    return out


def make_torch():
    import torch

    # Some optimizers keep numbers of their own, such as rates, in the default dtype.
    torch.set_default_dtype(torch.float64)

    given = problem()
    out = {f"problem/{k}": v for k, v in given.items()}
    for name, case in torch_optimizers(torch).items():
        # Muon computes in bfloat16 whatever the parameters are; here it shall do so in float64.
        bfloat16 = torch.bfloat16
        torch.bfloat16 = torch.float64
        try:
            found = torch_trajectory(torch, given, *case)
        finally:
            torch.bfloat16 = bfloat16
        out |= {f"{name}/{k}": v for k, v in found.items()}
    out |= {f"sparse_adam/{k}": v for k, v in torch_sparse_adam(torch).items()}
    out |= {f"averaging/{k}": v for k, v in torch_averaging(torch).items()}
    out |= {f"schedule/{k}": v for k, v in torch_schedules(torch).items()}
    return out


def optax_optimizers(optax):
    mask = {"w": True, "b": False}
    return {
        "lion": optax.lion(0.02),
        "lion_options": optax.lion(0.02, 0.8, 0.95, weight_decay=0.3, mask=mask),
        "lamb": optax.lamb(0.05),
        "lamb_options": optax.lamb(0.05, 0.8, 0.9, 1e-3, 1e-4, weight_decay=0.2, mask=mask),
        "lars": optax.lars(0.5),
        "lars_options": optax.lars(
            0.5, 0.1, mask, 0.02, 1e-3, trust_ratio_mask=mask, momentum=0.8, nesterov=True
        ),
        "adamw_mask": optax.adamw(0.05, weight_decay=0.5, mask=mask),
        "scale_by_adam": optax.chain(optax.scale_by_adam(0.8, 0.9, 1e-3, 1e-4), optax.scale(-0.1)),
        "scale_by_rms": optax.chain(optax.scale_by_rms(0.8, eps_in_sqrt=False), optax.scale(-0.1)),
        "trace": optax.chain(optax.trace(0.9), optax.scale(-0.1)),
        "trace_nesterov": optax.chain(optax.trace(0.9, nesterov=True), optax.scale(-0.1)),
        "ema": optax.chain(optax.ema(0.9), optax.scale(-0.1)),
        "ema_biased": optax.chain(optax.ema(0.9, debias=False), optax.scale(-0.1)),
        "add_decayed_weights": optax.chain(optax.add_decayed_weights(0.1, mask), optax.sgd(0.1)),
        "clip": optax.chain(optax.clip(0.05), optax.sgd(0.1)),
        "clip_by_global_norm": optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.1)),
        "clip_by_block_rms": optax.chain(optax.clip_by_block_rms(0.05), optax.sgd(0.1)),
        "adaptive_grad_clip": optax.chain(optax.adaptive_grad_clip(0.05), optax.sgd(0.1)),
        "centralize": optax.chain(optax.centralize(), optax.sgd(0.1)),
        "scale_by_schedule": optax.chain(optax.scale_by_schedule(lambda t: -0.1 / (1 + t))),
        "scale_by_trust_ratio": optax.chain(
            optax.scale_by_trust_ratio(trust_coefficient=0.1, eps=0.1), optax.scale(-1)
        ),
        "multi_steps": optax.MultiSteps(
            optax.adam(0.05), 3, accumulator_dtype=np.float64
        ).gradient_transformation(),
        "multi_transform": optax.multi_transform(
            {"fast": optax.sgd(0.2), "slow": optax.adam(0.01)}, {"w": "slow", "b": "fast"}
        ),
        "masked": optax.chain(optax.masked(optax.trace(0.9), mask), optax.sgd(0.1)),
    }


def optax_trajectory(optax, given, optimizer):
    import jax
    import jax.numpy as jnp

    params = {k: jnp.array(given[k]) for k in "wb"}

    def loss(p):
        return ((jnp.tanh(given["x"] @ p["w"] + p["b"]) - given["y"]) ** 2).mean()

    state = optimizer.init(params)
    seen = []
    for _ in range(STEPS):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return {k: np.stack([p[k] for p in seen])[KEPT] for k in "wb"}


def optax_lookahead(optax, given):
    import jax
    import jax.numpy as jnp

    params = optax.LookaheadParams.init_synced({k: jnp.array(given[k]) for k in "wb"})
    optimizer = optax.lookahead(optax.adam(0.1), sync_period=3, slow_step_size=0.4)
    state = optimizer.init(params)

    def loss(p):
        return ((jnp.tanh(given["x"] @ p["w"] + p["b"]) - given["y"]) ** 2).mean()

    seen = []
    for _ in range(STEPS):
        updates, state = optimizer.update(jax.grad(loss)(params.fast), state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    out = {k: np.stack([p.fast[k] for p in seen])[KEPT] for k in "wb"}
    return out | {f"slow_{k}": np.stack([p.slow[k] for p in seen])[KEPT] for k in "wb"}


def optax_sam(optax, given):
    """Steps of Adam with gradients of the worst point nearby."""
    import jax
    import jax.numpy as jnp

    def loss(p):
        return ((jnp.tanh(given["x"] @ p["w"] + p["b"]) - given["y"]) ** 2).mean()

    optimizer = optax.contrib.sam(
        optax.adam(0.05),
        optax.chain(optax.contrib.normalize(), optax.sgd(0.3)),
        sync_period=2,
        opaque_mode=True,
    )
    params = {k: jnp.array(given[k]) for k in "wb"}
    state, seen = optimizer.init(params), []
    for _ in range(STEPS):
        updates, state = optimizer.update(
            jax.grad(loss)(params), state, params, grad_fn=lambda p, _: jax.grad(loss)(p)
        )
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return {k: np.stack([p[k] for p in seen])[KEPT] for k in "wb"}


def optax_schedules(optax):
    warm = {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 10, "decay_steps": 40}
    schedules = {
        "piecewise_constant": optax.piecewise_constant_schedule(0.5, {10: 0.5, 30: 0.1, 31: 2.0}),
        "exponential": optax.exponential_decay(0.5, 10, 0.5, 5, True, 0.01),
        "exponential_growing": optax.exponential_decay(0.5, 10, 1.5, end_value=3.0),
        "polynomial": optax.polynomial_schedule(0.5, 0.1, 3, 50, 10),
        "linear": optax.linear_schedule(0.5, 0.1, 50, 10),
        "cosine_decay": optax.cosine_decay_schedule(0.5, 60, 0.1, 1.5),
        "warmup_constant": optax.warmup_constant_schedule(0.1, 0.5, 30),
        "warmup_cosine": optax.warmup_cosine_decay_schedule(**warm, end_value=0.05, exponent=2.0),
        "warmup_exponential": optax.warmup_exponential_decay_schedule(
            0.1, 0.5, 10, 20, 0.5, 5, True, 0.1
        ),
        "sgdr": optax.sgdr_schedule([warm, {**warm, "peak_value": 0.3, "decay_steps": 30}]),
    }
    return {k: np.array([float(s(t)) for t in range(101)]) for k, s in schedules.items()}


def make_optax():
    import jax

    jax.config.update("jax_enable_x64", True)
    import optax
    import optax.contrib

    given = problem()
    out = {}
    for name, optimizer in optax_optimizers(optax).items():
        out |= {f"{name}/{k}": v for k, v in optax_trajectory(optax, given, optimizer).items()}
    out |= {f"lookahead/{k}": v for k, v in optax_lookahead(optax, given).items()}
    out |= {f"sam/{k}": v for k, v in optax_sam(optax, given).items()}
    out |= {f"schedule/{k}": v for k, v in optax_schedules(optax).items()}
    return out


if __name__ == "__main__":
    library = sys.argv[1]
    arrays = {"torch": make_torch, "optax": make_optax}[library]()
    np.savez_compressed(Path(__file__).parents[1] / f"optim_{library}.npz", **arrays)
