/** The members of a tar archive, one after another, in a window that moves over it. */
import { block, headerAt, padded, paxRecords, TarFault } from './tar-header.ts'

/** Long names and pax records take no more. */
const largestExtension = 2 ** 20

export interface Member {
  readonly name: string
  readonly kind: string
  readonly size: number
  /** Places in the window: of its first header, and of its content. */
  readonly from: number
  readonly content: number
}

/**
 * The member whose first header is at `at` of the window. 'more' where the window ends within its headers, 'end' at the archive's end.
 * @throws TarFault
 */
export function memberAt(bytes: Buffer, at: number, last: boolean): Member | 'more' | 'end' {
  let [name, size]: [string | undefined, number | undefined] = [undefined, undefined]
  for (let header = at; ;) {
    if (header + block > bytes.length) {
      if (!last) return 'more'
      // An archive may lack the blocks of zeros at its end.
      if (header === bytes.length && header === at) return 'end'
      throw new TarFault('it ends within a header')
    }
    const found = headerAt(bytes, header)
    if (found === undefined) {
      if (header !== at) throw new TarFault('it ends behind an extended header')
      return 'end'
    }
    const content = header + block
    if ('xgLK'.includes(found.kind)) {
      if (found.size > largestExtension) throw new TarFault(`an extended header has ${found.size} bytes`)
      if (content + padded(found.size) > bytes.length) {
        if (!last) return 'more'
        throw new TarFault('it ends within an extended header')
      }
      const text = bytes.subarray(content, content + found.size)
      if (found.kind === 'L') name = text.toString('utf8', 0, text.includes(0) ? text.indexOf(0) : text.length)
      else if (found.kind !== 'K') {
        const records = paxRecords(text)
        const told = records.get('size')
        if (found.kind === 'g' && (records.has('path') || told !== undefined)) throw new TarFault('an extended header gives one name or size to all members')
        name = records.get('path') ?? name
        if (told !== undefined) size = /^\d{1,15}$/.test(told) ? Number(told) : undefined
        if ([...records.keys()].some(k => k.startsWith('GNU.sparse.'))) throw new TarFault('a member is sparse')
      }
      header = content + padded(found.size)
      continue
    }
    if (found.kind === 'S') throw new TarFault('a member is sparse')
    return { name: name ?? found.name, kind: found.kind, size: size ?? found.size, from: at, content }
  }
}

/** Whether a member is a file that counts. Old archives have no kind for files, and end folders in a slash. */
export const isFile = ({ kind, name }: Member): boolean => '0\0' .includes(kind) && !name.endsWith('/') || kind === '7'

/** WebDataset's layout: the key is the path up to the first dot of the base name, the rest in small letters the field. Undefined for what does not count. */
export function keyOf(member: Member): { readonly key: string; readonly field: string } | undefined {
  if (!isFile(member)) return undefined
  const slash = member.name.lastIndexOf('/') + 1
  const dot = member.name.indexOf('.', slash)
  const base = member.name.slice(slash)
  // Names such as __meta__ are the archive's own; a name that begins with a dot has no key.
  if (dot <= slash || /^__.*__/.test(base)) return undefined
  return { key: member.name.slice(0, dot), field: member.name.slice(dot + 1).toLowerCase() }
}
