"""How a model learns. Start reading at `loop`."""
