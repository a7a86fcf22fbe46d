"""A feed-forward learns facts by heart. Which neuron fires on which words?

A fact is two words and what only both decide: where a person keeps a thing. The input is the sum of
the words' vectors, as attention brings them to one position.
Shapes: N facts, D hidden, F neurons, P places.
"""

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel

PEOPLE = ["Mila", "Loron", "Tana", "Benik", "Ruka", "Kamo", "Nora", "Savon"]
THINGS = ["lamp", "drum", "key", "hat", "book", "rope", "bell", "map", "cup", "box", "net", "jug"]
PLACES = ["Mill", "Inn", "Barn", "Well", "Pond", "Forge", "Tower", "Farm"]
FACTS, D = [(p, t) for p in range(len(PEOPLE)) for t in range(len(THINGS))], 24


def facts():
    """The sums of the words' vectors (N, D), and each fact's place, drawn by lot."""
    torch.manual_seed(0)
    person, thing = torch.randn(len(PEOPLE), D), torch.randn(len(THINGS), D)
    lots = torch.rand(len(FACTS)).tolist()
    x_ND = person[[p for p, _ in FACTS]] + thing[[t for _, t in FACTS]]
    return x_ND, [int(lot * len(PLACES)) for lot in lots]


def fire(x_ND, w, kind):
    """What the neurons say, (N, F)."""
    if kind == "swiglu":
        gate_NF = x_ND @ w["gate"]
        return gate_NF / (1 + torch.exp(-gate_NF)) * (x_ND @ w["up"])
    return torch.relu(x_ND @ w["up"]) if kind == "relu" else x_ND @ w["up"]


def train(x_ND, places, neurons, kind, steps=200):
    """Adam towards 1 for the right place and 0 for the others, all facts at once."""
    shapes = {"up": (D, neurons), "gate": (D, neurons), "down": (neurons, len(PLACES))}
    names = [n for n in shapes if n != "gate" or kind == "swiglu"]
    w = {n: (0.2 * torch.randn(*shapes[n])).requires_grad_() for n in names}
    want_NP = torch.tensor([[float(p == a) for p in range(len(PLACES))] for a in places])
    mean, square = ({n: torch.zeros(*shapes[n]) for n in names} for _ in "12")
    for step in range(1, steps + 1):
        score_NP = fire(x_ND, w, kind) @ w["down"]
        (score_NP - want_NP).square().sum(-1).mean().backward()
        with torch.no_grad():
            for n in names:
                mean[n] = 0.9 * mean[n] + 0.1 * w[n].grad
                square[n] = 0.99 * square[n] + 0.01 * w[n].grad * w[n].grad
                size = torch.sqrt(square[n] / (1 - 0.99**step)) + 1e-8
                w[n] -= 0.03 * mean[n] / (1 - 0.9**step) / size
                w[n].grad = None
    return w


def run(neurons=16, kind="relu", neuron=1, cut=False):
    x_ND, places = facts()
    w, n = train(x_ND, places, neurons, kind), min(neuron, neurons) - 1
    with torch.no_grad():
        h_NF = fire(x_ND, w, kind)
        own_NP = h_NF[:, n : n + 1] @ w["down"][n : n + 1]  # what this neuron adds
        scores = (h_NF @ w["down"] - (own_NP if cut else 0 * own_NP)).tolist()
        fired = h_NF[:, n].tolist()
    known = sum(s.index(max(s)) == place for s, place in zip(scores, places, strict=True))
    order = sorted(range(len(fired)), key=lambda i: -abs(fired[i]))[:12]
    named = [(PEOPLE[FACTS[i][0]], THINGS[FACTS[i][1]], PLACES[places[i]]) for i in order]
    bars = Bars([f"{p}, {t}: {a}" for p, t, a in named], [fired[i] for i in order], role="model")
    title = f"{known} of {len(places)} facts known" + (f" without neuron {n + 1}" if cut else "")
    x, y = Axis(f"what neuron {n + 1} says"), Axis("", "category")
    panel = Panel(x, y, bars=[bars], title=title, legend="none")
    more = f" There is no neuron {neuron}: you see the last." * (neuron > neurons)
    return {"figure": Figure(panel), "text": f"{title}. Blind guessing gives about 12.{more}"}
