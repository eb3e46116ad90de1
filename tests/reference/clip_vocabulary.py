"""Makes tests/golden/clip/vocabulary.bin: the tokens that transformers gives 10,000 texts with CLIP's own vocabulary.

    python tests/reference/clip_vocabulary.py

The texts are drawn by a small generator that the test has, too, so that only a hash of each is kept: FNV-1a
of the ids as four little-endian bytes each.
"""

import gzip
from pathlib import Path

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "clip"
VOCABULARY = ROOT / "crates" / "troupe-models" / "data" / "bpe_simple_vocab_16e6.txt.gz"
RANGES = [(0x20, 0x7F), (0x20, 0x7F), (0x80, 0x250), (0x300, 0x370), (0x370, 0x530), (0x5D0, 0x700), (0x2000, 0x2C00),
          (0x3040, 0xA000), (0x1F300, 0x1FB00)]
JOINTS = [" ", " ", ", ", "", "-", "'s "]


def bytes_to_characters():
    """As OpenAI's `simple_tokenizer.py` orders them: printable bytes first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


class Dice:
    def __init__(self, seed):
        self.state = seed

    def below(self, count):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % count

    def text(self, words):
        text = ""
        for _ in range(1 + self.below(10)):
            kind = self.below(4)
            if kind == 0:
                for _ in range(1 + self.below(5)):
                    low, high = RANGES[self.below(len(RANGES))]
                    text += chr(low + self.below(high - low))
            elif kind == 1:
                text += words[self.below(len(words))].upper()
            else:
                text += words[self.below(len(words))]
            text += JOINTS[self.below(len(JOINTS))]
        return text


def fnv(ids):
    state = 0x811C9DC5
    for byte in b"".join(index.to_bytes(4, "little") for index in ids):
        state = (state ^ byte) * 0x01000193 % 2**32
    return state


def main():
    lines = gzip.open(VOCABULARY).read().decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    characters = bytes_to_characters()
    assert sorted(characters) == sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = characters + [it + "</w>" for it in characters] + ["".join(it) for it in merges] + ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    assert len(vocab) == 49408
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges)
    # Words of the vocabulary itself, plain ones and some of every length.
    whole = [token.removesuffix("</w>") for token in tokens if token.endswith("</w>") and token.removesuffix("</w>").isascii()]
    words = [word for word in whole if word.isalpha() and len(word) > 2][::11]
    (GOLDEN / "words.txt").write_text("\n".join(words) + "\n")
    dice = Dice(8)
    hashes = []
    for _ in range(10_000):
        text = dice.text(words)
        hashes.append(fnv(tokenizer(text, add_special_tokens=False)["input_ids"]).to_bytes(4, "little"))
    (GOLDEN / "vocabulary.bin").write_bytes(b"".join(hashes))


if __name__ == "__main__":
    main()
