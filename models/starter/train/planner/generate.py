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
NUMBER_NAMES = {2: ["a couple of", "a pair of", "a duo of", "a twosome of", "couple of"], 3: ["a trio of", "a threesome of"],
                4: ["a quartet of", "a foursome of"], 5: ["a quintet of"],
                6: ["half a dozen", "half a dozen", "a half-dozen", "half-a-dozen", "a sextet of"], 7: ["a septet of"],
                8: ["an octet of"], 9: ["a nonet of"], 12: ["a dozen", "a dozen", "one dozen", "a full dozen", "a round dozen of"]}
ENSEMBLES = {2: "duo", 3: "trio", 4: "quartet", 5: "quintet", 6: "sextet", 7: "septet", 8: "octet"}
UNSAID = ["", "", "", "some ", "several ", "many ", "a few ", "a lot of ", "a number of ", "the ", "lots of ", "various ",
          "a bunch of ", "numerous ", "plenty of ", "countless ", "these ", "our "]
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
    if draw < 0.28:
        noun = rng.choice(w.PEOPLE)
        return noun, plural_of(noun)
    if draw < 0.60:
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
    draw = rng.random()
    garment = rng.choice(w.GARMENTS if draw < 0.4 else w.MORE_GARMENTS) if draw < 0.85 else thing(rng)[1]
    draw = rng.random()
    if draw < 0.75:
        return f"{rng.choice(w.COLOURS) if draw < 0.55 else adjective(rng)} {garment}"
    return garment


def style(rng):
    """The style as the brief has it, and as a tag says it."""
    draw = rng.random()
    if draw < 0.6:
        name = rng.choice(w.STYLES + w.MORE_STYLES)
    elif draw < 0.85:
        name = f"{adjective(rng)} {rng.choice(w.MEDIUMS)}"
    elif draw < 0.93:
        name = rng.choice(w.ARTISTS)
        return name, rng.choice(["in the style of ", "in the manner of ", "by ", "after "]) + name
    else:
        name = rng.choice(w.MEDIUMS)
    draw = rng.random()
    tag = name if draw < 0.5 else f"{name} style" if draw < 0.75 else f"in {name} style" if draw < 0.85 else \
        f"as {article(name)}" if draw < 0.95 else f"style: {name}"
    return name, tag


def count_phrase(rng, number):
    """"five", "5", "a quintet of"."""
    draw = rng.random()
    if number in NUMBER_NAMES and draw < (0.35 if number in (2, 3, 4, 6, 12) else 0.2):
        return rng.choice(NUMBER_NAMES[number])
    said = str(number) if draw > 0.72 else NUMBER_WORDS[number - 1]
    return rng.choice(["exactly ", "just ", "only ", "precisely ", "the ", "my ", "these ", "our "]) + said if rng.random() < 0.05 else said


def quality(rng):
    """An attribute put before the noun: what it says, and how it is written there."""
    draw = rng.random()
    if draw < 0.2:
        what = rng.choice(w.AGES)
    elif draw < 0.42:
        what = rng.choice(w.MIXES)
    elif draw < 0.72:
        what = rng.choice(rng.choice([w.LOOKS, w.LOOKS, w.NATIONS, w.NATIONS, w.STATES]))
        what = what if rng.random() < 0.92 else f"{rng.choice(['very', 'slightly', 'really', 'extremely', 'fairly', 'visibly'])} {what.lower() if what in w.STATES else rng.choice(w.LOOKS[:24])}"
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


def trait(rng, many=False):
    """What people have or wear; of several people in the plural, more often than not."""
    draw = rng.random()
    if draw < 0.55:
        said = rng.choice(rng.choice([w.TRAITS, w.TRAITS, w.MORE_TRAITS, w.MORE_TRAITS, w.MORE_TRAITS]))
    elif draw < 0.65:
        garment = rng.choice(w.GARMENTS + w.MORE_GARMENTS)
        said = garment if rng.random() < 0.4 else f"{rng.choice(w.COLOURS)} {garment}"
    elif draw < 0.82:
        part = rng.choice(["hair", "eyes", "skin", "beards", "hats", "shoes", "gloves", "scarves", "ties", "boots", "shirts",
                           "faces", "hands", "wings", "masks", "bags", "moustaches", "sleeves", "ribbons", "caps", "belts"])
        said = f"{adjective(rng)} {part}"
    else:
        one, plural = thing(rng)
        one, plural = (f"{adjective(rng)} {one}", None) if rng.random() < 0.5 else (one, plural)
        return plural if many and plural and rng.random() < 0.7 else article(one)
    if many and said.startswith(("a ", "an ")) and rng.random() < 0.6 and " in " not in said:
        return plural_of(without_article(said))
    return said


PLURAL_PEOPLE = [("woman", "women"), ("woman", "women"), ("man", "men"), ("man", "men"), ("girl", "girls"), ("boy", "boys"),
                 ("child", "children"), ("teenager", "teenagers")]


def said_of(rng, part):
    """What can be said after "two of them": a text, and its `what`."""
    one, draw = part == 1, rng.random()
    if draw < 0.34:
        said = trait(rng, not one)
        verb = rng.choice(["with", "with", "with", "with", "has" if one else "have", "having"])
        return f"{verb} {said}", without_article(said)
    if draw < 0.55:
        said = trait(rng, not one)
        verb = rng.choice(["wearing", "wearing", "in", "in", "wears" if one else "wear", "dressed in", "carrying", "holding"])
        return f"{verb} {said}", without_article(said)
    if draw < 0.78:
        what = rng.choice(rng.choice([w.LOOKS, w.STATES, w.STATES, w.NATIONS, w.AGES])) if rng.random() < 0.75 else adjective(rng)
        return f"{rng.choice(['is' if one else 'are', 'is' if one else 'are', ''])} {what}".strip(), what
    if draw < 0.9:
        single, many = rng.choice(PLURAL_PEOPLE) if rng.random() < 0.75 else rng.choice(w.AGENTS)
        said = article(single) if one else many
        return f"{rng.choice(['is', 'is', '']) if one else rng.choice(['are', 'are', ''])} {said}".strip(), single
    return (lambda doing: (doing, doing))(rng.choice(w.VERBS) if rng.random() < 0.4 else activity(rng))


def parts_phrase(rng, number):
    """Statements about some of `number` people: a text and [(what, of)]."""
    draw = rng.random()
    if draw < 0.62:
        part = 1 if rng.random() < 0.4 or number == 2 else rng.randint(1, number - 1)
        said, what = said_of(rng, part)
        word = NUMBER_WORDS[part - 1] if rng.random() < 0.75 else str(part)
        whose = rng.choice(["of them ", "of them ", "of them ", "of whom ", "of which ", "", "", ""])
        if whose == "of whom " and said.split()[0] not in ("is", "are", "has", "have", "wears", "wear"):
            whose = "of them "
        if whose == "" and said.split()[0] in ("is", "are") and rng.random() < 0.4:
            said = said.split(" ", 1)[1]
        if part == 1 and rng.random() < 0.08:
            word = rng.choice(["just one", "a single one", "one alone"])
        text = f"{word} {whose}{said}"
        if rng.random() < 0.08:
            text = "including " + f"{word} {said.removeprefix('is ').removeprefix('are ')}"
        if part * 2 == number and rng.random() < 0.6:
            text = f"half {whose or 'of them '}{said}" if number > 2 else f"one {whose}{said}"
        elif part == number - 1 and part > 1 and rng.random() < 0.25:
            text = f"all but one {whose.replace('which', 'them').replace('whom', 'them')}{said}"
        return text, [(what, part)]
    if draw < 0.74:
        return halves(rng, number)
    first = rng.randint(1, number - 1)
    parts, entries = [], []
    for place, part in enumerate((first, number - first) if rng.random() < 0.6 or number < 3 else (first, max(1, (number - first) // 2))):
        said, what = said_of(rng, part)
        word = NUMBER_WORDS[part - 1] if rng.random() < 0.75 else str(part)
        whose = rng.choice(["of them ", "", "", ""]) if place == 0 else ""
        if place and sum(of for _, of in entries) + part == number and rng.random() < 0.5:
            word = rng.choice(["the other" if part == 1 else "the others", "the other" if part == 1 else "the rest",
                               f"the other {word}", f"the remaining {word}"]) if part > 1 else rng.choice(["the other", "the other one"])
        elif place and part == 1 and rng.random() < 0.5:
            word = rng.choice(["another", "another one"])
        parts.append(f"{word} {whose}{said}")
        entries.append((what, part))
    return rng.choice([" and ", ", ", ", ", "; ", " and "]).join(parts), entries


def all_phrase(rng, number):
    """A statement about all of them that follows the noun, or about none: a text and [(what, null)]."""
    draw = rng.random()
    plain = {2: ["both", "both of them"], 3: ["all three", "all three of them"]}.get(number, [])
    whom = rng.choice(["all", "all of them", "each", "each of them", "every one of them", "everyone", *plain, *plain])
    if draw < 0.62:
        one = whom.startswith("e")
        said, what = said_of(rng, 1 if one else 2)
        if said.split()[0] in ("holding", "carrying") or " " not in said and said in w.VERBS:
            return all_phrase(rng, number)
        if rng.random() < 0.4 and said.split()[0] in ("is", "are"):
            said = said.split(" ", 1)[1]
        return f"{whom} {said}", [(what, None)]
    if draw < 0.74:
        single, many = rng.choice(PLURAL_PEOPLE[:6])
        return rng.choice([f"all {many}", f"{many} only", many, f"all of them {many}", f"who are all {many}"]), [(single, None)]
    said = without_article(trait(rng))
    if draw < 0.86:
        return rng.choice([f"none of them with {article(said) if not said.endswith('s') else said}", f"none wearing {said}",
                           f"nobody wearing {said}", f"without {said}", f"no {said}", f"without any {said}", f"no one has {said}",
                           f"none with {said}", f"none of them wears {said}", f"no one in {said}"]), [("no " + said, None)]
    if draw < 0.93:
        what = rng.choice(w.STATES + w.LOOKS)
        return rng.choice([f"none of them {what}", f"nobody {what}", f"none of them is {what}", f"not {what}",
                           f"no one is {what}"]), [("not " + what, None)]
    what = rng.choice(w.STATES + w.LOOKS + w.AGES)
    return rng.choice([f"who are {what}", f"who are all {what}", f"that look {what}"]), [(what, None)]


def qualities(rng, most=2, chance=0.32):
    """Attributes before a noun: [(what, said)]."""
    found = []
    while len(found) < most and rng.random() < chance:
        found.append(quality(rng))
    return found


def states(found):
    return [{"what": what, "of": None} for what, _ in found]


def said(found, *rest):
    """Adjectives and what they stand before."""
    comma = ", " if 1 < len(found) and found[0][1].count(" ") == 0 and len(found[0][1]) % 5 == 0 else " "
    return " ".join(filter(None, [comma.join(text for _, text in found), *rest]))


def kind_phrase(rng, alone):
    """One kind of people: text, number, noun, stated. `alone`: no other kind stands beside it."""
    before = qualities(rng, 3 if rng.random() < 0.1 else 2, 0.32 if alone else 0.24)
    number = rng.choices([None, *range(1, 13)], [1.6, 0.4, 1.2, 1.2, 1.2, 1.2, 1.2, 1, 1, 1, 1, 1, 1.2] if alone else
                         [0.9, 3.5, 2.4, 2.2, 1.8, 1.2, 0.9, 0.5, 0.4, 0.3, 0.2, 0.1, 0])[0]
    draw = rng.random()
    if alone and draw < 0.11:
        return (*team_phrase(rng, number, before), states(before))
    noun, plural = person_noun(rng) if alone or rng.random() < 0.75 else (lambda job: (job, plural_of(job)))(rng.choice(w.JOBS))
    if number == 1:
        name = said(before, noun)
        text = rng.choice([article(name), article(name), article(name), "one " + name, "1 " + name, "a single " + name,
                           rng.choice(["a lone ", "a solitary ", "the ", "just one "]) + name])
    elif number is None:
        name = said(before, plural)
        text = rng.choice(UNSAID) + name
        if alone and rng.random() < 0.4:
            text = f"{article(rng.choice(w.GROUPS))} of {name}"
    elif alone and draw < 0.42:
        group = rng.choice(w.GROUPS) if rng.random() < 0.8 else thing(rng)[0]
        outside = [one for one in before if rng.random() < 0.5]
        inside = [one for one in before if one not in outside]
        before = outside + inside
        people = said(inside, plural)
        count = count_phrase(rng, number)
        start = rng.choice([article, article, article, lambda text: "the " + text])
        text = f"{start(said(outside, group))} of {count} {people}"
        draw = rng.random()
        if draw < 0.16:
            name = said(outside, thing(rng)[0] if rng.random() < 0.5 else "", group)
            text = f"{article(name)}{rng.choice([', ', ', ', ' with ', ': '])}{count} {people}"
        elif draw < 0.24:
            text = f"{article(said(outside, group))} of {people}, {count.removesuffix(' of')}"
            text += rng.choice([" of them", " people", " in all", " in total"])
    else:
        people = said(before, plural)
        text = f"{count_phrase(rng, number)} {people}"
        if alone and rng.random() < 0.07:
            text = rng.choice([f"{people} ({number})", f"{number}x {people}", f"{number} x {people}", f"{people}, {number} of them",
                               f"{people} x {number}", f"({NUMBER_WORDS[number - 1]}) {people}", f"{people}: {number}",
                               f"{people}, {NUMBER_WORDS[number - 1]} of them", f"{people}, {NUMBER_WORDS[number - 1]} in total"])
    return text, number, noun, states(before)


def team_phrase(rng, number, before):
    """"a volleyball team with six players": a noun made from the team's name and what its people are called."""
    team, one = (rng.choice(w.SPORTS), "player") if rng.random() < 0.62 else (rng.choice(w.GENRES), "musician")
    if rng.random() < 0.3:
        team = thing(rng)[0] if rng.random() < 0.7 else f"{adjective(rng)} {thing(rng)[0]}"
    noun = f"{team} {one}"
    if one == "musician" and number in ENSEMBLES and rng.random() < 0.6:
        return article(said(before, team, ENSEMBLES[number])), number, noun
    group = rng.choice(["team", "team", "team", "squad", "side", "club"] if one == "player" else ["band", "group", "combo", "ensemble"])
    name = said(before, team, group)
    name = article(name) if rng.random() < 0.85 else name
    if number is None:
        return name, number, noun
    count = count_phrase(rng, number)
    if number == 1:
        return f"{count} {one} of {name}", number, noun
    bare = NUMBER_WORDS[number - 1] if " " in count else count
    ways = [f"{name} of {bare}", f"{name}, {bare} people", f"{name} with {bare} members", f"{name}, {bare} of them", f"{name} ({number})"]
    if rng.random() < 0.25:
        return rng.choice(ways), number, noun
    if rng.random() < 0.27:
        return f"{count} {one}s {rng.choice(['of', 'from', 'on'])} {name}", number, noun
    return rng.choice([f"{name} with {count} {one}s", f"{name} of {count} {one}s", f"{name} - {count} {one}s",
                       f"{name} ({count} {one}s)", f"{name}, {count} {one}s", f"{name}, {count} {one}s"]), number, noun


def listed_phrase(rng):
    """People named one by one: "a squire, a cook and a spy"; the names stand with an article or without."""
    count = rng.choices([2, 3, 4, 5, 6], [2, 4, 4, 2, 1])[0]
    bare = rng.random() < 0.35
    texts, people = [], []
    ones = rng.random() < 0.15
    for _ in range(count):
        before = qualities(rng, 1, 0.16)
        noun = person_noun(rng)[0] if rng.random() < 0.7 else rng.choice(w.JOBS + w.PEOPLE)
        name = said(before, noun)
        texts.append(name if bare else "one " + name if ones else article(name) if rng.random() < 0.95 else "the " + name)
        people.append({"number": 1, "noun": noun, "stated": states(before)})
    last = rng.choice([", ", " and ", " & ", ", and "]) if bare else rng.choice([" and ", " and ", " and ", ", ", ", and ", " & "])
    return rng.choice([", ", ", ", ", ", ", ", " / ", "; ", ","] if bare else [", "]).join(texts[:-1]) + last + texts[-1], people, bare


def several_phrase(rng):
    """Two to four kinds, each with a count, and now and then with what only they wear or have."""
    parts, people = [], []
    for _ in range(rng.choices([2, 3, 4], [0.62, 0.3, 0.08])[0]):
        text, number, noun, stated = kind_phrase(rng, False)
        if rng.random() < 0.15:
            what = trait(rng, number != 1)
            text += f" {rng.choice(['with', 'with', 'in', 'wearing'])} {what}"
            stated = [*stated, {"what": without_article(what), "of": None}]
        parts.append(text)
        people.append({"number": number, "noun": noun, "stated": stated})
    between = rng.choice([", ", ", ", ", ", ", ", "; ", " + ", ", plus ", " and "])
    last = rng.choice([" and ", " and ", " and ", " and ", ", and ", ", ", " with ", " plus ", " + ", " & ", " alongside ", " together with ",
                       " as well as ", " accompanied by ", " next to "])
    text = between.join(parts[:-1]) + last + parts[-1]
    total = sum(one["number"] or 99 for one in people)
    if total <= 12 and rng.random() < 0.12:
        text = f"{rng.choice([article(rng.choice(w.GROUPS)) + ' of ' + NUMBER_WORDS[total - 1], NUMBER_WORDS[total - 1] + ' people', article(rng.choice(w.GROUPS))])}: {text}"
    elif rng.random() < 0.1:
        at = rng.randrange(len(people))
        number, noun = people[at]["number"], people[at]["noun"]
        if number and number > 1 and not people[at]["stated"]:
            what, short = said_of(rng, 1)
            text += f", one of the {plural_of(noun)} {what}"
            people[at]["stated"] = [{"what": short, "of": 1}]
    return text, people


def opening(rng):
    """How a prompt may open, before who is seen."""
    return rng.choice(["a picture of ", "an image of ", "draw ", "paint ", "show ", "please draw ", "I want ", "make ", "generate ",
                       "a scene with ", "we see ", "create an image of ", "imagine ", "paint me ", "show me ", "give me ",
                       "can you draw ", "could you make an image with ", "please paint ", "I need ", "I would like ", "let's have ",
                       "let me see ", "picture of ", "image: ", "subject: ", "a scene: ", "depict ", "how about ", "please show us ",
                       "can we have ", "render ", "generate a picture showing ", "make me a picture with ", "I'm looking for ",
                       "this is ", "here we have ", "we want a scene in which there might be ", "would you sketch ", "a view of ",
                       "illustrate ", "create ", "try ", "there should be ", "visualize ", "prompt: ", "Hi! Draw ", "design "])


def misspell(rng, text):
    """One small slip: a comma out of place, a doubled space, a letter that is missing, doubled or swapped."""
    draw = rng.random()
    if draw < 0.25:
        return text.replace(", ", rng.choice([" , ", ",", " ,", ",, "]), 1)
    if draw < 0.45:
        return text.replace(" ", "  ", 1)
    if draw < 0.55:
        return text.replace(",", ";", 1)
    words = text.split(" ")
    # Only words that the brief doesn't hold: counts, articles and prepositions.
    at = [index for index, word in enumerate(words) if word in {*NUMBER_WORDS[2:], "wearing", "with", "group", "standing", "picture"}]
    if not at:
        return text
    index = rng.choice(at)
    word = words[index]
    cut = rng.randrange(1, len(word))
    words[index] = rng.choice([word[:cut] + word[cut + 1:], word[:cut] + word[cut - 1:],
                               word[:cut - 1] + word[cut] + word[cut - 1] + word[cut + 1:]])
    return " ".join(words)


def pair(rng):
    """One prompt and its brief."""
    while True:
        text, brief = attempt(rng)
        fits = sum(one["number"] or 0 for one in brief["people"]) <= 12 and len(brief["activity"]) <= 80
        fits = fits and all(len(one["noun"]) <= 60 and len(one["stated"]) <= 6 for one in brief["people"])
        fits = fits and all(len(state["what"]) <= 40 for one in brief["people"] for state in one["stated"])
        if fits and not w.is_unseen(text):
            return text, brief


def attempt(rng):
    draw, bare = rng.random(), False
    if draw < 0.68:
        subject, number, noun, stated = kind_phrase(rng, True)
        people = [{"number": number, "noun": noun, "stated": stated}]
    else:
        subject, people, bare = (*several_phrase(rng), False) if draw < 0.88 else listed_phrase(rng)
    alone, only = len(people) == 1, people[0]
    brief = {"people": people, "activity": "", "clothing": "", "setting": "", "style": "", "formation": "auto",
             "shot": "full_body"}
    if alone and rng.random() < 0.03 and only["number"] != 1:
        many, what = rng.choice([("women", "woman"), ("men", "man")])
        count = count_phrase(rng, only["number"]) if only["number"] else "some"
        found = qualities(rng, 1, 0.5)
        noun, plural = person_noun(rng)
        subject = f"{count} {said(found, many)}, {rng.choice(['all', 'all', 'all of them'])} {plural}"
        only["noun"], only["stated"] = noun, states(found) + [{"what": what, "of": None}]
    many = alone and only["number"] != 1
    known = alone and only["number"] and only["number"] > 1
    apposed, late = "", []
    if known and rng.random() < 0.24:
        apposed, entries = parts_phrase(rng, only["number"])
        stated = [{"what": what, "of": of} for what, of in entries]
        if rng.random() < 0.45:
            only["stated"] += stated
        else:
            late, apposed = [(apposed, stated)], ""
    elif many and rng.random() < 0.11:
        apposed, entries = all_phrase(rng, only["number"])
        stated = [{"what": what, "of": of} for what, of in entries]
        if rng.random() < 0.5:
            only["stated"] += stated
        else:
            late, apposed = [(apposed, stated)], ""
    if apposed and rng.random() < 0.12:
        subject, apposed = f"{subject} ({apposed})", ""
    core, tags, lead = [], [], ""
    # Bare names one after the other would swallow bare places and clothes.
    terse = not bare and rng.random() < 0.12
    if alone and rng.random() < 0.08:
        what = trait(rng, many)
        only["stated"].append({"what": without_article(what), "of": None})
        core.append(rng.choice(["with ", "with ", "with ", "all with ", "each with ", "having ", "who have "]) + what) \
            if not terse else core.append("with " + what)
    if rng.random() < 0.18:
        brief["clothing"] = clothing(rng)
        worn = rng.choice(["in", "in", "wearing", "dressed in", "all in", "all wearing", "clad in", "who wear"])
        tags.append(brief["clothing"] if rng.random() < 0.6 else f"wearing {brief['clothing']}") if terse or rng.random() < 0.05 \
            else core.append(f"{worn} {brief['clothing']}")
    doing = ""
    if rng.random() < 0.38:
        brief["activity"] = activity(rng)
        doing = rng.choice(["", "", "", "", "", "who are ", "are ", "all "]) + brief["activity"]
    place_text = ""
    if rng.random() < 0.82:
        brief["setting"] = place(rng)
        if terse and rng.random() < 0.75:
            name = f"{place_noun(rng)}" if rng.random() < 0.4 else f"{adjective(rng)} {place_noun(rng)}"
            brief["setting"] = name + (" " + rng.choice(w.TIMES) if rng.random() < 0.08 else "")
        place_text = brief["setting"]
    if terse:
        tags += [one for one in (doing, place_text) if one]
    else:
        loose = rng.random()
        if place_text and loose < 0.08 and not bare:
            lead = place_text
            core += [doing] if doing else []
        elif loose < 0.2:
            core += [place_text] if place_text else []
            tags += [doing] if doing else []
        elif loose < 0.32:
            core += [doing] if doing else []
            tags += [place_text] if place_text else []
        elif loose < 0.4:
            core += [one for one in (place_text, doing) if one]
        else:
            core += [one for one in (doing, place_text) if one]
    if rng.random() < 0.13:
        brief["formation"] = rng.choice(["row", "two_rows"])
        text = rng.choice(FORMATIONS[brief["formation"]])
        if text.split()[0] in ("standing", "posed"):
            if brief["activity"]:
                text = text.split(" ", 1)[1]
            elif text.startswith("standing"):
                brief["activity"] = "standing"
        early = rng.random() < 0.5 and not terse and not text.startswith(("one row", "two rows", "a single"))
        core.insert(rng.choice([0, len(core)]), text) if early else tags.insert(rng.choice([0, len(tags)]), text)
    head = ""
    if rng.random() < 0.22:
        brief["style"], tag = style(rng)
        if rng.random() < 0.4 and not lead:
            head = rng.choice([f"{article(brief['style'])} of ", f"{article(brief['style'])} of ", f"{brief['style']} of ", f"{brief['style']}: ",
                               f"{brief['style']}, ", f"{article(brief['style'])} with ", f"{article(brief['style'])} that shows "])
        else:
            tags.append(tag)
    if rng.random() < 0.15:
        brief["shot"] = rng.choice(["waist", "waist", "full_body"])
        text = rng.choice(SHOTS[brief["shot"]])
        if not head and not lead and rng.random() < 0.4:
            head = rng.choice([f"{text} of ", article(text) + " of "])
        elif not terse and rng.random() < 0.15:
            core.append(text)
        else:
            tags.append(text)
    if late:
        text, stated = late[0]
        tags.insert(0, text) if rng.random() < 0.75 else tags.append(text)
        only["stated"] += stated
    elif rng.random() < 0.2:
        rng.shuffle(tags)
    if many and brief["formation"] == "auto" and " of " not in subject and not lead and rng.random() < 0.02:
        brief["formation"] = "row"
        subject = f"{rng.choice(['a row of', 'a line of', 'one row of'])} {subject}"
    if not head and not lead and rng.random() < 0.12:
        head = opening(rng)
    text = joined(rng, head, lead, subject, apposed, core, tags, terse)
    for entry in people:
        if entry["noun"] in ("woman", "man", "girl", "boy") and entry["noun"] not in [one["what"] for one in entry["stated"]]:
            entry["stated"].append({"what": entry["noun"], "of": None})
    return text, brief


def joined(rng, head, lead, subject, apposed, core, tags, terse):
    """The parts of a prompt as one text, with the capitals and slips of people who type."""
    text = head + subject
    if apposed:
        text += ", " + apposed + ("," if core and rng.random() < 0.85 else "")
    if core:
        text += (", " if rng.random() < 0.05 else " ") + core[0]
        for piece in core[1:]:
            text += (", " if rng.random() < 0.07 else " ") + piece
    if lead:
        text = f"{lead}{rng.choice([', ', ', ', ' ', ': ', ' - '])}{text}"
    draw = rng.random()
    between = ", " if draw < 0.86 else rng.choice(". ; - | / :".split()) if draw < 0.9 else rng.choice(["; ", " - ", ". ", " | ", " / ", ","])
    if between in ".;:":
        between += " "
    elif between in "-|/":
        between = f" {between} "
    text = between.join([text, *tags])
    draw = rng.random()
    if draw < 0.38:
        text = text[0].upper() + text[1:]
    elif draw < 0.40:
        text = text.upper()
    elif draw < 0.43:
        text = " ".join(word[:1].upper() + word[1:] for word in text.split(" "))
    elif draw < 0.47:
        text = text.lower()
    if rng.random() < 0.2:
        text += rng.choice([".", ".", ".", "!", "!!", "...", "?", " please", ", please", ", thanks"])
    if rng.random() < 0.06:
        text = misspell(rng, text)
    return text.strip()


def halves(rng, number):
    """All of `number` people, told apart in two parts: "three women and two men"."""
    first = rng.randint(1, number - 1)
    draw = rng.random()
    if draw < 0.7:
        two = rng.choice([(("woman", "women"), ("man", "men")), (("man", "men"), ("woman", "women")), (("girl", "girls"), ("boy", "boys")),
                          (("boy", "boys"), ("girl", "girls")), (("adult", "adults"), ("child", "children"))])
    else:
        words = rng.choice([w.NATIONS, w.LOOKS, w.STATES, w.COLOURS])
        two = tuple((what, what) for what in rng.sample(words, 2))
    parts = []
    spelled = rng.random() < 0.75
    for (one, many), part in zip(two, (first, number - first)):
        word = NUMBER_WORDS[part - 1] if spelled else str(part)
        parts.append((f"{word} {one if part == 1 else many}", (one, part)))
    return rng.choice([" and ", " and ", " and ", ", "]).join(text for text, _ in parts), [entry for _, entry in parts]


def main():
    rng = random.Random(int(sys.argv[2]))
    for _ in range(int(sys.argv[1])):
        print(json.dumps(pair(rng), ensure_ascii=False))


if __name__ == "__main__":
    main()
