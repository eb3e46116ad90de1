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
LEAST_HAIR = .01  # of a drawing, for its colour to be told
# Of a figure's head, in pixels, for glasses and age to be told; a bust's is larger wherever a whole person is judged.
LEAST_HEAD, HEAD_OF_FIGURE = {"glasses": 20, "age": 16}, .22


@dataclass(frozen=True)
class Person:
    """What is drawn. `hair` is a colour, "curly" or "bald"; None where nothing of it is seen."""
    role: str
    gender: str  # "woman" or "man"
    tone: str
    age: str
    hair: str | None
    beard: bool
    headscarf: bool
    glasses: bool
    clothes: str | None
    bust: bool = False  # a "person" from the waist up

    def head(self):
        """The kind of head, and the colour of its hair."""
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
        return head, colour or "black"

    @property
    def drawing(self):
        """The name of the emoji, which is the role's but for a person from the waist up."""
        return "guide" if self.bust else self.role

    def sprite(self):
        """The RGBA picture."""
        head, colour = self.head()
        return art.person(self.drawing, self.gender, self.tone, colour, head, self.glasses, self.clothes)

    @property
    def figure(self):
        """Whether the drawing goes from head to foot."""
        return self.role in art.FIGURES and not self.bust

    @property
    def head_share(self):
        """How much of the box, from above, the head takes."""
        return .3 if self.figure else .5


def visible(person, height=None):
    """What can be seen of a person: each attribute's value, None where the drawing hides it or has its own.

    In a drawing so many pixels high; without a height, in one that is large enough for everything.
    """
    head, _ = person.head()
    coloured = person.hair in COLOURS and person.age != "older"
    hidden_hair = person.hair is None or person.role in NO_HEAD or (
        coloured and art.hair_share(person.drawing, person.gender, head) < LEAST_HAIR)
    own_beard = head == "adult" and person.role in COVERED and person.gender == "man"
    seen = {
        "role": person.role,
        "gender": person.gender,
        "tone": person.tone,
        "age": person.age,
        "hair": None if hidden_hair else person.hair,
        "beard": None if own_beard else person.beard,
        "headscarf": person.headscarf,
        "glasses": None if person.role in OWN_EYEWEAR else person.glasses,
        "clothes": person.clothes,
    }
    if height is not None and person.figure:
        seen |= {name: None for name, least in LEAST_HEAD.items() if height * HEAD_OF_FIGURE < least}
    return seen


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
    else:
        gender = "woman" if (r.random() < .88) == (role in MOSTLY_WOMEN) else "man"
    age = r.choice(["adult", "child", "older"]) if "age" in said else choose(r, AGE_BIAS)
    if helmet:
        age = "adult"
        said.discard("age")
    hat = role in art.HATS
    kinds = COLOURS if hat else COLOURS + ["curly", "bald"]
    if age == "child":
        kinds = COLOURS[:4]
    if age == "older":
        kinds = ["grey"]
    hair = r.choice(kinds) if "hair" in said else choose(r, {k: HAIR_BIAS[k] for k in kinds})
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
