"""The sentences that say what happens, in two or more forms each.

`{S}`, `{O}` and `{N}` are people, `{S.o}` the same as an object, `{S.his}` and `{S.he}` pronouns
for someone already named; `{T}` and `{U}` are things, `{T.a}` and `{T.his}` at their first mention;
`{P}` and `{Q}` are places. `[was|is]` are the past and the present form. A lower-case slot is a
word of the lexicon, or one of these short forms.
"""

from __future__ import annotations

SHORT = {
    "spot": "{near} the {landmark}",
    "beast": "{a_big} {animal}",
    "creature": "{a_big} {wild}",
    "someone": "{a_tall} {folk}",
    "view": "the {quiet} {hills}",
    "land": "the {quiet} {fields}",
}

LINES: dict[str, tuple[str, ...]] = {
    "intro_tale": (
        "One {date}, {S}, {trait} {job}, [was|is] at {P}.",
        "There [was|is] once {trait} {job} whose name [was|is] {S}, and one {date} {S.he} [was|is] "
        "at {P}.",
        "It [was|is] {a_date}, and {S}, {trait} {job}, [was|is] at {P}.",
        "Nobody in the village [knew|knows] {P} better than {S}, {trait} {job}, who [was|is] there "
        "on {a_date}.",
        "This story [began|begins] on {a_date} at {P}, where {S}, {trait} {job}, [was|is] "
        "{singing}.",
        "At {P}, {spot}, [stood|stands] {S}, {trait} {job}; it [was|is] {a_date}.",
        "{S}, {trait} {job}, [was|is] at {P}, {spot}, one {date}.",
        "It all [began|begins] at {P}, one {date}, when {S}, {trait} {job}, [was|is] {sad}.",
    ),
    "intro_report": (
        "On {weekday}, {a_dated}, {S}, {trait} {job}, [was|is] at {P}.",
        "The weather on {weekday} [was|is] {sky}. {S}, {trait} {job}, [was|is] at {P}.",
        "This [happened|happens] on {a_dated}. {S}, {trait} {job}, [was|is] at {P}, {spot}.",
        "On {weekday} {S}, {trait} {job}, [was|is] seen at {P}, {spot}; the sky [was|is] {sky}.",
        "At {P}, on {a_dated}, {S}, {trait} {job}, [was|is] {singing} {spot}.",
    ),
    "intro_letter": (
        "On {weekday}, {a_dated}, {S} [was|is] at {P}.",
        "Last {weekday} {S} [was|is] at {P}; it was {a_date}.",
        "One {date} {S} [was|is] at {P}, {spot}.",
        "It was {a_date}, and {S} [was|is] at {P}, {singing}.",
        "On {weekday} {S} [was|is] {singing} at {P}, {spot}.",
    ),
    "other_here": (
        "{S.his^} {relation} {O}, {trait} {job}, [was|is] there too.",
        "With {S.o} [was|is] {S.his} {relation} {O}, {trait} {job}.",
        "{S.his^} {relation} {O}, {trait} {job}, [was|is] also there and [was|is] {singing}.",
        "{spot^} [sat|sits] {S.his} {relation} {O}, {trait} {job}.",
        "{S.his^} {relation} {O}, {trait} {job}, [stood|stands] {spot}, {singing}.",
        "Not far away [was|is] {S.his} {relation} {O}, {trait} {job}, in {a_hue} {coat}.",
    ),
    "other_away": (
        "{S.his^} {relation} {O}, {trait} {job}, [was|is] not there, but at {P}.",
        "{S.his^} {relation} {O}, {trait} {job}, [was|is] at {P} [that day|today].",
        "At {P}, meanwhile, {S.his} {relation} {O}, {trait} {job}, [was|is] {singing}.",
        "{S.his^} {relation} {O}, {trait} {job}, [was|is] at {P}, {spot}.",
        "Meanwhile {S.his} {relation} {O}, {trait} {job}, [sat|sits] {spot} at {P}.",
        "{S.his^} {relation} {O}, {trait} {job}, [had|has] gone to {P}, because the {task} [was|is]"
        " {hard}.",
    ),
    "lies": (
        "{T.a} [lay|lies] at {P}, {spot}.", "Somebody [had|has] left {T.a} at {P}, {spot}.",
        "At {P}, {spot}, [lay|lies] {T.a}.", "{T.a} [was|is] {spot} at {P}.",
        "{T.a} [could|can] be found at {P}, {spot}.",
        "{someone^} [had|has] forgotten {T.a} at {P}, {spot}.",
    ),
    "holds": (
        "{S} [had|has] {T.a} in {S.his} hands.", "{S} [was|is] carrying {T.a}.",
        "{S} [held|holds] {T.a} in both hands.", "{S} [sat|sits] {spot} and [held|holds] {T.a}.",
        "{S} [carried|carries] {T.a} under one arm, because {need}.",
        "{S} [was|is] {singing}, with {T.a} in one hand.",
        "{S} [had|has] brought {T.a}, because {need}.",
    ),
    "go": (
        "{S} [walked|walks] to {P}.", "{S} [went|goes] to {P} {how}.", "{S} [ran|runs] to {P}.",
        "{S} [left|leaves] {Q} and [went|goes] to {P}.", "{S} [took|takes] the path to {P}.",
        "{S} [set|sets] out for {P} {how} and [was|is] soon there.",
        "{S} [hurried|hurries] from {Q} to {P}.", "{S} [went|goes] over to {P}.",
        "{S} [walked|walks] past {land} to {P}.", "{S} [rode|rides] to {P} {ride}.",
        "{S} [followed|follows] {creature} as far as {P}.",
        "{S} [went|goes] to {P}, {singing} all the way.",
        "{S} [left|leaves] {Q} {how} and [arrived|arrives] at {P}.",
        "{S} [crossed|crosses] {land} and [came|comes] to {P}.",
        "{S} [made|makes] {S.his} way to {P} in {a_hue} {coat}.",
        "{S} [went|goes] to {P} with {number} {crops}.",
        "{S} [rode|rides] to {P} with {someone}.",
    ),
    "take": (
        "{S} [picked|picks] {T} up.", "{S} [took|takes] {T} {how}.",
        "{S} [bent|bends] down and [picked|picks] {T} up.",
        "{S} [took|takes] {T} and [was|is] {glad}.", "{S} [lifted|lifts] {T} {how}.",
        "{S} [reached|reaches] for {T} and [took|takes] it {how}.",
        "{S} [grabbed|grabs] {T} with both hands.",
        "{S} [took|takes] {T} and [said|says] {softly}, \"{answer}.\"",
        "{S} [picked|picks] {T} up and [wrapped|wraps] it in {a_hue} {coat}.",
        "{S} [cleaned|cleans] {T} and [took|takes] it along.",
    ),
    "drop": (
        "{S} [put|puts] {T} down at {P}, {spot}.", "{S} [left|leaves] {T} {spot} at {P}.",
        "{S} [laid|lays] {T} down {how}.", "{S} [hid|hides] {T} {spot}.",
        "{S} [set|sets] {T} down {how}, {spot}.", "{S} [dropped|drops] {T} at {P}, {spot}.",
        "{S} [placed|places] {T} {spot} at {P}, because the {task} [was|is] {hard}.",
    ),
    "give": (
        "{S} [gave|gives] {T} to {O.o}.", "{S} [handed|hands] {T} to {O.o} {how}.",
        '"Here, this is for you," {S} {spoke}, and [gave|gives] {T} to {O.o}.',
        "{S} [gave|gives] {T} to {O.o} {how}.", "{S} [passed|passes] {T} to {O.o}.",
        "{S} [put|puts] {T} into {O.his} hands {how}.",
        '"{said}," {S} {spoke}, and [handed|hands] {T} to {O.o}.',
        "{S} [gave|gives] {T} to {O.o} and [was|is] {glad}.",
        "{S} [wrapped|wraps] {T} in {a_hue} {coat} and [gave|gives] it to {O.o}.",
        "{S} [gave|gives] {T} to {O.o}, with {few} {crops} as well.",
        '"Take it," {S} {spoke} {softly}, and {O} [took|takes] {T}.',
    ),
    "thanks": (
        '"Thank you very much," {S} {spoke}.', '"How kind of you," {S} {spoke} {softly}.',
        "{S} [thanked|thanks] {O.o} {kindly}.", "{S} [smiled|smiles] and [thanked|thanks] {O.o}.",
        '"I will not forget this," {S} {spoke}.', '"Thank you, {O.name}," {S} {spoke} {softly}.',
        "{S} [thanked|thanks] {O.o} with {number} {flowers}.", "{S} [was|is] {glad} about it.",
        '"Now I am {glad}," {S} {spoke}.', "{S} [offered|offers] {O.o} {some} {food} for it.",
    ),
    "wants": (
        "{S} [wanted|wants] to find {T.his}, because {need}.",
        "{S} [had|has] lost {T.his} and [did|does] not know where it [was|is].",
        "{S} [looked|looks] for {T.his}: {S.he} [needed|needs] it, because {need}.",
        "{S} [was|is] {sad}, because {S.he} [had|has] lost {T.his}.",
        "{S} [missed|misses] {T.his}, and {need}.",
        "Since {weekday} {S} [had|has] been looking for {T.his}, even {spot}.",
    ),
    "not_here": (
        "{T} [was|is] not there.", "{S} [searched|searches] {spot}, but {T} [was|is] not there.",
        "{S} [searched|searches] everywhere, but {T} [was|is] not at {P}.",
        "But {T} [was|is] nowhere to be seen.",
        "{spot^} [was|is] {creature}, but not {T}.",
        "{S} [looked|looks] for {T} at {P} {how}, but it [was|is] not there.",
        "There [were|are] {number} {many} at {P}, but no sign of {T}.",
    ),
    "ask": (
        '"Do you know where {T} is?" {S} [asked|asks] {O.o}.',
        "{S} [asked|asks] {O.o} about {T}.", '"Have you seen {T}?" {S} {asked}.',
        '"Where is {T}?" {S} [asked|asks] {O.o} {softly}.',
        "{S} [asked|asks] {O.o} {softly} whether {O.he} [knew|knows] anything about {T}.",
        '"I cannot find {T}," {S} [told|tells] {O.o}, "and I am {sad}."',
    ),
    "tell": (
        '"It is at {P}," {O} {replied}.', '"I saw it at {P}," {O} {replied} {softly}.',
        "{O} [told|tells] {S.o} that it [was|is] at {P}.",
        '"Look for it at {P}," {O} [said|says] {softly}.',
        '"{answer}," {O} {replied}. "I think it is at {P}."',
        '"{someone^} left it at {P}," {O} {replied}.',
        '"On {weekday} it was at {P}," {O} {replied}, "and there it is still."',
    ),
    "unknown": (
        '"I do not know," {O} {replied} {softly}.', "{O} [did|does] not know where it [was|is].",
        '"I have not seen it," {O} {replied}.', "{O} [shook|shakes] {O.his} head {how}.",
        '"I have not seen it since {weekday}," {O} {replied}.',
        "{O} [knew|knows] nothing about it and [was|is] {sad}.",
    ),
    "there": (
        "There [lay|lies] {T}, {spot}.", "And there it [was|is], {spot}: {T}.",
        "{S} [found|finds] {T} {spot}.", "{S} [looked|looks] around and [saw|sees] {T} {spot}.",
        "{spot^} {S} [saw|sees] {T}.", "{beast^} [sat|sits] {spot}, and beside it [lay|lies] {T}.",
    ),
    "spies": (
        "There [lay|lies] {T.a}, {spot}.", "And there, {spot}, [lay|lies] {T.a}.",
        "{S} [found|finds] {T.a} {spot}.", "{S} [looked|looks] around and [saw|sees] {T.a} {spot}.",
        "{spot^} {S} [saw|sees] {T.a}.", "{creature^} [sat|sits] {spot}, and beside it [lay|lies] "
        "{T.a}.", "{S} [noticed|notices] {T.a}: it [lay|lies] {spot}.",
    ),
    "gift_plan": (
        "{O.his^} {feast} [was|is] near, and {S} [wanted|wants] {T.a} for a present.",
        "{S} [wanted|wants] to give {O.o} {T.a} for {O.his} {feast}.",
        "{O.his^} {feast} [was|is] [soon|tomorrow], and the present [was|is] to be {T.a}.",
        "{O} [had|has] always wanted {T.a}, and {O.his} {feast} [was|is] near.",
        "{O} [had|has] often wished for {T.a}, and {S} [did|does] not forget it.",
    ),
    "loan_plan": (
        "{S} [needed|needs] {T.his}, because {need}, but {O} [had|has] borrowed it.",
        "{S} [had|has] lent {T.his} to {O.o}, and now {S.he} [needed|needs] it back, "
        "because {need}.",
        "{S} [had|has] lent {T.his} to {O.o} for the {event}, but now {need}.",
        "{S} [had|has] given {T.his} to {O.o} for {number} days, but now {need}.",
    ),
    "loan_ask": (
        '"May I have {T} back?" {S} [asked|asks] {softly}.',
        '"I need {T} again," {S} [said|says] to {O.o}.',
        "{S} [asked|asks] {O.o} for {T}.", '"Please give {T} back," {S} {spoke} {softly}.',
        "{S} [asked|asks] {O.o} {softly} whether {O.he} still [needed|needs] {T}.",
        '"I am {sad} without {T}," {S} [told|tells] {O.o}.',
    ),
    "broken": (
        "{T} [was|is] broken, because {cause}.",
        "{S} [saw|sees] that {T} [was|is] broken, because {cause}.",
        "{beast^} [had|has] broken {T}.", "But {T} [was|is] broken: {cause}.",
        "{T} [was|is] broken, because {a_boat} [had|has] fallen on it.",
        "{creature^} [had|has] broken {T}.",
        "{S} [was|is] {sad}, because {T} [was|is] broken.",
    ),
    "mend_ask": (
        '"Can you mend {T}?" {S} [asked|asks] {O.o}.', "{S} [asked|asks] {O.o} to repair {T}.",
        '"{T^} does not work any more," {S} [said|says] to {O.o}.',
        "{S} [showed|shows] {O.o} {softly} that {T} [was|is] broken.",
        '"Do you have some {glue} for {T}?" {S} [asked|asks] {O.o}.',
        '"Could you repair {T} by {weekday}?" {S} [asked|asks] {O.o}.',
    ),
    "mend": (
        "{S} [worked|works] {how}, and then {T} [was|is] whole again.",
        "{S} [mended|mends] {T} with {glue}.", "{S} [repaired|repairs] {T} {how}.",
        "{S} [took|takes] some {glue} and [mended|mends] {T} {how}.",
        "With some {glue} {S} [repaired|repairs] {T}.",
    ),
    "errand": (
        '"Please take {T} to {N} at {P}," {O} [said|says] to {S.o}.',
        "{O} [asked|asks] {S.o} to bring {T} to {N} at {P}, because {need}.",
        "{O} [told|tells] {S.o} {softly} that {N} at {P} [needed|needs] {T}.",
        '"{T^} must go to {N} at {P} by {weekday}," {O} [told|tells] {S.o}.',
    ),
    "moved_why": (
        "{S} [did|does] not see this.", "{S} [was|is] away and [knew|knows] nothing about it.",
        "Nobody [told|tells] {S.o}.", "{S} [did|does] not notice, for {S.he} [was|is] {singing}.",
        "Only {creature} [saw|sees] this, and not {S.n}.",
        "{S} [heard|hears] nothing of all this.",
    ),
    "thinks": (
        "{S} [thought|thinks] that {T} [was|is] still at {P}.",
        "{S} still [believed|believes] that {T} [was|is] at {P}.",
        '"I left {T} at {P}," {S} {remarked}.',
        "{S} [was|is] {glad} that {T} [was|is] safe at {P}, as {S.he} [thought|thinks].",
        '"{T^} is at {P}," {S} [told|tells] {someone} {softly}.',
    ),
    "swap_ask": (
        '"I would like to have {T}," {S} {spoke}, "and you may have {U}."',
        '"Will you give me {T} for {U}?" {S} [asked|asks] {O.o}.',
        "{S} [offered|offers] {O.o} {U} for {T}.",
        '"{U^} is for you if I may have {T}," {S} [told|tells] {O.o} {softly}.',
    ),
    "swap_yes": (
        '"With pleasure," {S} {replied} {softly}.', '"That is fair," {S} {replied}.',
        "{S} [thought|thinks] about it and [agreed|agrees].", "{S} [agreed|agrees] {how}.",
        "{S} [nodded|nods] {how}.", '"Very well," {S} {replied} {softly}.',
    ),
    "whose": (
        '"Whose is this?" {S} {asked}.', "{S} [wondered|wonders] who [had|has] lost {T}.",
        "It [did|does] not belong to {S.o}.", '"This is not mine," {S} {remarked} {softly}.',
        "{S} [asked|asks] about {T} everywhere, and even {someone}.",
        "Somebody [was|is] surely {sad} without {T}.",
    ),
    "mine": (
        '"Yes, that is mine," {S} {replied} {softly}.', "{T^} [belonged|belongs] to {S.o}.",
        '"I have looked for {T} everywhere," {S} {replied}.',
        '"I lost it on {weekday}," {S} {replied}, "and I was {sad}."',
        '"At last! That is mine," {S} {spoke} {softly}.',
        "{S} [had lost {T} {number} days before|lost {T} {number} days ago] and [was|is] {glad} "
        "now.",
    ),
    "ask_owner": (
        '"Is this yours?" {S} [asked|asks] {O.o} {softly}.',
        '"Have you lost {T}?" {S} [asked|asks] {O.o}.', "{S} [showed|shows] {T} to {O.o} {how}.",
        '"I have found {T}," {S} [told|tells] {O.o} {softly}.',
        '"Do you know whose {T} is?" {S} [asked|asks] {O.o}.',
    ),
    "back": (
        "{S} [returned|returns] to {P}.", "{S} [went|goes] back to {P} {how}.",
        "{S} [came|comes] back to {P}.", "{S} [walked|walks] past {land}, back to {P}.",
        "After {number} minutes {S} [was|is] back at {P}.",
        "{S} [rode|rides] back to {P} {ride}.",
    ),
    "later": (
        "The next {day} [was|is] {sky}.", "The next {day}, {S} [was|is] {glad}.",
        "The next {day}, {S} [was|is] {sad}, because the {task} [was|is] {hard}.",
        "{number^} days later {S} [was|is] {singing} {spot}.",
        "On {weekday}, {S} [was|is] {glad}, because the {task} [was|is] {done}.",
        "{weekday^} [was|is] {sky}, and {creature} [was|is] {resting} {spot}.",
    ),
    "later_report": (
        "The next day was {sky}.", "{number^} days later it was {sky}, and {S} was {sad}.",
        "{weekday^} was {sky}, and the {task} was {done}.",
        "The next day {creature} was seen {spot}.",
        "On {weekday}, a {sky} {day}, {S} was {singing} {spot}.",
    ),
    "end_tale": (
        "{moral}.", "From [then|now] on {S.n} and {O.n} [were|are] even better friends.",
        "That night {S} [slept|sleeps] well and [dreamed|dreams] of {a_hidden} {palace}.",
        "And so the day [ended|ends] well.",
        "{S} [went|goes] to bed early and [dreamed|dreams] of {beast}.",
        "For supper {S} [had|has] {some} {food}.",
        "And every {month} the people of the village [told|tell] this story.",
    ),
    "end_report": (
        "Nothing else was reported.", "{weekday^} will be {sky}.",
        "The next report follows on {weekday}.", "All ended well.",
        "{a_big^} {animal} and {number} {crops} are still missing.",
        "The {event} in {month} will take place {spot}.",
        "The {crops} are {sweet} this week.",
    ),
}  # fmt: skip
