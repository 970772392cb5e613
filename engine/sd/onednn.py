"""Layers whose weights lie as oneDNN computes with them, for float32 on x86 CPUs.

From a plain weight oneDNN makes its own blocked copy at every call, which at the inner levels of the UNet, where maps
are small and weights large, costs more than the convolution. Here that copy is made once and replaces the weight. The
products then also take over what would follow them: the residual's addition, and both halves of GEGLU.

These are the operators that torch's own compiler calls for frozen networks.
"""

# ruff: noqa: SLF001  (the operators that torch keeps for its compiler have such names)
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from engine.sd.layers import Conv2d, Linear
from engine.sd.unet import GEGLU

_OPERATORS: Any = torch.ops.mkldnn
_FUNCTIONS: Any = torch._C._nn
_ROWS = 256
_SIDE = 16
"""What layouts are asked for; other numbers of rows work, and as fast. So do other maps, where `_one_layout` holds."""
_LAYOUTS_KEPT = 4
_LARGE = 2**20
"""Weights of a convolution that is not kept a second time, as they come."""
_WORTH_IT = 2**16
"""Below this many weights a plain product is as fast."""


def available(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether these layers can run here."""
    return (
        device.type == "cpu"
        and dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and not torch.backends.mkldnn.is_acl_available()  # type: ignore[no-untyped-call]
        and hasattr(_OPERATORS, "_linear_pointwise")
    )


def _packed(weight: Tensor) -> Tensor:
    """[outputs, inputs] in oneDNN's layout."""
    packed: Tensor = _OPERATORS._reorder_linear_weight(weight.flatten(1).contiguous(), _ROWS)
    return packed


def _one_layout(layer: Conv2d) -> bool:
    """Whether a convolution has the same layout for maps of every size and number.

    The large ones of Stable Diffusion have. Others are blocked by 48 for large maps and otherwise for small ones, or,
    with AVX2, in one way for as many maps as there are threads and in another for fewer; they take up to a hundred
    times as long when given the wrong one.
    """
    return layer.out_channels % 64 == 0 and layer.out_channels % 48 != 0 and layer.weight.numel() > _LARGE


class PackedLinear(nn.Module):
    """`Linear` of a packed weight."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bias = layer.bias
        self._weight = _packed(layer.weight)

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """[…, inputs] -> […, outputs], plus a residual of that shape where one is given."""
        if plus is None:
            return _linear(x, self._weight, self.bias, "none")
        return _linear_binary(x, plus, self._weight, self.bias, "add")


class PackedGEGLU(nn.Module):
    """`GEGLU` of two packed weights: the gate's product applies GELU, the value's multiplies by the gate."""

    def __init__(self, layer: GEGLU) -> None:
        super().__init__()
        value, gate = layer.proj.weight.chunk(2)
        self.value_bias, self.gate_bias = (nn.Parameter(part, requires_grad=False) for part in layer.proj.bias.chunk(2))
        self._value, self._gate = _packed(value), _packed(gate)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, positions, width] -> [batch, positions, outputs]."""
        gate = _linear(x, self._gate, self.gate_bias, "gelu")
        return _linear_binary(x, gate, self._value, self.value_bias, "mul")


class PackedConv2d(nn.Module):
    """`Conv2d` of a packed weight."""

    def __init__(self, layer: Conv2d) -> None:
        super().__init__()
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels
        self.bias = layer.bias
        self._geometry = ([int(n) for n in layer.padding], list(layer.stride), list(layer.dilation), layer.groups)
        self._plain: Tensor | None = None
        self._layouts: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()
        if _one_layout(layer):
            self._layouts[()] = self._pack(layer.weight, (1, _SIDE, _SIDE))
        else:
            self._plain = layer.weight

    def _pack(self, weight: Tensor, maps: tuple[int, ...]) -> Tensor:
        """The weight for maps of (number, height, width)."""
        dense = weight.contiguous().to_mkldnn()
        shape = (maps[0], self.in_channels, *maps[1:])
        packed: Tensor = _FUNCTIONS.mkldnn_reorder_conv2d_weight(dense, *self._geometry, shape)
        return packed

    def _weight(self, x: Tensor) -> Tensor:
        if self._plain is None:
            return self._layouts[()]
        maps = (min(x.shape[0], torch.get_num_threads()), *x.shape[2:])
        if maps not in self._layouts:
            self._layouts[maps] = self._pack(self._plain, maps)
            if len(self._layouts) > _LAYOUTS_KEPT:
                self._layouts.popitem(last=False)
        return self._layouts[maps]

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, h', w'], plus a residual of that shape where one is given."""
        x = x.contiguous(memory_format=torch.channels_last)
        convolve, weight = _OPERATORS._convolution_pointwise, self._weight(x)
        out: Tensor
        if plus is None:
            out = convolve(x, weight, self.bias, *self._geometry, "none", [], "")
        else:
            plus = plus.contiguous(memory_format=torch.channels_last)
            out = convolve.binary(x, plus, weight, self.bias, *self._geometry, "add", 1.0, None, [], None)
        return out


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, after: str) -> Tensor:
    out: Tensor = _OPERATORS._linear_pointwise(x, weight, bias, after, [], "none" if after == "gelu" else "")
    return out


def _linear_binary(x: Tensor, other: Tensor, weight: Tensor, bias: Tensor | None, kind: str) -> Tensor:
    out: Tensor = _OPERATORS._linear_pointwise.binary(x, other, weight, bias, kind)
    return out


_PACKED: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    GEGLU: PackedGEGLU,
    Linear: PackedLinear,
    Conv2d: PackedConv2d,
}


def pack(network: nn.Module, done: Callable[[], None]) -> None:
    """Replace a network's layers by packed ones. Exact.

    `done` is called after each, when its plain weight is no longer needed.
    """
    for name, child in list(network.named_children()):
        make = next((packed for kind, packed in _PACKED.items() if isinstance(child, kind)), None)
        if make is None:
            pack(child, done)
        elif max(weight.numel() for weight in child.parameters()) >= _WORTH_IT:
            setattr(network, name, make(child))
            done()
