/** Records of tar shards by number, their members as the bytes they are: images and labels that something else decodes. */
import { cut } from '../cut.ts'
import { fault } from '../faults.ts'
import { tarRecords, TarScanner } from '../tar.ts'
import { checkRows } from './array.ts'
import { openUnpacked } from './spool.ts'

/** One record: the path up to the first dot of the base name, and the members that begin with it, by the rest of their names in small letters. */
export interface Members { readonly key: string; readonly fields: { readonly [field: string]: Uint8Array } }
export interface MemberRows {
  readonly count: number
  /** @throws DataError when they cannot be read; RangeError for a record that is not there. */
  read(records: readonly number[]): Promise<readonly Members[]>
  close(): Promise<void>
}

/** Records of an archive in WebDataset's layout. It is gone through once; of each record its place is remembered. @throws DataError */
export async function openTar(name: string): Promise<MemberRows> {
  const source = await openUnpacked(name)
  try {
    const places: (readonly [from: number, to: number])[] = []
    for await (const { from, to } of cut(source.stream(), new TarScanner(name), 1, () => false)) places.push([from, to])
    return {
      count: places.length,
      async read(records) {
        checkRows(records, places.length)
        const found: Members[] = []
        for (const record of records) {
          const [from, to] = places[record] as readonly [number, number]
          const bytes = await source.read(from, to)
          const [only] = tarRecords(bytes, name, from)
          if (only === undefined) throw fault({ code: 'bad-tar', what: `record ${record} is not where it was`, at: `${name}, byte ${from}`, fix: 'leave the archive as it is while it is read' })
          found.push({ key: only.key, fields: Object.fromEntries([...only.fields].map(([field, [a, b]]) => [field, bytes.subarray(a, b)])) })
        }
        return found
      },
      close: () => source.close(),
    }
  } catch (cause) {
    await source.close()
    throw cause
  }
}
