"""The chat template in Jinja, saved in tokenizer_config.json; `chat.py` renders the same in Python.

ChatML turns (`<|im_start|>role … <|im_end|>`) with tools as Qwen3 words them, and MiniMind's habit
of a `<think>` block in each assistant turn, empty where nothing was thought. The text that comes
out is that of MiniMind's template (jingyaogong/minimind, model/chat_template.jinja), so that models
trained there and here read the same prompts.
"""

from __future__ import annotations

TOOLS_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
TOOLS_AFTER = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)

_SOURCE = r"""
{%- set first = messages[0] -%}
{%- set opening = first.content if first.content is string else '' -%}
{%- if tools -%}
  {{- '<|im_start|>system\n' -}}
  {%- if first.role == 'system' -%}{{- opening ~ '\n\n' -}}{%- endif -%}
  {{- BEFORE -}}
  {%- for tool in tools -%}{{- '\n' ~ (tool | tojson) -}}{%- endfor -%}
  {{- AFTER ~ '<|im_end|>\n' -}}
{%- elif first.role == 'system' -%}
  {{- '<|im_start|>system\n' ~ opening ~ '<|im_end|>\n' -}}
{%- endif -%}
{%- for m in messages -%}
  {%- set text = m.content if m.content is string else '' -%}
  {%- if m.role == 'user' or (m.role == 'system' and not loop.first) -%}
    {{- '<|im_start|>' ~ m.role ~ '\n' ~ text ~ '<|im_end|>\n' -}}
  {%- elif m.role == 'assistant' -%}
    {%- set thought = '' -%}
    {%- if m.reasoning_content is string -%}
      {%- set thought = m.reasoning_content -%}
    {%- elif '</think>' in text -%}
      {%- set thought = text.split('</think>')[0].split('<think>')[-1] -%}
      {%- set text = text.split('</think>')[-1].lstrip('\n') -%}
    {%- endif -%}
    {{- '<|im_start|>assistant\n<think>\n' ~ thought.strip('\n') ~ '\n</think>\n\n' -}}
    {{- text.lstrip('\n') -}}
    {%- for call in (m.tool_calls or []) -%}
      {%- if text or not loop.first -%}{{- '\n' -}}{%- endif -%}
      {%- set call = call.function or call -%}
      {%- set given = call.arguments -%}
      {{- '<tool_call>\n{"name": "' ~ call.name ~ '", "arguments": ' -}}
      {{- (given if given is string else (given | tojson)) ~ '}\n</tool_call>' -}}
    {%- endfor -%}
    {{- '<|im_end|>\n' -}}
  {%- elif m.role == 'tool' -%}
    {%- if loop.first or loop.previtem.role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
    {{- '\n<tool_response>\n' ~ text ~ '\n</tool_response>' -}}
    {%- if loop.last or loop.nextitem.role != 'tool' -%}{{- '<|im_end|>\n' -}}{%- endif -%}
  {%- elif m.role != 'system' -%}
    {{- raise_exception('unknown role ' ~ m.role) -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\n<think>\n' -}}
  {%- if not (open_thinking is defined and open_thinking is true) -%}
    {{- '\n</think>\n\n' -}}
  {%- endif -%}
{%- endif -%}
"""


def _quoted(text: str) -> str:
    """`text` as a Jinja string: it has double quotes and line ends, but no single quote."""
    return "'" + text.replace("\n", "\\n") + "'"


TEMPLATE = _SOURCE.strip().replace("BEFORE", _quoted(TOOLS_BEFORE)).replace(
    "AFTER", _quoted(TOOLS_AFTER)
)  # fmt: skip
