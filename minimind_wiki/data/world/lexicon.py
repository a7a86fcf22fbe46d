"""The words that fill the slots of a line.

Most options are single words, so that a sentence is composed and not recited: every word of a slot
goes with every word of its neighbours. An option may hold slots itself and then stands for all its
fillings. Words that carry the plots (things, jobs, relations) do not occur here, so a filler never
answers a question. `[was|is]` are the past and the present form.
"""

from __future__ import annotations

import re
from itertools import product

from minimind_wiki.data.world.words import a

_WORDS: dict[str, str] = {
    # ---- how and when
    "how": """
        slowly, quickly, quietly, happily, calmly, carefully, eagerly, silently, gladly,
        patiently, cheerfully, proudly, gently, politely, bravely, wearily, thoughtfully,
        merrily, solemnly, resolutely, swiftly, gingerly, tenderly, absent-mindedly, gloomily,
        graciously, reluctantly, hesitantly, joyfully, dutifully, promptly, serenely, sleepily,
        modestly, deftly, stiffly, daintily, sheepishly, casually, grandly, nervously, lazily,
        briskly, boldly, clumsily, dreamily, gracefully, hastily, timidly, without a word, with
        a smile, in a hurry, with a sigh, with a nod, with a laugh, in silence, with great care""",
    "softly": """
        softly, warmly, cheerfully, shyly, gravely, kindly, dryly, firmly, gently, loudly,
        sadly, sleepily, hoarsely, seriously, sharply, honestly, calmly, brightly, crossly,
        faintly, politely, quickly, with a smile, with a sigh, with a wink, with a shrug, with a
        frown, in a low voice, after a moment, at last""",
    "kindly": """
        warmly, cheerfully, shyly, kindly, politely, gladly, sincerely, heartily, happily, at
        once, with a smile, with a nod, with a laugh, with a bow, with a song, with a hug, many
        times, in a whisper""",
    "spoke": """
        [said|says], [whispered|whispers], [murmured|murmurs], [called|calls],
        [muttered|mutters], [mumbled|mumbles], [declared|declares], [exclaimed|exclaims]""",
    "replied": "{spoke}, [answered|answers], [replied|replies]",
    "remarked": """
        [said|says], [whispered|whispers], [murmured|murmurs], [remarked|remarks],
        [declared|declares], [announced|announces], [observed|observes], [exclaimed|exclaims],
        [explained|explains], [sighed|sighs], [grumbled|grumbles], [admitted|admits]""",
    "asked": "[asked|asks], [wondered|wonders], [inquired|inquires], [demanded|demands]",
    "day": "morning, afternoon, evening, day",
    "weekday": "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday",
    "month": """
        January, February, March, April, May, June, July, August, September, October, November,
        December, spring, summer, autumn, winter""",
    "number": """
        two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen,
        fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty, thirty, forty, fifty,
        sixty""",
    "when": """
        tomorrow, soon, tonight, next week, on {weekday}, in {month}, after lunch""",
    "sky": """
        bright, rainy, windy, cloudy, grey, clear, misty, breezy, gloomy, dull, beautiful,
        quiet, pleasant, gusty, foggy, drizzly, changeable, damp""",
    "light": """
        light, strong, soft, cool, gentle, sharp, steady, sudden, dry, damp, faint, restless,
        salty, playful, rough, lazy""",
    "from": """
        north, south, east, west, sea, hills, mountains, forest, valley, lake, river, coast,
        moor, plains, marshes, highlands""",
    # ---- where
    "near": """
        near, behind, beside, by, next to, in front of, close to, not far from, opposite, to the
        left of, to the right of, across from""",
    "landmark": """
        fence, wall, hedge, cart, barrel, gate, bench, steps, door, woodpile, haystack, ditch,
        signpost, wagon, haycart, stump, oak, birch, elm, pump, path, window, porch, shed, crate,
        wheelbarrow, log, rock, bush, nettles, puddle, post, pillar, plough, beehive, henhouse,
        doghouse, milestone, sundial, fountain, archway, railing, table, ivy, grindstone, stile,
        thicket, doorway, cellar, stable, kennel, flagpole, scarecrow, rosebush, brook, boulder,
        chimney, beech, walnut tree, pear tree, lilac, bathtub, letterbox, ferns, reeds, drain,
        cobblestones, staircase, balcony, veranda, terrace, statue, hutch, dovecote, vine,
        trellis, greenhouse, oven, workbench, tent, pine, poplar, maple, chestnut tree,
        laburnum, holly, hazel, mulberry tree, fig tree, pavilion, gazebo, kiosk, hayloft,
        toolshed, lamppost, bollard, gravestone, washtub, rain barrel, hydrant, gutter,
        turnstile, birdbath, flowerpot, weir, jetty, mailbox, pergola, carport, sandpit,
        chopping block, monument, obelisk, parapet, hedgerow, aqueduct, sluice, tombstone,
        noticeboard, manhole, buttress, allotment, croft, cairn, lychgate, portico, bonfire,
        vegetable patch, boathouse, bakehouse, smokehouse, granary, windmill""",
    "quiet": """
        distant, quiet, silent, lovely, familiar, grey, peaceful, golden, pale, calm, beautiful,
        strange, dark, bright, dreary, splendid, gloomy, blue, hazy, shimmering, gleaming,
        lonely, sunlit, silvery, majestic, hushed, dim, faraway, dusky""",
    "hills": """
        roofs, sky, clouds, mountains, cliffs, horizon, rooftops, sea, coast, waterfall,
        skyline, lighthouse, bay, ravine, trees, treetops, chimneys, rainbow, swallows, sails""",
    "fields": """
        hills, fields, river, road, valley, forest, village, street, square, lake, pastures,
        vineyards, ruins, marsh, woods, moor, dunes, stream, meadows, cemetery, stubble, hollow,
        crossroads, grove, railway, canal, cornfields, playground, churchyard, quarry""",
    "ride": """
        on a donkey, on a pony, on a mule, on a horse, on a camel, on a mare, on a bicycle, on a
        tricycle, in a carriage, in a wagon, in a cart, in a coach, in a taxi, on a tractor, on
        a scooter, in a handcart""",
    "toil": """
        iron, garden, type, multiply, skip, speak French, speak Latin, tell jokes, keep a
        secret, tie a knot, milk a cow, light a fire, play the {horn}""",
    "horn": "trumpet, piano, guitar, banjo",
    # ---- animals
    "big": """
        big, little, thin, fat, young, old, shaggy, brown, black, white, grey, spotted, striped,
        muddy, sleepy, noisy, friendly, hungry, nervous, tame, wild, shy, bold, lazy, clever,
        grumpy, curious, gentle, stubborn, playful, frightened, patient, lame, wet, dusty,
        fluffy, scruffy, plump, tiny, enormous, strange, stray, handsome, clumsy, quick, slow,
        silent, angry, cheerful, tired, fierce, elegant, skinny, sturdy, trembling, limping,
        long-eared, half-blind, deaf, woolly, sly, sulky, graceful, majestic, drowsy, hoarse,
        obedient, timid, dirty, freckled, feeble, mighty, motherly, pampered, wide-awake,
        bashful, dainty, ginger, chubby, perky, restless, docile, ravenous, soaked, whiskery,
        moody, spirited, valiant, speckled, inquisitive, greedy, lonely, rare, beautiful, ugly""",
    "animal": """
        cat, goat, donkey, goose, sheep, pony, dog, hen, duck, cow, pigeon, kitten, lamb, calf,
        puppy, rooster, pig, piglet, mule, foal, duckling, gosling, chick, hound, horse, ram,
        turkey, poodle, spaniel, collie, dachshund, pheasant, canary, budgerigar, greyhound,
        gander, heifer, sow, bulldog, cockatoo, yak, reindeer, tomcat, hamster, stallion, mare,
        peacock, bull, billy goat, terrier, parrot, camel, llama, guinea pig""",
    "wild": """
        fox, squirrel, hare, turtle, hedgehog, sparrow, rabbit, mouse, frog, magpie, crow,
        swallow, lizard, toad, deer, mole, weasel, stork, blackbird, thrush, finch, jay, badger,
        heron, raven, cuckoo, woodpecker, nightingale, lark, beaver, marten, rat, bat, newt,
        wren, hawk, falcon, kingfisher, stag, fawn, chaffinch, bullfinch, grouse, buzzard,
        seagull, salamander, polecat, dormouse, partridge, curlew, sandpiper, warbler, vole,
        shrew, cormorant, kestrel, pelican, puffin, lapwing""",
    "resting": """
        sleeping, sitting, resting, hiding, waiting, dozing, lying, standing, shivering, eating,
        drinking, scratching, watching, staring, listening, blinking, stretching, wandering,
        trembling, playing, limping, crouching, sniffing, digging, hopping about, running about,
        turning in circles, making a noise""",
    "wiser": """
        wiser, quicker, slower, cleaner, kinder, louder, stronger, shyer, braver, lazier,
        happier, cleverer, gentler, calmer, greedier, prouder, more useful, more patient, more
        stubborn, more careful, more elegant, more dangerous, funnier""",
    # ---- people who only pass by
    "tall": """
        tall, young, old, thin, stout, tired, merry, quiet, elderly, barefoot, cheerful,
        cautious, polite, ragged, sunburnt, sleepy, foreign, solemn, smiling, weary, dignified,
        friendly, nervous, handsome, sturdy, puzzled, breathless, absent-minded, impatient,
        talkative, plump, bald, blonde, lean, wrinkled, gallant, chatty, boastful, pensive,
        jolly, nimble, haughty, blushing""",
    "folk": """
        child, boy, girl, man, woman, stranger, visitor, traveller, pedlar, soldier, sailor,
        guest, beggar, monk, widow, farmhand, maid, policeman, postman, hunter, merchant,
        juggler, knight, captain, poet, clown, priest, nurse, judge, porter, waiter, coachman,
        woodcutter, ferryman, butcher, mason, blacksmith, actor, inventor, lawyer, dentist,
        tourist, pilgrim, goatherd, chimney sweep, librarian, acrobat, wizard, mayor, pirate,
        plumber, milkman, jeweller, lumberjack, conductor, surveyor, saddler, glazier, cobbler,
        roofer, harpist, magician, herbalist, senator, sculptor, astronomer, barber, locksmith,
        cooper, tinker, skipper, duchess, countess, baroness, philosopher, governess, bishop,
        butler, gravedigger, cyclist, bridegroom""",
    "singing": """
        singing, laughing, humming, sleeping, resting, snoring, coughing, sneezing, yawning,
        reading, knitting, fishing, dancing, sewing, sketching, jumping, shouting, weeping,
        waving, smoking, chatting, daydreaming, praying, juggling, sawing, digging, sweeping,
        giggling, gardening, preaching, scribbling, meditating, stretching, counting, pacing,
        mumbling""",
    "hue": """
        red, blue, green, yellow, white, black, grey, brown, purple, pink, orange, crimson,
        golden, violet, scarlet, turquoise, striped, checked, woollen, leather, velvet, silk,
        linen, cotton, torn, faded, patched, shabby, elegant, thick, maroon, ragged, flowery,
        beige, tight, loose, embroidered""",
    "coat": """
        coat, cloak, dress, shirt, apron, jacket, vest, gown, robe, shawl, jumper, sweater,
        waistcoat, tunic, bonnet, cap, uniform, blouse, costume, cape, turban, nightgown, kilt,
        overcoat, raincoat, pullover, mantle, bathrobe, poncho, kimono, smock, bodice""",
    "passed": """
        [walked|walks] by, [rode|rides] by, [hurried|hurries] by, [ran|runs] past,
        [stopped|stops] to rest, [asked|asks] the way, [sat|sits] down, [smiled|smiles],
        [nodded|nods]""",
    # ---- food and plants
    "crops": """
        plums, cherries, pears, apples, beans, peas, carrots, onions, turnips, cabbages,
        potatoes, pumpkins, berries, grapes, tomatoes, cucumbers, radishes, beets, nuts,
        chestnuts, mushrooms, melons, peaches, apricots, figs, lentils, lemons, leeks, olives,
        strawberries, raspberries, currants, quinces, gooseberries, nectarines, almonds,
        hazelnuts, sprouts, cranberries, tangerines, bananas, chillies, avocados, blueberries,
        elderberries, marrows, shallots, swedes, walnuts, oranges, artichokes, parsnips,
        blackberries, dates""",
    "sweet": """
        sweet, small, sour, cheap, late, early, rare, huge, juicy, bitter, ripe, expensive,
        excellent, watery, tasty, wormy, plentiful, green, hard, tasteless""",
    "food": """
        bread, soup, cheese, porridge, stew, pie, cake, pancakes, biscuits, dumplings, noodles,
        gingerbread, rice, fish, sausages, pudding, custard, waffles, buns, pastries, butter,
        cream, ham, toast, omelettes, roast chicken, honey, jam, meatballs, salad, chocolate,
        yoghurt, crackers, bacon, mustard, pickles, marmalade, trout, salmon, goulash, muffins,
        doughnuts, scones, spaghetti, ravioli, mutton, venison, herring, semolina, caramel,
        treacle, popcorn, crumble, shortbread, macaroni, macaroons, nougat, truffles, risotto,
        curry, lasagne, syrup, liquorice""",
    "some": """
        some, plenty of, a lot of, a plate of, a pound of, half of the, more of the, a taste of
        the""",
    "few": """
        {number}, a few, some, many, plenty of, a lot of, a handful of, a sack of, a bag of, a
        pile of""",
    "judge": """
        The first, The second, Both, Neither, Nobody knows, That is hard to say""",
    "herb": """
        mint, sage, nettle, ginger, lemon, fennel, thyme, rosehip, camomile, raspberry,
        lavender, elderflower, peppermint, dandelion""",
    "flowers": """
        daisies, tulips, poppies, roses, lilies, violets, daffodils, bluebells, buttercups,
        marigolds, sunflowers, pansies, irises, peonies, cornflowers, primroses, asters,
        dahlias, foxgloves, carnations, crocuses, orchids, thistles, geraniums, hyacinths,
        snapdragons, petunias, begonias""",
    "many": """
        clouds, carts, trees, stones, ants, swallows, boats, sheep, snails, bees, beetles,
        butterflies, puddles, crates, sacks, barrels, geese, cattle, bricks, posts, weeds,
        tiles, footprints, acorns, pebbles, cobwebs, branches, starlings, seagulls, wheels,
        ladybirds, grasshoppers, spiders, caterpillars, moths, dragonflies, pinecones, twigs""",
    # ---- work, wishes and talk
    "task": """
        washing, ironing, weeding, harvest, milking, sewing, painting, baking, cleaning,
        digging, planting, packing, spinning, knitting, mending, dusting, polishing, threshing,
        mowing, shopping, chopping, ploughing, sowing, pruning, sweeping, building, weaving,
        carving, embroidery, bookkeeping, brewing, tiling, raking, fencing, pickling, tidying,
        thatching, shearing, plastering, gardening, laundry, homework, pottery, rehearsal,
        stocktaking, decorating""",
    "done": """
        done, finished, almost done, over at last, going well, easy, half done, perfect, fun,
        nearly over, a success""",
    "hard": """
        hard, endless, late, not done, not finished, too hard, going badly, tiring, boring,
        dangerous, a failure, too slow, difficult, dreadful, exhausting""",
    "glad": """
        glad, happy, cheerful, pleased, content, delighted, relieved, merry, grateful, hopeful,
        joyful, satisfied, thrilled, calm, proud, excited, overjoyed, amused""",
    "sad": """
        sad, tired, worried, angry, gloomy, cross, upset, nervous, anxious, restless, grumpy,
        unhappy, bored, impatient, miserable, weary, disappointed, ashamed, furious, desperate,
        discouraged""",
    "scrubbed": """
        [scrubbed|scrubs], [washed|washes], [polished|polishes], [cleaned|cleans], [drew|draws],
        [admired|admires], [measured|measures], [examined|examines]""",
    "scrub": """
        scrub, wash, dust, wipe, polish, paint, clean, draw, admire, inspect, measure, repair,
        decorate, sketch, varnish, examine, sell, buy, photograph""",
    "boat": """
        boat, cart, table, wagon, stove, bench, cupboard, wheel, statue, sign, cradle, piano,
        sled, raft, canoe, carriage, wardrobe, shelf, dresser, tub, plough, loom, oven, desk,
        sofa, harp, organ, telescope, fountain, anchor, trunk, weathercock, rocking horse,
        bathtub, sundial, spinning wheel, globe, cello, tricycle, bicycle, wheelbarrow,
        portrait, barometer, trumpet, tapestry, easel, thermometer, mattress, aquarium,
        birdcage, cauldron, churn, typewriter, footstool, bookcase, tambourine, xylophone,
        compass, tankard, accordion, cabinet, hammock, parasol, scales, tent""",
    "skill": """
        dance, sing, swim, juggle, ski, sew, read, write, knit, ride, bake, sail, skate, fish,
        weave, draw, climb, row, paint, drive, spell, yodel, carve, dive, embroider, fence,
        wrestle, recite, sculpt, tap-dance""",
    "game": """
        chess, cards, dominoes, draughts, tag, hide and seek, marbles, ninepins, leapfrog,
        charades, catch, backgammon, tennis, football, croquet, hopscotch, dice, skittles""",
    "hidden": """
        hidden, golden, enchanted, forgotten, secret, huge, mysterious, lonely, ancient, magic,
        invisible, frozen, distant, wonderful, terrible, ghostly, haunted, glittering,
        underground, nameless""",
    "palace": """
        palace, ship, island, dragon, cave, giant, king, queen, ghost, mountain, treasure, city,
        desert, train, moon, star, comet, kingdom, maze, crown, volcano, giantess, fairy,
        unicorn, tunnel, monster, temple, pyramid, jungle, princess, wolf, mermaid, prince,
        goblin, troll, oasis, citadel, lagoon, orchestra, emperor, witch, fortress, labyrinth,
        whale""",
    "body": """
        back, foot, head, knee, shoulder, tooth, arm, neck, thumb, elbow, ankle, wrist, ear,
        leg, hand, finger, toe, stomach, throat, chest, hip, jaw, heel, spine""",
    "said": """
        The days are getting longer, I had a strange dream, You look well, We should sing more
        often, I have never liked {weekday}s, Somebody has painted my gate, My watch is always
        wrong, A letter came for me on {weekday}, I am not as young as I was, Tomorrow will be a
        fine day, The roof leaks again, My {body} is better now, The road is full of holes, We
        have run out of flour, There is a hole in my sock, I slept badly""",
    "answer": """
        That is true, I do not think so, Perhaps, Who knows, You are right, Never mind, I hope
        so, How funny, Tell me more, Of course, Certainly, Not today, Maybe, Good heavens,
        Really, I doubt it, Indeed, That is odd, Why not, I forgot, Wait and see, As you like,
        What a pity, No wonder, I agree, Hardly ever, Ask me later, That depends, I suppose so,
        Believe me""",
    "yes": """
        Yes, No, Sometimes, Not at all, Very much, A little, Not really, Always, Never, Of
        course, Only on Sundays, I used to, Hardly, No longer""",
    # ---- what the quests need
    "event": """
        festival, fair, harvest, concert, picnic, parade, wedding, exam, feast, race, holiday,
        auction, circus, carnival, banquet, tournament, pilgrimage, regatta, exhibition,
        christening""",
    "need": """
        the {event} [was|is] near, the {event} [was|is] on {weekday}, the {task} [was|is] not
        done, the {task} [was|is] urgent, guests [were|are] coming, winter [was|is] coming, it
        [was|is] needed at home, nobody else [had|has] one, a long journey [was|is] ahead""",
    "cause": """
        it [had|has] fallen on the stones, a child [had|has] sat on it, it [had|has] been left
        in the rain, it [was|is] very old, somebody [had|has] dropped it, the frost [had|has]
        cracked it, it [was|is] badly made, it [had|has] come too close to the fire""",
    "feast": """
        birthday, name day, wedding, farewell party, housewarming, anniversary, engagement,
        jubilee""",
    "glue": """
        glue, string, wire, tape, nails, wax, leather, tar, paint, thread, patience, resin,
        paste, screws, varnish""",
    "moral": """
        Good neighbours are worth more than gold, Patience finds what hurry loses, A kind word
        costs nothing, Nobody is too busy for a good deed, Those who ask find the way, Small
        things can matter a great deal, Two heads are better than one, Honest hands are always
        welcome, Every road is shorter with company, It is never too late to help, A promise is
        a promise, Trust grows slowly, Who gives gladly gives twice""",
    "dear": """
        I hope you are well, I have some news for you, Thank you for your last letter, You asked
        me what happened here, I miss our long walks, It has been a strange week, I think of you
        every {weekday}, I am sorry that I did not write in {month}""",
    "bye": """
        Write to me soon, Give my love to everyone, I will visit you in {month}, Come and see us
        on {weekday}, Please send me some of your jam, Take good care of yourself""",
}  # fmt: skip

_SKIES = (  # skies that fit the months
    ("cold icy frosty snowy freezing white",
     "January February November December winter"),
    ("hot sultry sunny dusty scorching", "June July August summer"),
    ("mild cool fresh chilly showery", "March April May September October spring autumn"),
    ("bright rainy windy cloudy grey clear misty breezy gloomy dull beautiful quiet stormy "
     "pleasant",
     "January February March April May June July August September October November December "
     "spring summer autumn winter"),
)  # fmt: skip
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLES = ("big", "tall", "hue", "quiet", "hidden", "light", "boat")


def _dates(days: str) -> tuple[str, ...]:
    return tuple(
        f"{sky} {day} in {month}"
        for skies, months in _SKIES
        for sky, day, month in product(skies.split(), days.split(), months.split())
    )


def _lexicon() -> dict[str, tuple[str, ...]]:
    """Every slot with its options, all fillings written out."""
    lexicon: dict[str, tuple[str, ...]] = {
        "date": _dates("morning afternoon evening day"),
        "dated": _dates("day"),
    }
    for key, text in _WORDS.items():
        lexicon[key] = tuple(" ".join(word.split()) for word in text.split(","))
        lexicon[key] = tuple(re.sub(r"\| ", "|", word) for word in lexicon[key])
    for key in (*_ARTICLES, "date", "dated"):
        lexicon["a_" + key] = tuple(a(word) for word in lexicon[key])
    for key, options in lexicon.items():
        if any("{" in option for option in options):
            lexicon[key] = tuple(full for option in options for full in _fillings(option, lexicon))
    return lexicon


def _fillings(option: str, lexicon: dict[str, tuple[str, ...]]) -> list[str]:
    hit = _SLOT.search(option)
    if not hit:
        return [option]
    return [
        option[: hit.start()] + word + rest
        for word in lexicon[hit[1]]
        for rest in _fillings(option[hit.end() :], lexicon)
    ]


LEXICON = _lexicon()
