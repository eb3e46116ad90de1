"""Writes a trained planner as GGUF.

    python export.py WORK NAME OUTPUT.gguf
"""
import re
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file

import base
import model as network
import quantize
import tokens

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
         "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


def gguf_name(name):
    if name == "embed_tokens.weight":
        return "token_embd.weight"
    if name == "norm.weight":
        return "output_norm.weight"
    layer, part = re.fullmatch(r"layers\.(\d+)\.(.+)\.weight", name).groups()
    return f"blk.{layer}.{NAMES[part]}.weight"


def interleaved(weight, heads):
    """Rows of each head as llama.cpp rotates them: neighbours instead of halves."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def halved(weight, heads):
    """Undoes `interleaved`."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def heads_of(name):
    """By how many heads the rows of a parameter are rotated, or 0."""
    return network.HEADS if "q_proj" in name else network.KEY_HEADS if "k_proj" in name else 0


def read(path):
    """The state of a `Planner` from a GGUF that `main` wrote."""
    stored = {it.name: gguf.quants.dequantize(it.data, it.tensor_type) for it in gguf.GGUFReader(path).tensors}
    layers = 1 + max(int(name.split(".")[1]) for name in stored if name.startswith("blk."))
    state = {}
    for name in network.Planner(layers, 1).state_dict():
        value = stored[gguf_name(name)].astype(np.float32)
        state[name] = torch.from_numpy(np.ascontiguousarray(halved(value, heads_of(name)) if heads_of(name) else value))
    return state


def main():
    work, name, output = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    state = {key: value.float().numpy() for key, value in load_file(work / f"{name}.safetensors").items()}
    layers = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("layers."))
    old = gguf.GGUFReader(base.folder() / base.FILE)
    size = state["embed_tokens.weight"].shape[0]
    kept = old.fields["tokenizer.ggml.tokens"].contents()[:size]
    known = set(kept)
    merges = [merge for merge in old.fields["tokenizer.ggml.merges"].contents() if merge.replace(" ", "") in known]
    writer = gguf.GGUFWriter(output, "llama")
    writer.add_name("Troupe starter planner")
    writer.add_description("Reads a bare group prompt, writes a brief as JSON")
    writer.add_license("apache-2.0")
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, "SmolLM2-135M-Instruct")
    writer.add_base_model_organization(0, "HuggingFaceTB")
    writer.add_block_count(layers)
    writer.add_context_length(2048)
    writer.add_embedding_length(network.WIDTH)
    writer.add_feed_forward_length(network.INNER)
    writer.add_head_count(network.HEADS)
    writer.add_head_count_kv(network.KEY_HEADS)
    writer.add_rope_freq_base(network.ROPE_BASE)
    writer.add_rope_dimension_count(network.HEAD_WIDTH)
    writer.add_layer_norm_rms_eps(network.NORM_EPSILON)
    writer.add_vocab_size(size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(kept)
    writer.add_token_types(old.fields["tokenizer.ggml.token_type"].contents()[:size])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(tokens.END)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(tokens.END)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    for key, value in state.items():
        if heads_of(key):
            value = interleaved(value, heads_of(key))
        if value.ndim == 1:
            writer.add_tensor(gguf_name(key), value.astype(np.float32))
            continue
        kind = quantize.kind_of(key)
        writer.add_tensor(gguf_name(key), gguf.quants.quantize(np.ascontiguousarray(value), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{layers} layers, {size} tokens, {Path(output).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
