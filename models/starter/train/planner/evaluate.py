"""Asks a planner through the project's own child process, greedy and under the prompt's schema, and counts what is right.

    cargo build --release -p troupe-llm -p troupe-plan --bins --examples
    python evaluate.py MODEL.gguf dev|groups|made|held_out|others [COUNT]

`dev` are the prompts of dev.py, `groups` the twenty of `prompts/groups/`, `made` fresh ones of the generator, `held_out` the
200 of `tests/prompts/held_out.json` and `others` the 160 of `tests/prompts/others.json`, by which nothing is chosen. Capitals,
white space and an article before a value don't count. Failures are printed part by part, each with what was wanted and what was read.
"""
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import dev
import words

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", words.REPOSITORY / "target"))

class Schemas:
    """The schema that the program makes for a prompt; a line each way."""

    def __init__(self):
        self.process = subprocess.Popen([TARGET / "release/examples/grounded_schema"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def of(self, prompt):
        self.process.stdin.write(prompt + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


class Child:
    """The program that links llama.cpp; one JSON object a line each way."""

    def __init__(self, model):
        program = TARGET / "release/troupe-llm-serve"
        self.schemas = Schemas()
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        text=True)
        self.ask({"load": {"model": model, "context": 1024, "threads": 0}}, "loaded")

    def ask(self, request, wanted):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            reply = json.loads(line)
            if wanted in reply:
                return reply[wanted]
            if "progress" not in reply:
                raise ValueError(f"`{wanted}` was wanted, and came {line}")
        raise ValueError("the child ended")

    def complete(self, prompt):
        prompt = " ".join(prompt.split())
        return self.ask({"complete": {"prompt": {"raw": prompt + "\n"}, "schema": self.schemas.of(prompt), "max_tokens": 400,
                                      "time_limit": {"secs": 60, "nanos": 0}}}, "completed")["text"]


def cases(which, count):
    """Prompts with the brief, or with what `groups.json` says of it."""
    if which == "dev":
        return dev.PROMPTS
    if which == "made":
        import generate
        return [generate.pair(random.Random(9_000_000 + index)) for index in range(count)]
    if which in ("held_out", "others"):
        entries = json.loads((words.REPOSITORY / f"tests/prompts/{which}.json").read_text())
        return [(entry["prompt"], entry["brief"]) for entry in entries]
    known = json.loads((words.REPOSITORY / "tests/prompts/groups.json").read_text())
    folder = words.REPOSITORY / "prompts/groups"
    return [((folder / f"{name}.txt").read_text().strip(), entry) for name, entry in known.items()]


PARTS = ("number", "noun", "stated", "activity", "clothing", "setting", "style", "formation", "shot")


def plain(value):
    """A value of a brief as it is compared."""
    if isinstance(value, str):
        return re.sub(r"^(a|an|the) ", "", " ".join(value.lower().split()))
    if isinstance(value, list):
        return [plain(one) for one in value]
    return {key: plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def part_of(brief, part):
    """What a brief says of one part: for number, noun and stated a list with an entry for each kind of people."""
    if part in brief:
        return plain(brief[part])
    each = [one[part] for one in brief["people"]]
    # Kinds that are missing or too many are the count's and the nouns' business.
    return plain([kind for kind in each if kind] if part == "stated" else each)


def says(value):
    """Whether a part says anything, so that 'nothing is stated, and nothing was read' can be told from a hit."""
    return any(map(says, value)) if isinstance(value, list) else value not in ("", "auto", "full_body")


def compare(brief, wanted):
    """For each part: whether it is right, what was wanted, what was read."""
    if "people" not in wanted:
        found = {"number": part_of(brief, "number") == [wanted["number"]], "noun": brief["people"][0]["noun"] in wanted["noun"],
                 "setting": brief["setting"] in wanted["setting"]}
        return {part: (right, wanted[part], part_of(brief, part)) for part, right in found.items()}
    both = {part: (part_of(wanted, part), part_of(brief, part)) for part in PARTS}
    return {part: (want == found, want, found) for part, (want, found) in both.items()}


def main():
    which, count = sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 100
    child, asked, began = Child(sys.argv[1]), cases(which, count), time.time()
    failures, said, core, whole = {}, {}, 0, 0
    for prompt, wanted in asked:
        reply = child.complete(prompt)
        try:
            parts = compare(json.loads(reply), wanted)
        except (ValueError, KeyError):
            parts = {part: (False, "a brief", reply) for part in (PARTS if "people" in wanted else ("number", "noun", "setting"))}
        for part, (right, want, found) in parts.items():
            said[part] = said.get(part, 0) + (says(want) or says(found))
            failures.setdefault(part, [])
            if not right:
                failures[part].append((prompt, want, found))
        core += all(parts[part][0] for part in ("number", "noun", "setting"))
        whole += all(right for right, *_ in parts.values())
    for part, wrong in failures.items():
        print(f"\n{part}: {len(wrong)} wrong")
        for prompt, want, found in wrong:
            print(f"  {prompt}\n      wanted {json.dumps(want, ensure_ascii=False)}\n      read   {json.dumps(found, ensure_ascii=False)}")
    print(f"\n{which}: {len(asked)} prompts, {(time.time() - began) / len(asked):.2f} s each; number, noun and setting right in {core}, "
          f"all in {whole}")
    for part, wrong in failures.items():
        share = 1 - len(wrong) / max(1, said[part])
        print(f"  {part}: {len(asked) - len(wrong)} right; where something is said or read {said[part] - len(wrong)} of {said[part]} "
              f"({100 * share:.1f} %)")


if __name__ == "__main__":
    main()
