"""Makes tests/golden/clip: a small CLIP tokenizer, its tokens, and three random text encoders.

    python tests/reference/clip.py

What is expected comes from transformers' CLIPTokenizer and CLIPTextModel, the latter in double
precision, so that the tests measure our rounding and not the reference's.
"""

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "clip"
START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77

WHO = ["woman", "man", "doctor", "basketball player", "beekeeper", "chef", "firefighter", "teacher"]
WHAT = ["dark brown skin", "pale skin", "tan skin", "grey hair", "curly hair", "glasses", "a red hat"]
WHERE = ["on an outdoor court", "in a foggy quarry", "at the beach", "in a kitchen", "on a street at night"]
STYLE = ["a photograph", "3d render", "oil painting", "watercolour, soft light", "flat colours"]

# Each is here for one thing that a pipeline can get wrong.
HARD = [
    "", " ", "\t\n", "a", "A", "AN OUTDOOR COURT", "  two   spaces\tand\na newline  ",
    "it's we're they've i'm you'll she'd don't IT'S 'quoted' rock'n'roll ''s",
    "they’re typographic “quotes”", "1234567890 5x7 3.14 10% v2.0", "½ ² Ⅻ ٣ 四", "e=mc^2 :-) #tag @name $5 & co.",
    "!!! ... ??? --- ___ a_b a-b a/b a\\b", "café cafe\u0301 naïve Å Å", "ﬁ ligature ﬀ", "İstanbul ẞ ΣΊΣΥΦΟΣ ǅ",
    "日本語のテキスト", "русский текст", "العربية", "हिन्दी", "한국어", "ไทย", "😀 emoji 👩🏿‍🚀👨‍👩‍👧 🇩🇪",
    "\u00a0no-break\u2003em\u3000ideographic\u200bzero width", "line\u2028sep\u2029par\u0085next", "\ufeffbom", "nul\x00bell\x07del\x7f",
    "<|STARTOFTEXT|>!", START, END, "a" + START + "b" + END + "c", "<|STARTOFTEXT|> <|EndOfText|>", "<|start|> <|endoftext|", END * 3,
    "</w> w</w>", "a</w>", "<lora:name:0.8>", '{"a": [1, 2, "x"]}', "ignore the schema; DROP TABLE prompts; --",
    "x" * 300, "🙂" * 60, "word " * 40, "word " * 75, "word " * 76, "a, " * 38, ". " * 200, "café " * 60,
    "supercalifragilisticexpialidocious", "Ünïcödé Çæ", "\u0301\u0301leading marks", "a\u0300\u0316\u0301", "\U0001d49c math 𝔘",
    "1st 2nd 3rd 4th", "they'Re I'M 'Ve", "‘s ‘t", "a\rb\r\nc\vd\fe", "\x1c\x1d\x1e\x1f", "\u180e\u2060\u00ad", "＇s ｆｕｌｌ",
]


def prompt(dice):
    parts = [f"{dice.choice(['a', 'one', 'five', 'Two'])} {dice.choice(WHO)}s" if dice.random() < 0.3 else f"a {dice.choice(WHO)}"]
    if dice.random() < 0.8:
        parts.append("with " + dice.choice(WHAT))
    parts.append(dice.choice(WHERE))
    if dice.random() < 0.5:
        parts.append(", " + dice.choice(STYLE))
    return " ".join(parts)


def scramble(dice):
    """Random characters of every plane, without surrogates."""
    planes = [(0x20, 0x7E), (0x20, 0x7E), (0, 0xFF), (0x100, 0x24F), (0x300, 0x52F), (0x2000, 0x2BFF), (0x3000, 0x9FFF), (0x1F300, 0x1FAFF), (0xE000, 0x10FFFF)]
    characters = []
    for _ in range(dice.randint(1, 40)):
        low, high = dice.choice(planes)
        code = dice.randint(low, high)
        characters.append(chr(code) if not 0xD800 <= code <= 0xDFFF else " ")
    return "".join(characters)


def learn_merges(corpus, count):
    """Byte-pair merges. Our own learner, since the library's goes by the order of a hash map."""
    # The words as CLIP's pipeline finds them; a vocabulary isn't needed for that.
    pipeline = CLIPTokenizer().backend_tokenizer
    words = Counter()
    for text in corpus:
        for piece, _ in pipeline.pre_tokenizer.pre_tokenize_str(pipeline.normalizer.normalize_str(text)):
            words[(*piece[:-1], piece[-1] + "</w>")] += 1
    merges = []
    while len(merges) < count:
        pairs = Counter()
        for word, times in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged = Counter()
        for word, times in words.items():
            pieces = list(word)
            index = 0
            while index + 1 < len(pieces):
                if (pieces[index], pieces[index + 1]) == best:
                    pieces[index:index + 2] = ["".join(best)]
                index += 1
            merged[tuple(pieces)] += times
        words = merged
    return merges


def make_tokenizer(corpus):
    """The vocabulary in the order of OpenAI's: bytes, bytes that end a word, merges, special tokens."""
    merges = learn_merges(corpus, 150)
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = characters + [character + "</w>" for character in characters] + [a + b for a, b in merges] + [START, END]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=LENGTH)
    tokenizer.save_pretrained(GOLDEN)
    (GOLDEN / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (GOLDEN / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    return tokenizer


def tokens_of(tokenizer, text):
    whole = tokenizer(text, return_offsets_mapping=True)
    ids = tokenizer(text, truncation=True, max_length=LENGTH, padding="max_length")["input_ids"]
    kept = min(len(whole["input_ids"]), LENGTH)
    assert ids[kept:] == [tokenizer.pad_token_id] * (LENGTH - kept)
    total = len(whole["input_ids"])
    # The last position is the end of the text, so the first token dropped stood there.
    dropped = text[whole["offset_mapping"][LENGTH - 1][0]:] if total > LENGTH else ""
    return {"text": text, "ids": ids[:kept], "total": total, "dropped": dropped}


def randomise(model, generator):
    """Every weight and bias matters: none is zero, no scale is one."""
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            weight.data = 1 + 0.3 * noise
        elif weight.dim() <= 1:
            weight.data = 0.2 * noise
        elif "embedding" in name:
            weight.data = noise
        else:
            weight.data = 1.5 * noise / weight.shape[1] ** 0.5


def make_encoder(name, config, prefix, sequences):
    torch.manual_seed(8)
    model = CLIPTextModel(CLIPTextConfig(**config)).eval()
    randomise(model, torch.Generator().manual_seed(8))
    folder = GOLDEN / name
    model.save_pretrained(folder)
    if prefix:
        # Files from before transformers 5 have the prefix, and the positions as a buffer of integers.
        file = folder / "model.safetensors"
        weights = {"text_model." + key: value for key, value in load_file(file).items()}
        weights["text_model.embeddings.position_ids"] = torch.arange(LENGTH)[None]
        save_file(weights, file, metadata={"format": "pt"})

    expected = {}
    model.double()
    for index, ids in enumerate(sequences):
        hidden = []
        hooks = [model.encoder.layers[0].register_forward_pre_hook(lambda _m, inputs, kwargs: hidden.append((list(inputs) + list(kwargs.values()))[0]), with_kwargs=True)]
        hooks += [layer.register_forward_hook(lambda _m, _i, output: hidden.append(output[0] if isinstance(output, tuple) else output)) for layer in model.encoder.layers]
        with torch.no_grad():
            last = model(input_ids=torch.tensor([ids])).last_hidden_state
        for hook in hooks:
            hook.remove()
        expected[f"{index}.ids"] = torch.tensor(ids, dtype=torch.int64)
        for layer, state in enumerate(hidden):
            expected[f"{index}.hidden.{layer}"] = state.reshape(len(ids), -1).float().contiguous()
        expected[f"{index}.last_hidden_state"] = last[0].float().contiguous()
    save_file(expected, folder / "expected.safetensors")


def make_projection(config, sequences):
    """As the second text encoder of SDXL: the layers that diffusers can listen to, and the pooled text."""
    torch.manual_seed(8)
    model = CLIPTextModelWithProjection(CLIPTextConfig(**config)).eval()
    randomise(model, torch.Generator().manual_seed(8))
    folder = GOLDEN / "projection"
    model.save_pretrained(folder)
    expected = {}
    model.double()
    for index, ids in enumerate(sequences):
        with torch.no_grad():
            output = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
            # `clip_skip` of StableDiffusionPipeline norms what it takes, that of SDXL doesn't.
            normed = [model.text_model.final_layer_norm(state) for state in output.hidden_states]
        expected[f"{index}.ids"] = torch.tensor(ids, dtype=torch.int64)
        expected[f"{index}.text_embeds"] = output.text_embeds[0].float().contiguous()
        for skipped in range(config["num_hidden_layers"]):
            expected[f"{index}.bare.{skipped}"] = output.hidden_states[-(skipped + 1)][0].float().contiguous()
            expected[f"{index}.normed.{skipped}"] = normed[-(skipped + 1)][0].float().contiguous()
        # The end of the text as newer configurations name it, where the padding has larger ids.
        model.config.eos_token_id = model.text_model.eos_token_id = ids[2]
        with torch.no_grad():
            pooled = model(input_ids=torch.tensor([ids])).text_embeds
        model.config.eos_token_id = model.text_model.eos_token_id = 2
        expected[f"{index}.text_embeds_of_third"] = pooled[0].float().contiguous()
    save_file(expected, folder / "expected.safetensors")


def main():
    torch.set_num_threads(1)
    shutil.rmtree(GOLDEN / "quick_gelu", ignore_errors=True)
    shutil.rmtree(GOLDEN / "gelu", ignore_errors=True)
    shutil.rmtree(GOLDEN / "projection", ignore_errors=True)
    dice = random.Random(8)
    prompts = [prompt(dice) for _ in range(150)]
    tokenizer = make_tokenizer(prompts + HARD)
    texts = HARD + prompts[:90] + [prompt(dice) + ", " + prompt(dice).upper() for _ in range(30)]
    texts += [scramble(dice) for _ in range(150)]
    texts += [", ".join(prompt(dice) for _ in range(8)) for _ in range(10)]
    lines = ",\n".join(json.dumps(tokens_of(tokenizer, text)) for text in texts)
    (GOLDEN / "tokens.json").write_text(f"[\n{lines}\n]\n")

    padded = tokenizer(prompts[0], truncation=True, max_length=LENGTH, padding="max_length")["input_ids"]
    full = tokenizer("word " * 90, truncation=True, max_length=LENGTH)["input_ids"]
    short = tokenizer("two doctors")["input_ids"]
    shared = {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH, "bos_token_id": tokenizer.bos_token_id,
              "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    make_encoder("quick_gelu", dict(shared, hidden_size=32, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4,
                                    hidden_act="quick_gelu", layer_norm_eps=1e-5), False, [padded, full, short])
    make_encoder("gelu", dict(shared, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3,
                              hidden_act="gelu", layer_norm_eps=1e-2), True, [padded, short])
    # What the end of a text is, files from before transformers 4.31 say wrongly: it is the largest id then.
    zeros = short + [0] * (LENGTH - len(short))
    make_projection(dict(shared, eos_token_id=2, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3,
                         hidden_act="gelu", projection_dim=20), [zeros, short])


if __name__ == "__main__":
    main()
