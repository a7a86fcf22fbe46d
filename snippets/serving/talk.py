"""A talk with `minimind serve models/world-tiny` by OpenAI's own client, as the guide shows it."""

import sys

# region connect
from openai import OpenAI


def connect(url="http://127.0.0.1:8000/v1", key="none"):
    return OpenAI(base_url=url, api_key=key)


# endregion
# region stream
def continue_text(client):
    """A text, continued as it is drawn."""
    stream = client.completions.create(
        model="world-tiny", prompt="One stormy morning in May,", temperature=0, max_tokens=50,
        stream=True, stream_options={"include_usage": True},
    )  # fmt: skip
    for chunk in stream:
        for choice in chunk.choices:
            print(choice.text, end="", flush=True)
    print(f"\n({chunk.usage.prompt_tokens} tokens read, {chunk.usage.completion_tokens} written)")


# endregion
# region form
def fill_in(client):
    """An answer that can only be JSON of this form."""
    village = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12},
                       "houses": {"type": "integer", "minimum": 1, "maximum": 99}},
        "required": ["name", "houses"], "additionalProperties": False,
    }  # fmt: skip
    answer = client.chat.completions.create(
        model="world-tiny", temperature=0,
        messages=[{"role": "user", "content": "Tell me of a village."}],
        response_format={"type": "json_schema", "json_schema": {"name": "v", "schema": village}},
    )  # fmt: skip
    print(answer.choices[0].message.content, answer.choices[0].finish_reason)


# endregion
# region likely
def show_doubts(client):
    """Each token of an answer, and what was likely in its place."""
    answer = client.chat.completions.create(
        model="world-tiny", temperature=0, max_tokens=4, logprobs=True, top_logprobs=3,
        messages=[{"role": "user", "content": "Tell me of a village."}],
    )  # fmt: skip
    for place in answer.choices[0].logprobs.content:
        likely = ", ".join(f"{other.token!r} {other.logprob:.1f}" for other in place.top_logprobs)
        print(f"{place.token!r}: {likely}")


# endregion
if __name__ == "__main__":
    with connect(*sys.argv[1:]) as client:
        print([model.id for model in client.models.list()])
        for part in (continue_text, fill_in, show_doubts):
            part(client)
