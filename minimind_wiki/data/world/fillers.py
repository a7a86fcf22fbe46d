"""Sentences that change nothing: sights, sounds, weather, memories, wishes, work and small talk.

The notation is that of `lines`. In `alone` one person speaks or nobody, in `together` two who are
at the same place. A stranger is named after everyone else of the sentence, so that a pronoun before
him cannot mean him.
"""

from __future__ import annotations

FILLERS: dict[str, tuple[str, ...]] = {
    "alone": (
        # feelings and work
        "{S} [was|is] {glad}, because the {task} [was|is] {done}.",
        "{S} [was|is] {sad}, because the {task} [was|is] {hard}.",
        "The {task} [was|is] {hard}, and {S} [did|does] not feel like {singing}.",
        "{S} {scrubbed} the {hue} {boat} {how}.",
        "{S} {scrubbed} {a_boat} and {a_hue} {coat}.",
        "{S} [wanted|wants] to {scrub} {a_boat} {spot}.",
        "{S} [did|does] not {scrub} the {boat}: the {task} [was|is] {hard}.",
        # sights and sounds
        "{S} [saw|sees] {beast} and {creature} {spot}.",
        "{S} [saw|sees] {creature} that [was|is] {resting} {spot}.",
        "{beast^} [was|is] {resting} {spot}.",
        "{creature^} [looked|looks] at {beast} {how}.",
        "{spot^} {beast} [chased|chases] {creature}.",
        "{S} [gave|gives] some {crops} to {beast}.",
        "{S} [had|has] never seen such {creature}.",
        "There [were|are] {number} {flowers} and {number} {many} {spot}.",
        "{S} [counted|counts] {number} {many} and {number} {flowers}.",
        "{S} [smelled|smells] the {flowers} {spot} and [thought|thinks] of {month}.",
        "{S} [looked|looks] at {view} {how}.",
        "{S} [drew|draws] {view} and {a_big} {animal}.",
        "{someone^} [was|is] {singing} {spot}.",
        "{someone^} in {a_hue} {coat} {passed}.", "{someone^} from the {from} {passed}.",
        "{someone^} with {number} {crops} {passed}.",
        "{spot^} [sat|sits] {someone} with {beast}.",
        "{S} [heard|hears] {someone} {singing} {spot}.",
        # weather
        "{a_light^} wind [came|comes] from the {from}.",
        "{a_light^} wind [shook|shakes] the {flowers} {spot}.",
        "{view^} [could|can] be seen from far away.",
        # food and trade
        "{S} [ate|eats] {some} {food} {spot}.",
        "{S} [ate|eats] {food} with {crops} {how}.",
        "{S} [bought|buys] {number} {crops} from {someone}.",
        "{S} [looked|looks] for {crops}, but there [were|are] only {flowers}.",
        "{S} [made|makes] a cup of {herb} tea and [drank|drinks] it {spot}.",
        # memory, dream and wish
        "{S} [remembered|remembers] {a_date} and {creature}.",
        "{S} [remembered|remembers] how {sweet} the {crops} had been in {month}.",
        "{S} [dreamed|dreams] of {number} {many} and {a_hidden} {palace}.",
        "Once {S} [had seen|saw] {a_hidden} {palace} in a dream.",
        "{S} [thought|thinks] of {a_hidden} {palace} and [was|is] {glad}.",
        "{S} [knew|knows] a story about {a_hidden} {palace} and {creature}.",
        "{S} [wanted|wants] to {skill} like {creature}.",
        "{S} [hoped|hopes] to {skill} better by {month}.",
        "{S} [could|can] {skill}, but {S.he} [could|can] not {toil}.",
        # said to nobody
        '"{said}," {S} {remarked} {softly}.',
        '"{a_big^} {animal} is {wiser} than {a_big} {wild}," {S} {remarked}.',
        '"The {crops} are {sweet} this year," {S} {remarked} {softly}.',
        '"My {body} hurts," {S} {remarked} {softly}.',
        '"I would rather {skill} than {scrub} {a_boat}," {S} {remarked}.',
    ),
    "together": (
        '"{said}," {S} [said|says] to {O.o} {softly}.',
        '"{said}," {S} {remarked}. "{answer}," {O} {replied} {softly}.',
        '"{answer}, {O.name}," {S} {remarked} {softly}.',
        # sights
        '"Look, {a_big} {animal} and {a_big} {wild}!" {S} {remarked}.',
        '"How many {many} can you see?" {S} {asked}. "{number^}," {O} {replied} {softly}.',
        '"Is that {a_big} {wild}?" {S} {asked}. "No, {a_big} {animal}," {O} {replied}.',
        '"What is that {spot}?" {S} {asked}. "{a_big^} {wild}," {O} {replied}.',
        '"Who is {singing} there?" {S} {asked}. "{a_tall^} {folk}," {O} {replied} {softly}.',
        "{S} [looked|looks] at {view} with {O.o}.",
        "{S} [showed|shows] {O.o} {beast} and {number} {flowers}.",
        "{O} [was|is] {singing} {spot}, and {S} [was|is] {glad}.",
        "{S} [waited|waits] {spot}, while {O} {scrubbed} {a_boat}.",
        # likes and comparisons
        '"Do you like {crops}?" {S} {asked}. "{yes}," {O} {replied} {softly}.',
        '"I like {food} better than {crops}," {S} [told|tells] {O.o} {softly}.',
        '"Your {coat} is {hue}," {S} {remarked}. "{answer}," {O} {replied}.',
        '"Which is {wiser}, a {animal} or a {wild}?" {S} {asked}. "{judge}," {O} {replied} '
        "{softly}.",
        '"Which is {wiser}, a {wild} or a {animal}?" {S} {asked}. "{judge}," {O} {replied}.',
        "{S} [thought|thinks] that the {crops} [were|are] {sweet}, but {O} [did|does] not.",
        # work and worries
        '"Why are you {sad}?" {S} {asked}. "The {task} is {hard}," {O} {replied}.',
        '"Are you {glad}?" {S} {asked}. "Yes, the {task} is {done}," {O} {replied} {softly}.',
        '"When is the {task} done?" {S} {asked}. "{when^}," {O} {replied} {softly}.',
        '"When is the {event}?" {S} {asked}. "{when^}," {O} {replied}.',
        '"My {body} hurts," {S} {remarked}. "Drink some {herb} tea," {O} {replied} {softly}.',
        '"Will you {scrub} the {boat}?" {S} [asked|asks] {O.o}. "{answer}," {O} {replied}.',
        "{S} {scrubbed} the {hue} {boat} with {O.o}.",
        "{S} [helped|helps] {O.o} with the {task}, and soon it [was|is] {done}.",
        # wishes and games
        '"I want to {skill}," {S} [told|tells] {O.o} {softly}.',
        '"Can you {skill}?" {S} {asked}. "No, but I can {toil}," {O} {replied}.',
        '"Do you {skill}?" {S} {asked}. "{yes}," {O} {replied} {softly}.',
        "{S} [taught|teaches] {O.o} to {skill} {spot}.",
        "{S} [played|plays] {game} with {O.o} {spot}.",
        "{O} [won|wins] at {game}, and {S} [was|is] {sad}.",
        '"Let us play {game} {when}," {S} {remarked}. "{answer}," {O} {replied}.',
        # food
        "{S} [shared|shares] {some} {food} with {O.o}.",
        '"Are you hungry?" {S} {asked}. "Yes, I would like {food}," {O} {replied}.',
        '"We need {number} {crops}," {S} {remarked}. "Or {food}," {O} {replied} {softly}.',
        # stories
        "{S} [told|tells] {O.o} a story about {a_hidden} {palace}.",
        '"Last night I dreamed of {a_hidden} {palace}," {S} {remarked} {softly}.',
        "{S} [talked|talks] with {O.o} about {beast} and {someone}.",
        '"In {month} I saw {a_tall} {folk} with {a_big} {animal}," {S} [told|tells] {O.o}.',
    ),
}  # fmt: skip
