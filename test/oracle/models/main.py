"""Writes what transformers computes for small models, a folder each: config.json, model.safetensors, expected.safetensors, case.json.

    python test/oracle/models/main.py FOLDER [CASE…]        with transformers 5.24.0 and torch 2.13.0
"""
import importlib
import os
import sys

import torch

from harness import cases, write

here = os.path.dirname(os.path.abspath(__file__))
for file in sorted(os.listdir(here)):
    if file.endswith('.py') and file not in ('main.py', 'harness.py', 'rope.py'):
        importlib.import_module(file[:-3])

torch.set_num_threads(1)
folder, wanted = sys.argv[1], sys.argv[2:] or list(cases)
unknown = [name for name in wanted if name not in cases]
if unknown:
    raise SystemExit(f'there is no case {unknown[0]}; there are {", ".join(cases)}')
for name in wanted:
    write(folder, name, cases[name]())
    print(name, flush=True)
