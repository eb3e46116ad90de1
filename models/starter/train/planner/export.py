"""Writes a trained planner as GGUF.

    python export.py WORK NAME OUTPUT.gguf
"""
import re
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.torch import load_file

import base
import model as network
import tokens

# What fits in 45 MB: the embedding is also the output, and the large matrices bear less precision than the small ones.
Q5, Q8 = gguf.GGMLQuantizationType.Q5_0, gguf.GGMLQuantizationType.Q8_0
FORMATS = {"attn_q": Q8, "attn_k": Q8, "attn_v": Q8, "attn_output": Q8, "ffn_gate": Q5, "ffn_up": Q5, "ffn_down": Q8,
           "token_embd": Q8}
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
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q5_0)
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
        if key.endswith(("q_proj.weight", "k_proj.weight")):
            value = interleaved(value, network.HEADS if "q_proj" in key else network.KEY_HEADS)
        if value.ndim == 1:
            writer.add_tensor(gguf_name(key), value.astype(np.float32))
            continue
        kind = FORMATS[gguf_name(key).split(".")[-2]]
        writer.add_tensor(gguf_name(key), gguf.quants.quantize(np.ascontiguousarray(value), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{layers} layers, {size} tokens, {Path(output).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
