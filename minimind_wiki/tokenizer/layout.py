"""Reserved tokens: the ids that stand before all text, and what each is for.

A layout maps token -> special. *Special* is Hugging Face's word: such a token is dropped by
`decode(skip_special_tokens=True)`. `<think>` and `<tool_call>` are one token each but not special,
so that a program can read them in an answer. The first three are padding, begin and end in every
layout. MiniMind's 36 are those of jingyaogong/minimind, model/tokenizer_config.json: a vocabulary
with them fits the shapes of its weights, and its chat template.
"""

from __future__ import annotations

from minimind_wiki.tokenizer.bytes import SPECIALS

CHATML: dict[str, bool] = dict.fromkeys(SPECIALS, True)

_MEDIA = (
    "object_ref_start", "object_ref_end", "box_start", "box_end", "quad_start", "quad_end",
    "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad",
    "audio_start", "audio_end", "audio_pad",
)  # fmt: skip
_SPEECH = ("pad", "text_bos", "text_eod", "text_bos_single")
_PLAIN = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>",
          "</think>", *(f"<|buffer{n}|>" for n in range(1, 10)))  # fmt: skip

MINIMIND: dict[str, bool] = {
    **CHATML,
    **{f"<|{name}|>": True for name in _MEDIA},
    **{f"<tts_{name}>": True for name in _SPEECH},
    **dict.fromkeys(_PLAIN, False),
}

LAYOUTS = {"minimind": MINIMIND, "chatml": CHATML}
