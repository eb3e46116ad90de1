"""People cut out of Fluent Emoji 3D: skin from one picture, hair from another, heads exchanged, clothes recoloured.

The five skin tones of one emoji are the same drawing pixel for pixel, so where they differ tells skin and hair from
clothes: hair is dark in the first tone and blond in the package's `1f3fd`, skin the other way round.
"""
import os
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

ASSETS = os.environ.get("FLUENT", "node_modules/@lobehub/fluent-emoji-3d/assets/")
# The package has the second and third tone the wrong way round: its 1f3fc is darker than its 1f3fd.
TONES = {"light": "1f3fb", "medium light": "1f3fd", "medium": "1f3fc", "medium dark": "1f3fe", "dark": "1f3ff"}
PERSON = {"man": "1f468", "woman": "1f469"}
SIGN = {"man": "-200d-2642-fe0f", "woman": "-200d-2640-fe0f"}
# Emoji made of a person and a thing, and emoji of their own with a gender sign.
THINGS = {
    "doctor": "2695-fe0f", "chef": "1f373", "firefighter": "1f692", "farmer": "1f33e", "student": "1f393",
    "scientist": "1f52c", "astronaut": "1f680", "pilot": "2708-fe0f", "judge": "2696-fe0f", "mechanic": "1f527",
    "office worker": "1f4bc", "artist": "1f3a8", "teacher": "1f3eb", "singer": "1f3a4", "welder": "1f3ed",
}
OWN = {
    "basketball player": "26f9", "runner": "1f3c3", "police officer": "1f46e", "construction worker": "1f477",
    "wizard": "1f9d9", "superhero": "1f9b8", "detective": "1f575", "person": "1f9cd", "guide": "1f481",
}
HEADS = {  # kind: (woman, man)
    "adult": ("1f469-{}", "1f468-{}"), "child": ("1f467-{}", "1f466-{}"), "older": ("1f475-{}", "1f474-{}"),
    "curly": ("1f469-{}-200d-1f9b1", "1f468-{}-200d-1f9b1"), "bald": ("1f469-{}-200d-1f9b2", "1f468-{}-200d-1f9b2"),
    "beard": ("1f9d4-{}", "1f9d4-{}"), "headscarf": ("1f9d5-{}", "1f9d5-{}"), "turban": ("1f473-{}", "1f473-{}"),
}
FIGURES = {"basketball player", "runner", "person"}  # from head to foot
HATS = {"chef", "firefighter", "farmer", "student", "astronaut", "pilot", "mechanic", "artist", "welder", "police officer",
        "construction worker", "wizard", "detective"}
EYEWEAR = {"scientist", "astronaut", "teacher", "superhero"}  # something of the role's own before the eyes
LENDERS = {"black": "light", "brown": "medium light", "blond": "medium light", "red": "medium light", "grey": "medium light"}
DYES = {"brown": (.6, .36, .22), "red": (1.12, .5, .22), "grey": (.78, .78, .82)}
CLOTHES = {"red": (206, 44, 52), "orange": (240, 130, 40), "yellow": (246, 206, 60), "green": (60, 160, 70),
           "blue": (50, 110, 220), "purple": (130, 80, 190), "pink": (240, 120, 170), "white": (236, 236, 240)}
SIZE = 256
GREY = np.array([.3, .59, .11], dtype=np.float32)


@lru_cache(maxsize=None)
def picture(code):
    """An emoji as (256, 256, 4) floats from 0 to 255."""
    with Image.open(f"{ASSETS}{code}.webp") as it:
        return np.asarray(it.convert("RGBA"), dtype=np.float32)


def code(role, gender, tone):
    """The name of a role's emoji."""
    if role in THINGS:
        return f"{PERSON[gender]}-{tone}-200d-{THINGS[role]}"
    return f"{OWN[role]}-{tone}{SIGN[gender]}"


@lru_cache(maxsize=None)
def family(pattern):
    """The five tones of one emoji, and how much of each pixel is skin, hair, or neither."""
    tones = {name: picture(pattern.replace("{}", it)) for name, it in TONES.items()}
    if THINGS["teacher"] in pattern:  # without the blackboard
        outline = picture(f"1f468-1f3fb-200d-{THINGS['office worker']}")[..., 3]
        wider = np.asarray(Image.fromarray(outline.astype("uint8")).filter(ImageFilter.MaxFilter(9)), dtype=np.float32)
        outline = np.concatenate([outline[:140], wider[140:]]) / 255
        tones = {name: np.concatenate([it[..., :3], it[..., 3:] * outline[..., None]], -1) for name, it in tones.items()}
    grey = {name: it[..., :3] @ np.array([.3, .59, .11], dtype=np.float32) for name, it in tones.items()}
    alpha = np.clip(tones["light"][..., 3] / 255, 0, 1)
    lighter = grey["medium light"] - grey["light"]  # blond hair against black
    hair = np.clip((lighter - 12) / 45, 0, 1) * alpha
    spread = np.abs(tones["light"][..., :3] - tones["dark"][..., :3]).max(-1)
    skin = np.clip((grey["light"] - grey["dark"] - 15) / 45, 0, 1) * alpha * (1 - hair)
    fixed = np.clip(1 - spread / 25, 0, 1) * alpha * (1 - hair) * (1 - skin)
    return tones, skin, hair, fixed


def pattern(role, gender):
    return code(role, gender, "{}")


def _resized(channel, side):
    return np.asarray(Image.fromarray(channel).resize((side, side), Image.LANCZOS))


def _grey(it):
    return it[..., :3] @ GREY * it[..., 3] / 255


def _find_face(body, least, most, last=SIZE):
    """Where the adult head's face lies in a picture: (size, x, y), the head's square in the picture's pixels.

    The face is moved over the picture, and the square of the difference in brightness taken where the head is skin,
    eyes or mouth, down to row `last` of its own picture.
    """
    tones, skin, _, fixed = family(HEADS["adult"][1])
    face = np.clip(skin + fixed, 0, 1)
    face[:90] = 0  # the brow, which hats hide
    face[last:] = 0
    image = _grey(body).astype(float)
    transform = lambda it: np.fft.rfft2(it, (2 * SIZE, 2 * SIZE))
    spectrum, squares = transform(image), transform(image**2)
    best = (np.inf, 0, 0, 0)
    for size in range(least, most + 1, 2):
        mask = np.clip(_resized(face, size), 0, 1).astype(float)
        head = _resized(_grey(tones["light"]), size).astype(float)
        crossed = np.fft.irfft2(spectrum * transform((head * mask)[::-1, ::-1]))
        summed = np.fft.irfft2(squares * transform(mask[::-1, ::-1]))
        error = (summed - 2 * crossed + (head * head * mask).sum()) / mask.sum()
        reach = 2 * SIZE - 1 if SIZE <= size else SIZE
        window = error[size // 2:reach, size // 2:reach]
        y, x = np.unravel_index(window.argmin(), window.shape)
        best = min(best, (window[y, x], size, int(x) + size // 2 - size + 1, int(y) + size // 2 - size + 1))
    return best[1:]


@lru_cache(maxsize=None)
def face_place(role):
    """Where the head's square lies in a role's drawing."""
    return _find_face(family(pattern(role, "man"))[0]["light"], *((50, 80) if role in FIGURES else (132, 190)))


@lru_cache(maxsize=None)
def head_place(kind, woman):
    """Where the adult man's square lies in a kind of head's own picture."""
    return _find_face(family(HEADS[kind][0 if woman else 1])[0]["light"], *((140, 180) if kind == "headscarf" else (210, 270)), last=150)


def recoloured_hair(tones, hair, tone, colour):
    """One tone's skin with hair of a colour: the pictures of other tones lend theirs, brown, red and grey are dyed blond."""
    lent = tones[LENDERS[colour]].copy()
    if colour in DYES:
        grey = (lent[..., :3] @ GREY)[..., None]
        lent[..., :3] = np.clip(grey * np.array(DYES[colour], dtype=np.float32), 0, 255)
    return tones[tone] * (1 - hair[..., None]) + lent * hair[..., None]


def _over(below, above, mask=None):
    """One picture over another; alphas from 0 to 255."""
    alpha = above[..., 3:] / 255 * (1 if mask is None else mask[..., None])
    under = below[..., 3:] / 255 * (1 - alpha)
    total = alpha + under
    colour = (above[..., :3] * alpha + below[..., :3] * under) / np.maximum(total, 1e-6)
    return np.concatenate([colour, total * 255], -1)


def _placed(it, scale, x, y):
    """A picture scaled and moved on a transparent square."""
    side = max(1, round(it.shape[0] * scale))
    premultiplied = it.copy()
    premultiplied[..., :3] *= it[..., 3:] / 255
    small = np.stack([_resized(np.ascontiguousarray(premultiplied[..., c]), side) for c in range(4)], -1)
    small = np.clip(small, 0, 255)
    small[..., :3] = np.clip(small[..., :3] / np.maximum(small[..., 3:] / 255, 1e-3), 0, 255)
    out = np.zeros((SIZE, SIZE, 4), np.float32)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, SIZE), min(y + side, SIZE)
    out[y0:y1, x0:x1] = small[y0 - y:y1 - y, x0 - x:x1 - x]
    return out


def recoloured_clothes(picture, fixed, role, gender, colour):
    """A shirt in another colour: the pixels of the shirt's own hue, by their brightness."""
    hue, saturation, _ = (np.asarray(it, dtype=np.float32) for it in
                              Image.fromarray(picture[..., :3].astype("uint8")).convert("HSV").split())
    own = 186 if gender == "woman" else 148  # purple, blue; of 256
    mask = np.clip((34 - np.abs(hue - own)) / 8, 0, 1) * np.clip((saturation - 60) / 30, 0, 1) * np.clip(fixed * 2, 0, 1)
    soft = Image.fromarray((mask * 255).astype("uint8")).filter(ImageFilter.GaussianBlur(1.5))
    mask = np.clip(np.asarray(soft, dtype=np.float32) / 255 * 1.8, 0, 1) * np.clip(fixed * 2, 0, 1)
    shade = (picture[..., :3] @ GREY)[..., None] / (95 if gender == "woman" else 118)
    dyed = np.clip(np.array(CLOTHES[colour], dtype=np.float32) * shade, 0, 255)
    out = picture.copy()
    out[..., :3] = picture[..., :3] * (1 - mask[..., None]) + dyed * mask[..., None]
    return out


@lru_cache(maxsize=None)
def _glasses(size):
    """Spectacles for a head of a size: two dark rims and a bridge, drawn eight times too large."""
    k = 8
    it = Image.new("RGBA", (SIZE * k // 2, SIZE * k // 2), (0, 0, 0, 0))
    draw = ImageDraw.Draw(it)
    scale, width = size * k / 256, max(3, round(size * k * .032))
    for x in (28, 140):
        draw.rounded_rectangle([x * scale * .5, 8 * scale, (x + 88) * scale * .5, 50 * scale], 20 * scale, (225, 240, 255, 110), (34, 26, 34, 255), width)
    draw.line([58 * scale, 24 * scale, 70 * scale, 24 * scale], (34, 26, 34, 255), width)
    for a, b in ((2, 14), (114, 126)):
        draw.line([a * scale, 22 * scale, b * scale, 22 * scale], (34, 26, 34, 255), width)
    side = SIZE // 2
    return np.asarray(it.resize((side, side), Image.BOX), dtype=np.float32)


@lru_cache(maxsize=None)
def _earrings(size):
    """Two golden rings for a head of a size, below its ears."""
    k = 8
    it = Image.new("RGBA", (SIZE * k, SIZE * k), (0, 0, 0, 0))
    draw, scale = ImageDraw.Draw(it), size * k / 256
    for x in (46, 210):
        draw.ellipse([(x - 15) * scale, 158 * scale, (x + 15) * scale, 188 * scale], None, (246, 190, 40, 255), round(9 * scale))
    return np.asarray(it.resize((SIZE, SIZE), Image.BOX), dtype=np.float32)


@lru_cache(maxsize=None)
def hair_share(role, gender, head):
    """The part of a drawing that changes with the colour of the hair."""
    black, blond = (np.asarray(person(role, gender, "medium", it, head), dtype=np.float32) for it in ("black", "blond"))
    changed = np.abs(black - blond)[..., :3].max(-1) * black[..., 3] / 255
    return float((60 < changed).sum() / (128 < black[..., 3]).sum())


@lru_cache(maxsize=6000)
def person(role, gender, tone, hair="black", head="adult", glasses=False, clothes=None):
    """A person as an RGBA picture, cut to its outline."""
    woman = gender == "woman"
    exchanged = head != "adult"
    body_gender = ("woman" if role == "wizard" else "man") if exchanged else gender
    tones, skin, mask, fixed = family(pattern(role, body_gender))
    out = recoloured_hair(tones, mask, tone, hair)
    if exchanged:
        size, x, y = face_place(role)
        own_size, own_x, own_y = head_place(head, woman)
        head_tones, _, head_hair, head_fixed = family(HEADS[head][0 if woman else 1])
        new = recoloured_hair(head_tones, head_hair, tone, hair)
        scale = size / own_size
        move = (scale, round(x - own_x * scale), round(y - own_y * scale))
        if head == "headscarf":
            new[205:] = 0
        new = _placed(new, *move)
        brow = y + round(size * .36)
        # What is half hair and half air goes too, or a thin outline of it is left.
        wider = Image.fromarray((mask * 255).astype("uint8")).filter(ImageFilter.MaxFilter(5))
        out[..., 3] *= 1 - np.maximum(mask, np.asarray(wider, dtype=np.float32) / 255 * (1 - np.maximum(fixed, skin)))
        if role in HATS:
            new[:brow] = 0
        front = fixed.copy()
        front[y + round(size * (.95 if role in EYEWEAR else .42)):] = 0
        result = _over(out, new)
        if role in HATS or role in EYEWEAR:
            result = _over(result, tones[tone], front)
        out = result
    if glasses:
        size, x, y = face_place(role)
        out = _over(out, _placed(_glasses(size), 1, round(x + size * .25), round(y + size * .40)))
    if head == "bald" and woman:
        size, x, y = face_place(role)
        out = _over(out, _placed(_earrings(size), 1, x, y))
    if clothes:
        out = recoloured_clothes(out, fixed, role, body_gender, clothes)
    cut = Image.fromarray(np.clip(out, 0, 255).astype("uint8"))
    return cut.crop(cut.getbbox())
