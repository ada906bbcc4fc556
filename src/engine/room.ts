/** What of a program does not fit its platform: memory of a host that programs cannot reach, and more than a device has. */
import { DimError, PluginError, type MeshworkError } from '../core/errors.ts'
import type { Mesh } from '../core/mesh.ts'
import { choices, type Lowering } from '../core/platform.ts'
import { bodiesOf, orderOf } from '../graph/node.ts'
import type { LocalBody, LocalNode, Placement } from '../partition/local.ts'
import type { MemoryStats } from '../runtime/backend.ts'
import { bytesOn } from './array.ts'

function stored(body: LocalBody): LocalNode | undefined {
  for (const n of orderOf(body.outputs)) {
    const found = n.op === 'stored' ? n : bodiesOf(n).map(stored).find(m => m !== undefined)
    if (found !== undefined) return found
  }
  return undefined
}

/** @throws DimError where values are to lie with the host and the platform gives programs no memory of the host */
export function checkMemories(body: LocalBody, { platform }: Lowering): void {
  const found = choices[platform].hostMemory === undefined ? stored(body) : undefined
  if (found === undefined) return
  throw new DimError({ code: 'no-host-memory', what: `nothing can be offloaded: the platform ${platform} gives programs no memory of the host`, fix: 'leave it on the device: of remat { keep: [names] } or computed again, of a run slots=device, of `stored` nothing', at: found.site })
}

const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const
function bytesText(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  return power === 0 ? `${bytes} bytes` : `${(bytes / 1024 ** power).toFixed(1)} ${units[power] ?? ''}`
}

export interface Lies {
  readonly mesh: Mesh
  readonly inputs: readonly { readonly path: string; readonly placement: Placement }[]
  readonly outputs: readonly Placement[]
  /** By the number of an input that is taken over, that of the result that lies in its place. */
  readonly donations: ReadonlyMap<number, number>
  /** The compiler's own count, once there is one. */
  readonly memory?: MemoryStats | undefined
}

/** The largest parts that are named one by one. */
const namedParts = 4

/** What goes wrong for want of memory, with the plan's count of what lies where on each device; anything else as it is. */
export function lyingWhere(failure: MeshworkError, { mesh, inputs, outputs, donations, memory }: Lies): MeshworkError {
  if (!(failure instanceof PluginError) || failure.code !== 'resource-exhausted' || failure.problem.details?.['arguments'] !== undefined) return failure
  // Leaves of one tree together: `0.params`, `0.slots`, `1`.
  const trees = new Map<string, number>()
  const away = inputs.filter(({ placement }) => placement.memory === 'host').reduce((n, { placement }) => n + bytesOn(placement, mesh), 0)
  for (const { path, placement } of inputs) {
    if (placement.memory === 'host') continue
    const tree = path.split('.').slice(0, 2).join('.')
    trees.set(tree, (trees.get(tree) ?? 0) + bytesOn(placement, mesh))
  }
  const parts = [...trees].map(([path, bytes]) => ({ path, bytes }))
  const taken = new Set(donations.values())
  const results = outputs.map((p, i) => (taken.has(i) || p.memory === 'host' ? 0 : bytesOn(p, mesh)))
  const sum = (all: readonly number[]): number => all.reduce((a, b) => a + b, 0)
  const largest = [...parts].sort((a, b) => b.bytes - a.bytes).slice(0, namedParts)
  return new PluginError({
    ...failure.problem, cause: failure,
    what: `a device's memory is full: ${failure.problem.what}`,
    details: {
      ...failure.problem.details,
      arguments: `${bytesText(sum(parts.map(p => p.bytes)))} on each device${largest.length === 0 ? '' : `: ${largest.map(p => `${p.path} ${bytesText(p.bytes)}`).join(', ')}${parts.length > largest.length ? `, ${parts.length - largest.length} more` : ''}`}`,
      results: `${bytesText(sum(results))} more, ${taken.size} of ${outputs.length} in the place of arguments`,
      'in between': memory === undefined ? 'not known: the program was not compiled' : bytesText(memory.temporaries),
      ...(away === 0 ? {} : { 'with the host': bytesText(away) }),
    },
  })
}
