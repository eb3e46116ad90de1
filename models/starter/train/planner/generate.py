"""Made-up group prompts and the briefs that they mean.

    python generate.py COUNT SEED      prints pairs, one JSON array [prompt, brief] a line

A brief is built first (kinds of people, what they do, where), then said in one of many ways. Most nouns, places and
adjectives are rare or invented, so that a model can only get them right by copying.
"""
import json
import random
import sys

import words as w

NUMBER_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NUMBER_NAMES = {2: ["a couple of", "a pair of"], 3: ["a trio of"], 4: ["a quartet of"], 5: ["a quintet of"],
                6: ["half a dozen", "a sextet of"], 7: ["a septet of"], 8: ["an octet of"], 12: ["a dozen"]}
FORMATIONS = {
    "row": ["in a row", "in one row", "in a line", "lined up", "side by side", "shoulder to shoulder", "in a single row",
            "in a single line", "one row", "standing in a row", "standing in a line", "next to each other", "a single row",
            "lined up in a row"],
    "two_rows": ["in two rows", "two rows", "in two lines", "arranged in two rows", "two rows deep", "in 2 rows",
                 "standing in two rows", "lined up in two rows", "in a front row and a back row", "in double rows",
                 "in two ranks", "posed in two rows"]}
SHOTS = {
    "waist": ["portrait", "waist up", "from the waist up", "half-length", "upper body", "half body", "waist-up shot",
              "waist shot", "medium shot", "bust", "head and shoulders", "headshot", "close-up", "half-length portrait",
              "group portrait", "waist up portrait", "shown from the waist up"],
    "full_body": ["full body", "full-body", "full body shot", "full-body shot", "full length", "full-length",
                  "head to toe", "from head to toe", "whole body", "wide shot", "full figure"]}


def article(phrase):
    return ("an " if phrase[0].lower() in "aeiou" else "a ") + phrase


def invented(rng, endings):
    syllables = rng.randint(1, 2) + (rng.random() < 0.3)
    start = "".join(rng.choice(["b", "br", "c", "cl", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pl",
                                "qu", "r", "s", "sk", "sp", "st", "t", "tr", "v", "w", "y", "z", "sh", "ch", "th", ""])
                    + rng.choice(["a", "e", "i", "o", "u", "ee", "oo", "ai", "ou", "y"])
                    + rng.choice(["b", "d", "ft", "g", "ck", "l", "ll", "m", "mb", "n", "nd", "nk", "p", "r", "rn", "sk", "st",
                                  "t", "tch", "v", "x", "zz", "rd", "lt"]) for _ in range(syllables))
    return start + rng.choice(endings)


def regular_plural(noun):
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith("man"):
        return noun[:-2] + "en"
    return noun + "s"


def plural_of(noun):
    head, _, last = noun.rpartition(" ")
    return (head + " " if head else "") + w.IRREGULAR.get(last, regular_plural(last))


def adjective(rng):
    draw = rng.random()
    if draw < 0.45:
        return rng.choice(w.PLAIN_ADJECTIVES)
    if draw < 0.85:
        return rng.choice(w.ADJECTIVES)
    if draw < 0.95:
        return rng.choice(w.COLOURS)
    return invented(rng, ["y", "ish", "ed", "al", "ous"])


def thing(rng):
    """A noun with its plural."""
    if rng.random() < 0.06:
        noun = invented(rng, ["", "el", "o", "et", "um", "ar"])
        return noun, regular_plural(noun)
    return rng.choice(w.NOUNS)


def person_noun(rng):
    """Singular and plural of what people can be called."""
    draw = rng.random()
    if draw < 0.24:
        noun = rng.choice(w.PEOPLE)
        return noun, plural_of(noun)
    if draw < 0.56:
        return rng.choice(w.AGENTS)
    if draw < 0.68:
        return rng.choice(w.NOUNS)
    if draw < 0.82:
        noun = f"{thing(rng)[0]} {rng.choice(w.MAKERS)}"
    elif draw < 0.86:
        noun = rng.choice(w.SPORTS) + " player"
    elif draw < 0.90:
        one, many = rng.choice(w.AGENTS)
        other = thing(rng)[0]
        return f"{other} {one}", f"{other} {many}"
    elif draw < 0.94:
        noun = thing(rng)[0] + rng.choice(["maker", "smith", "wright", "keeper", "seller", "rider", "hunter", "binder",
                                           "cutter", "monger", "herd", "catcher", "blower", "cleaner", "painter"])
        if w.is_unseen(noun):
            return person_noun(rng)
    else:
        noun = invented(rng, ["er", "ist", "or", "ian", "eer", "man", "ite", "ling", "arch", "nik"])
    return noun, plural_of(noun)


def place_noun(rng):
    draw = rng.random()
    if draw < 0.45:
        place = rng.choice(w.PLACES)
    elif draw < 0.9:
        place = thing(rng)[rng.random() < 0.2]
    else:
        place = f"{thing(rng)[0]} {rng.choice(w.PLACES)}"
    return place


def place(rng):
    draw = rng.random()
    if draw < 0.07:
        phrase = rng.choice(w.BARE_PLACES)
    elif draw < 0.14:
        phrase = f"{rng.choice(['in', 'in', 'on', 'near', 'at', 'in front of', 'outside'])} {rng.choice(w.PROPER_PLACES)}"
    else:
        name = place_noun(rng)
        if rng.random() < 0.6:
            name = f"{adjective(rng)} {name}"
        if rng.random() < 0.08:
            name = f"{adjective(rng)} {name}"
        if rng.random() < 0.08:
            name += f" of {thing(rng)[1]}"
        draw = rng.random()
        name = article(name) if draw < 0.68 else "the " + name if draw < 0.86 else \
            "their " + name if draw < 0.89 else name if draw < 0.96 else rng.choice(["some ", "two ", "many "]) + name
        phrase = f"{rng.choice(w.PREPOSITIONS)} {name}"
        if rng.random() < 0.1:
            phrase += f" {rng.choice(w.PREPOSITIONS)} {article(place_noun(rng))}"
    if rng.random() < 0.14:
        phrase += " " + rng.choice(w.TIMES)
    return phrase


def activity(rng):
    if rng.random() < 0.45:
        return rng.choice(w.ACTIVITIES)
    verb = rng.choice(w.VERBS)
    if rng.random() < 0.25:
        return verb
    one, many = thing(rng)
    said = rng.random()
    what = many if said < 0.6 else article(one) if said < 0.8 else "the " + one if said < 0.9 else one
    if said < 0.6 and rng.random() < 0.3:
        what = f"{adjective(rng)} {many}"
    if rng.random() < 0.08:
        what += f" with {article(thing(rng)[0])}"
    return f"{verb} {what}"


def clothing(rng):
    garment = rng.choice(w.GARMENTS) if rng.random() < 0.7 else thing(rng)[1]
    draw = rng.random()
    if draw < 0.75:
        return f"{rng.choice(w.COLOURS) if draw < 0.55 else adjective(rng)} {garment}"
    return garment


def style(rng):
    """The style as the brief has it, and as a tag says it."""
    name = rng.choice(w.STYLES) if rng.random() < 0.75 else f"{adjective(rng)} {rng.choice(['painting', 'drawing', 'sketch', 'illustration', 'engraving', 'photo', 'print'])}"
    draw = rng.random()
    tag = name if draw < 0.5 else f"{name} style" if draw < 0.8 else f"in {name} style" if draw < 0.9 else \
        f"as {article(name)}"
    return name, tag


def count_phrase(rng, number):
    """"five", "5", "a quintet of"."""
    draw = rng.random()
    if number in NUMBER_NAMES and draw < (0.35 if number in (2, 3, 4, 12) else 0.2):
        return rng.choice(NUMBER_NAMES[number])
    return str(number) if draw > 0.72 else NUMBER_WORDS[number - 1]


def quality(rng):
    """An attribute put before the noun: what it says, and how it is written there."""
    draw = rng.random()
    if draw < 0.2:
        what = rng.choice(w.AGES)
    elif draw < 0.42:
        what = rng.choice(w.MIXES)
    elif draw < 0.72:
        what = rng.choice(w.LOOKS)
    elif draw < 0.84:
        what, said = rng.choice([("woman", "women's"), ("woman", "women's"), ("woman", "women's"), ("man", "men's"),
                                 ("girl", "girls'"), ("boy", "boys'"), ("woman", "women"), ("female", "female")])
        return what, said
    else:
        what = adjective(rng)
    return what, what


def without_article(phrase):
    for start in ("a ", "an ", "the "):
        if phrase.startswith(start):
            return phrase[len(start):]
    return phrase


def trait(rng):
    if rng.random() < 0.6:
        return rng.choice(w.TRAITS)
    if rng.random() < 0.6:
        return f"{adjective(rng)} {rng.choice(['hair', 'eyes', 'skin', 'beards', 'hats', 'shoes', 'gloves', 'scarves', 'ties', 'boots', 'shirts', 'faces', 'hands', 'wings', 'masks', 'bags'])}"
    return article(f"{adjective(rng)} {thing(rng)[0]}" if rng.random() < 0.5 else thing(rng)[0])


def part_phrase(rng, number):
    """A statement about some of `number` people, as text and as (what, of)."""
    part = rng.randint(1, max(1, number - 1))
    if rng.random() < 0.4:
        part = 1
    word = NUMBER_WORDS[part - 1] if rng.random() < 0.75 else str(part)
    of = rng.choice(["of them ", "of them ", "of them ", "of whom ", ""]) if part < number else ""
    draw = rng.random()
    if draw < 0.45:
        said = trait(rng)
        if part > 1 and rng.random() < 0.5 and said.startswith("a "):
            said = regular_plural(said[2:])
        verb = rng.choice(["with", "with", "with", "has" if part == 1 else "have", "having"])
        if of == "of whom " and verb == "with":
            of = "of them "
        text = f"{word} {of}{verb} {said}"
        what = without_article(said)
    elif draw < 0.65:
        said = trait(rng)
        verb = rng.choice(["wearing", "wears" if part == 1 else "wear", "in"])
        if of == "of whom " and verb != "wears" and verb != "wear":
            of = "of them "
        text, what = f"{word} {of}{verb} {said}", without_article(said)
    elif draw < 0.88:
        what = rng.choice(w.LOOKS + w.AGES) if rng.random() < 0.7 else adjective(rng)
        verb = rng.choice(["is" if part == 1 else "are", "is" if part == 1 else "are", ""])
        text = f"{word} {of}{verb} {what}" if verb or of else f"{word} {what}"
        text = text.replace("of whom  ", "of whom ").replace("  ", " ")
        if not verb and of == "of whom ":
            text = text.replace("of whom", "of them")
    else:
        one, many = rng.choice([("woman", "women"), ("man", "men"), ("girl", "girls"), ("boy", "boys"),
                                ("child", "children"), rng.choice(w.AGENTS)])
        what = one
        text = f"{word} {of}{'is' if part == 1 else 'are'} {article(one) if part == 1 else many}" if of else \
            f"{word} {one if part == 1 else many}"
    return text, (what, part)


def kind_phrase(rng, allow_group):
    """One kind of people: text, and its entry in the brief."""
    stated, before = [], []
    while len(before) < 2 and rng.random() < 0.32:
        what, said = quality(rng)
        before.append(said)
        stated.append({"what": what, "of": None})
    number = rng.choices([None, *range(1, 13)], [1.8, 0.5, 1.2, 1.2, 1.2, 1.2, 1.2, 1, 1, 1, 1, 1, 1.2])[0]
    draw = rng.random()
    if allow_group and draw < 0.13:
        text, noun = team_phrase(rng, number, before)
    else:
        noun, plural = person_noun(rng)
        if number == 1:
            name = " ".join([*before, noun])
            text = rng.choice([article(name), article(name), "one " + name, "a single " + name])
        elif number is None:
            name = " ".join([*before, plural])
            text = rng.choice(["", "", "some ", "several ", "many ", "a few ", "a lot of ", "a number of ", "the "]) + name
            if allow_group and rng.random() < 0.6:
                text = f"{article(rng.choice(w.GROUPS))} of {name}"
        elif allow_group and draw < 0.45:
            group = rng.choice(w.GROUPS) if rng.random() < 0.85 else thing(rng)[0]
            inside, outside = [], []
            for said in before:
                (outside if rng.random() < 0.5 else inside).append(said)
            count = count_phrase(rng, number)
            start = rng.choice([article, article, article, lambda text: "the " + text])(" ".join([*outside, group]))
            text = f"{start} of {' '.join([count, *inside, plural])}"
            if rng.random() < 0.16:
                kind = "" if rng.random() < 0.5 else thing(rng)[0] + " "
                start = article(" ".join([*outside, kind + group]))
                text = f"{start}{rng.choice([', ', ', ', ' with ', ' of '])}{' '.join([count, *inside, plural])}"
        else:
            text = " ".join([count_phrase(rng, number), *before, plural])
            if rng.random() < 0.03 and not before:
                text = f"{plural} ({number})"
    return text, number, noun, stated


def team_phrase(rng, number, before):
    """"a volleyball team with six players": a noun made from the team's name and what its people are called."""
    team, one = (rng.choice(w.SPORTS), "player") if rng.random() < 0.7 else (rng.choice(w.GENRES), "musician")
    if one == "player" and rng.random() < 0.2:
        team = thing(rng)[0]
    group = rng.choice(["team", "team", "team", "squad", "side", "club"] if one == "player" else ["band", "group", "combo", "ensemble"])
    name = article(" ".join([*before, team, group])) if rng.random() < 0.85 else " ".join([*before, team, group])
    noun = f"{team} {one}"
    if number is None:
        return name, noun
    count = count_phrase(rng, number)
    if number == 1:
        one = "player" if one == "player" else "musician"
        return f"{count} {one} of {name}", noun
    draw = rng.random()
    if draw < 0.25:
        if count.endswith(" of") or count.startswith("a "):
            count = NUMBER_WORDS[number - 1]
        return rng.choice([f"{name} of {count}", f"{name}, {count} people", f"{name} with {count} members"]), noun
    if draw < 0.45:
        return f"{count} {one}s {rng.choice(['of', 'from', 'on'])} {name}", noun
    if draw < 0.6:
        return f"{name} with {count} {one}s", noun
    if draw < 0.75:
        return f"{name} of {count} {one}s", noun
    return f"{name} - {count} {one}s" if draw < 0.8 else f"{name} ({count} {one}s)" if draw < 0.85 else f"{name}, {count} {one}s", noun


def misspell(rng, text):
    """One small slip: a dropped article, a doubled space, a missing comma."""
    draw = rng.random()
    if draw < 0.4:
        return text.replace(", ", " , ", 1) if ", " in text else text + " "
    if draw < 0.7:
        return text.replace(" ", "  ", 1)
    return text.replace(",", ";", 1)


def pair(rng):
    """One prompt and its brief."""
    kinds = rng.choices([1, 2, 3], [0.76, 0.17, 0.07])[0]
    parts = [kind_phrase(rng, kinds == 1) for _ in range(kinds)]
    while sum(number or 0 for _, number, *_ in parts) > 12:
        parts = [kind_phrase(rng, False) for _ in range(kinds)]
    people = [{"number": number, "noun": noun, "stated": stated} for _, number, noun, stated in parts]
    names = [text for text, *_ in parts]
    subject = names[0] if kinds == 1 else ", ".join(names[:-1]) + rng.choice([" and ", " and ", " and ", ", ", " with "]) + names[-1]
    brief = {"people": people, "activity": "", "clothing": "", "setting": "", "style": "", "formation": "auto",
             "shot": "full_body"}
    core, tags, lead = [], [], ""
    # Whole-group traits and clothes follow the noun; then what they do, and where.
    if kinds == 1 and rng.random() < 0.07:
        said = trait(rng)
        people[0]["stated"].append({"what": without_article(said), "of": None})
        core.append(("with " if rng.random() < 0.8 else "all with ") + said)
    if rng.random() < 0.17:
        brief["clothing"] = clothing(rng)
        core.append(f"{rng.choice(['in', 'in', 'wearing', 'dressed in', 'all in', 'all wearing', 'clad in'])} {brief['clothing']}")
    if rng.random() < 0.42:
        brief["activity"] = activity(rng)
        core.append(rng.choice(["", "", "", "", "", "who are ", "are "]) + brief["activity"])
    if rng.random() < 0.13:
        brief["formation"] = rng.choice(["row", "two_rows"])
        text = rng.choice(FORMATIONS[brief["formation"]])
        if text.split()[0] in ("standing", "posed"):
            if brief["activity"]:
                text = text.split(" ", 1)[1]
            elif text.startswith("standing"):
                brief["activity"] = "standing"
        (core if rng.random() < 0.5 and not text.startswith(("one row", "two rows", "a single")) else tags).append(text)
    if rng.random() < 0.8:
        brief["setting"] = place(rng)
        draw = rng.random()
        if draw < 0.07 and " of " not in subject[:1]:
            lead = brief["setting"]
        elif draw < 0.2:
            tags.insert(0, brief["setting"])
        else:
            core.append(brief["setting"])
    head = ""
    if rng.random() < 0.16:
        brief["style"], tag = style(rng)
        if rng.random() < 0.35 and not lead:
            head = f"{article(brief['style'])} of "
        else:
            tags.append(tag)
    if rng.random() < 0.16:
        brief["shot"] = rng.choice(["waist", "waist", "full_body"])
        text = rng.choice(SHOTS[brief["shot"]])
        if not head and not lead and rng.random() < 0.4:
            head = rng.choice([f"{text} of ", article(text) + " of "])
        else:
            tags.append(text)
    numbered = [index for index, entry in enumerate(people) if entry["number"] and entry["number"] > 1]
    if kinds == 1 and numbered and rng.random() < 0.17:
        left = people[0]["number"]
        for _ in range(1 if rng.random() < 0.75 else 2):
            text, (what, of) = part_phrase(rng, left)
            people[0]["stated"].append({"what": what, "of": of})
            tags.insert(0, text) if rng.random() < 0.4 and len(people[0]["stated"]) < 2 else tags.append(text)
    elif kinds == 1 and numbered and rng.random() < 0.05:
        text, entries = halves(rng, people[0]["number"])
        people[0]["stated"] += [{"what": what, "of": of} for what, of in entries]
        tags.insert(0, text)
    elif rng.random() < 0.2:
        rng.shuffle(tags)
    if kinds == 1 and not brief["formation"] == "two_rows" and " of " not in subject and not lead and rng.random() < 0.02 \
            and people[0]["number"] != 1:
        brief["formation"] = "row"
        subject = f"{rng.choice(['a row of', 'a line of', 'one row of'])} {subject}"
    text = " ".join([subject, *core])
    if lead:
        text = f"{lead}{rng.choice([', ', ' ', ': '])}{text}"
    if not head and not lead and rng.random() < 0.06:
        head = rng.choice(["a picture of ", "an image of ", "draw ", "paint ", "show ", "please draw ", "I want ", "make ",
                           "generate ", "a scene with ", "we see ", "create an image of ", "there are ", "imagine "])
    text = ", ".join([head + text, *tags]) if rng.random() < 0.93 else ". ".join([head + text, *tags])
    if kinds == 1 and rng.random() < 0.03 and not lead:
        text = text.replace(" in ", ", in ", 1) if brief["setting"].startswith("in ") and not tags else text
    draw = rng.random()
    if draw < 0.4:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.15:
        text += rng.choice([".", ".", ".", "!", ""])
    if rng.random() < 0.03:
        text = misspell(rng, text)
    for entry in people:
        # Statements come in the order of the prompt; women and men that are only called so are stated too.
        entry["stated"].sort(key=lambda one: (text.lower().find(said_as(one["what"])) if kinds == 1 else 0))
        if entry["noun"] in ("woman", "man", "girl", "boy") and entry["noun"] not in [one["what"] for one in entry["stated"]]:
            entry["stated"].append({"what": entry["noun"], "of": None})
    return text.strip(), brief


def said_as(what):
    return {"woman": "wom", "man": "m", "girl": "girl", "boy": "boy"}.get(what, what.lower())


def halves(rng, number):
    """All of `number` people, told apart in two parts: "three women and two men"."""
    first = rng.randint(1, number - 1)
    pairs = [(("woman", "women"), ("man", "men")), (("man", "men"), ("woman", "women")), (("girl", "girls"), ("boy", "boys"))]
    parts = []
    for (one, many), part in zip(rng.choice(pairs), (first, number - first)):
        word = NUMBER_WORDS[part - 1] if rng.random() < 0.75 else str(part)
        parts.append((f"{word} {one if part == 1 else many}", (one, part)))
    return " and ".join(text for text, _ in parts), [entry for _, entry in parts]


def main():
    rng = random.Random(int(sys.argv[2]))
    for _ in range(int(sys.argv[1])):
        print(json.dumps(pair(rng), ensure_ascii=False))


if __name__ == "__main__":
    main()
