"""Writes tests/golden/tiny-gguf/tiny.gguf: a language model of random weights, small enough to commit.

Llama architecture, two layers of width 32, byte-level BPE with a few merges, ChatML as its chat template. It says
nothing of sense, but everything that reads a real model reads this one.
"""

from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, LAYERS, FEED_FORWARD, CONTEXT = 32, 2, 2, 64, 512
MERGES = ["t h", "th e", "i n", "a n", "e r", "o n", "an d", "in g", "c h", "Ġ a", '" :', '" ,', '{ "']
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def bytes_as_text() -> list[str]:
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    stand_in = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in stand_in)
    stand_in.update({byte: chr(256 + index) for index, byte in enumerate(others)})
    return [stand_in[byte] for byte in range(256)]


def main() -> None:
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = control + bytes_as_text() + [merge.replace(" ", "") for merge in MERGES]
    types = [gguf.TokenType.CONTROL] * len(control) + [gguf.TokenType.NORMAL] * (len(tokens) - len(control))

    out = Path(__file__).parent.parent / "golden" / "tiny-gguf" / "tiny.gguf"
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name("tiny")
    writer.add_license("mit")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)

    random = np.random.Generator(np.random.PCG64(20261124))

    def add(name: str, *shape: int) -> None:
        weights = random.standard_normal(shape) / np.sqrt(shape[-1])
        writer.add_tensor(name, weights.astype(np.float32))

    def add_norm(name: str) -> None:
        writer.add_tensor(name, np.ones(WIDTH, dtype=np.float32))

    add("token_embd.weight", len(tokens), WIDTH)
    add_norm("output_norm.weight")
    for layer in range(LAYERS):
        prefix = f"blk.{layer}"
        add_norm(f"{prefix}.attn_norm.weight")
        add_norm(f"{prefix}.ffn_norm.weight")
        for part in ["attn_q", "attn_k", "attn_v", "attn_output"]:
            add(f"{prefix}.{part}.weight", WIDTH, WIDTH)
        add(f"{prefix}.ffn_gate.weight", FEED_FORWARD, WIDTH)
        add(f"{prefix}.ffn_up.weight", FEED_FORWARD, WIDTH)
        add(f"{prefix}.ffn_down.weight", WIDTH, FEED_FORWARD)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
