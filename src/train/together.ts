/** What the processes of a run must have in common, and which part of a batch is whose. */
import type { Source } from '../engine/index.ts'
import { blockOf, requireSame, type Backend, type Mesh, type Placement, type Processes } from '../engine/index.ts'
import { version } from '../io/version.ts'
import type { Batch, Dataset, Rows } from '../data/index.ts'
import type { Run } from './run.ts'

type Fields = { [path: string]: string }
const flatten = (value: unknown, path: string): Fields => (typeof value === 'object' && value !== null && !Array.isArray(value)
  ? Object.entries(value).reduce<Fields>((all, [key, v]) => ({ ...all, ...flatten(v, `${path}.${key}`) }), {})
  : { [path]: JSON.stringify(value) })

/** @throws JobError that names the rank, the field and both values. Where the text lies may differ, what it says may not. */
export function requireSameRun(processes: Processes, { data: _, ...run }: Run, backend: Backend): Promise<void> {
  const versions = { 'Meshwork\'s version': version, 'Node\'s version': process.versions.node, 'the plugin': backend.plugin }
  return requireSame(processes, 'comparing runs', { ...flatten(run, 'run'), ...versions }, 'start all ranks with the same recipe, flags and versions')
}

/** @throws JobError where a rank reads another text. */
export const requireSameData = (processes: Processes, data: Dataset): Promise<void> =>
  requireSame(processes, 'comparing texts', { 'the text': data.identity, 'the tokenizer\'s size': String(data.tokenizer.vocab) }, 'give all ranks the same text: a disk that all hosts share, or equal copies')

/** The windows of a global batch that this process's devices need: rows of the tensor that lies so. */
export function rowsHere(placement: Placement, mesh: Mesh, backend: Backend): Rows {
  const blocks = backend.addressable.filter(d => d < mesh.size).map(d => blockOf(placement.shape, placement.sharding, mesh, d))
  const starts = blocks.map(b => b.starts[0] ?? 0)
  return { from: Math.min(...starts), to: Math.max(...blocks.map((b, i) => (starts[i] ?? 0) + (b.sizes[0] ?? 1))) }
}

/** A batch's rows, of which each device takes its windows and its part of them. */
export function sources({ tokens, targets }: Batch, { from }: Rows, seq: number): { readonly tokens: Source; readonly targets: Source } {
  const part = (rows: Int32Array): Source => ({ starts: [row = 0, column = 0], sizes: [windows = 0, length = 0] }) => {
    if (length === seq) return rows.slice((row - from) * seq, (row - from + windows) * seq)
    const out = new Int32Array(windows * length)
    for (let w = 0; w < windows; w++) out.set(rows.subarray((row - from + w) * seq + column, (row - from + w) * seq + column + length), w * length)
    return out
  }
  return { tokens: part(tokens), targets: part(targets) }
}
