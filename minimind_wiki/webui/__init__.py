"""The chat page: a client of the server like any other, drawn by Streamlit.

`client` speaks OpenAI's protocol, `talk` keeps what was said, `spans` cuts an answer into tokens,
`page` is the page itself, and `run` puts it on a port."""
