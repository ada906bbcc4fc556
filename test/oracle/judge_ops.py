"""The op table's cases in JAX, in f64: values, and the gradients of their products with fixed weights, of the operands that a folder holds."""
import json
import os
import pathlib
import sys

# XLA:CPU hands some convolutions to YNNPACK, which is younger than the rest: not for a judge.
os.environ['XLA_FLAGS'] = '--xla_cpu_experimental_ynn_fusion_type='
os.environ['JAX_PLATFORMS'] = 'cpu'

import jax
import jax.numpy as jnp
import numpy as np

import ops

TYPES = {'f32': 'float64', 'i32': 'int32', 'u32': 'uint32', 'u8': 'uint8', 'i8': 'int8', 'i64': 'int64', 'bool': 'bool'}


def main(folder):
    jax.config.update('jax_enable_x64', True)
    task = json.loads((folder / 'task.json').read_text())
    entries = {a['name']: a for a in task['arrays']}
    written = []

    def read(name, dtype):
        a = entries[name]
        return np.fromfile(folder / a['file'], a['dtype']).reshape(a['shape']).astype(TYPES[dtype])

    def write(name, x):
        x = np.asarray(x, np.float64, order='C')
        written.append({'name': name, 'file': f'out.{name}', 'dtype': '<f8', 'shape': list(x.shape)})
        x.tofile(folder / f'out.{name}')

    def judge(case):
        dims, f = ops.CASES[case['name']]
        theirs, ours = dims.split(), case['dims']
        if sorted(theirs) != sorted(ours):
            raise ValueError(f"its dims are {theirs} in JAX, but {ours} in Meshwork")
        operands = [read(f"{case['key']}.x{i}", dtype) for i, dtype in enumerate(case['operands'])]
        floats = [i for i, dtype in enumerate(case['operands']) if dtype.startswith('f')]

        def value(*operands):
            return jnp.transpose(f(*operands), [theirs.index(d) for d in ours])

        def weighted(differentiable, weights):
            # The value once more, for the gradient alone.
            given = list(operands)
            for i, x in zip(floats, differentiable):
                given[i] = x
            return jnp.sum(value(*given) * weights)

        write(f"{case['key']}.value", jax.jit(value)(*operands))
        if case['gradient']:
            grads = jax.jit(jax.grad(weighted))([operands[i] for i in floats], read(f"{case['key']}.w", 'f32'))
            for i, g in zip(floats, grads):
                write(f"{case['key']}.di{i}", g)

    failed = []
    for case in task['cases']:
        try:
            judge(case)
        except Exception as e:
            failed.append({'key': case['key'], 'said': f'{type(e).__name__}: {e}'.splitlines()[0][:300]})
    (folder / 'judgement.json').write_text(json.dumps({'arrays': written, 'failed': failed, 'judge': f'JAX {jax.__version__}'}))


main(pathlib.Path(sys.argv[1]))
