"""What convolutions, pooling and resizing are compared on with PyTorch: plain data.

A case names a function of `fstensor.nn`, the shapes of its arrays, channels last, and its options,
which PyTorch has too. `tests/golden/make/spatial.py` writes what PyTorch makes of them.
"""

from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    function: str
    shapes: dict
    options: dict
    positive: bool = False

    def arrays(self):
        """The operands, by their names."""
        made = {}
        for k, (name, shape) in enumerate(self.shapes.items()):
            made[name] = values(shape, k + 1)
            if self.positive:
                made[name] = abs(made[name]) + 0.1
        return made


def values(shape, seed):
    """Numbers between -2 and 2 with three decimals, in no obvious order."""
    i = np.arange(np.prod(shape, dtype=int))
    return np.round(2 * np.sin(12.9898 * i + 78.233 * seed + 0.37 * i * i), 3).reshape(shape)


def _conv(x, kernel, bias=True, **options):
    shapes = {"x": x, "kernel": kernel}
    if bias:
        shapes["bias"] = kernel[-1:]
    return Case("conv", shapes, options)


def _transposed(x, kernel, **options):
    return _conv(x, kernel, **options)._replace(function="conv_transpose")


def _on(function, x, positive=False, **options):
    return Case(function, {"x": x}, options, positive)


SIGNAL, IMAGE, VOLUME = (2, 7, 4), (2, 5, 6, 4), (1, 4, 5, 3, 2)

CONV = {
    "1d": _conv(SIGNAL, (3, 4, 2)),
    "1d_options": _conv(SIGNAL, (2, 2, 4), stride=2, padding=1, dilation=2, groups=2),
    "1d_same": _conv(SIGNAL, (4, 4, 2), padding="same"),
    "1d_reflect": _conv(SIGNAL, (3, 4, 2), padding=4, padding_mode="reflect"),
    "2d": _conv(IMAGE, (3, 2, 4, 3)),
    "2d_no_bias": _conv(IMAGE, (1, 1, 4, 3), bias=False),
    "2d_valid": _conv(IMAGE, (3, 3, 4, 2), padding="valid", stride=2),
    "2d_stride": _conv(IMAGE, (3, 3, 4, 2), stride=(2, 1), padding=(1, 2)),
    "2d_dilation": _conv(IMAGE, (2, 3, 4, 2), dilation=(3, 2), padding=2),
    "2d_groups": _conv(IMAGE, (3, 2, 2, 6), groups=2, padding=1),
    "2d_depthwise": _conv(IMAGE, (3, 3, 1, 8), groups=4, padding=1, stride=2),
    "2d_same": _conv(IMAGE, (2, 3, 4, 2), padding="same", dilation=(1, 2)),
    "2d_reflect": _conv(IMAGE, (3, 3, 4, 2), padding=(2, 1), padding_mode="reflect"),
    "2d_replicate": _conv(IMAGE, (2, 3, 4, 2), padding="same", padding_mode="replicate"),
    "2d_circular": _conv(IMAGE, (3, 3, 2, 2), padding=2, padding_mode="circular", groups=2),
    "3d": _conv(VOLUME, (2, 3, 2, 2, 3)),
    "3d_options": _conv(VOLUME, (2, 2, 3, 1, 4), stride=(1, 2, 1), padding=1, groups=2),
    "3d_dilation": _conv(VOLUME, (2, 2, 2, 2, 2), dilation=(1, 2, 1), padding=(0, 1, 1)),
    "3d_circular": _conv(VOLUME, (2, 2, 2, 2, 2), padding=1, padding_mode="circular"),
    "transpose_1d": _transposed(SIGNAL, (3, 4, 2), stride=2),
    "transpose_1d_options": _transposed(
        (1, 4, 4), (3, 2, 4), stride=3, padding=2, output_padding=2, groups=2, dilation=2
    ),
    "transpose_2d": _transposed((1, 3, 4, 4), (2, 3, 4, 2)),
    "transpose_2d_no_bias": _transposed((2, 3, 2, 4), (2, 3, 4, 2), bias=False, padding=1),
    "transpose_2d_options": _transposed(
        (1, 3, 3, 4), (3, 2, 2, 4), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), groups=2
    ),
    "transpose_2d_dilation": _transposed(
        (1, 3, 3, 2), (2, 3, 2, 2), dilation=(3, 1), stride=(1, 2), output_padding=(2, 1)
    ),
    "transpose_3d": _transposed(
        (1, 2, 3, 2, 2),
        (2, 2, 3, 2, 2),
        stride=(2, 1, 2),
        padding=(0, 1, 1),
        output_padding=(1, 0, 0),
    ),
}

POOL = {
    "avg_1d": _on("avg_pool", SIGNAL, kernel_size=3),
    "avg_1d_ceil": _on("avg_pool", SIGNAL, kernel_size=3, stride=2, padding=1, ceil_mode=True),
    "avg_2d": _on("avg_pool", (2, 5, 6, 2), kernel_size=2),
    "avg_2d_padding": _on("avg_pool", (2, 5, 6, 2), kernel_size=(3, 2), stride=2, padding=1),
    "avg_2d_inside": _on(
        "avg_pool", (2, 5, 6, 2), kernel_size=3, stride=2, padding=1, count_include_pad=False
    ),
    "avg_2d_ceil": _on(
        "avg_pool", (2, 6, 7, 2), kernel_size=3, stride=(2, 3), padding=(1, 0), ceil_mode=True
    ),
    "avg_2d_ceil_inside": _on(
        "avg_pool", (1, 6, 7, 2), kernel_size=(3, 4), stride=2, padding=1, ceil_mode=True,
        count_include_pad=False,
    ),
    "avg_2d_ceil_dropped": _on(
        "avg_pool", (1, 5, 4, 2), kernel_size=2, stride=3, padding=1, ceil_mode=True
    ),
    "avg_2d_divisor": _on("avg_pool", (1, 5, 6, 2), kernel_size=2, padding=1, divisor_override=3),
    "avg_2d_large": _on("avg_pool", (1, 8, 9, 2), kernel_size=7, stride=1, padding=2),
    "avg_3d": _on("avg_pool", VOLUME, kernel_size=(2, 3, 2), stride=1, padding=(1, 1, 0)),
    "avg_3d_ceil": _on(
        "avg_pool", VOLUME, kernel_size=2, padding=1, ceil_mode=True, count_include_pad=False
    ),
    "max_1d": _on("max_pool", SIGNAL, kernel_size=3, stride=2, padding=1),
    "max_1d_options": _on("max_pool", SIGNAL, kernel_size=2, stride=2, dilation=3, ceil_mode=True),
    "max_2d": _on("max_pool", (2, 5, 6, 2), kernel_size=2),
    "max_2d_padding": _on("max_pool", (2, 5, 6, 2), kernel_size=(3, 2), stride=2, padding=1),
    "max_2d_dilation": _on(
        "max_pool", (2, 6, 7, 2), kernel_size=(2, 3), stride=1, dilation=(3, 2), padding=(1, 1)
    ),
    "max_2d_ceil": _on(
        "max_pool", (2, 6, 7, 2), kernel_size=3, stride=2, padding=1, ceil_mode=True
    ),
    "max_2d_large": _on("max_pool", (1, 9, 8, 2), kernel_size=7, stride=2, padding=3),
    "max_3d": _on("max_pool", VOLUME, kernel_size=2, stride=(1, 2, 1), padding=1),
    "max_3d_options": _on(
        "max_pool", VOLUME, kernel_size=(2, 2, 3), dilation=(2, 3, 1), ceil_mode=True
    ),
    "lp_1d": _on("lp_pool", SIGNAL, norm_type=2, kernel_size=3),
    "lp_1d_ceil": _on("lp_pool", SIGNAL, norm_type=4, kernel_size=3, stride=3, ceil_mode=True),
    "lp_2d": _on("lp_pool", (2, 5, 6, 2), norm_type=2.0, kernel_size=(2, 3), stride=2),
    "lp_2d_odd": _on("lp_pool", (2, 5, 6, 2), True, norm_type=3, kernel_size=2),
    "lp_2d_half": _on("lp_pool", (2, 5, 6, 2), True, norm_type=0.5, kernel_size=2, stride=1),
    "lp_2d_ceil": _on(
        "lp_pool", (2, 5, 6, 2), norm_type=2, kernel_size=3, stride=2, ceil_mode=True
    ),
    "lp_3d": _on("lp_pool", VOLUME, norm_type=2, kernel_size=2, stride=1),
    "adaptive_avg_1d": _on("adaptive_avg_pool", SIGNAL, output_size=3),
    "adaptive_avg_2d": _on("adaptive_avg_pool", (2, 5, 6, 2), output_size=(3, 4)),
    "adaptive_avg_2d_whole": _on("adaptive_avg_pool", (2, 5, 6, 2), output_size=(1, 3)),
    "adaptive_avg_2d_more": _on("adaptive_avg_pool", (1, 3, 4, 2), output_size=(5, None)),
    "adaptive_avg_3d": _on("adaptive_avg_pool", VOLUME, output_size=(2, 3, 2)),
    "adaptive_max_1d": _on("adaptive_max_pool", SIGNAL, output_size=3),
    "adaptive_max_2d": _on("adaptive_max_pool", (2, 5, 6, 2), output_size=(3, 4)),
    "adaptive_max_2d_whole": _on("adaptive_max_pool", (2, 5, 6, 2), output_size=(1, 3)),
    "adaptive_max_2d_more": _on("adaptive_max_pool", (1, 3, 4, 2), output_size=(5, None)),
    "adaptive_max_3d": _on("adaptive_max_pool", VOLUME, output_size=(2, 3, 2)),
}  # fmt: skip


def _resized():
    x1, x2, x3 = (1, 7, 2), (1, 5, 6, 2), (1, 3, 4, 5, 1)
    cases = {}
    for mode in ("nearest", "nearest-exact", "area"):
        cases[f"{mode}_1d"] = _on("interpolate", x1, size=5, mode=mode)
        cases[f"{mode}_2d_up"] = _on("interpolate", x2, size=(8, 13), mode=mode)
        cases[f"{mode}_2d_down"] = _on("interpolate", x2, size=(3, 4), mode=mode)
        cases[f"{mode}_2d_scale"] = _on("interpolate", x2, scale_factor=(1.7, 0.6), mode=mode)
        cases[f"{mode}_3d"] = _on("interpolate", x3, scale_factor=2, mode=mode)
    for mode, x in (("linear", x1), ("bilinear", x2), ("bicubic", x2), ("trilinear", x3)):
        for align in (False, True):
            end = "_align" if align else ""
            options = {"mode": mode, "align_corners": align}
            rank = len(x) - 2
            cases[f"{mode}_up{end}"] = _on("interpolate", x, size=(8, 9, 6)[:rank], **options)
            cases[f"{mode}_down{end}"] = _on("interpolate", x, size=(2, 4, 3)[:rank], **options)
            cases[f"{mode}_one{end}"] = _on("interpolate", x, size=1, **options)
            cases[f"{mode}_scale{end}"] = _on("interpolate", x, scale_factor=1.7, **options)
            cases[f"{mode}_recomputed{end}"] = _on(
                "interpolate", x, scale_factor=1.7, recompute_scale_factor=True, **options
            )
    for mode in ("bilinear", "bicubic"):
        for align in (False, True):
            end = "_align" if align else ""
            options = {"mode": mode, "align_corners": align, "antialias": True}
            cases[f"{mode}_antialias{end}"] = _on("interpolate", x2, size=(3, 2), **options)
            cases[f"{mode}_antialias_up{end}"] = _on("interpolate", x2, size=(8, 4), **options)
        cases[f"{mode}_antialias_scale"] = _on(
            "interpolate", x2, scale_factor=0.45, mode=mode, antialias=True
        )
    return cases


def _sampled():
    cases = {}
    for padding in ("zeros", "border", "reflection"):
        for align in (False, True):
            for mode in ("bilinear", "nearest", "bicubic"):
                options = {"mode": mode, "padding_mode": padding, "align_corners": align}
                end = f"{mode}_{padding}{'_align' if align else ''}"
                image = {"x": (2, 4, 3, 2), "grid": (2, 3, 4, 2)}
                cases[f"sample_2d_{end}"] = Case("grid_sample", image, options)
                if mode != "bicubic":
                    volume = {"x": (1, 3, 4, 2, 2), "grid": (1, 2, 3, 2, 3)}
                    cases[f"sample_3d_{end}"] = Case("grid_sample", volume, options)
    for align in (False, True):
        end = "_align" if align else ""
        flat, deep = {"theta": (2, 2, 3)}, {"theta": (1, 3, 4)}
        options = {"align_corners": align}
        cases[f"affine_2d{end}"] = Case("affine_grid", flat, {"size": (3, 4), **options})
        cases[f"affine_2d_one{end}"] = Case("affine_grid", flat, {"size": (1, 4), **options})
        cases[f"affine_3d{end}"] = Case("affine_grid", deep, {"size": (2, 3, 4), **options})
    return cases


def _arranged():
    cases = {}
    for mode in ("constant", "reflect", "replicate", "circular"):
        for rank, x in ((1, SIGNAL), (2, (1, 5, 4, 2)), (3, VOLUME)):
            pairs = [(0, 0), *[(2, 1), (1, 3), (1, 0)][:rank], (0, 0)]
            options = {"padding": pairs, "mode": mode}
            cases[f"pad_{mode}_{rank}d"] = _on("pad", x, **options)
        negative = [(0, 0), (-1, 2), (1, -2), (0, 0)]
        cases[f"pad_{mode}_negative"] = _on("pad", (1, 5, 4, 2), padding=negative, mode=mode)
    cases["pad_value"] = _on("pad", (2, 3), padding=[(1, 0), (0, 2)], value=2.5)
    cases["pixel_shuffle"] = _on("pixel_shuffle", (2, 2, 3, 8), upscale_factor=2)
    cases["pixel_unshuffle"] = _on("pixel_unshuffle", (1, 6, 3, 2), downscale_factor=3)
    cases["channel_shuffle"] = _on("channel_shuffle", (1, 2, 3, 6), groups=2)
    windows = {"kernel_size": (2, 3), "dilation": (2, 1), "padding": (1, 2), "stride": (1, 2)}
    cases["unfold"] = _on("unfold", (2, 5, 4, 2), kernel_size=2)
    cases["unfold_options"] = _on("unfold", (2, 5, 4, 2), **windows)
    cases["fold"] = _on("fold", (2, 6, 12), output_size=(5, 4), kernel_size=2, stride=(2, 1))
    cases["fold_options"] = _on("fold", (2, 15, 12), output_size=(5, 4), **windows)
    return cases


RESIZE = {**_resized(), **_sampled(), **_arranged()}
FAMILIES = {"conv": CONV, "pool": POOL, "resize": RESIZE}
