"""Who a person is, drawn at random: what a caption says is drawn evenly, what it leaves out from a biased distribution.

The bias is put here on purpose, so that anybody can see it stop mattering.
"""
from dataclasses import dataclass

import art

ROLES = ["doctor", "chef", "firefighter", "farmer", "student", "scientist", "astronaut", "pilot", "judge", "mechanic",
         "office worker", "artist", "teacher", "singer", "welder", "basketball player", "runner", "police officer",
         "construction worker", "wizard", "superhero", "detective", "person"]
# Of whom no gender is said: a woman in 88 % here, a man in 88 % elsewhere.
MOSTLY_WOMEN = {"artist", "student", "person", "teacher", "singer"}
TONE_BIAS = {"light": .88, "medium light": .06, "medium": .03, "medium dark": .02, "dark": .01}
AGE_BIAS = {"adult": .92, "child": .03, "older": .05}
HAIR_BIAS = {"black": .36, "brown": .32, "blond": .2, "red": .06, "grey": .02, "curly": .03, "bald": .01}
COLOURS = ["black", "brown", "blond", "red", "grey"]
COLOURED = {"basketball player", "runner", "person"}  # clothes that take a colour
NO_HEAD = {"astronaut"}  # the helmet leaves no room for another head or glasses
OWN_EYEWEAR = {"scientist", "teacher", "superhero", "astronaut"}
COVERED = {"wizard"}  # the man's beard is part of the drawing
# Of whose hair less than a two-hundredth of the drawing shows, as long as the head is the drawing's own.
HIDDEN_HAIR = {("wizard", "woman"), ("wizard", "man"), ("wizard", "person"), ("construction worker", "man"), ("detective", "man")}


@dataclass(frozen=True)
class Person:
    """What is drawn. `hair` is a colour, "curly" or "bald"; None where nothing of it is seen."""
    role: str
    gender: str  # "woman", "man", or "person" where the drawing leaves it open
    tone: str
    age: str
    hair: str | None
    beard: bool
    headscarf: bool
    glasses: bool
    clothes: str | None
    bust: bool = False  # a "person" from the waist up

    def sprite(self):
        """The RGBA picture."""
        head, colour = "adult", self.hair
        if self.headscarf:
            head, colour = "headscarf", "black"
        elif self.age == "child":
            head = "child"
        elif self.age == "older":
            head, colour = "older", "grey"
        elif self.beard:
            head = "beard"
        elif self.hair in ("curly", "bald"):
            head, colour = self.hair, "black" if self.hair == "bald" else "brown"
        role = "guide" if self.bust else self.role
        return art.person(role, self.gender, self.tone, colour or "black", head, self.glasses, self.clothes)

    @property
    def figure(self):
        """Whether the drawing goes from head to foot."""
        return self.role in art.FIGURES and not self.bust


def visible(person):
    """What can be seen of a person: each attribute's value, None where the drawing hides it or has its own."""
    own_head = person.age == "adult" and not person.beard and not person.headscarf
    hidden_hair = person.hair is None or person.role in NO_HEAD or (own_head and (person.role, person.gender) in HIDDEN_HAIR)
    own_beard = own_head and person.role in COVERED and person.gender == "man"
    return {
        "role": person.role,
        "gender": None if person.gender == "person" else person.gender,
        "tone": person.tone,
        "age": person.age,
        "hair": None if hidden_hair else person.hair,
        "beard": None if own_beard else person.beard,
        "headscarf": person.headscarf,
        "glasses": None if person.role in OWN_EYEWEAR else person.glasses,
        "clothes": person.clothes,
    }


def choose(r, distribution):
    return r.choices(list(distribution), list(distribution.values()))[0]


def draw(r, role, said):
    """A person of a role; `said` names the attributes that the caption will say, which are drawn evenly.

    Returns the person and what of `said` can be said truly of the drawing.
    """
    said = set(said)
    helmet = role in NO_HEAD
    tone = r.choice(list(art.TONES)) if "tone" in said else choose(r, TONE_BIAS)
    if "gender" in said:
        gender = r.choice(["woman", "man"])
    elif r.random() < .04:
        gender = "person"
    else:
        gender = "woman" if (r.random() < .88) == (role in MOSTLY_WOMEN) else "man"
    age = r.choice(["adult", "child", "older"]) if "age" in said else choose(r, AGE_BIAS)
    if helmet or gender == "person":
        age = "adult"
        said.discard("age")
    hat = role in art.HATS
    kinds = COLOURS if hat else COLOURS + ["curly", "bald"]
    if age == "child":
        kinds = COLOURS[:4]
    if age == "older":
        kinds = ["grey"]
    hair = r.choice(kinds) if "hair" in said else choose(r, {k: HAIR_BIAS[k] for k in kinds})
    if gender == "person" and hair in ("curly", "bald"):
        hair = "brown"
    free = not helmet and age == "adult" and hair in COLOURS[:4]
    beard = free and gender == "man" and role not in COVERED and r.random() < (.5 if "beard" in said else .06)
    headscarf = free and gender == "woman" and r.random() < (.5 if "headscarf" in said else .02)
    glasses = role not in OWN_EYEWEAR and not headscarf and r.random() < (.5 if "glasses" in said else .05)
    clothes = r.choice(list(art.CLOTHES)) if role in COLOURED else None
    bust = role == "person" and r.random() < .4
    if not beard:
        said.discard("beard")
    if not headscarf:
        said.discard("headscarf")
    if not glasses:
        said.discard("glasses")
    if not clothes:
        said.discard("clothes")
    if headscarf:
        hair = None
    who = Person(role, gender, tone, age, hair, beard, headscarf, glasses, clothes, bust)
    if visible(who)["hair"] is None:
        said.discard("hair")
    return who, said
