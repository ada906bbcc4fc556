/** What a program gave, by paths, the layers of pipelines in their order: so numbers of different schedules are compared. */
import type { Places } from '../../src/parallel/index.ts'

/** Values of all places, those of layers in their order; as they are where there are no places. */
export function inOrder(values: readonly number[], places: Places | undefined): readonly number[] {
  if (places === undefined) return values
  const size = values.length / places.length
  return places.flatMap((layer, i) => (layer === undefined ? [] : [{ layer, i }])).sort((a, b) => a.layer - b.layer).flatMap(({ i }) => values.slice(i * size, (i + 1) * size))
}

export async function numbersByPath(given: unknown, places: Places | undefined): Promise<ReadonlyMap<string, readonly number[]>> {
  const all = new Map<string, readonly number[]>()
  const walk = async (x: unknown, path: string): Promise<void> => {
    if (typeof x !== 'object' || x === null) return
    if (!('read' in x)) { for (const [k, v] of Object.entries(x)) await walk(v, `${path}.${k}`); return }
    const values = Array.from(await (x as unknown as { read: () => Promise<ArrayLike<number>> }).read(), Number)
    all.set(path, inOrder(values, path.includes('.blocks.') ? places : undefined))
  }
  await walk(given, '')
  return all
}
