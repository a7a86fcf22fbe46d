"""Requests through one engine, as the guide on inference shows it."""

import torch

from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.grammar import from_regex
from minimind_wiki.infer.open import open_model
from minimind_wiki.infer.request import Request, Sampling


# region engine
def answers(folder, prompts, form=None):
    """One answer to each prompt; all grow at the same time."""
    model, tokenizer = open_model(folder, dtype=torch.float32)
    engine = Engine(model, tokenizer)
    texts = {}
    for prompt in prompts:
        request = Request(
            [tokenizer.bos_id, *tokenizer.encode(prompt)],
            max_new_tokens=60,
            sampling=Sampling(temperature=0.8, top_p=0.9, seed=1),
            stop_ids=[tokenizer.eos_id],
            stop=["\n\n"],
            constraint=from_regex(tokenizer, form) if form else None,
        )
        texts[engine.add(request)] = prompt
    while engine.busy:
        for number, token in engine.step():  # at most one token of each request
            texts[number] += token.text
    return list(texts.values())


# endregion
if __name__ == "__main__":
    for text in answers("models/world-tiny", ["This story began", "From Bennie to"]):
        print(text)
    # region form
    form = r" on a [a-z]+ day in (June|July)\."
    (text,) = answers("models/world-tiny", ["This story began"], form)
    # endregion
    print(text)
