"""Calls of tools and thoughts, from a client's side, as the guide on serving shows it."""

import json

# region tools
TOOLS = {"add": lambda a, b: a + b}  # what a model may call, and nothing else
OFFERED = [
    {"type": "function", "function": {
        "name": "add", "description": "Add two numbers.",
        "parameters": {"type": "object", "required": ["a", "b"],
                       "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}}},
]  # fmt: skip


def ask(client, model, messages, turns=4):
    """Answer the model's calls until it says something to the user."""
    for _ in range(turns):
        answer = client.chat.completions.create(model=model, messages=messages, tools=OFFERED)
        message = answer.choices[0].message
        messages.append(message.to_dict())
        if answer.choices[0].finish_reason != "tool_calls":
            return message.content
        for call in message.tool_calls:
            try:
                said = TOOLS[call.function.name](**json.loads(call.function.arguments))
            except (KeyError, TypeError, ValueError) as error:
                said = f"error: {error!r}"  # the model reads it, and may try again
            messages.append({"role": "tool", "tool_call_id": call.id, "content": str(said)})
    raise RuntimeError(f"no answer after {turns} turns of calls")


# endregion
# region thought
def think(client, model, question):
    """The thought and the answer, apart."""
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}],
        extra_body={"chat_template_kwargs": {"open_thinking": True}},
    )  # fmt: skip
    message = answer.choices[0].message
    return message.reasoning_content, message.content


# endregion
