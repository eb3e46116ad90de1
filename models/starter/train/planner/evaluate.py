"""Asks a planner through the project's own child process, greedy and under the schema, and counts what is right.

    cargo build --release -p troupe-llm
    python evaluate.py MODEL.gguf dev|groups|made [COUNT]

`dev` are the prompts of dev.py, `groups` the twenty of `prompts/groups/`, `made` fresh ones of the generator.
"""
import json
import random
import subprocess
import sys
import time

import dev
import words

TEXT = {"type": "string", "maxLength": 120}
WORDS = {"type": "string", "minLength": 1, "maxLength": 60}
NUMBER = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 12}, {"type": "null"}]}


def record(**properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


SCHEMA = record(
    people={"type": "array", "minItems": 1, "maxItems": 6, "items": record(
        number=NUMBER, noun=WORDS,
        stated={"type": "array", "maxItems": 6, "items": record(what=WORDS, of=NUMBER)})},
    activity=TEXT, clothing=TEXT, setting=TEXT, style=TEXT,
    formation={"enum": ["row", "two_rows", "auto"]}, shot={"enum": ["full_body", "waist"]})


class Child:
    """The program that links llama.cpp; one JSON object a line each way."""

    def __init__(self, model):
        program = words.REPOSITORY / "target/release/troupe-llm-serve"
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
        return self.ask({"complete": {"prompt": {"raw": prompt + "\n"}, "schema": json.dumps(SCHEMA), "max_tokens": 400,
                                      "time_limit": {"secs": 60, "nanos": 0}}}, "completed")["text"]


def cases(which, count):
    """Prompts with the brief, or with what `groups.json` says of it."""
    if which == "dev":
        return dev.PROMPTS
    if which == "made":
        import generate
        return [generate.pair(random.Random(9_000_000 + index)) for index in range(count)]
    known = json.loads((words.REPOSITORY / "tests/prompts/groups.json").read_text())
    folder = words.REPOSITORY / "prompts/groups"
    return [((folder / f"{name}.txt").read_text().strip(), entry) for name, entry in known.items()]


def right(brief, wanted):
    """Which of the parts are right: number, noun, setting and, where the whole brief is known, all of it."""
    if "people" not in wanted:
        one = brief["people"][0]
        return {"number": len(brief["people"]) == 1 and one["number"] == wanted["number"], "noun": one["noun"] in wanted["noun"],
                "setting": brief["setting"] in wanted["setting"]}

    def each(key):
        return [one[key] for one in brief["people"]] == [one[key] for one in wanted["people"]]
    parts = {key: each(key) for key in ("number", "noun", "stated")}
    return parts | {key: brief[key] == wanted[key] for key in wanted if key != "people"} | {"all": brief == wanted}


def main():
    which, count = sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 100
    child = Child(sys.argv[1])
    totals, core, began, asked = {}, 0, time.time(), cases(which, count)
    for prompt, wanted in asked:
        reply = child.complete(prompt)
        try:
            brief = json.loads(reply)
            parts = right(brief, wanted)
        except (ValueError, KeyError):
            parts = {}
        for key, value in parts.items():
            totals[key] = totals.get(key, 0) + value
        good = all(parts.get(key) for key in ("number", "noun", "setting"))
        core += good
        if not all(parts.values()) or not parts:
            print(f"{'' if good else 'WRONG '}{prompt}\n   {reply}\n   wrong: {[key for key, value in parts.items() if not value]}")
    print(f"{which}: number, noun and setting right in {core} of {len(asked)}; each: {totals}; "
          f"{(time.time() - began) / len(asked):.2f} s a prompt")


if __name__ == "__main__":
    main()
