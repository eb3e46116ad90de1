"""What is said of people and scenes: short and long, and also the way Troupe's own sub-prompts say it."""

NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight"]
PLACES = {
    "outdoor court": ["on an outdoor court", "on a court", "on a basketball court"],
    "hospital": ["in a hospital", "at a hospital"], "kitchen": ["in a kitchen"], "forest": ["in a forest", "in the woods"],
    "city": ["in a city", "in a city street", "downtown"], "beach": ["on a beach", "at the beach"],
    "space": ["in space", "in outer space"], "mountains": ["in the mountains"], "farm": ["on a farm", "in a field"],
    "classroom": ["in a classroom", "at school"], "park": ["in a park"], "desert": ["in a desert"],
    "snow": ["in the snow", "in a snowy field"], "office": ["in an office"],
}
LONG = .5  # of the descriptions are said the way Troupe phrases its sub-prompts


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def plural(role):
    return {"person": "people", "superhero": "superheroes"}.get(role, role + "s")


def named(person, said, r):
    """The noun with what stands before it."""
    role = person.role
    gender = person.gender if "gender" in said else None
    noun = role
    if gender:
        word = gender
        if "age" in said and person.age == "child" and r.random() < .5:
            word, said = {"woman": "girl", "man": "boy"}[gender], said - {"age"}
        elif r.random() < .25:
            word = {"woman": "female", "man": "male"}[gender]
        noun = word if role == "person" and word in ("woman", "man", "girl", "boy") else f"{word} {role}"
    if "age" in said:
        word = {"adult": ["adult"], "child": ["child", "young"], "older": ["older", "elderly", "old"]}[person.age]
        noun = f"{word[0] if r.random() < .6 else r.choice(word)} {noun}"
    return noun


def describe(person, said, r):
    """A description of one person, "a woman doctor with dark skin and glasses"."""
    noun = named(person, said, r)
    before, after = [], []
    plainly = r.random() < LONG
    if "tone" in said:
        if not plainly and r.random() < .35:
            before.append(f"{person.tone}-skinned".replace(" ", "-"))
        else:
            after.append(f"with {person.tone} skin")
    if "hair" in said:
        kind = person.hair
        if kind == "bald":
            before.append("bald")
        elif not plainly and r.random() < .25 and kind != "curly":
            before.append(f"{kind}-haired")
        else:
            after.append(f"with {kind} hair")
    if "beard" in said:
        after.append("with a beard") if plainly or r.random() < .7 else before.append("bearded")
    if "glasses" in said:
        after.append("wearing glasses" if plainly or r.random() < .6 else "with glasses")
    if "headscarf" in said:
        after.append("wearing a headscarf" if plainly or r.random() < .6 else "with a headscarf")
    if "clothes" in said:
        after.append(r.choice([f"wearing {person.clothes}", f"in {person.clothes}", f"in a {person.clothes} shirt", f"wearing a {person.clothes} shirt"]))
    if not plainly:
        r.shuffle(before)
        r.shuffle(after)
        joined = []
        for words in after:  # "with dark skin and a beard"
            if joined and joined[-1].startswith("with ") and words.startswith("with ") and r.random() < .6:
                joined[-1] += (" and " if r.random() < .8 else ", ") + words.removeprefix("with ")
            else:
                joined.append(words)
        after = joined
        if after and r.random() < .25:
            return ", ".join([article(" ".join(before + [noun]))] + [it.removeprefix("with ").removeprefix("a ") for it in after])
    return " ".join([article(" ".join(before + [noun]))] + after)


def group(roles, r):
    """"a group of two chefs and a doctor"."""
    kinds = []
    for role in dict.fromkeys(roles):
        number = roles.count(role)
        kinds.append(article(role) if number == 1 else f"{NUMBERS[number]} {plural(role)}")
    words = " and ".join(kinds)
    if len(roles) == 1:
        return words
    lead = r.choices(["a group of ", "", "a team of ", "a photo of "], [.55, .35, .05, .05])[0]
    return lead + words


def place(setting, r):
    return PLACES[setting][0] if r.random() < .7 else r.choice(PLACES[setting])


def empty(setting, r):
    words = place(setting, r)
    return r.choice([words, f"an empty scene {words}", f"nobody {words}", f"a picture {words}"])


def scene(people, said, setting, r):
    """A caption of the whole scene, and where in it each person's description stands (start, end)."""
    if not people:
        return empty(setting, r), []
    spans, text = [], ""
    if any(said):
        if 1 < len(people) and r.random() < .25:
            text = group([it.role for it in people], r) + ": "
        for index, (person, words) in enumerate(zip(people, said)):
            if index:
                text += " and " if index == len(people) - 1 else ", "
            start = len(text)
            text += describe(person, words, r)
            spans.append((start, len(text)))
    else:
        text = group([it.role for it in people], r)
        spans = [(0, len(text))] * len(people)
    if r.random() < .75:
        text += (", " if r.random() < .3 else " ") + place(setting, r)
    return text, spans


def base(people, setting, r):
    """The base prompt of a scene painted by regions: the group and the place, or the place alone."""
    words = place(setting, r)
    if not people or r.random() < .2:
        return words
    said = group([it.role for it in people], r)
    return said if r.random() < .12 else f"{said} {words}"
