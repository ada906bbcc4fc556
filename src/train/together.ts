/** What the processes of a run must have in common. */
import { requireSame, type Backend, type Processes } from '../engine/index.ts'
import type { Plain } from '../core/plain.ts'
import { version } from '../io/version.ts'
import { fieldsOf, identityOf, type Run } from './run.ts'

type Fields = { [path: string]: string }
/** The leaves of plain data, by path; a list of what has no parts is one. */
export const flatten = (value: unknown, path: string): Fields => (typeof value === 'object' && value !== null && (!Array.isArray(value) || value.some(v => typeof v === 'object' && v !== null))
  ? Object.entries(value).reduce<Fields>((all, [key, v]) => ({ ...all, ...flatten(v, path === '' ? key : `${path}.${key}`) }), {})
  : { [path]: JSON.stringify(value) })

export const versions = (backend: Backend): { readonly [of: string]: string } => ({ Meshwork: version, Node: process.versions.node, plugin: backend.plugin })

/** @throws JobError that names the rank, the field and both values. Where the data lies may differ, what it says may not. */
export function requireSameRun(processes: Processes, run: Run, backend: Backend): Promise<void> {
  const { data: _, ...fields } = fieldsOf(run)
  return requireSame(processes, 'comparing runs', { ...flatten(fields, 'run'), ...flatten(identityOf(run), 'run'), ...flatten(versions(backend), 'versions') }, 'start all ranks with the same recipe, flags and versions')
}

/** @throws JobError where a rank reads other data. */
export const requireSameData = (processes: Processes, identity: Plain | undefined): Promise<void> =>
  requireSame(processes, 'comparing data', flatten(identity ?? null, 'data'), 'give all ranks the same data: a disk that all hosts share, or equal copies')
