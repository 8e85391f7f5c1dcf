"""Models for images as PyTorch computes them, in float64.

Run with PyTorch and torchvision from the root of the repository; writes
tests/golden/models_vision.npz. Inputs and parameters are those of tests/nn/vision_cases.py, laid
out as there. Of each case there are the logits, `eval` and `train`, the state after training,
`state`, and `slopes`: the derivatives along `direction` of each parameter, of the sum of the logits
while training, each times cos(0, 1, 2, ...). State and slopes are in order of the paths. Of
resnet18 there is `eval`.
"""

import re
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn
from torchvision.models import resnet, vgg

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.nn.vision_cases import direction, images, joined, values

torch.set_default_dtype(torch.float64)
found = {}


# Layouts: what stands where in PyTorch, and the shapes there are here


class Part:
    """A tensor of a module, its path here, and how arrays of here are laid out there."""

    def __init__(self, path, tensor, shape, order):
        self.path, self.tensor, self.shape, self.order = path, tensor, shape, order

    def there(self, array):
        split = array.reshape(self.shape).transpose(self.order)
        return torch.tensor(np.ascontiguousarray(split).reshape(tuple(self.tensor.shape)))


def parts_of(module, path, grid):
    """Parameters and state of a convolution, a norm, or a linear layer.

    grid: of a linear layer whose inputs are channels of pixels, height and width.
    """
    if isinstance(module, nn.Conv2d):
        features, channels, *window = module.weight.shape
        kernel = Part(f"{path}/kernel", module.weight, (*window, channels, features), (3, 2, 0, 1))
    elif isinstance(module, nn.Linear):
        features, inputs = module.weight.shape
        shape = (*grid, inputs // (grid[0] * grid[1]), features)
        kernel = Part(f"{path}/kernel", module.weight, shape, (3, 2, 0, 1))
    else:
        names = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
        tensors = {f"{path}/{ours}": getattr(module, name) for name, ours in names.items()}
        return [Part(p, t, tuple(t.shape), (0,)) for p, t in tensors.items()]
    bias = [] if module.bias is None else [Part(f"{path}/bias", module.bias, (features,), (0,))]
    return [kernel, *bias]


def shape_here(part):
    """Linear kernels are matrices."""
    if len(part.tensor.shape) == 2:
        return (part.tensor.shape[1], part.tensor.shape[0])
    return part.shape


def run(case, module, names, grids=()):
    """names: the paths here of modules there."""
    modules = dict(module.named_modules())
    parts = [
        part
        for name, path in names.items()
        for part in parts_of(modules[name], path, dict(grids).get(name, (1, 1)))
    ]
    numbered = {id(part.tensor) for part in parts}
    assert all(id(p) in numbered for p in module.parameters()), "a parameter has no path"
    with torch.no_grad():
        for part in parts:
            part.tensor.copy_(part.there(values(part.path, shape_here(part))))
    x = torch.tensor(images(case))
    x = x.permute(0, 3, 1, 2) if x.ndim == 4 else x
    module.eval()
    with torch.no_grad():
        found[f"{case}/eval"] = module(x).numpy()
    module.train()
    y = module(x)
    found[f"{case}/train"] = y.detach().numpy()
    (y * torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)).sum().backward()
    state = {p.path: p.tensor.numpy() for p in parts if not p.tensor.requires_grad}
    found[f"{case}/state"] = joined(state)
    slopes = {
        p.path: (p.tensor.grad * p.there(direction(p.path, shape_here(p)))).sum().numpy()
        for p in parts
        if p.tensor.requires_grad
    }
    found[f"{case}/slopes"] = joined(slopes)


# Perceptrons and LeNet, whose modules have their names of here


def same(module):
    return {
        name: name
        for name, m in module.named_modules()
        if isinstance(m, (nn.Conv2d, nn.Linear, nn.BatchNorm1d))
    }


class ResidualMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden0 = nn.Linear(6, 5)
        self.hidden1 = nn.Linear(5, 5)
        self.out = nn.Linear(5, 4)

    def forward(self, x):
        z1 = torch.relu(self.hidden0(x))
        z2 = torch.relu(self.hidden1(z1))
        return self.out(z1 + z2)


class MLP(nn.Sequential):
    def __init__(self):
        super().__init__()
        for i, (inputs, features) in enumerate([(6, 5), (5, 4)]):
            self.add_module(f"hidden{i}", nn.Linear(inputs, features, bias=False))
            self.add_module(f"norm{i}", nn.BatchNorm1d(features))
            self.add_module(f"tanh{i}", nn.Tanh())
        self.add_module("out", nn.Linear(4, 3))


class LeNet(nn.Sequential):
    def __init__(self):
        super().__init__()
        for i, (inputs, features) in enumerate([(1, 3), (3, 4)]):
            self.add_module(f"conv{i}", nn.Conv2d(inputs, features, 3, padding=1))
            self.add_module(f"relu{i}", nn.ReLU())
            self.add_module(f"pool{i}", nn.MaxPool2d(2))
        self.add_module("flatten", nn.Flatten())
        self.add_module("hidden", nn.Linear(2 * 2 * 4, 6))
        self.add_module("relu", nn.ReLU())
        self.add_module("out", nn.Linear(6, 5))


# torchvision's modules


def vgg_names(features):
    names, stage, i = {}, 0, -1
    for name, module in features.named_children():
        if isinstance(module, nn.MaxPool2d):
            stage, i = stage + 1, -1
        elif isinstance(module, nn.Conv2d):
            i += 1
            names[f"features.{name}"] = f"conv{stage}_{i}"
        elif isinstance(module, nn.BatchNorm2d):
            names[f"features.{name}"] = f"norm{stage}_{i}"
    return names


class VGG(vgg.VGG):
    """Of 2 channels, with other sizes of the head."""

    def __init__(self, norm):
        features = vgg.make_layers([3, "M", 4, 5, "M"], batch_norm=norm)
        features[0] = nn.Conv2d(2, 3, 3, padding=1)
        super().__init__(features, dropout=0.0)
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        # Where torchvision has its linear layers.
        self.classifier[0], self.classifier[3] = nn.Linear(5 * 2 * 2, 6), nn.Linear(6, 6)
        self.classifier[6] = nn.Linear(6, 4)


class ResNet(nn.Module):
    """torchvision's blocks, of other widths and with either stem."""

    def __init__(self, block, blocks, widths, small):
        super().__init__()
        window = (3, 1, 1) if small else (7, 2, 3)
        self.conv1 = nn.Conv2d(3, widths[0], *window, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        inputs = widths[0]
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            layers = []
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                outputs = width * block.expansion
                downsample = None
                if stride != 1 or inputs != outputs:
                    downsample = nn.Sequential(
                        resnet.conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs)
                    )
                layers.append(block(inputs, width, stride, downsample))
                inputs = outputs
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.stages = len(blocks)
        self.fc = nn.Linear(inputs, 4)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def resnet_names(module):
    names = {"conv1": "stem", "bn1": "stem_norm", "fc": "out"}
    kinds = {"conv": "conv", "bn": "norm"}
    inner = re.compile(r"layer(\d+)\.(\d+)\.(?:(conv|bn)(\d)|downsample\.(\d))")
    for name, _ in module.named_modules():
        if match := inner.fullmatch(name):
            stage, block, kind, number, shortcut = match.groups()
            if kind:
                here = f"{kinds[kind]}{int(number) - 1}"
            else:
                here = ("shortcut", "shortcut_norm")[int(shortcut)]
            names[name] = f"stage{int(stage) - 1}_block{block}/{here}"
    return names


for case, module in {"residual_mlp": ResidualMLP(), "mlp": MLP()}.items():
    run(case, module, same(module))
lenet = LeNet()
run("lenet", lenet, same(lenet), {"hidden": (2, 2)})
HEAD = {"classifier.0": "hidden0", "classifier.3": "hidden1", "classifier.6": "out"}
for case, norm in {"vgg": False, "vgg_norm": True}.items():
    module = VGG(norm)
    run(case, module, {**vgg_names(module.features), **HEAD}, {"classifier.0": (2, 2)})
for case, module in {
    "resnet": ResNet(resnet.BasicBlock, (1, 2), (4, 6), True),
    "resnet_bottleneck": ResNet(resnet.Bottleneck, (2, 1), (2, 4), False),
    "resnet18": torchvision.models.resnet18(),
}.items():
    run(case, module, resnet_names(module))
for name in ("train", "state", "slopes"):
    del found[f"resnet18/{name}"]

folder = Path(__file__).parents[1]
np.savez_compressed(folder / "models_vision.npz", **found)
