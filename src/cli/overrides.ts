/** Command-line flags that change a run: each turned into fields, which the run's schema then checks. */
import type { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { keysAt, takesNumbers } from '../core/fields.ts'
import { fieldsOf, schemaOf, withFields, type Run } from '../train/run.ts'
import { shellWord } from './format.ts'

export interface MeshFlags {
  readonly batch?: string
  readonly model?: string
  readonly mesh?: string
  readonly layout?: string
}
export const withMeshFlags = (command: Command): Command => command
  .option('--batch <n>', 'ways to split the batch (mesh axis "batch")')
  .option('--model <n>', 'ways to split the model (mesh axis "model")')
  .option('--mesh <axis=n,...>', 'the whole mesh')
  .option('--layout <dim=axis,...>', 'which dim lies on which axis; other layouts are fields of a run')

export interface LayoutFlags { readonly params?: string; readonly state?: string }
/** Of commands with whole runs: the layouts of what rests. */
export const withLayoutFlags = (command: Command): Command => command
  .option('--params <dim=axis,...>', 'rules for parameters at rest, on top of the layout: embed=batch is FSDP')
  .option('--state <dim=axis,...>', 'rules for the optimizer\'s slots, on top of those: alone, embed=batch is ZeRO-1')

export interface RunFlags extends MeshFlags, LayoutFlags {
  readonly steps?: string
  readonly seed?: string
  readonly data?: readonly string[]
  readonly set?: readonly string[]
  /** One of the values of --sweep, as `set` has them. */
  readonly swept?: string
}

const flagError = (what: string, fix: string): UsageError => new UsageError({ code: 'flag', what, fix })

function pairs(text: string, flag: string, shape: string, example: string): [string, string][] {
  return text.split(',').map(part => {
    const [key, value, ...more] = part.split('=').map(s => s.trim())
    if (key === undefined || key === '' || value === undefined || value === '' || more.length > 0) {
      throw flagError(`${flag}: "${part}" is not ${shape}`, `give ${flag} ${shape}, more of them with "," between and no space, such as ${flag} ${shellWord(example)}`)
    }
    // No object can have a key of that name like any other.
    if (key === '__proto__') throw flagError(`${flag}: "${key}" cannot be a name`, `give another, such as ${flag} ${shellWord(example)}`)
    return [key, value]
  })
}

/** Seeds are 31 bits, here as in a run. */
const largestSeed = 2 ** 31 - 1

/** A whole number in a range; `example` is a command line's part with a right one. @throws UsageError */
export function wholeNumber(text: string, flag: string, least = 0, most: number = Number.MAX_SAFE_INTEGER, example = `${flag} ${Math.max(least, 2)}`): number {
  const n = Number(text)
  if (/^\d+$/.test(text) && n >= least && n <= most) return n
  const bounds = n > most ? ` from ${least} to ${most}` : least > 0 ? ` of at least ${least}` : ''
  throw flagError(`${flag}: "${text}" is not a whole number${bounds}`, `for example ${example}`)
}

export const seedOf = (text: string): number => wholeNumber(text, '--seed', 0, largestSeed)

/** @throws UsageError */
export function temperatureOf(text: string): number {
  const t = Number(text)
  if (text.trim() !== '' && Number.isFinite(t) && t >= 0) return t
  throw flagError(`--temperature: "${text}" is not a number of at least 0`, 'for example --temperature 0.8')
}

type Fields = { [key: string]: unknown }
const isFields = (x: unknown): x is Fields => typeof x === 'object' && x !== null && !Array.isArray(x)

/** A value as JSON where it is that, else as text; a list of one may be given as the one. */
function parseValue(text: string, now: unknown, numbers: boolean): unknown {
  let value: unknown = text
  try { value = JSON.parse(text) } catch { /* text, then */ }
  // A name may look like a number.
  if (typeof now === 'string' && !(numbers && typeof value === 'number') && (typeof value !== 'object' || value === null)) return typeof value === 'string' ? value : text
  return Array.isArray(now) && typeof value === 'string' ? [value] : value
}

/** @param flag what gave it */
function setField(run: Fields, schema: ReturnType<typeof schemaOf>, assignment: string, flag: '--set' | '--sweep'): void {
  const at = assignment.indexOf('=')
  if (at < 1) throw flagError(`${flag}: "${assignment}" is not KEY=VALUE`, 'for example --set model.layers=6; a recipe stands before the flags')
  const path = assignment.slice(0, at)
  const keys = path.split('.')
  const unknown = (fix: string): UsageError => new UsageError({ code: 'unknown-field', what: `${flag}: a run has no field "${path}"`, fix })
  for (const [depth, key] of keys.entries()) {
    const before = keys.slice(0, depth)
    const known = keysAt(schema, before)
    if (known === undefined) {
      const value = before.reduce<unknown>((x, k) => (isFields(x) ? x[k] : undefined), run)
      throw unknown(before[0] === 'layouts' ? 'a rule of a layout is layouts.NAME.DIM=AXIS' : `"${before.at(-1)}" is a field with a value, such as ${flag} ${shellWord(`${before.join('.')}=${typeof value === 'string' ? value : value === undefined ? 'VALUE' : JSON.stringify(value)}`)}`)
    }
    if (known === 'any' || known.includes(key)) continue
    if (depth > 0 || !['model', 'data', 'optimizer'].includes(key)) throw unknown(didYouMean(key, known))
    throw new UsageError({ code: 'unknown-field', what: `${flag}: the run's ${key} has no fields: its recipe gives it as it is`, fix: 'change the recipe, or let it be made from a configuration (configurable, of meshwork/models)' })
  }
  if (keys[0] === 'layouts' && keysAt(schema, keys) === 'any' && !assignment.slice(at + 1).trim().startsWith('{')) throw unknown('a rule of a layout is layouts.NAME.DIM=AXIS')
  let fields = run
  for (const [depth, key] of keys.entries()) {
    const last = depth === keys.length - 1
    const now = Object.hasOwn(fields, key) ? fields[key] : undefined
    const next: unknown = last ? parseValue(assignment.slice(at + 1), now, takesNumbers(schema, keys)) : isFields(now) ? now : {}
    // A name may be that of something which every object has.
    Object.defineProperty(fields, key, { value: next, enumerable: true, configurable: true, writable: true })
    if (!last) fields = next as Fields
  }
}

const formatAxes = (axes: readonly (readonly [string, unknown])[]): string => axes.map(([axis, n]) => `${axis}=${String(n)}`).join(',')

/** The mesh that the flags ask for. */
function meshOf(run: Run, { mesh, ...sizes }: MeshFlags): Fields {
  const given = (['batch', 'model'] as const).flatMap(axis => (sizes[axis] === undefined ? [] : [[axis, sizes[axis] ?? ''] as const]))
  if (mesh !== undefined) {
    if (given.length > 0) throw flagError(`--mesh and ${given.map(([axis]) => `--${axis}`).join(' and ')} speak of the same thing`, `give one of them: --mesh ${shellWord(mesh)}, or ${given.map(([axis, n]) => `--${axis} ${shellWord(n)}`).join(' ')}`)
    const axes = pairs(mesh, '--mesh', 'AXIS=N', formatAxes(Object.entries(run.mesh)) || 'batch=1')
    // What is right in it stays in what is proposed.
    const named = new Map(axes.map(([axis, n]) => [axis, /^[1-9]\d*$/.test(n) ? n : '1']))
    const sound = formatAxes([...named, ...Object.keys(run.mesh).filter(axis => !named.has(axis)).map(axis => [axis, 1] as const)])
    const twice = axes.find(([axis], i) => axes.findIndex(([other]) => other === axis) !== i)
    if (twice !== undefined) throw flagError(`--mesh: axis "${twice[0]}" is given twice`, `name each axis once, such as --mesh ${shellWord(sound)}`)
    return Object.fromEntries(axes.map(([axis, n]) => [axis, wholeNumber(n, '--mesh', 1, Number.MAX_SAFE_INTEGER, `--mesh ${shellWord(sound)}`)]))
  }
  for (const [axis] of given) {
    if (Object.hasOwn(run.mesh, axis)) continue
    const all = [...Object.entries(run.mesh), ...given.filter(([other]) => !Object.hasOwn(run.mesh, other)).map(([other, n]) => [other, /^[1-9]\d*$/.test(n) ? n : 1] as const)]
    throw flagError(`--${axis}: the run's mesh has no axis "${axis}", it is ${formatAxes(Object.entries(run.mesh)) || 'one device'}`, `say the whole mesh, such as --mesh ${formatAxes(all)}, and lay a dim on the axis: --layout DIM=${axis}`)
  }
  return { ...run.mesh, ...Object.fromEntries(given.map(([axis, n]) => [axis, wholeNumber(n, `--${axis}`, 1)])) }
}

/** Rules in the order given; a dim named twice takes both axes, the first the major one. */
export function layoutOf(text: string, flag: string, now: Run['layout'], example?: string): Fields {
  const layout = new Map<string, string[]>()
  for (const [dim, axis] of pairs(text, flag, 'DIM=AXIS', example ?? (Object.entries(now).flatMap(([dim, rule]) => [rule].flat().map(axis => `${dim}=${axis}`)).join(',') || 'batch=batch'))) {
    const before = layout.get(dim) ?? []
    if (before.includes(axis)) throw flagError(`${flag}: "${dim}=${axis}" is said twice`, 'leave one of them out')
    layout.set(dim, [...before, axis])
  }
  return Object.fromEntries([...layout].map(([dim, axes]) => [dim, axes.length === 1 ? axes[0] : axes]))
}

/** The run with the flags' changes. @throws UsageError for a flag or field that is wrong. */
export function applyFlags(run: Run, flags: RunFlags): Run {
  const fields: Fields = { ...structuredClone(fieldsOf(run)), mesh: meshOf(run, flags) }
  const schema = schemaOf(run)
  for (const field of ['layout', 'params', 'state'] as const) {
    const given = flags[field]
    if (given !== undefined) fields[field] = layoutOf(given, `--${field}`, run[field])
  }
  if (flags.steps !== undefined) fields['steps'] = wholeNumber(flags.steps, '--steps', 1)
  if (flags.seed !== undefined) fields['seed'] = seedOf(flags.seed)
  if (flags.data !== undefined) {
    const keys = keysAt(schema, ['data'])
    if (keys === undefined || keys === 'any' || !keys.includes('files')) throw flagError('--data: the data of this run does not come from files that could be others', 'change the recipe')
    fields['data'] = { ...fields['data'] as Fields, files: flags.data }
  }
  for (const assignment of flags.set ?? []) setField(fields, schema, assignment, '--set')
  if (flags.swept !== undefined) setField(fields, schema, flags.swept, '--sweep')
  return withFields(run, fields, flags.swept === undefined ? 'the command line' : `--sweep ${flags.swept}`)
}
