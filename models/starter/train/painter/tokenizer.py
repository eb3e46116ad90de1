"""A byte-pair tokenizer in CLIP's way over the captions: `python tokenizer.py FOLDER`."""
import sys

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from scenes import scene

START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY = 900
# Words that users say and captions don't, so that they don't fall to letters.
ALSO = ("beekeeper nurse soldier sailor dancer baker waiter waitress gardener lawyer engineer actor skier swimmer cyclist "
        "family friends team group crowd portrait photo painting drawing night day evening sunset sunrise street garden "
        "museum castle bridge river lake market station airport library laboratory stage tall short young old happy "
        "smiling sitting standing holding wearing hat cap dress coat jacket boots gloves long straight wavy hair "
        "style colourful watercolour line dark bright").split()


def captions(count):
    """Captions of drawn scenes, base prompts and sub-prompts."""
    for seed in range(count):
        it = scene(900_000_000 + seed, size=(96, 160) if seed % 2 else (384, 192))
        yield from [it.caption, it.base, *it.sub_prompts]
    yield from ALSO * 20


def build(count):
    """Lower case, words apart from signs, digits one by one, and the pair merges of the captions."""
    it = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    it.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    it.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(words, behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    it.decoder = decoders.ByteLevel()
    it.train_from_iterator(captions(count), trainers.BpeTrainer(
        vocab_size=VOCABULARY, end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[START, END], show_progress=False))
    ends = [(word, it.token_to_id(word)) for word in (START, END)]
    it.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    return it


def load(folder):
    """The tokenizer as transformers has it, 77 tokens long."""
    return PreTrainedTokenizerFast(
        tokenizer_file=f"{folder}/tokenizer.json", bos_token=START, eos_token=END, pad_token=END, unk_token=END, model_max_length=77)


if __name__ == "__main__":
    built = build(1500)
    built.model.save(sys.argv[1])
    built.save(f"{sys.argv[1]}/tokenizer.json")
    print(built.get_vocab_size(), built.encode("a woman doctor with medium dark skin wearing glasses").tokens)
