"""SmolLM2's tokenizer with only its first ids, and pairs as token ids with the weight of each in the loss."""
import json

from tokenizers import Tokenizer

END = 2  # <|im_end|>
VOCABULARY = 20480


def trimmed(tokenizer_json, vocabulary=VOCABULARY):
    """Ids are in the order of the merges, so the first ids with the merges that make them are a BPE of their own."""
    data = json.loads(tokenizer_json)
    ids = data["model"]["vocab"]
    data["model"]["vocab"] = kept = {token: index for token, index in ids.items() if index < vocabulary}
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in data["model"]["merges"]]
    data["model"]["merges"] = [[left, right] for left, right in pairs if left + right in kept]
    assert all(left in kept and right in kept for left, right in data["model"]["merges"])
    return Tokenizer.from_str(json.dumps(data))


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def reply_parts(brief):
    """The brief's text in pieces, each with whether it is decided by the model (or forced by the schema)."""
    def text(value):
        return [(compact(value)[1:], True)]

    parts = [('{"people":[', False)]
    for index, entry in enumerate(brief["people"]):
        parts += [(',', True)] * (index > 0) + [('{"number":', False), (compact(entry["number"]), True), (',"noun":"', False)]
        parts += text(entry["noun"]) + [(',"stated":[', False)]
        for place, one in enumerate(entry["stated"]):
            parts += [(',{' if place else '{', True), ('"what":"', False), *text(one["what"]), (',"of":', False),
                      (compact(one["of"]), True), ('}', True)]
        # A brace is forced, but the token that ends in it may hold the comma, and so decide.
        parts += [(']', True), ('}', True)]
    parts += [(']', True)]
    for key in ("activity", "clothing", "setting", "style"):
        parts += [(f',"{key}":"', False), *text(brief[key])]
    for key in ("formation", "shot"):
        # The first letter tells the choices apart.
        parts += [(f',"{key}":"', False), (brief[key][0], True), (compact(brief[key])[2:], False)]
    return parts + [('}', False)]


def encode(tokenizer, prompt, brief, forced_weight):
    """Token ids of prompt, newline, reply and end; and for each the weight of predicting it."""
    ids = tokenizer.encode(prompt + "\n", add_special_tokens=False).ids
    weights = [0.0] * len(ids)
    parts = reply_parts(brief)
    decided = [flag for text, flag in parts for _ in text]
    reply = tokenizer.encode("".join(text for text, _ in parts), add_special_tokens=False)
    for token, (start, end) in zip(reply.ids, reply.offsets):
        ids.append(token)
        weights.append(1.0 if any(decided[start:end]) else forced_weight)
    return ids + [END], weights + [forced_weight]
