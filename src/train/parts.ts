/** The kinds of parts that are ours, by name: a run that is made of them alone can be made again from what its folder says. */
import { isPart, type Kind, type Part } from '../core/configurable.ts'
import { UsageError } from '../core/errors.ts'
import { maskedData, pairData, prefixData, spanData, textData } from '../data/index.ts'
import { architectures, convNetModel, loraModel, lstmModel, preferenceModel, seq2seqModel, type AnyModel, type BuildOptions, type LoraOptions, type PreferenceOptions } from '../models/index.ts'
import { adamwCosine } from './optimizers.ts'
import { withFields, type Run } from './run.ts'

const names = ['model', 'data', 'optimizer'] as const
/** Of each part the name of its kind; one on top of another as `lora/llama`. */
export type PartKinds = { readonly [K in (typeof names)[number]]: string }
export const isPartKinds = (x: unknown): x is PartKinds => typeof x === 'object' && x !== null && names.every(n => typeof (x as { readonly [k: string]: unknown })[n] === 'string')

type AnyPart = Part<unknown, never> & { readonly base?: AnyPart }
type Make = ((config: never) => unknown) & { readonly kind: Kind<never, never, unknown, never> }
const byName = (all: readonly { readonly kind: { readonly name: string } }[]): ReadonlyMap<string, Make> => new Map(all.map(make => [make.kind.name, make as Make]))
const kinds: { readonly [K in keyof PartKinds]: ReadonlyMap<string, Make> } = {
  model: byName([...architectures.map(a => a.kind), convNetModel, lstmModel, seq2seqModel]), data: byName([textData, prefixData, maskedData, spanData, pairData]), optimizer: byName([adamwCosine]),
}
/** Kinds that stand on another, which their configuration has under `base`. */
const wrappers: { readonly [name: string]: (base: Part<AnyModel, BuildOptions>, config: { readonly [field: string]: unknown }) => unknown } = {
  lora: (base, { lora }) => loraModel(base, lora as LoraOptions),
  preference: (base, { preference }) => preferenceModel(base, preference as PreferenceOptions),
}

function kindOf(part: AnyPart, among: ReadonlyMap<string, Make>): string | undefined {
  const { name } = part.kind
  if (part.base === undefined) return among.get(name)?.kind === part.kind as unknown ? name : undefined
  const base = Object.hasOwn(wrappers, name) ? kindOf(part.base, among) : undefined
  return base === undefined ? undefined : `${name}/${base}`
}

/** The kinds of a run's parts; undefined where one of them is not ours. */
export function kindsOf(run: Run): PartKinds | undefined {
  const found = names.map(name => [name, isPart<unknown, never>(run[name]) ? kindOf(run[name] as AnyPart, kinds[name]) : undefined] as const)
  return run.heldOut === undefined && found.every(([, kind]) => kind !== undefined) ? Object.fromEntries(found) as PartKinds : undefined
}

/** The run again, of the kinds of its parts and its fields. @throws UsageError for a kind that there is not, or a field that is wrong; `where` says who gave them */
export function runOfKinds(given: PartKinds, fields: { readonly [field: string]: unknown }, where: string): Run {
  const parts = Object.fromEntries(names.map(name => [name, made(given[name], kinds[name], fields[name], where)]))
  return withFields({ ...parts, hooks: [] } as unknown as Run, fields, where)
}

function made(kind: string, among: ReadonlyMap<string, Make>, config: unknown, where: string): unknown {
  const [first = '', ...rest] = kind.split('/')
  if (rest.length === 0) {
    const make = among.get(first)
    if (make === undefined) throw new UsageError({ code: 'part-kind', what: `${where}: there is no kind "${kind}"`, fix: 'use the version of Meshwork that wrote it' })
    return make(config as never)
  }
  const wrap = Object.hasOwn(wrappers, first) ? wrappers[first] : undefined
  const own = (typeof config === 'object' && config !== null ? config : {}) as { readonly [field: string]: unknown }
  if (wrap === undefined) throw new UsageError({ code: 'part-kind', what: `${where}: there is no kind "${first}" on top of another`, fix: 'use the version of Meshwork that wrote it' })
  return wrap(made(rest.join('/'), among, own['base'], where) as Part<AnyModel, BuildOptions>, own)
}
