/** Arrays in files of their own, of whichever format each file is. */
import { openArrays } from './array.ts'
import { idxAt } from './idx.ts'
import { npyAt } from './npy.ts'
import type { Rows } from './types.ts'

/**
 * Rows of one array in each file, IDX or .npy, which is told by how it begins, compressed or not: `{ images: 'train-images-idx3-ubyte.gz', labels: 'labels.npy' }`.
 * @throws DataError when one is neither, or they have different first dims.
 */
export async function openArrayFiles<N extends string>(files: { readonly [C in N]: string }): Promise<Rows<N>> {
  return openArrays(files, async (source, name) => {
    const size = source.size ?? 0
    const head = await source.read(0, Math.min(6, size))
    return head.toString('latin1') === '\x93NUMPY' ? npyAt(source, 0, size, name) : idxAt(source, name)
  })
}
