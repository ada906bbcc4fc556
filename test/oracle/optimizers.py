"""What optax, PyTorch and NumPy copies of papers make of the same gradients, step by step; and their schedules. Written to optimizers.json, in f64.

    python test/oracle/optimizers.py test/oracle/optimizers.json

Parameters and gradients are formulas, so that nothing but results lies in the file; test/optim/problem.ts has the same ones. Of each tensor
at most 64 numbers are kept, at equal distances; as f32 in base64.
"""
import base64
import json
import math
import sys

import jax
import numpy as np
import optax
import torch

jax.config.update('jax_enable_x64', True)

SMALL = {'s': (), 'b': (3,), 'w': (4, 6), 'k': (2, 4, 2)}
DECAYS = {'s': False, 'b': False, 'w': True, 'k': True}
LARGE = {'w': (128, 256), 'v': (127, 256)}


def values(n, shape, phase, step):
    i = np.arange(math.prod(shape), dtype=np.float64)
    return np.cos(phase + 1.7 * n + 2.1 * i + 0.37 * i * i % 17 + 0.8 * step).reshape(shape)


def first(shapes):
    return {name: np.asarray(0.5 * values(n, shape, 0.2, 0)) for n, (name, shape) in enumerate(shapes.items())}


def gradients(shapes, step):
    """Nothing at the fourth step, and never anything for the first number of b."""
    found = {name: np.asarray((0 if step == 3 else 1 + 0.25 * step) * values(n, shape, 1.3, step)) for n, (name, shape) in enumerate(shapes.items())}
    if 'b' in found:
        found['b'][0] = 0
    return found


def packed(x):
    flat = np.ravel(np.asarray(x, dtype=np.float64))
    kept = flat[::max(1, math.ceil(flat.size / 64))]
    return base64.b64encode(kept.astype('<f4').tobytes()).decode()


def record(params, slots):
    return {'params': {k: packed(v) for k, v in params.items()}, 'slots': {name: {k: packed(v) for k, v in of.items()} for name, of in slots.items()}}


def by_optax(make, slots, shapes=SMALL, steps=7, start=0, apart=False):
    """`slots` finds ours in the state. With `apart`, each layer of k is a tensor of its own."""
    split = lambda tree: {name: [x[0], x[1]] if apart and name == 'k' else x for name, x in tree.items()}
    joined = lambda tree: {name: np.stack(x) if isinstance(x, list) else x for name, x in tree.items()}
    mask = {name: ([d, d] if apart and name == 'k' else d) for name, d in DECAYS.items()}
    optimizer = make(mask)
    params = jax.tree.map(jax.numpy.asarray, split(first(shapes)))
    state = optimizer.init(params)
    if start > 0:
        state = optax.tree_utils.tree_set(state, count=jax.numpy.asarray(start))
    found = []
    for step in range(start, start + steps):
        updates, state = optimizer.update(jax.tree.map(jax.numpy.asarray, split(gradients(shapes, step - start))), state, params)
        params = optax.apply_updates(params, updates)
        found.append(record(joined(params), {name: joined(of) for name, of in slots(state).items()}))
    return found


def state_of(state, kind):
    """The one part of a state that is of a kind."""
    parts = [s for s in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, kind)) if isinstance(s, kind)]
    assert len(parts) == 1, kind
    return parts[0]


adam_slots = lambda state: {'first': state_of(state, optax.ScaleByAdamState).mu, 'second': state_of(state, optax.ScaleByAdamState).nu}
trace_slots = lambda state: {'momentum': state_of(state, optax.TraceState).trace}


def factored_slots(shapes):
    def found(state):
        of = state_of(state, optax.FactoredState)
        factored = {name for name in shapes if of.v_row[name].shape != (1,) and len(shapes[name]) > 1}
        slots = {'row': {n: of.v_row[n] for n in factored}, 'column': {n: of.v_col[n] for n in factored}, 'second': {n: of.v[n] for n in shapes if n not in factored}}
        averages = [s for s in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, optax.EmaState)) if isinstance(s, optax.EmaState)]
        return {**slots, **({'first': averages[0].ema} if averages else {})}
    return found


def by_torch(make, slots, shapes=SMALL, steps=7, start=0):
    params = {name: torch.nn.Parameter(torch.tensor(x)) for name, x in first(shapes).items()}
    optimizer = make(list(params.values()))
    found = []
    for step in range(start, start + steps):
        for name, g in gradients(shapes, step - start).items():
            params[name].grad = torch.tensor(g)
        if step == start > 0:
            # The state is made by a step, and begun anew.
            optimizer.step()
            for name, x in first(shapes).items():
                params[name].data = torch.tensor(x)
                for key, of in optimizer.state[params[name]].items():
                    of.fill_(start if key == 'step' else 0)
        optimizer.step()
        found.append(record({n: p.detach().numpy() for n, p in params.items()}, slots({n: {k: v.numpy() for k, v in optimizer.state[p].items()} for n, p in params.items()})))
    return found


def torch_factored(state):
    squeezed = lambda key: {n: (s[key][..., 0] if key == 'row_var' else s[key][..., 0, :]) for n, s in state.items() if key in s}
    return {'row': squeezed('row_var'), 'column': squeezed('col_var'), 'second': {n: s['variance'] for n, s in state.items() if 'variance' in s}}


def by_numpy(rule, shapes=SMALL, steps=7, start=0):
    params, slots, found = first(shapes), {}, []
    for step in range(start, start + steps):
        for name, g in gradients(shapes, step - start).items():
            params[name] = rule(name, g, params[name], slots, step + 1)
        found.append(record(params, slots))
    return found


def slot(slots, name, of, like):
    return slots.setdefault(name, {}).setdefault(of, np.zeros_like(like))


def paper_adafactor(name, g, p, slots, t):
    """Shazeer and Stern 2018, algorithm 5 with the parameters of section 9; each layer of k by itself."""
    b2, rms = 1 - t ** -0.8, lambda x: np.sqrt(np.mean(np.square(x)))
    single = len(g.shape) - (1 if name == 'k' else 0) < 2

    def one(g, p, row, column, v):
        if single:
            v[...] = b2 * v + (1 - b2) * (g * g + 1e-30)
            u = g / np.sqrt(v)
        else:
            # The larger dim is the last of w, the first of a layer of k.
            larger = 1 if g.shape[1] >= g.shape[0] else 0
            row[...] = b2 * row + (1 - b2) * np.mean(g * g + 1e-30, axis=larger)
            column[...] = b2 * column + (1 - b2) * np.mean(g * g + 1e-30, axis=1 - larger)
            r, c = np.expand_dims(row, larger), np.expand_dims(column, 1 - larger)
            u = g / np.sqrt(r * c / np.mean(row))
        u = u / max(1.0, rms(u))
        return p - max(1e-3, rms(p)) * min(0.01, 1 / math.sqrt(t)) * u

    if single:
        return one(g, p, None, None, slot(slots, 'second', name, g))
    larger = -1 if g.shape[-1] >= g.shape[-2] else -2
    row, column = slot(slots, 'row', name, np.mean(g, axis=larger)), slot(slots, 'column', name, np.mean(g, axis=-3 - larger))
    if name != 'k':
        return one(g, p, row, column, None)
    return np.stack([one(g[i], p[i], row[i], column[i], None) for i in range(len(g))])


def keller(adjust, decay, lr):
    """muon.py without its bf16. Its matrices are (outputs, inputs), ours (inputs, outputs)."""
    def orthogonal(g):
        a, b, c = (3.4445, -4.7750, 2.0315)
        x = g.T if g.shape[0] > g.shape[1] else g
        x = x / (np.linalg.norm(x) + 1e-7)
        for _ in range(5):
            s = x @ x.T
            x = a * x + (b * s + c * s @ s) @ x
        return x.T if g.shape[0] > g.shape[1] else x

    def one(g, p, m):
        m[...] = 0.95 * m + 0.05 * g
        x = orthogonal(0.05 * g + 0.95 * m)
        outs, ins = x.shape
        x = x * (math.sqrt(max(1, outs / ins)) if adjust == 'original' else 0.2 * math.sqrt(max(outs, ins)))
        return p * (1 - lr * decay) - lr * x

    def rule(name, g, p, slots, t):
        if name in ('w', 'k'):
            m = slot(slots, 'muon.momentum', name, g)
            return one(g.T, p.T, m.T).T if name == 'w' else np.stack([one(g[i].T, p[i].T, m[i].T).T for i in range(len(g))])
        m, v = slot(slots, 'adamw.first', name, g), slot(slots, 'adamw.second', name, g)
        m[...] = 0.9 * m + 0.1 * g
        v[...] = 0.999 * v + 0.001 * g * g
        return p - 1e-2 * (m / (1 - 0.9 ** t)) / (np.sqrt(v / (1 - 0.999 ** t)) + 1e-8)
    return rule


def averaged_sgd(name, g, p, slots, t):
    """TensorFlow's ExponentialMovingAverage with num_updates, of SGD at 0.1."""
    fresh = 'average' not in slots or name not in slots['average']
    mean = slot(slots, 'average', name, p)
    if fresh:
        mean[...] = p
    p = p - 0.1 * g
    decay = min(0.99, t / (9 + t))
    mean[...] = decay * mean + (1 - decay) * p
    return p


CASES = {
    'adamw': lambda: by_optax(lambda mask: optax.adamw(1e-2, b1=0.9, b2=0.99, eps=1e-8, weight_decay=0.1, mask=mask), adam_slots),
    'adamw from 9,990': lambda: by_optax(lambda mask: optax.adamw(1e-2, b1=0.9, b2=0.9999, eps=1e-8, weight_decay=0.1, mask=mask), adam_slots, start=9990, steps=4),
    'adamw clipped by norm': lambda: by_optax(lambda mask: optax.chain(optax.clip_by_global_norm(1.5), optax.adamw(1e-2, b1=0.9, b2=0.999, eps=1e-3, weight_decay=0)), adam_slots, steps=5),
    'sgd': lambda: by_optax(lambda mask: optax.chain(optax.trace(0.9), optax.add_decayed_weights(0.1, mask), optax.scale(-0.05)), trace_slots),
    'sgd by nesterov, clipped by value, on a schedule': lambda: by_optax(
        lambda mask: optax.chain(optax.clip(0.5), optax.sgd(optax.piecewise_constant_schedule(0.05, {3: 0.5}), 0.9, nesterov=True)), trace_slots, steps=5),
    'lion': lambda: by_optax(lambda mask: optax.lion(1e-2, b1=0.9, b2=0.99, weight_decay=0.1, mask=mask), lambda state: {'momentum': state_of(state, optax.ScaleByLionState).mu}),
    'adagrad': lambda: by_optax(lambda mask: optax.adagrad(0.1, initial_accumulator_value=0.1, eps=1e-7), lambda state: {'sum': state_of(state, optax.ScaleByRssState).sum_of_squares}),
    'adagrad from nothing': lambda: by_optax(lambda mask: optax.adagrad(0.1, initial_accumulator_value=0, eps=0), lambda state: {'sum': state_of(state, optax.ScaleByRssState).sum_of_squares}, steps=5),
    'rmsprop': lambda: by_optax(lambda mask: optax.rmsprop(1e-2, decay=0.9, eps=1e-8, eps_in_sqrt=True), lambda state: {'second': state_of(state, optax.ScaleByRmsState).nu}),
    'rmsprop as torch': lambda: by_torch(lambda params: torch.optim.RMSprop(params, lr=1e-2, alpha=0.99, eps=1e-6, momentum=0.9), lambda state: {
        'second': {n: s['square_avg'] for n, s in state.items()}, 'momentum': {n: s['momentum_buffer'] for n, s in state.items()}}),
    'lamb': lambda: by_optax(lambda mask: optax.lamb(1e-2, b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.1, mask=mask), adam_slots, apart=True),
    'adafactor as torch': lambda: by_torch(lambda params: torch.optim.Adafactor(params, lr=0.01, beta2_decay=-0.8, eps=(1e-30, 1e-3), d=1.0, weight_decay=0.0), torch_factored),
    'adafactor as torch, from 9,995': lambda: by_torch(lambda params: torch.optim.Adafactor(params, lr=0.01, beta2_decay=-0.8, eps=(1e-30, 1e-3), d=1.0, weight_decay=0.0), torch_factored, start=9995, steps=7),
    'adafactor as optax': lambda: by_optax(lambda mask: optax.adafactor(0.05, min_dim_size_to_factor=1, decay_rate=0.8, clipping_threshold=1.0, eps=1e-30, momentum=0.9), factored_slots(SMALL)),
    'adafactor of 128 and less': lambda: by_optax(lambda mask: optax.adafactor(0.05, clipping_threshold=1.0, eps=1e-30), factored_slots(LARGE), shapes=LARGE, steps=3),
    'adafactor as the paper': lambda: by_numpy(paper_adafactor),
    'muon': lambda: by_numpy(keller('original', 0.1, 0.02)),
    'muon with AdamW\'s rates': lambda: by_numpy(keller('match-rms-adamw', 0, 1e-3), steps=4),
    'an average': lambda: by_numpy(averaged_sgd, steps=5),
}

W, N, PEAK = 10, 100, 3e-3
AT = [0, 1, W - 1, W, W + 1, 55, N - 2, N - 1, N, N + 1]


def table(f, at=AT):
    return [[k, float(f(k))] for k in at]


def tails(shape, tail):
    """transformers' get_wsd_schedule counted from 1: num_stable_steps = N - W - tail."""
    share = {'linear': lambda x: 1 - x, 'cosine': lambda x: 0.5 * (1 + math.cos(math.pi * x)), '1-sqrt': lambda x: 1 - math.sqrt(x)}[shape]

    def at(k):
        if k < W:
            return PEAK * (k + 1) / W
        x = min(max((k + 1 - (N - tail)) / tail, 0), 1)
        return PEAK * (0.1 + 0.9 * share(x))
    return at


def optax_schedules():
    """optax's, one later: `ours(k)` is `theirs(k + 1)`."""
    cosine = optax.warmup_cosine_decay_schedule(0, PEAK, W, N, end_value=0.1 * PEAK)
    linear = optax.join_schedules([optax.linear_schedule(0, PEAK, W), optax.linear_schedule(PEAK, 0.1 * PEAK, N - W)], [W])
    return {
        'cosine': table(lambda k: cosine(k + 1)),
        'linear': table(lambda k: linear(k + 1)),
        'cosine without warm-up': table(lambda k: optax.cosine_decay_schedule(PEAK, N)(k + 1)),
        'constant': table(lambda k: optax.constant_schedule(PEAK)(k)),
        # What counts from 0 again, so each part is one later by itself.
        'piecewise': table(lambda k: optax.join_schedules([optax.constant_schedule(PEAK), lambda i: cosine(i + 1)], [55])(k), [0, 54, 55, 56, 64, 65, 153, 154, 155]),
        'product': table(lambda k: 0.5 * float(cosine(k + 1)) * float(optax.polynomial_schedule(1, 0, 1, N)(k + 1)) / PEAK),
    }


def main(path):
    schedules = {
        **optax_schedules(),
        **{f'wsd {shape}': table(tails(shape, 20)) for shape in ('linear', 'cosine', '1-sqrt')},
        # transformers' get_inverse_sqrt_schedule, one later.
        'inverseSqrt': table(lambda k: PEAK * ((k + 1) / W if k + 1 < W else 1 / math.sqrt((k + 1) / W)), AT + [10000]),
        'relativeStep': table(lambda k: min(0.01, 1 / math.sqrt(k + 1)), [0, 1, 9998, 9999, 10000, 40000]),
        'relativeStep warmed up': table(lambda k: min(1e-6 * (k + 1), 1 / math.sqrt(k + 1)), [0, 1, 9998, 9999, 10000, 40000]),
    }
    judges = {'optax': optax.__version__, 'torch': torch.__version__.split('+')[0], 'jax': jax.__version__, 'numpy': np.__version__}
    lines = [f'    {json.dumps(name)}: [\n' + ',\n'.join(f'      {json.dumps(step)}' for step in case()) + '\n    ]' for name, case in CASES.items()]
    tables = [f'    {json.dumps(name)}: {json.dumps(rows)}' for name, rows in schedules.items()]
    with open(path, 'w', encoding='utf-8') as f:
        f.write('{\n  "judges": ' + json.dumps(judges) + ',\n  "optimizers": {\n' + ',\n'.join(lines) + '\n  },\n  "schedules": {\n' + ',\n'.join(tables) + '\n  }\n}\n')


main(sys.argv[1])
