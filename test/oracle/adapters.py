"""Logits of bases, of adapters on them by peft, and of merged weights by transformers; each merged model is written again by transformers."""
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

folder, rows = Path(sys.argv[1]), int(sys.argv[2])


def load(path):
    architecture = AutoConfig.from_pretrained(path).architectures[0]
    kind = AutoModelForSequenceClassification if architecture.endswith("ForSequenceClassification") else AutoModelForCausalLM
    return kind.from_pretrained(path, dtype=torch.float32).eval()


def logits(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens).logits.flatten().tolist()


found = []
for case in sorted(folder.iterdir(), key=lambda p: int(p.name)):
    tokens = torch.tensor(json.loads((case / "tokens.json").read_text())).reshape(rows, -1)
    merged = load(case / "merged")
    merged.save_pretrained(case / "again")
    try:
        adapted = PeftModel.from_pretrained(load(case / "base"), case / "adapters").eval()
        with_peft = logits(adapted, tokens)
    except (ValueError, KeyError):
        # An unknown kind of adapters.
        with_peft = None
    found.append({"base": logits(load(case / "base"), tokens), "peft": with_peft, "merged": logits(merged, tokens)})
print(json.dumps(found))
