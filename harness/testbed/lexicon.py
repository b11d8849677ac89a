"""The words of the testbed: concepts, topics, neutral vocabulary, other senses.

The vocabularies are disjoint: a word belongs to one concept, or is a topic, or is neutral. The only words
that occur in two meanings are those of a concept's ``senses``; in the other meaning they occur inside a fixed
phrase, so that the ground truth stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass

GENRES = ("text", "code", "math")


@dataclass(frozen=True)
class Concept:
    """One concept with its own words; ``senses`` maps (word, other sense) to the phrase that has that sense."""

    id: int
    description: str
    genre: str
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]
    senses: tuple[tuple[str, str, str], ...]

    @property
    def words(self) -> frozenset[str]:
        """Every word of the concept."""
        return frozenset(self.nouns + self.verbs + self.adjectives)


# description | genre | nouns | verbs | adjectives | word, other sense, phrase; ...
_TABLE = """
terms related to the ocean and sea life | text | wave reef whale coral tide shell dolphin harbor | swims dives drifts splashes | salty briny tidal marine | wave, a greeting with the hand, a friendly wave of the hand; shell, the cover of an egg, the thin shell of an egg; tide, a change of opinion, the turning tide of opinion
terms related to cooking and food preparation | text | soup oven recipe spice dough pan sauce chef | simmers bakes fries tastes | savory roasted buttery spicy | recipe, a likely cause of trouble, a sure recipe for trouble; spice, an element of interest, the spice of a good story; pan, a movement of a film shot, a slow pan of the view
terms related to winter weather and cold | text | snow ice blizzard frost sled glacier icicle scarf | freezes shivers melts numbs | frozen icy snowy chilly | ice, shyness at a first meeting, a joke that broke the ice; blizzard, a very large amount, a blizzard of paper; snow, the noise on a blank display, the gray snow of a blank channel
terms related to music and instruments | text | melody drum guitar violin chord song bass orchestra | sings hums strums echoes | melodic acoustic rhythmic tuneful | drum, a metal barrel, an empty oil drum; bass, a kind of fish, a bass from the pond; chord, an emotional response, words that struck a chord
terms related to space and astronomy | text | planet star comet rocket moon galaxy orbit telescope | glows launches spins twinkles | lunar stellar cosmic starry | star, a famous performer, the star of the show; rocket, a salad leaf, a bowl of rocket leaves; orbit, a circle of influence, the orbit of a powerful family
terms related to medicine and health care | text | doctor nurse patient pill fever clinic vaccine bandage | heals coughs treats sneezes | sick medical healthy feverish | patient, able to wait calmly, a very patient listener; fever, great excitement, the fever of the last election; pill, an unpleasant fact, a bitter pill to swallow
terms related to sports and competition | text | goal team coach ball match referee racket trophy | kicks sprints scores jumps | athletic winning sporty agile | match, a stick for lighting fire, a burning match; coach, a large bus, a coach with forty seats; ball, a formal dance, a grand ball with masks
terms related to farming and livestock | text | cow tractor barn hay goat plough sheep harvest | grazes ploughs milks reaps | rural fertile grassy muddy | goat, the best of all time, the goat of all speakers; sheep, people who follow others, voters who follow like sheep; harvest, the result of past work, the harvest of long study
terms related to computer networks | code | packet router socket server port protocol firewall modem | connects routes listens pings | wireless remote encrypted online | port, a sweet wine, a glass of old port; server, a waiter, a polite server with a tray; socket, a hollow in the body, the socket of an eye
terms related to errors and failures in programs | code | exception bug crash error traceback fault warning failure | fails raises breaks aborts | broken invalid faulty unhandled | bug, a small insect, a green bug with wings; crash, a road accident, a crash of two cars; fault, a crack in rock, a fault in the rocks
terms related to databases and queries | code | table query row column index record schema key | joins selects inserts updates | relational indexed stored unique | table, a piece of furniture, a wooden table with legs; record, a music disc, an old vinyl record; key, a tool for a lock, a rusty key for the lock
terms related to computer graphics | code | pixel screen texture shader sprite canvas palette mesh | renders draws blends fades | colorful blurry bright glossy | screen, a light wall, a folding screen of paper; canvas, strong cloth, a tent made of canvas; sprite, a small fairy, a sprite from a fairy tale
terms related to geometry and shapes | math | triangle circle angle polygon radius square vertex cone | rotates bisects touches intersects | round parallel convex tangent | circle, a group of friends, a circle of close friends; square, an open town area, the main square of a town; angle, a point of view, the angle of a reporter
terms related to probability and games of chance | math | dice coin chance lottery bet deck outcome wager | rolls flips shuffles guesses | random likely fair lucky | deck, the floor of a ship, the deck of a ship; chance, an opportunity, a chance to speak; coin, to invent a word, a plan to coin a new word
terms related to money and finance | math | price loan bank profit tax salary dollar wallet | pays sells buys earns | cheap costly rich financial | bank, the side of a stream, the bank of a stream; price, a sacrifice, the price of freedom; tax, a strain, a tax on our nerves
terms related to calculus and analysis | math | derivative integral limit slope curve gradient infinity series | converges diverges increases oscillates | smooth continuous infinite differentiable | limit, the end of patience, the limit of our patience; slope, a side of a mountain, a slope for skiers; series, a set of episodes, a series with ten episodes
"""


def _concept(number: int, line: str) -> Concept:
    description, genre, nouns, verbs, adjectives, senses = (cell.strip() for cell in line.split("|"))
    triples = []
    for sense in senses.split(";"):
        word, meaning, phrase = (part.strip() for part in sense.split(","))
        triples.append((word, meaning, phrase))
    return Concept(
        number, description, genre, tuple(nouns.split()), tuple(verbs.split()), tuple(adjectives.split()), tuple(triples)
    )


CONCEPTS = tuple(_concept(number, line) for number, line in enumerate(_TABLE.strip().splitlines()))

TOPICS = tuple(
    """garden kitchen bridge library train castle market museum park school village forest river hotel lamp chair
    window door street tower boat island bicycle painting letter book mirror clock ladder basket umbrella blanket
    candle statue fountain tunnel station cottage attic cellar balcony fence road hill valley desert cave lake shop
    office theater bakery factory workshop palace cabin hallway camera suitcase pencil""".split()
)

NEUTRAL_NOUNS = tuple("box bench sign roof path corner wall shelf bell flag jar rope".split())
NEUTRAL_ADJECTIVES = tuple("quiet pleasant narrow tidy simple famous modern plain gentle lovely busy tall".split())
NUMBERS = tuple("two three four five six seven eight nine ten twelve".split())
TIMES = ("in the morning", "at noon", "in the evening", "on Sunday", "every day", "after work")

WORD_CONCEPT: dict[str, int] = {word: concept.id for concept in CONCEPTS for word in concept.words}
SENSE_PHRASES: dict[str, tuple[int, str, str]] = {
    phrase: (concept.id, word, sense) for concept in CONCEPTS for word, sense, phrase in concept.senses
}
