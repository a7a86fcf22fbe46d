"""Two processes learn from comparisons as one does, with KTO's point that of all their rows."""

import json

import pytest
from preference_worker import WAYS, curves, main
from processes import in_two

from minimind_wiki.infer import save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer


def chat(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def rows():
    """Pairs of which every second has a long chosen answer, and single answers, most of them good:
    a mean over the rows of one process is then not that of all."""
    pairs, singles = [], []
    for i in range(30):
        good = f"Yes, {i} is. Thank you for asking." if i % 2 else "Yes."
        chats = {"chosen": chat(f"Is {i}?", good), "rejected": chat(f"Is {i}?", f"Shut up {i}!")}
        pairs.append(chats | {"margin": i % 3})
        label = i % 4 > 0
        singles.append({"conversations": chats["chosen" if label else "rejected"], "label": label})
    return {"pairs": pairs, "singles": singles}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    save_model_folder(folder / "base", Transformer(preset("nano"), seed=0), ByteTokenizer())
    for name, some in rows().items():
        text = "".join(json.dumps(row) + "\n" for row in some)
        (folder / f"{name}.jsonl").write_text(text)
    in_two(main, folder)
    return folder


@pytest.mark.parametrize("name", WAYS)
def test_two_processes_learn_what_one_learns(folder, name):
    """1e-3: AdamW drifts where a gradient is nearly zero, as between any two orders of adding."""
    first, second = (json.loads((folder / f"seen-{rank}.json").read_text())[name]
                     for rank in range(2))  # fmt: skip
    assert first == second
    alone = curves(name, folder)
    assert first.keys() == alone.keys()
    for key, values in alone.items():
        assert first[key] == pytest.approx(values, rel=1e-3, abs=1e-3), key
    assert abs(alone["loss"][-1] - alone["loss"][0]) > 0.02  # it has moved at all
    if name.startswith("kto"):
        assert max(alone["reference_point"]) > 0.1
