"""The exported folder, read by transformers and rounded by torchao: the path of production."""


# region torchao
def rounded_by_torchao(folder, prompt):
    """Scores of the next token, before and after rounding to eight bits."""
    import torch
    from torchao.quantization import Int8WeightOnlyConfig, quantize_
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    with torch.no_grad():
        before = model(ids).logits[0, -1]
        quantize_(model, Int8WeightOnlyConfig())
        after = model(ids).logits[0, -1]
    return before, after


# endregion
