"""Makes small.bin and small.idx beside it, as Megatron-LM's IndexedDatasetBuilder writes them, with NumPy alone; or judges files: `python megatron.py [PREFIX]`."""
import struct
import sys
from pathlib import Path

import numpy as np

# Megatron-LM, megatron/core/datasets/indexed_dataset.py: DType.
codes = {np.uint8: 1, np.int8: 2, np.int16: 3, np.int32: 4, np.int64: 5, np.float64: 6, np.float32: 7, np.uint16: 8}


def write(prefix, documents, dtype):
    """documents: lists of sequences, lists of ids."""
    sequences = [np.array(s, dtype) for d in documents for s in d]
    Path(f'{prefix}.bin').write_bytes(b''.join(s.tobytes() for s in sequences))
    lengths = np.array([len(s) for s in sequences], np.int32)
    pointers = (np.cumsum(lengths, dtype=np.int64) - lengths) * np.dtype(dtype).itemsize
    indices = np.cumsum([0] + [len(d) for d in documents], dtype=np.int64)
    header = b'MMIDIDX\x00\x00' + struct.pack('<Q', 1) + struct.pack('<B', codes[dtype]) + struct.pack('<Q', len(lengths)) + struct.pack('<Q', len(indices))
    Path(f'{prefix}.idx').write_bytes(header + lengths.tobytes() + pointers.astype(np.int64).tobytes() + indices.tobytes())


def read(prefix):
    """The documents, read as Megatron's _IndexReader does."""
    index = Path(f'{prefix}.idx').read_bytes()
    assert index[:9] == b'MMIDIDX\x00\x00' and struct.unpack_from('<Q', index, 9) == (1,)
    dtype = {v: k for k, v in codes.items()}[index[17]]
    sequences, entries = struct.unpack_from('<QQ', index, 18)
    at = 34
    lengths = np.frombuffer(index, np.int32, sequences, at)
    pointers = np.frombuffer(index, np.int64, sequences, at + lengths.nbytes)
    indices = np.frombuffer(index, np.int64, entries, at + lengths.nbytes + pointers.nbytes)
    assert at + lengths.nbytes + pointers.nbytes + indices.nbytes == len(index)
    tokens = Path(f'{prefix}.bin').read_bytes()
    ids = [np.frombuffer(tokens, dtype, n, p).tolist() for n, p in zip(lengths, pointers)]
    return [sum(ids[a:b], []) for a, b in zip(indices[:-1], indices[1:])]


if __name__ == '__main__':
    if len(sys.argv) > 1:
        documents = read(sys.argv[1])
        print(len(documents), sum(map(len, documents)), documents[0][:8], documents[-1][-8:])
    else:
        here = Path(__file__).parent
        write(here / 'small', [[[1, 2, 3]], [[4], [5, 6]], [], [[65499, 0]]], np.uint16)
        write(here / 'wide', [[[1, 2, 3, 70000]], [[-1, 2**31 - 1]]], np.int32)
        # What prepareStore makes of the same tokens: every document one sequence.
        write(here / 'single', [[[1, 2, 3]], [[4, 5, 6]], [[7]]], np.uint16)
