"""A trained model behind OpenAI's API: what is asked (`schema`), how a chat becomes a prompt and a
reply is read (`chat`), who runs the model (`worker`), who may ask (`security`), what is counted
(`metrics`), and the addresses that tie them together (`app`)."""
