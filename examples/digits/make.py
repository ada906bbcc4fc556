# Writes the IDX files of this folder from scikit-learn's digits.csv.gz: `pip download scikit-learn --no-deps`, then `python make.py THE_WHEEL`.
import csv, gzip, io, struct, sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    text = gzip.decompress(wheel.read('sklearn/datasets/data/digits.csv.gz')).decode()
rows = [[int(float(x)) for x in row] for row in csv.reader(io.StringIO(text))]

def write(name, shape, values):
    with gzip.GzipFile(name, 'wb', mtime=0) as f:
        f.write(bytes([0, 0, 8, len(shape)]) + struct.pack(f'>{len(shape)}I', *shape) + bytes(values))

# The last ones are by writers of their own: what was learnt of some is tried on others.
for part, of in (('train', rows[:1437]), ('test', rows[1437:])):
    write(f'{part}-images.idx.gz', (len(of), 8, 8), [x for row in of for x in row[:64]])
    write(f'{part}-labels.idx.gz', (len(of),), [row[64] for row in of])
