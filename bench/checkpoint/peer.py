"""The peer: Python's safetensors saves and loads the same arrays; one word a line on stdin, one answer a line on stdout."""
import json
import os
import pathlib
import sys
import time

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

task = json.loads(pathlib.Path(sys.argv[1]).read_text())
arrays = {name: np.arange(np.prod(task['shape']), dtype='<f4').reshape(task['shape']) for name in task['names']}


def save():
    # As whoever wants to find it after a loss of power: beside, synced, renamed, and the folder synced.
    temporary = task['file'] + '.tmp'
    save_file(arrays, temporary)
    for path in (temporary, os.path.dirname(temporary)):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    os.rename(temporary, task['file'])
    handle = os.open(os.path.dirname(temporary), os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def load():
    load_file(task['file'])


for line in sys.stdin:
    word = line.strip()
    if word == 'open':
        print(json.dumps({'version': safetensors.__version__}), flush=True)
        continue
    start = time.perf_counter()
    {'save': save, 'load': load}[word]()
    print(json.dumps({'ms': (time.perf_counter() - start) * 1000}), flush=True)
