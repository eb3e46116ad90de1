"""The planner network: a Llama decoder in plain PyTorch, with the weight names that transformers gives to SmolLM2."""
import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEADS, KEY_HEADS, HEAD_WIDTH, INNER = 576, 9, 3, 64, 1536
ROPE_BASE, NORM_EPSILON = 100000.0, 1e-5


def rotate(x, cosine, sine):
    """Rotary position embedding in transformers' half-split layout; `x` is (batch, heads, tokens, head width)."""
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat((-second, first), -1) * sine


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), NORM_EPSILON)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(WIDTH, HEADS * HEAD_WIDTH, bias=False)
        self.k_proj = nn.Linear(WIDTH, KEY_HEADS * HEAD_WIDTH, bias=False)
        self.v_proj = nn.Linear(WIDTH, KEY_HEADS * HEAD_WIDTH, bias=False)
        self.o_proj = nn.Linear(HEADS * HEAD_WIDTH, WIDTH, bias=False)

    def forward(self, x, cosine, sine, later):
        batch, tokens, _ = x.shape
        query = self.q_proj(x).view(batch, tokens, HEADS, HEAD_WIDTH).transpose(1, 2)
        key = self.k_proj(x).view(batch, tokens, KEY_HEADS, HEAD_WIDTH).transpose(1, 2)
        value = self.v_proj(x).view(batch, tokens, KEY_HEADS, HEAD_WIDTH).transpose(1, 2)
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        key, value = (t.repeat_interleave(HEADS // KEY_HEADS, 1) for t in (key, value))
        # Written out: on a processor this is several times faster than the fused kernel for sequences this short.
        scores = (query @ key.mT) * HEAD_WIDTH**-0.5 + later
        out = scores.softmax(-1, dtype=scores.dtype) @ value
        return out.transpose(1, 2).reshape(batch, tokens, -1)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(WIDTH, INNER, bias=False)
        self.up_proj = nn.Linear(WIDTH, INNER, bias=False)
        self.down_proj = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = Attention(), Mlp()
        self.input_layernorm, self.post_attention_layernorm = Norm(WIDTH), Norm(WIDTH)

    def forward(self, x, cosine, sine, later, at=None):
        """All positions, or only those `at` (rows, columns) after attention."""
        mixed = self.self_attn(self.input_layernorm(x), cosine, sine, later)
        if at is not None:
            x, mixed = x[at], mixed[at]
        x = x + self.self_attn.o_proj(mixed)
        return x + self.mlp(self.post_attention_layernorm(x))


class Planner(nn.Module):
    """Decoder with tied embeddings."""

    def __init__(self, layers, vocabulary):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.norm = Norm(WIDTH)

    def forward(self, tokens, at):
        """Scores of the successor at the positions `at` (rows, columns) of `tokens` (batch, length)."""
        position = torch.arange(tokens.shape[1], dtype=torch.float32)
        rate = ROPE_BASE ** (-torch.arange(0, HEAD_WIDTH, 2, dtype=torch.float32) / HEAD_WIDTH)
        angle = torch.cat([position[:, None] * rate] * 2, -1)
        x = self.embed_tokens(tokens)
        if torch.is_autocast_enabled("cpu"):
            x = x.bfloat16()
        cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        later = torch.full((tokens.shape[1],) * 2, float("-inf"), dtype=x.dtype).triu(1)
        for layer in self.layers[:-1]:
            x = layer(x, cosine, sine, later)
        x = self.layers[-1](x, cosine, sine, later, at)
        return F.linear(self.norm(x), self.embed_tokens.weight)


def from_pretrained(tensors, keep, vocabulary):
    """A planner with the layers `keep` (indices into the 30 of SmolLM2-135M) and the first `vocabulary` tokens."""
    model, state = Planner(len(keep), vocabulary), {}
    for name in model.state_dict():
        parts = name.split(".")
        if parts[0] == "layers":
            parts[1] = str(keep[int(parts[1])])
        state[name] = tensors["model." + ".".join(parts)]
    state["embed_tokens.weight"] = state["embed_tokens.weight"][:vocabulary].clone()
    model.load_state_dict(state)
    return model
