"""The two judges: a small residual network, and a plain one of pooled convolutions for scoring only."""
import torch
import torch.nn.functional as F
from torch import nn

from crop import HEIGHT, WIDTH


class Convolution(nn.Module):
    """Three by three without a bias, then a batch norm; `folded` makes one convolution of both."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))

    @torch.no_grad()
    def unfold(self, weight, bias):
        """Takes up what `folded` gave: a norm that changes nothing, until `settle` knows what comes into it."""
        self.conv.weight.copy_(weight)
        self.norm.bias.copy_(bias)
        self.norm.running_var.fill_(1 - self.norm.eps)

    @torch.no_grad()
    def settle(self, x):
        """Makes the norm that of these outputs of the convolution, and what comes out of it what it was."""
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        self.norm.running_mean.copy_(mean)
        self.norm.running_var.copy_(variance)
        self.norm.weight.copy_((variance + self.norm.eps).sqrt())
        self.norm.bias.add_(mean)

    def folded(self):
        scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        return {"weight": self.conv.weight * scale[:, None, None, None], "bias": self.norm.bias - self.norm.running_mean * scale}


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2015)."""

    def __init__(self, channels):
        super().__init__()
        self.first, self.second = Convolution(channels, channels), Convolution(channels, channels)

    def forward(self, x):
        return F.relu(x + self.second(F.relu(self.first(x))))


class First(nn.Module):
    """Halves the crop four times; a weight for each place and channel pools what is left, `(9, 6)`."""
    architecture, channels = "residual", (16, 32, 64, 128)

    def __init__(self, heads):
        super().__init__()
        self.down = nn.ModuleList(Convolution(a, b, 2) for a, b in zip((5, *self.channels), self.channels))
        self.blocks = nn.ModuleList(Block(it) for it in self.channels[1:])
        self.pool = nn.Parameter(torch.full((self.channels[-1], HEIGHT // 16, WIDTH // 16), 16 / HEIGHT * 16 / WIDTH))
        self.heads = nn.ModuleDict({name: nn.Linear(self.channels[-1], classes) for name, classes in heads.items()})

    def forward(self, x):
        x = F.relu(self.down[0](x))
        for down, block in zip(self.down[1:], self.blocks):
            x = block(F.relu(down(x)))
        x = (x * self.pool).sum((2, 3))
        x = F.dropout(x, .1, self.training)
        return {name: head(x) for name, head in self.heads.items()}

    @torch.no_grad()
    def load_exported(self, tensors, x):
        """Undoes `exported`; what comes into the norms is that of the crops `x`."""
        places = {f"down.{at}": it for at, it in enumerate(self.down)}
        places |= {f"blocks.{at}.{side}": getattr(it, side) for at, it in enumerate(self.blocks) for side in ("first", "second")}
        for name, it in places.items():
            it.unfold(tensors[f"{name}.weight"], tensors[f"{name}.bias"])
        self.pool.copy_(tensors["pool"])
        self.heads.load_state_dict({name: tensors[f"heads.{name}"] for name in self.heads.state_dict()})
        seen, training = {}, self.training
        hooks = [it.conv.register_forward_hook(lambda _, __, out, it=it: seen.__setitem__(it, out)) for it in places.values()]
        self.eval()(x)
        for hook in hooks:
            hook.remove()
        for it, out in seen.items():
            it.settle(out)
        self.train(training)

    def exported(self):
        out = {"pool": self.pool}
        for at, it in enumerate(self.down):
            out |= {f"down.{at}.{name}": value for name, value in it.folded().items()}
        for at, it in enumerate(self.blocks):
            for side in ("first", "second"):
                out |= {f"blocks.{at}.{side}.{name}": value for name, value in getattr(it, side).folded().items()}
        return out | {f"heads.{name}": value for name, value in self.heads.state_dict().items()}


class Second(nn.Module):
    """Convolutions, max pooling, group norms and SiLU, without shortcuts; then two dense layers."""
    architecture, channels, groups, width = "pooled", (24, 48, 96, 128), 8, 160

    def __init__(self, heads):
        super().__init__()
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for index, (inputs, outputs) in enumerate(zip((5, *self.channels), self.channels)):
            first = index == 0
            self.convs.append(nn.Conv2d(inputs, outputs, 5 if first else 3, 2 if first else 1, 2 if first else 1))
            self.norms.append(nn.GroupNorm(self.groups, outputs))
        self.dense = nn.Linear(self.channels[-1] * (HEIGHT // 16) * (WIDTH // 16), self.width)
        self.heads = nn.ModuleDict({name: nn.Linear(self.width, classes) for name, classes in heads.items()})

    def forward(self, x):
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = conv(x)
            if index + 1 < len(self.convs):
                x = F.max_pool2d(x, 2)
            x = F.silu(norm(x))
        x = x.permute(0, 2, 3, 1).flatten(1)
        x = F.silu(self.dense(F.dropout(x, .1, self.training)))
        return {name: head(x) for name, head in self.heads.items()}

    def load_exported(self, tensors, _):
        self.load_state_dict(tensors)

    def exported(self):
        return dict(self.state_dict())


JUDGES = {"first": (First, 1), "second": (Second, 2)}
