"""Word lists of the generator: everyday words written here, thousands of others from two packages, and invented ones.

Words that `tests/prompts/groups.json` names as unseen are taken out of every list, and so are the words of the nouns and
settings of `tests/prompts/held_out.json`, but for those that the lists below need ("player", "old"), so that these prompts
measure copying and not memory.
"""
import gzip
import json
import re
from importlib.util import find_spec
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[4]
UNSEEN = sorted({word for entry in json.loads((REPOSITORY / "tests/prompts/groups.json").read_text()).values()
                 for phrase in entry.get("unseen", []) for word in phrase.split()})


_UNSEEN_PATTERN = re.compile("|".join(rf"\b{word}" if len(word) < 7 else word for word in UNSEEN))
_LEADING = re.compile(r"^((in|infront|on|at|by|from|off|near|under|over|above|below|beneath|behind|beside|between|around|along|across|through|"
                      r"inside|outside|aboard|deep|next|to|top|front|of|down|a|an|the|two|some) )+")


def _held_back():
    """What the 200 held-out prompts call people and places, without articles and prepositions."""
    held_out = json.loads((REPOSITORY / "tests/prompts/held_out.json").read_text())
    briefs = [entry["brief"] for entry in held_out]
    # Women, men and "people" have no other name.
    nouns = {one["noun"].lower() for brief in briefs for one in brief["people"]} - {"woman", "man", "person"}
    return sorted(nouns), sorted({_LEADING.sub("", brief["setting"].lower(), count=1) for brief in briefs} - {""})


def spelled(text):
    """Words in lower case, letters and digits only."""
    return re.findall(r"[^\W_]+", text.lower())


HELD_NOUNS, HELD_SETTINGS = _held_back()
SOURCES = set(spelled(Path(__file__).read_text() + (Path(__file__).parent / "generate.py").read_text()))
_HELD_WORDS = {word for phrase in HELD_NOUNS + HELD_SETTINGS for word in spelled(phrase)} - SOURCES
_HELD_PHRASES = {tuple(spelled(phrase)) for phrase in HELD_NOUNS + HELD_SETTINGS}


def singulars(word):
    """The word, and what it may be the plural of."""
    yield word
    for ending, instead in (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("men", "man")):
        if word.endswith(ending):
            yield word[:len(word) - len(ending)] + instead


def is_unseen(text):
    """Whether a text holds a word that is kept back, or a held-out noun or setting as a whole."""
    if _UNSEEN_PATTERN.search(text.lower()):
        return True
    said = spelled(text)
    if any(one in _HELD_WORDS for word in said for one in singulars(word)):
        return True
    for start in range(len(said)):
        for length in range(2, min(9, len(said) - start + 1)):
            *first, last = said[start:start + length]
            if any((*first, one) in _HELD_PHRASES for one in singulars(last)):
                return True
    return False


def seen(entries):
    return [entry for entry in entries if not is_unseen(entry if isinstance(entry, str) else " ".join(entry))]


def _package_file(package, *parts):
    return Path(find_spec(package).origin).parent.joinpath(*parts)


def _inflections():
    nouns, verbs, adjectives = [], [], []
    with gzip.open(_package_file("lemminflect", "resources", "infl_lu.csv.gz"), "rt") as lines:
        for line in lines:
            word, kind, *forms = line.strip().split(",")
            if not re.fullmatch(r"[a-z]{3,14}", word):
                continue
            if kind == "noun" and forms and re.fullmatch(r"[a-z]{3,16}", forms[0].split("/")[0]):
                nouns.append((word, forms[0].split("/")[0]))
            elif kind == "verb" and len(forms) > 2 and re.fullmatch(r"[a-z]{5,16}", forms[2].split("/")[0]):
                verbs.append(forms[2].split("/")[0])
            elif kind == "adj":
                adjectives.append(word)
    return nouns, verbs, adjectives


def _list(name):
    words = _package_file("wonderwords", "assets", name).read_text().split("\n")
    return [word.strip() for word in words if re.fullmatch(r"[a-z][a-z-]{2,13}", word.strip())]


_PROFANE = set(_list("profanitylist.txt"))
_nouns, _verbs, _adjectives = _inflections()
NOUNS = seen([pair for pair in _nouns if pair[0] not in _PROFANE])
VERBS = seen(_verbs)
ADJECTIVES = seen([word for word in _adjectives if word not in _PROFANE])
PLAIN_ADJECTIVES = seen(_list("adjectivelist.txt"))
AGENTS = seen([pair for pair in NOUNS if re.search(r"(er|or|ist|ian|eer|man|woman|smith|wright|herd|ee|ante|eur|ress)$",
                                                   pair[0]) and pair[0] != pair[1] and len(pair[0]) > 4])


def words(text):
    """A list from lines of comma-separated entries."""
    return seen([entry.strip() for entry in text.replace("\n", ",").split(",") if entry.strip()])


PEOPLE = words("""
doctor, nurse, chef, cook, firefighter, farmer, student, scientist, astronaut, pilot, judge, mechanic, office worker,
artist, runner, police officer, construction worker, wizard, superhero, teacher, lawyer, musician, dancer, singer, actor,
sailor, soldier, knight, pirate, monk, nun, priest, carpenter, plumber, electrician, gardener, florist, baker, butcher,
barista, waiter, waitress, bartender, librarian, photographer, painter, sculptor, potter, tailor, weaver, shepherd,
fisherman, hunter, miner, engineer, architect, programmer, accountant, banker, secretary, surgeon, dentist, veterinarian,
pharmacist, paramedic, lifeguard, surfer, swimmer, diver, skier, snowboarder, skater, cyclist, hiker, climber, golfer,
boxer, wrestler, gymnast, archer, acrobat, clown, magician, juggler, drummer, guitarist, violinist, pianist, trumpeter,
bus driver, taxi driver, truck driver, train driver, flight attendant, tour guide, park ranger, security guard, detective,
spy, king, queen, prince, princess, elf, witch, vampire, zombie, robot, angel, gladiator, samurai, ninja, cowboy, viking,
nomad, explorer, archaeologist, astronomer, chemist, biologist, physicist, mathematician, philosopher, poet, writer,
journalist, reporter, politician, diplomat, mayor, postman, courier, cleaner, janitor, maid, butler, cashier, shopkeeper,
tourist, traveller, backpacker, camper, commuter, passenger, patient, customer, guest, neighbour, friend, classmate,
colleague, teammate, fan, spectator, protester, volunteer, scout, cheerleader, referee, coach, trainer, person, man,
woman, boy, girl, child, kid, teenager, adult, grandmother, grandfather, mother, father, sister, brother, twin, baby,
toddler, bride, groom, bridesmaid, lady, gentleman, senior, pensioner, villager, townsperson, businesswoman, businessman,
fishmonger, greengrocer, ice cream seller, street musician, opera singer, ballet dancer, tap dancer, folk dancer,
yoga teacher, dog walker, horse rider, race car driver, tennis player, chess player, software developer, data scientist,
medical student, art student, army officer, air traffic controller, marine biologist, fashion model, film director,
stunt performer, crane operator, forklift driver, hotel receptionist, wedding guest, market trader, rice farmer,
wine maker, cheese maker, watchmaker, shoemaker, glazier, roofer, bricklayer, stonemason, zookeeper, goalkeeper,
innkeeper, gamekeeper, falconer, harpist, flautist, accordionist, kayaker, rower, sprinter, hurdler, weightlifter,
""")
IRREGULAR = {"person": "people", "man": "men", "woman": "women", "child": "children", "fisherman": "fishermen",
             "postman": "postmen", "townsperson": "townspeople", "businesswoman": "businesswomen",
             "businessman": "businessmen", "gentleman": "gentlemen", "elf": "elves", "samurai": "samurai",
             "lady": "ladies", "baby": "babies"}
SPORTS = words("""
basketball, football, soccer, volleyball, handball, baseball, softball, rugby, hockey, ice hockey, field hockey, cricket,
water polo, lacrosse, netball, tennis, badminton, table tennis, polo, curling, chess, rowing, beach volleyball, futsal,
dodgeball, kickball, korfball, bowling, darts, squash, snooker, paintball, ultimate frisbee, wheelchair basketball
""")
GENRES = words("jazz, rock, folk, punk, blues, country, brass, string, klezmer, reggae, metal, mariachi, gospel, swing")
MAKERS = words("""
player, maker, keeper, driver, trainer, seller, collector, teacher, builder, dancer, painter, breeder, tamer, repairer,
worker, farmer, guide, expert, vendor, hunter, designer, cleaner, operator, carver, writer, dealer, handler, racer,
enthusiast, inspector, grower, picker, singer, catcher, wrangler, polisher, restorer, tester, thrower, rider
""")
GROUPS = words("""
group, team, crew, band, squad, crowd, circle, bunch, gang, party, troupe, company, panel, gathering, choir, class, family, pack, cluster, handful, set, unit, brigade, delegation, committee
""")
PLACES = words("""
kitchen, garden, park, forest, beach, street, city street, village square, market, street market, office, hospital,
hospital ward, school, classroom, lecture hall, library, museum, gallery, theatre, stadium, football pitch,
tennis court, outdoor court, gym, swimming pool, harbour, pier, dock, boat, ship, sailing boat, train, train station, bus,
bus stop, airport, runway, hangar, cockpit, space station, farm, field, wheat field, meadow, vineyard, orchard, barn,
stable, greenhouse, mountain, mountain top, hill, valley, canyon, desert, dune, cave, cliff, lake, waterfall,
bridge, rooftop, balcony, terrace, courtyard, alley, castle, palace, throne room, temple, church, cathedral, mosque,
monastery, courtroom, prison, laboratory, factory, warehouse, workshop, garage, studio, dance studio, recording studio,
bakery, café, restaurant, bar, pub, hotel lobby, shop, supermarket, shopping mall, construction site, oil rig, mine,
playground, amusement park, circus ring, zoo, aquarium, campsite, log cabin, living room, bedroom, dining room, attic,
corridor, staircase, elevator, jungle, swamp, savannah, glacier, iceberg, snowy slope, ski slope, igloo, volcano, island,
tropical island, coral reef, spaceship, moon base, parade, wedding, concert, festival, demonstration, conference, ballroom,
wooden table, round table, campfire, brick wall, white background, plain background, red carpet, podium, old oak tree,
fountain, statue, windmill, water tower, city skyline, old town, town hall, police station, fire station, power plant,
subway station, parking lot, petrol station, tram, hot air balloon, submarine, treehouse, bookshop, flower shop, kiln
""")
PROPER_PLACES = words("""
Paris, London, Tokyo, New York, Lagos, Cairo, Mumbai, Berlin, Rome, Venice, Amsterdam, Iceland, Norway, Antarctica, Mars,
the Moon, the Alps, the Sahara, the Grand Canyon, Times Square, Central Park, the Eiffel Tower, the Great Wall, Kyoto,
Rio de Janeiro, Istanbul, Nairobi, Seoul, Mexico City, Sydney, Vienna, Dublin, Marrakesh, Lisbon, Prague, Hanoi
""")
BARE_PLACES = words("""
in space, in outer space, at sea, at school, at work, at home, in court, underwater, outdoors, indoors, outside,
downtown, in town, in the snow, in the rain, in the fog, in the desert, in the mountains, in the sea,
on horseback, on board, in the countryside, in zero gravity, by the sea, at the seaside, in the clouds, on a sunny day
""")
TIMES = words("""
at night, at dawn, at dusk, at sunset, at sunrise, at noon, at midnight, in the morning, in the evening, in winter,
in summer, in spring, in autumn, in the rain, in the snow, by moonlight, by candlelight, under a full moon,
under a cloudy sky, under a blue sky, during a storm, during a thunderstorm, on a rainy day, on a foggy morning,
in bright sunlight, in thick fog, at golden hour, after the rain, before a storm, on a summer evening, in heavy snow
""")
PREPOSITIONS = words("""
in, in, in, in, on, on, at, at, beside, behind, near, under, inside, outside, next to, in front of, by, above, below,
among, around, along, against, beneath, within, on top of, at the edge of, in the middle of, atop, across from,
on the steps of, at the foot of, between, beyond, in the shadow of, at the entrance of, on the roof of, overlooking,
opposite, underneath, in the corner of, at the back of, through, alongside, close to, on the edge of, at the end of
""")
STYLES = words("""
watercolor, oil painting, pencil sketch, pencil drawing, charcoal drawing, ink drawing, comic book, cartoon, anime, manga,
pixel art, 3D render, digital art, digital painting, line art, pop art, art deco, art nouveau, impressionist,
impressionist painting, cubist, surrealist, renaissance painting, baroque painting, woodcut, linocut, mosaic, fresco,
stained glass, collage, paper cutout, claymation, low poly, isometric, vector art, flat design, photorealistic, photo,
black and white photo, vintage photo, polaroid, film still, film noir, cyberpunk, steampunk, vaporwave, fantasy art,
concept art, children's book illustration, storybook illustration, graffiti, mural, pastel, gouache, acrylic painting,
crayon drawing, caricature, minimalist, ukiyo-e, sepia, cinematic, studio photo, documentary photo, editorial photo
""")
AGES = words("""
older, old, elderly, young, younger, middle-aged, teenage, adult, senior, aged, retired, youthful, 20-year-old,
thirty-year-old, grey-haired, white-haired, very old, very young
""")
MIXES = words("""
multiracial, diverse, mixed, multiethnic, multi-ethnic, multicultural, racially diverse, ethnically diverse, mixed-gender,
mixed-race, international, interracial, mixed-age, all-female, all-male, gender-balanced, very diverse, culturally diverse
""")
LOOKS = words("""
tall, short, bearded, bald, red-haired, blond, blonde, dark-haired, curly-haired, long-haired, smiling, laughing, serious,
happy, sad, angry, tired, cheerful, muscular, slim, stocky, tattooed, freckled, dark-skinned, light-skinned, pale, black,
white, Asian, African, Black, Latino, Hispanic, Indian, Chinese, Japanese, Korean, Nigerian, Kenyan, Mexican, Brazilian,
French, German, Italian, Spanish, Russian, Turkish, Arab, Swedish, Irish, Scottish, Polish, Greek, Vietnamese, Thai, female,
male, female, male, female, male, blind, deaf, one-armed, barefoot, sunburnt, wrinkled, chubby, strong, brave, shy,
left-handed, bespectacled, moustached, clean-shaven, pregnant, wet, muddy, sleepy, proud, elegant, stern, friendly
""")
TRAITS = words("""
glasses, sunglasses, red hair, black hair, blond hair, grey hair, white hair, long hair, short hair, curly hair,
straight hair, braided hair, dreadlocks, braids, a ponytail, a beard, a long beard, a white beard, a moustache, freckles,
tattoos, a scar, dark skin, light skin, pale skin, brown skin, blue eyes, green eyes, an eye patch, a wooden leg, a hat,
a red hat, a cap, a headscarf, a turban, a hijab, earrings, a necklace, a walking stick, a cane, a wheelchair, a big smile,
headphones, a bandage, gloves, a scarf, a backpack, purple hair, green hair, pink hair, a mohawk, an afro, a hearing aid,
dimples, wrinkles, a bow tie, a nose ring, a prosthetic arm, a top hat, a crown, goggles, face paint, a monocle
""")
GARMENTS = words("""
jerseys, uniforms, coats, lab coats, overalls, robes, suits, dresses, shirts, T-shirts, jackets, raincoats, aprons, hats,
helmets, hoodies, kimonos, saris, cloaks, capes, costumes, armour, vests, tunics, sweaters, scarves, swimsuits, wetsuits,
spacesuits, hard hats, boots, gowns, tuxedos, tracksuits, leather jackets, turtlenecks, pyjamas, kilts, ponchos, scrubs,
safety vests, sports kit, formal wear, evening dress, work clothes, summer clothes, winter clothes, school uniforms
""")
COLOURS = words("""
red, blue, green, yellow, white, black, orange, purple, pink, brown, grey, golden, silver, turquoise, navy blue, dark green,
bright yellow, striped, checked, colourful, matching, identical, torn, old, traditional, medieval, Victorian, shiny, muddy
""")
ACTIVITIES = words("""
playing cards, playing chess, playing music, playing football, dancing, singing, running, jumping, cooking dinner, reading,
reading books, reading newspapers, drinking coffee, drinking tea, eating lunch, eating ice cream, having a picnic, talking,
laughing, smiling, waving, arguing, fighting, sleeping, resting, meditating, praying, working, working on a laptop,
repairing a car, fixing a bicycle, building a wall, painting a mural, planting trees, harvesting grapes, milking cows,
feeding chickens, shearing sheep, kneading dough, baking bread, slicing vegetables, washing dishes, serving soup,
mending nets, catching fish, rowing a boat, hoisting the sails, climbing a rope, riding bicycles, riding horses, skating,
walking, walking dogs, marching, standing, posing, sitting, kneeling, waiting, waiting for a bus, queuing, celebrating,
celebrating a victory, holding a trophy, holding hands, holding lanterns, holding umbrellas, carrying boxes,
carrying a canoe, carrying torches, pulling a sledge, looking at a map, looking at the camera, looking at the stars,
listening to music, listening to a speech, talking to each other, discussing a plan, holding a meeting, taking notes,
taking a selfie, taking photographs, tasting wine, examining a skeleton, mixing chemicals, looking through microscopes,
shaking hands, clapping, cheering, throwing snowballs, building a snowman, flying kites, blowing bubbles, juggling,
stretching, doing yoga, lifting weights, rehearsing a play, tuning their instruments, decorating a cake, folding laundry,
sweeping the floor, digging a hole, panning for gold, searching for treasure, caring for a horse, preparing for a race,
casting spells, drawing swords, reading scrolls, planning a heist, playing the drums, watching a film, watching birds
""")
NATIONS = words("""
American, Argentinian, Armenian, Australian, Austrian, Bangladeshi, Belarusian, British, Bulgarian, Burmese, Cameroonian,
Canadian, Chilean, Colombian, Congolese, Croatian, Cuban, Czech, Danish, Dominican, Egyptian, English, Estonian, Ethiopian,
Filipino, Finnish, Georgian, Guatemalan, Haitian, Hungarian, Icelandic, Indonesian, Iranian, Iraqi, Israeli, Ivorian,
Jamaican, Kazakh, Kurdish, Latvian, Lebanese, Lithuanian, Malaysian, Maori, Mongolian, Moroccan, Nepali, Norwegian,
Pakistani, Palestinian, Peruvian, Romani, Romanian, Rwandan, Senegalese, Serbian, Singaporean, Somali, South African,
Sri Lankan, Sudanese, Swiss, Syrian, Taiwanese, Tanzanian, Tibetan, Tunisian, Ugandan, Ukrainian, Uruguayan, Uzbek,
Venezuelan, Welsh, Zambian, Zulu, East Asian, South Asian, West African, Middle Eastern, Native American, Hawaiian,
Caribbean, Scandinavian, European, Celtic, Babylonian, Byzantine, Mayan, Incan, Spartan, Athenian, Muslim, Jewish, Hindu
""")
STATES = words("""
yawning, grinning, crying, sneezing, kneeling, sitting, standing, pointing, whistling, sleeping, blindfolded, masked,
veiled, injured, sweaty, drunk, nervous, bored, surprised, bareheaded, barechested, mustachioed, goateed, blue-eyed,
green-eyed, one-eyed, toothless, gap-toothed, broad-shouldered, long-legged, petite, lanky, plump, burly, heavyset, thin,
athletic, frail, graceful, grumpy, gloomy, jolly, confident, curious, determined, exhausted, calm, excited, thoughtful,
silver-haired, auburn-haired, ginger, brunette, raven-haired, fair-haired, olive-skinned, brown-skinned, fair-skinned,
ponytailed, pigtailed, wheelchair-using, disabled, hearing-impaired, transgender, nonbinary, androgynous, identical,
newly hired, well-dressed, badly dressed, lightly armed, slightly built, deeply tanned, extremely old, fairly young,
visibly tired, in love, out of breath, off duty, over sixty, under thirty, in their twenties, in their forties
""")
MORE_TRAITS = words("""
a wheelchair, crutches, a limp, a hearing aid, a neck brace, an arm in a sling, a plaster cast, a guide dog, a monkey,
a parrot, a puppy, a lantern, a rifle, a guitar, a flag, a trophy, a clipboard, a suitcase, a torch, a telescope,
a bucket, a shovel, a broom, an umbrella, a camera, a basket, a book, a newspaper, a pipe, a cigar, a rope, a drum,
long braids, a bun, a buzz cut, a bob, a fringe, cornrows, sideburns, stubble, a pointed beard, a handlebar moustache,
bushy eyebrows, rosy cheeks, a crooked nose, piercings, a lip ring, hoop earrings, pearl earrings, painted nails,
round glasses, thick glasses, reading glasses, a headband, a bandana, a veil, a beret, a fedora, a bowler hat, a straw hat,
a cowboy hat, a beanie, a helmet, a hard hat, a hood, a cloak, a sash, a badge, an apron, a waistband, a leather jacket,
a red tie, a yellow raincoat, a blue dress, a green scarf, a white shirt, striped socks, high heels, sandals, clogs,
rubber boots, knee pads, mittens, an orange vest, a fur coat, a denim jacket, a silver chain,
a gold tooth, a birthmark, vitiligo, albinism, a shaved head, wet hair, messy hair, wavy hair, auburn hair, silver hair
""")
MORE_GARMENTS = words("""
blouses, skirts, trousers, jeans, shorts, cardigans, pullovers, blazers, parkas, trench coats, duffel coats, fur coats,
dungarees, jumpsuits, coveralls, smocks, habits, cassocks, togas, sarongs, kaftans, corsets, petticoats, crinolines,
breeches, stockings, leggings, leotards, tutus, bathrobes, nightgowns, dressing gowns, bow ties, neckties, cravats,
bandanas, shawls, mantillas, veils, headdresses, crowns, masks, flat caps, bowler hats, sombreros, berets,
beanies, turbans, chain mail, hazmat suits, biohazard suits, bomber jackets, flight suits, ski suits, mourning, black tie,
fancy dress, sportswear, camouflage, uniform, plain clothes, rags, silk, satin, denim, tweed, linen, lace, leather, wool,
corduroy, tulle, sackcloth, sheepskin, red, black, white, pink, blue and white, red and gold, shirts and ties,
suits and ties, aprons and caps, hats and gloves, coats and scarves, boots and spurs, capes and masks
""")
MEDIUMS = words("""
painting, drawing, sketch, illustration, engraving, photo, photograph, print, poster, mural, mosaic, render, cartoon,
painting on silk, animation still, postcard, sculpture, embroidery, screenprint, aquatint, stencil, diorama, cover art
""")
MORE_STYLES = words("""
monochrome, grayscale, color pencil, coloured pencil, chalk, tempera, encaustic, marker, felt-tip, ballpoint, airbrush, fresco painting,
Byzantine icon, Chinese ink painting, Japanese woodblock print, Persian miniature, medieval manuscript illumination,
Dutch master painting, Soviet propaganda poster, 1920s travel poster, 1950s advertisement, 1970s photo, 80s album cover,
retro, vintage, gothic, romantic, realistic, hyperrealistic, naive art, folk art, abstract, expressionist, fauvist,
pointillist, futurist, constructivist, rococo, pre-Raphaelite, De Stijl, magic realism, solarpunk, dieselpunk, synthwave,
8-bit, 16-bit, cel-shaded, unreal engine, octane render, clay, plasticine, felt, origami, papercraft, knitted, lego,
stop motion, puppet animation, cut-paper collage, silhouette, blueprint, technical drawing, fashion sketch, graphic novel,
superhero comic, newspaper cartoon, webcomic, Disney, Pixar, Studio Ghibli, kodachrome, tintype, wet plate, infrared,
long exposure, bokeh, analog photo, press photo, wedding photo, class photo, yearbook photo, passport photo, snapshot,
drone photo, HDR, high contrast, soft light, dramatic lighting, bright colours, muted colours, pastel colours
""")
ARTISTS = words("""
Rembrandt, Vermeer, Caravaggio, Monet, Van Gogh, Gauguin, Matisse, Picasso, Frida Kahlo, Diego Rivera, Hokusai, Klimt,
Egon Schiele, Toulouse-Lautrec, Norman Rockwell, Andy Warhol, Banksy, Goya, Bosch, Bruegel, Dürer, Botticelli, Cézanne,
Edvard Munch, Magritte, Dalí, Chagall, Kandinsky, Jacob Lawrence, Alphonse Mucha, Hergé, Moebius, Tim Burton, Wes Anderson
""")
JOBS = words("""
nurse, paramedic, cook, waiter, guard, driver, mechanic, teacher, pupil, student, professor, lecturer, doctor, patient, parent,
child, dog owner, captain, sailor, conductor, musician, singer, dancer, coach, player, referee, photographer, model, king,
knight, squire, wizard, dragon rider, alien, robot, ghost, cowboy, sheriff, bandit, thief, police officer, prisoner, lawyer,
judge, client, witness, tailor, customer, salesman, cashier, chef, dishwasher, farmer, farmhand, shepherd, monk, actor,
director, cameraman, tourist, guide, explorer, scientist, lab assistant, engineer, builder, architect, plumber,
policeman, policewoman, salesperson, sportswoman, sportsman, spokesperson, craftsman, craftswoman, horsewoman, swordsman,
boatman, doorman, mailman, foreign correspondent, rock star, movie star, chess master, head teacher, line cook, night guard,
wolf, fox, goose, mouse, calf, thief, wife, husband, daughter, son, uncle, aunt, cousin, niece, nephew, godmother, bridegroom
""")
IRREGULAR |= {"thief": "thieves", "wolf": "wolves", "goose": "geese", "mouse": "mice", "calf": "calves", "wife": "wives",
              "spokesperson": "spokespeople", "salesperson": "salespeople", "hero": "heroes", "dwarf": "dwarves",
              "human": "humans", "shaman": "shamans", "german": "germans"}
