"""Says whether words or prompts that the planner must not have seen are in the generator or in what it makes.

    python check.py [COUNT]

Kept back are the words that `tests/prompts/groups.json` calls unseen, and of `tests/prompts/held_out.json` every noun and
setting as a whole and every template: what is left of a prompt when what its brief holds and the count are taken out.
"""
import json
import random
import re
import sys
from pathlib import Path

import dev
import generate
import words

# Words that every way of saying it needs, and the names of formations, shots and counts, make no template of their own.
COMMON = {*"a an the and of in on at by to with as them women men s style".split(), *(word for names in (
    *generate.FORMATIONS.values(), *generate.SHOTS.values(), *generate.NUMBER_NAMES.values()) for name in names for word in words.spelled(name))}
OWN_WORDS = 2


def template(prompt, brief):
    """The prompt with `…` for what the brief holds, and `#` for a count."""
    text = " " + " ".join(words.spelled(prompt)) + " "
    held = [brief[key] for key in ("activity", "clothing", "setting", "style")]
    for one in brief["people"]:
        held += [one["noun"], generate.plural_of(one["noun"]), *(state["what"] for state in one["stated"])]
    for value in sorted(held, key=len, reverse=True):
        value = " ".join(words.spelled(value))
        if value:
            text = re.sub(rf"(?<= ){value}s?(?= )", "…", text)
    counts = [*map(str, range(1, 13)), *generate.NUMBER_WORDS]
    return re.sub(rf"(?<= )({'|'.join(counts)})(?= )", "#", text).strip()


def own_words(text):
    return [word for word in text.split() if word not in COMMON | {"…", "#"}]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    held_out = json.loads((words.REPOSITORY / "tests/prompts/held_out.json").read_text())
    bare = lambda text: text.strip().lower().rstrip(".!")
    kept_back = {bare(path.read_text()) for path in (words.REPOSITORY / "prompts/groups").glob("*.txt")}
    kept_back |= {bare(prompt) for prompt, _ in dev.PROMPTS} | {bare(entry["prompt"]) for entry in held_out}
    templates = {template(entry["prompt"], entry["brief"]) for entry in held_out}
    templates = {text for text in templates if OWN_WORDS <= len(own_words(text))}
    found = []
    for source in sorted(Path(__file__).parent.glob("*.py")):
        text = source.read_text().lower()
        found += [f"{source.name} has `{word}`" for word in words.UNSEEN if re.search(rf"\b{word}s?\b", text)]
        if source.name in ("words.py", "generate.py"):
            text = " ".join(words.spelled(text))
            found += [f"{source.name} has `{phrase}`" for phrase in words.HELD_NOUNS + words.HELD_SETTINGS
                      if re.search(rf"\b{' '.join(words.spelled(phrase))}s?\b", text)]
    for index in range(count):
        prompt, brief = generate.pair(random.Random(index))
        if words.is_unseen(prompt):
            found.append(f"made with an unseen word: {prompt}")
        if bare(prompt) in kept_back:
            found.append(f"made as it stands in a test: {prompt}")
        if template(prompt, brief) in templates:
            found.append(f"made after a template of the test: {prompt}: {template(prompt, brief)}")
    print("\n".join(found) or f"nothing kept back is in the sources or in {count} prompts; {len(templates)} templates")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
