/** Command-line flags that change a run: each turned into fields, which the run's schema then checks. */
import { UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { parseRun, type Run } from '../train/run.ts'

export interface TrainFlags {
  readonly batch?: string
  readonly model?: string
  readonly mesh?: string
  readonly layout?: string
  readonly steps?: string
  readonly seed?: string
  readonly data?: readonly string[]
  readonly set?: readonly string[]
}

function pairs(text: string, flag: string, shape: string): [string, string][] {
  return text.split(',').map(part => {
    const [key, value, ...more] = part.split('=').map(s => s.trim())
    if (key === undefined || key === '' || value === undefined || value === '' || more.length > 0) {
      throw new UsageError({ code: 'flag', what: `${flag}: "${part}" is not ${shape}`, fix: `${flag} ${shape},…` })
    }
    return [key, value]
  })
}

/** A whole number of at least `least`. @throws UsageError */
export function wholeNumber(text: string, flag: string, least = 0): number {
  const n = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(n) || n < least) {
    throw new UsageError({ code: 'flag', what: `${flag}: "${text}" is not a whole number${least > 0 ? ` of at least ${least}` : ''}`, fix: `for example ${flag} ${Math.max(least, 2)}` })
  }
  return n
}

/** A value as JSON where it is that, else as text. */
function parseValue(text: string): unknown {
  try { return JSON.parse(text) } catch { return text }
}

type Fields = { [key: string]: unknown }
const isFields = (x: unknown): x is Fields => typeof x === 'object' && x !== null && !Array.isArray(x)

function setField(run: Fields, assignment: string): void {
  const at = assignment.indexOf('=')
  if (at < 1) throw new UsageError({ code: 'flag', what: `--set: "${assignment}" is not KEY=VALUE`, fix: 'for example --set model.layers=6' })
  const keys = assignment.slice(0, at).split('.')
  const last = keys.pop() ?? ''
  let fields = run
  for (const key of keys) {
    const next = fields[key]
    if (!isFields(next)) throw new UsageError({ code: 'unknown-field', what: `--set: a run has no field "${assignment.slice(0, at)}"`, fix: didYouMean(key, Object.keys(fields)) })
    fields = next
  }
  // A record of rules or axes takes new keys; every other object has all of its own.
  const open = ['mesh', 'layout', 'params', 'state'].includes(keys[0] ?? '')
  if (!open && !(last in fields)) throw new UsageError({ code: 'unknown-field', what: `--set: a run has no field "${assignment.slice(0, at)}"`, fix: didYouMean(last, Object.keys(fields)) })
  fields[last] = parseValue(assignment.slice(at + 1))
}

/** The run with the flags' changes. @throws UsageError for a flag or field that is wrong. */
export function applyFlags(run: Run, flags: TrainFlags): Run {
  const fields: Fields = structuredClone(run)
  if (flags.mesh !== undefined) {
    if (flags.batch !== undefined || flags.model !== undefined) throw new UsageError({ code: 'flag', what: '--mesh and --batch/--model say the same thing', fix: 'give one of them' })
    fields['mesh'] = Object.fromEntries(pairs(flags.mesh, '--mesh', 'AXIS=N').map(([axis, n]) => [axis, wholeNumber(n, '--mesh', 1)]))
  } else {
    const mesh: Fields = { ...run.mesh }
    if (flags.batch !== undefined) mesh['batch'] = wholeNumber(flags.batch, '--batch', 1)
    if (flags.model !== undefined) mesh['model'] = wholeNumber(flags.model, '--model', 1)
    fields['mesh'] = mesh
  }
  if (flags.layout !== undefined) fields['layout'] = layoutOf(pairs(flags.layout, '--layout', 'DIM=AXIS'))
  if (flags.steps !== undefined) fields['steps'] = wholeNumber(flags.steps, '--steps', 1)
  if (flags.seed !== undefined) fields['seed'] = wholeNumber(flags.seed, '--seed')
  if (flags.data !== undefined) fields['data'] = flags.data
  for (const assignment of flags.set ?? []) setField(fields, assignment)
  return parseRun(fields, 'the command line')
}

/** Rules in the order given; a dim named twice takes both axes, the first the major one. */
function layoutOf(rules: readonly [string, string][]): Fields {
  const layout: { [dim: string]: string[] } = {}
  for (const [dim, axis] of rules) (layout[dim] ??= []).push(axis)
  return Object.fromEntries(Object.entries(layout).map(([dim, axes]) => [dim, axes.length === 1 ? axes[0] : axes]))
}
