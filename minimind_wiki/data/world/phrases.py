"""The sentences of the little world.

A line is written once: `[was|is]` are its past and its present form, `{S}` a mention of a person S
(a name or, where nobody can be confused, a pronoun), `{S.o}` the same as an object, `{S.his}` and
`{S.he}` pronouns for someone already named, `{T}` a thing, `{P}` a place, and a lower-case slot a
word from `LEXICON`. `compile_line` turns it into parts that are filled without searching.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LEXICON: dict[str, tuple[str, ...]] = {
    key: tuple(word.strip() for word in text.split(","))
    for key, text in {
        "how": """
            slowly, quickly, quietly, happily, at once, with a smile, without a word, in a
            hurry""",
        "day": "morning, afternoon, evening, day",
        "sky": """
            bright, rainy, windy, cold, warm, misty, frosty, cloudy, stormy, sunny, calm,
            chilly, mild, grey""",
        "season": "spring, summer, autumn, winter, May, September, December, April",
        "food": """
            warm bread, apple cake, bean soup, cheese, honey cake, roasted chestnuts, plum
            jam, a boiled egg, carrots, porridge, fresh milk, pears, a slice of pie, nuts,
            biscuits, mushroom stew, potatoes, cherries""",
        "crumbs": "bread, cheese, porridge, crumbs, carrots, nuts, seeds, cake",
        "animal": """
            cat, goat, donkey, goose, sheep, pony, dog, hen, duck, cow, fox, squirrel, hare,
            turtle, hedgehog, pigeon, sparrow, cricket, kitten, lamb""",
        "doing": """
            sleeping in the grass, looking for food, running in circles, drinking from a
            puddle, watching the clouds, hiding under a bench, scratching at a door, chasing
            a leaf, sitting on a wall, making a great noise, rolling in the dust, standing
            in the road""",
        "wish": """
            go home, light a fire, bake bread, sing a song, mend the roof, count the geese,
            write a letter, cross the river, see the sea, learn to dance, sleep until noon,
            plant a tree, paint the fence, climb the tower, catch a fish, build a boat, feed
            the rabbits, hear a story, visit the city, ride a horse, sweep the floor, pick
            some flowers""",
        "mood": """
            tired because the road [was|is] long, happy because the sun [was|is] out, hungry
            because there [was|is] no bread, proud because the work [was|is] done, worried
            because it [was|is] getting late, curious because a door [stood|stands] open,
            sad because summer [was|is] over, calm because there [was|is] no hurry, angry
            because nobody [helped|helps], surprised because the street [was|is] empty, cold
            because the fire [was|is] out, thirsty because the soup [was|is] salty, glad
            because the rain [had|has] stopped, lonely because everyone [had|has] left,
            nervous because a storm [was|is] near, cheerful because music [was|is] playing
            somewhere""",
        "sound": """
            a bell [rang|rings], children [laughed|laugh], a cart [rolled|rolls] by, someone
            [played|plays] a tune, the wind [howled|howls], a rooster [crowed|crows],
            thunder [rumbled|rumbles], an owl [called|calls], a branch [snapped|snaps], a
            door [slammed|slams], water [dripped|drips] from a roof, a crowd
            [cheered|cheers]""",
        "said": """
            The days are getting longer, My feet hurt, I had a strange dream, The bread is
            better here, You look well, We should sing more often, I have never liked
            Mondays, Rain is good for the beans, Somebody has painted my gate, My clock is
            always wrong, The soup needs salt, A letter came for me today, The geese are
            loud this year, I am not as young as I was, Tomorrow will be a fine day, It
            smells of snow""",
        "answer": """
            That is true, I do not think so, Perhaps, Who knows, You are right, Never mind,
            I hope so, How funny, Tell me more, Of course""",
        "work": """
            swept the floor, washed the windows, fed the hens, chopped some wood, watered
            the beans, peeled potatoes, folded the laundry, sharpened a knife, stacked the
            crates, wrote down the numbers, oiled a hinge, picked apples, cleaned the stove,
            carried water""",
        "working": """
            sweeping the floor, washing the windows, feeding the hens, chopping wood,
            watering the beans, peeling potatoes, folding the laundry, sharpening a knife,
            stacking crates, reading an old newspaper, oiling a hinge, picking apples,
            cleaning the stove, carrying water, resting in the shade, talking to a stranger,
            counting eggs, knitting""",
        "spot": """
            under a bench, behind a door, on a shelf, beside the stairs, near the fence, on
            the windowsill, next to the stove, in a corner, between two barrels, under the
            table, on a heap of straw, on top of a cupboard, behind the curtain, in an old
            chest, in the grass, under the stairs, on the doorstep, beside a pile of wood,
            in a drawer, between two sacks of flour, on a nail by the door, under a blue
            cloth, behind the oven, at the foot of a ladder, in the shade of a tree, on the
            highest shelf""",
        "cause": """
            it [had|has] fallen on the stones, a child [had|has] sat on it, it [had|has]
            been left in the rain, a dog [had|has] bitten it, it [was|is] very old, somebody
            [had|has] dropped it, a wheel [had|has] rolled over it, the frost [had|has]
            cracked it""",
        "need": """
            a long journey [was|is] ahead, guests [were|are] coming, there [was|is] a great
            deal of work, the festival [was|is] near, winter [was|is] coming, it [was|is]
            needed at home, nobody else [had|has] one, the teacher [had|has] asked for it""",
        "softly": """
            softly, warmly, cheerfully, with a smile, shyly, gravely, in a low voice, after
            a moment, kindly, with a sigh""",
        "big": """
            big, little, thin, fat, young, shaggy, brown, black, white, spotted, muddy,
            sleepy, noisy, friendly, hungry, nervous""",
        "scene": """
            the roofs, the old wall, the river, the chimneys, the fields, the empty road,
            the hedge, the market stalls, the church tower, the bakery, the wet stones, the
            gardens""",
        "feast": "birthday, name day, wedding, farewell party, housewarming, anniversary",
        "moral": """
            Good neighbours are worth more than gold, Patience finds what hurry loses, A
            kind word costs nothing, Nobody is too busy for a friend, Those who ask find the
            way, Small things can matter a great deal, Two heads are better than one, Honest
            hands are always welcome, Every road is shorter with company, It is never too
            late to help""",
        "dear": """
            I hope you are well, I have some news for you, Thank you for your last letter,
            You asked me what happened here, I miss our long walks, It has been a strange
            week""",
        "bye": """
            Write to me soon, Give my love to everyone, I will visit you before the harvest,
            Please send me some of your jam, Take good care of yourself, Come and see us
            soon""",
        "weekday": "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday",
        "weather": """
            it [began|begins] to rain, the wind [grew|grows] stronger, the sun [came|comes]
            out, fog [rolled|rolls] in, a few snowflakes [fell|fall], the clouds
            [turned|turn] dark, a rainbow [appeared|appears], the air [grew|grows] cold, the
            rain [stopped|stops], the shadows [grew|grow] long""",
    }.items()
}

LINES: dict[str, tuple[str, ...]] = {
    "intro_tale": (
        "One {sky} {day} in {season}, {S}, {trait} {job}, [was|is] at {P}.",
        "There [was|is] once {trait} {job} whose name [was|is] {S}, and one {sky} {day} in "
        "{season} {S.he} [was|is] at {P}.",
        "It [was|is] a {sky} {day} in {season}, and {S}, {trait} {job}, [was|is] at {P}.",
        "Nobody in the village [knew|knows] {P} better than {S}, {trait} {job}, who [was|is] there "
        "on a {sky} {day} in {season}.",
    ),
    "intro_report": (
        "On {weekday}, a {sky} day in {season}, {S}, {trait} {job}, [was|is] at {P}.",
        "The weather on {weekday} [was|is] {sky}. {S}, {trait} {job}, [was|is] at {P}.",
    ),
    "intro_letter": (
        "On {weekday}, a {sky} day in {season}, {S} [was|is] at {P}.",
        "Last {weekday} {S} [was|is] at {P}; it was a {sky} {day} in {season}.",
    ),
    "other_here": (
        "{S.his^} {relation} {O}, {trait} {job}, [was|is] there too.",
        "With {S.o} [was|is] {S.his} {relation} {O}, {trait} {job}.",
        "{S.his^} {relation} {O}, {trait} {job}, [was|is] also there and [was|is] {working}.",
    ),
    "other_away": (
        "{S.his^} {relation} {O}, {trait} {job}, [was|is] not there, but at {P}.",
        "{S.his^} {relation} {O}, {trait} {job}, [was|is] at {P} [that day|today].",
        "At {P}, meanwhile, {S.his} {relation} {O}, {trait} {job}, [was|is] {working}.",
    ),
    "lies": (
        "{T.a} [lay|lies] at {P}, {spot}.",
        "Somebody [had|has] left {T.a} at {P}, {spot}.",
        "At {P}, {spot}, [lay|lies] {T.a}.",
    ),
    "holds": (
        "{S} [had|has] {T.a} in {S.his} hands.",
        "{S} [was|is] carrying {T.a}.",
        "{S} [held|holds] {T.a}.",
    ),
    "go": (
        "{S} [walked|walks] to {P}.", "{S} [went|goes] to {P} {how}.", "{S} [ran|runs] to {P}.",
        "{S} [left|leaves] {Q} and [went|goes] to {P}.", "{S} [took|takes] the path to {P}.",
        "{S} [set|sets] out for {P} and [arrived|arrives] there {how}.",
        "{S} [hurried|hurries] from {Q} to {P}.", "{S} [went|goes] over to {P}.",
    ),
    "take": (
        "{S} [picked|picks] {T} up.", "{S} [took|takes] {T} {how}.",
        "{S} [bent|bends] down and [picked|picks] {T} up.",
        "{S} [took|takes] {T} and [was|is] glad.",
    ),
    "drop": (
        "{S} [put|puts] {T} down at {P}, {spot}.", "{S} [left|leaves] {T} {spot} at {P}.",
        "{S} [laid|lays] {T} down {how}.",
    ),
    "give": (
        "{S} [gave|gives] {T} to {O.o}.", "{S} [handed|hands] {T} to {O.o} {how}.",
        '"Here, this is for you," {S} [said|says], and [gave|gives] {T} to {O.o}.',
    ),
    "thanks": (
        '"Thank you very much," {S} [said|says].', '"How kind of you," {S} [said|says] {softly}.',
        "{S} [thanked|thanks] {O.o} {softly}.", "{S} [smiled|smiles] and [thanked|thanks] {O.o}.",
        '"I will not forget this," {S} [said|says].',
    ),
    "wants": (
        "{S} [wanted|wants] to find {T.his}, because {need}.",
        "{S} [had|has] lost {T.his} and [did|does] not know where it [was|is].",
        "{S} [looked|looks] for {T.his}: {S.he} [needed|needs] it, because {need}.",
    ),
    "not_here": (
        "{T} [was|is] not there.", "{S} [looked|looks] {spot}, but {T} [was|is] not there.",
        "{S} [searched|searches] everywhere, but {T} [was|is] not at {P}.",
        "But {T} [was|is] nowhere to be seen.",
    ),
    "ask": (
        '"Do you know where {T} is?" {S} [asked|asks] {O.o}.',
        "{S} [asked|asks] {O.o} about {T}.", '"Have you seen {T}?" {S} [asked|asks].',
    ),
    "tell": (
        '"It is at {P}," {O} [said|says].', '"I saw it at {P}," {O} [answered|answers].',
        "{O} [told|tells] {S.o} that it [was|is] at {P}.",
        '"Look for it at {P}," {O} [said|says] {softly}.',
    ),
    "unknown": (
        '"I do not know," {O} [said|says].', "{O} [did|does] not know where it [was|is].",
        '"I have not seen it," {O} [answered|answers].', "{O} [shook|shakes] {O.his} head.",
    ),
    "there": (
        "There [lay|lies] {T}, {spot}.", "And there it [was|is], {spot}: {T}.",
        "{S} [found|finds] {T} {spot}.", "{S} [looked|looks] {spot} and [saw|sees] {T}.",
    ),
    "gift_plan": (
        "{O.his^} {feast} [was|is] near, and {S} [wanted|wants] {T.a} for a present.",
        "{S} [wanted|wants] to give {O.o} {T.a} for {O.his} {feast}.",
        "{O.his^} {feast} [was|is] tomorrow, and the present [was|is] to be {T.a}.",
    ),
    "loan_plan": (
        "{S} [needed|needs] {T.his}, because {need}, but {O} [had|has] borrowed it.",
        "{S} [had|has] lent {T.his} to {O.o}, and now {S.he} [needed|needs] it back, "
        "because {need}.",
    ),
    "loan_ask": (
        '"May I have {T} back?" {S} [asked|asks].',
        '"I need {T} again," {S} [said|says] to {O.o}.',
        "{S} [asked|asks] {O.o} for {T}.",
    ),
    "broken": (
        "{T} [was|is] broken, because {cause}.",
        "{S} [saw|sees] that {T} [was|is] broken, because {cause}.",
    ),
    "mend_ask": (
        '"Can you mend {T}?" {S} [asked|asks] {O.o}.', "{S} [asked|asks] {O.o} to repair {T}.",
        '"{T^} does not work any more," {S} [said|says] to {O.o}.',
    ),
    "mend": (
        "{S} [worked|works] for an hour, and then {T} [was|is] whole again.",
        "{S} [mended|mends] {T} with glue and string.", "{S} [repaired|repairs] {T} {how}.",
    ),
    "errand": (
        '"Please take {T} to {N} at {P}," {O} [said|says] to {S.o}.',
        "{O} [asked|asks] {S.o} to bring {T} to {N} at {P}, because {need}.",
    ),
    "moved_why": (
        "{S} [did|does] not see this.", "{S}, who [was|is] away, [knew|knows] nothing about it.",
        "Nobody [told|tells] {S.o}.",
    ),
    "thinks": (
        "{S} [thought|thinks] that {T} [was|is] still at {P}.",
        "{S} still [believed|believes] that {T} [was|is] at {P}.",
        '"I left {T} at {P}," {S} [said|says].',
    ),
    "swap_ask": (
        '"I would like to have {T}," {S} [said|says], "and you may have {U}."',
        '"Will you give me {T} for {U}?" {S} [asked|asks] {O.o}.',
    ),
    "swap_yes": (
        '"With pleasure," {S} [said|says].', '"That is fair," {S} [answered|answers].',
        "{S} [thought|thinks] about it and [agreed|agrees].",
    ),
    "whose": (
        '"Whose is this?" {S} [wondered|wonders].',
        "{S} [wondered|wonders] who [had|has] lost {T}.",
        "It [did|does] not belong to {S.o}.",
    ),
    "mine": (
        '"Yes, that is mine," {S} [said|says].', "{T^} [belonged|belongs] to {S.o}.",
        '"I have looked for {T} everywhere," {S} [said|says].',
    ),
    "alone": (
        "{S} [was|is] {mood}.", "{S} [wanted|wants] to {wish}.", "{S} [ate|eats] {food}.",
        "{S} [saw|sees] a {big} {animal} that [was|is] {doing}.",
        "A {big} {animal} [was|is] {doing}.",
        "Somewhere {sound}.", "Just then {weather}.", "Suddenly {weather}, and {sound}.",
        "{S} [did|does] not feel like {working}.", "Beyond {scene} {sound}.",
        "{S} [thought|thinks] of the days when everyone {work} together.",
        '"{said}," {S} [said|says] to nobody.', "A {big} {animal} [ran|runs] past {scene}.",
        "{S} [was|is] not in a hurry, and [stopped|stops] to look at a {big} {animal}.",
        "{S} [looked|looks] at {scene} and [thought|thinks] of {food}.",
        "Nobody [was|is] near {scene}, except for a {big} {animal}.",
        "{S} [gave|gives] some {crumbs} to a {big} {animal} that [was|is] {doing}.",
        "Near {scene} a stranger [was|is] {working}.",
        "{S} [dreamed|dreams] of {season}, of {food} and of {scene}.",
    ),
    "together": (
        '"{said}," {S} [said|says] to {O.o} {softly}.',
        '"{said}," {S} [said|says]. "{answer}," {O} [answered|answers] {softly}.',
        '"I want to {wish}," {S} [told|tells] {O.o}.', "{S} [shared|shares] {food} with {O.o}.",
        "{S} [talked|talks] with {O.o} about the {big} {animal} that [was|is] {doing}.",
        '"Are you hungry?" {S} [asked|asks]. "{answer}," {O} [said|says] {softly}.',
        '"Have you ever wanted to {wish}?" {S} [asked|asks] {O.o}. "{answer}," {O} [said|says].',
        "{S} [looked|looks] at {scene} with {O.o}.", '"Look, a {big} {animal}!" {S} [said|says].',
        "{O} [was|is] {working}, and {S} [was|is] {mood}.",
    ),
    "later": (
        "The next {day} [was|is] {sky}.", "The next {day}, {S} [was|is] {mood}.",
        "On the following {day} {weather}.",
    ),
    "later_report": (
        "The next day was {sky}.", "On the following day {weather}.",
        "One day later it was {sky}, and {S} was {mood}.",
    ),
    "ask_owner": (
        '"Is this yours?" {S} [asked|asks] {O.o}.', '"Have you lost {T}?" {S} [asked|asks] {O.o}.',
        "{S} [showed|shows] {T} to {O.o}.",
    ),
    "back": (
        "{S} [returned|returns] to {P}.", "{S} [went|goes] back to {P} {how}.",
        "{S} [came|comes] back to {P}.",
    ),
    "end_tale": (
        "{moral}.", "From [then|now] on {S.n} and {O.n} [were|are] even better friends.",
        "That night {S} [slept|sleeps] well.", "And so the day [ended|ends] well.",
        "{S} [went|goes] to bed early and [dreamed|dreams] of a {animal}.",
    ),
    "end_report": (
        "Nothing else was reported.", "The weather stayed {sky} until the evening.",
        "The next report follows on {weekday}.", "All ended well.",
    ),
}  # fmt: skip

_SLOT = re.compile(r"\{([^}]+)\}")
_TENSE = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence ready to fill. A part is a string, or (slot, form, capital)."""

    head: str
    parts: tuple[str | tuple[str, str, bool], ...]
    connects: bool


def compile_line(text: str, present: bool) -> Line:
    """Parts of a line in one tense.

    >>> compile_line("{S} [went|goes] to {P}.", True).parts
    (('S', 's', True), ' goes to ', ('P', '', False), '.')
    """
    text = _TENSE.sub(r"\2" if present else r"\1", text)
    parts: list[str | tuple[str, str, bool]] = []
    for index, piece in enumerate(_SLOT.split(text)):
        if index % 2 == 0:
            if piece:
                parts.append(piece)
            continue
        before = parts[-1] if parts else ""
        capital = piece.endswith("^") or not parts
        capital = capital or (isinstance(before, str) and before.endswith((". ", "? ")))
        slot, _, form = piece.rstrip("^").partition(".")
        if not form:
            form = "s" if slot in ("S", "O", "N") else ""
        parts.append((slot, form, capital))
    first = parts[0]
    head = first if isinstance(first, str) else ""
    return Line(head, tuple(parts), isinstance(first, tuple) and first[0] in ("S", "O"))


COMPILED = [
    {name: tuple(compile_line(text, tense) for text in lines) for name, lines in LINES.items()}
    for tense in (False, True)
]


def _tensed(words: tuple[str, ...], present: bool) -> tuple[str, ...]:
    return tuple(" ".join(_TENSE.sub(r"\2" if present else r"\1", w).split()) for w in words)


LEXICONS = [
    {key: _tensed(words, tense) for key, words in LEXICON.items()} for tense in (False, True)
]
