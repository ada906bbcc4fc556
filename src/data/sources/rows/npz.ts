/** NumPy's .npz: a zip archive of .npy files, each a column. */
import { didYouMean } from '../../../core/nearest.ts'
import { openBytes } from '../byte-source.ts'
import { fault } from '../faults.ts'
import type { ByteSource } from '../source.ts'
import { arrayRows, type ArrayAt } from './array.ts'
import { npyAt } from './npy.ts'
import type { Rows } from './types.ts'
import { zipMember, zipMembers } from './zip.ts'

/**
 * Rows of the arrays of an archive, all, or those named. What np.savez wrote is read where it lies; what np.savez_compressed wrote is unpacked
 * into the folder for temporary files first.
 * @throws DataError when it is none, or arrays have different first dims.
 */
export async function openNpz<const N extends string = string>(name: string, options: { readonly columns?: readonly N[] } = {}): Promise<Rows<N>> {
  const archive = await openBytes(name)
  const owned: ByteSource[] = []
  const close = async (): Promise<void> => { for (const source of [archive, ...owned]) await source.close() }
  try {
    if (!archive.ranged) throw fault({ code: 'no-ranges', what: `${name} can only be read from its start, and a zip archive's directory is at its end`, fix: 'write it into a file, and give that' })
    const members = new Map((await zipMembers(archive)).filter(m => m.name.endsWith('.npy')).map(m => [m.name.slice(0, -4), m]))
    const wanted = options.columns ?? [...members.keys()] as N[]
    if (wanted.length === 0) throw fault({ code: 'no-field', what: `${name} has no arrays in it`, fix: 'write it with np.savez(file, x=x, y=y)' })
    const arrays: [N, ArrayAt][] = []
    for (const column of wanted) {
      const member = members.get(column)
      if (member === undefined) throw fault({ code: 'no-field', what: `there is no array "${column}"`, at: name, fix: didYouMean(column, members.keys()) })
      const { source, from, to, own } = await zipMember(archive, member)
      if (own) owned.push(source)
      arrays.push([column, await npyAt(source, from, to, `${name}/${member.name}`)])
    }
    return { ...arrayRows(Object.fromEntries(arrays) as { readonly [C in N]: ArrayAt }), name, fingerprint: () => archive.fingerprint(), close }
  } catch (cause) {
    await close()
    throw cause
  }
}
