"""Networks of the literature, as layers.

Images are (n, height, width, channels), texts (batch, time) of integers. Parameters are random at
first: none are shipped.
"""

from fstensor.nn.models.decoder import (
    GPT,
    DecoderBlock,
    Llama,
    gpt2,
    gpt2_large,
    gpt2_medium,
    gpt2_xl,
    llama2_7b,
    llama3_8b,
    tiny_llama,
)
from fstensor.nn.models.generate import (
    generate,
    sample_logits,
    stream,
    top_k_logits,
    top_p_logits,
)
from fstensor.nn.models.lenet import LeNet
from fstensor.nn.models.mlp import MLP, ResidualMLP
from fstensor.nn.models.resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    resnet18,
    resnet20,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)
from fstensor.nn.models.seq2seq import (
    Seq2Seq,
    beam_search,
    transformer_base,
    transformer_big,
    translate,
)
from fstensor.nn.models.vgg import VGG, vgg11, vgg13, vgg16, vgg19

__all__ = [
    "GPT",
    "MLP",
    "VGG",
    "BasicBlock",
    "Bottleneck",
    "DecoderBlock",
    "LeNet",
    "Llama",
    "ResNet",
    "ResidualMLP",
    "Seq2Seq",
    "beam_search",
    "generate",
    "gpt2",
    "gpt2_large",
    "gpt2_medium",
    "gpt2_xl",
    "llama2_7b",
    "llama3_8b",
    "resnet18",
    "resnet20",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "sample_logits",
    "stream",
    "tiny_llama",
    "top_k_logits",
    "top_p_logits",
    "transformer_base",
    "transformer_big",
    "translate",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
]
