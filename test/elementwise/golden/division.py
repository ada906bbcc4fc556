"""NumPy's floor_divide and remainder of floats: python3 division.py > division.json (needs numpy). Rows: dividend, divisor, quotient, remainder."""
import json
import numpy as np

np.seterr(all='ignore')
edges = [0.0, -0.0, 1.0, -1.0, 0.1, -0.1, 0.7, 3.0, -3.0, 6.0, 7.5, -7.5, 1e-3, 1e4, -1e4, float('inf'), float('-inf'), float('nan')]


def text(x):
    x = float(x)
    return '-0' if x == 0 and np.signbit(x) else 'NaN' if np.isnan(x) else 'Infinity' if x == np.inf else '-Infinity' if x == -np.inf else repr(x)


table = {}
for name, dtype in (('f64', np.float64), ('f32', np.float32), ('f16', np.float16)):
    xs = np.array(edges, dtype)
    rng = np.random.default_rng(1)
    a = np.concatenate([np.repeat(xs, len(xs)), (rng.normal(size=60) * 10.0 ** rng.uniform(-3, 4, 60)).astype(dtype)])
    b = np.concatenate([np.tile(xs, len(xs)), (rng.normal(size=60) * 10.0 ** rng.uniform(-2, 2, 60)).astype(dtype)])
    table[name] = [' '.join(map(text, row)) for row in zip(a, b, np.floor_divide(a, b), np.remainder(a, b))]
print(json.dumps(table, indent=1))
