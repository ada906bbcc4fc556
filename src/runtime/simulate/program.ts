/** A parsed StableHLO module, and the errors that point into it. */
import { dtypes } from '../../core/dtype.ts'
import { PluginError, type Site } from '../../core/errors.ts'
import type { BufferType } from '../backend.ts'
import type { Store } from './element.ts'

/** Where an op was made. A location given by alias is filled in when the alias is read, which may be later. */
export interface Location { site?: Site; of?: Location }

/** `true`, `LT`, `@f` and types are words; a number keeps its text, as only its use says what it is. */
export type Attribute =
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly Attribute[] }
  | { readonly kind: 'fields'; readonly entries: Attributes }
  | { readonly kind: 'dense'; readonly type: BufferType; readonly store: Store }
export type Attributes = ReadonlyMap<string, Attribute>

/** A named value; the results of `%5:2` are called `%5` and `%5#1`. */
export interface Typed { readonly name: string; readonly type: BufferType }

export interface Op {
  /** The op's name without the prefix `stablehlo.`, which almost all ops have. */
  readonly name: string
  readonly operands: readonly Typed[]
  readonly results: readonly Typed[]
  readonly attributes: Attributes
  readonly regions: readonly Block[]
  readonly loc: Location
}

/** A function's or a region's body; `results` are what its return gives. */
export interface Block { readonly parameters: readonly Typed[]; readonly ops: readonly Op[]; readonly results: readonly Typed[] }
export interface Func { readonly name: string; readonly body: Block; readonly parameterAttributes: readonly Attributes[] }
export type Module = ReadonlyMap<string, Func>

/** As StableHLO writes it: `tensor<4x8xf32>`. */
export const formatType = (t: BufferType): string => `tensor<${[...t.shape, dtypes[t.dtype].hlo].join('x')}>`
export const sameShape = (a: BufferType, b: BufferType): boolean =>
  a.shape.length === b.shape.length && a.shape.every((n, i) => n === b.shape[i])
export const sameType = (a: BufferType, b: BufferType): boolean => a.dtype === b.dtype && sameShape(a, b)

export const sameTypes = (a: readonly Typed[], b: readonly Typed[]): boolean =>
  a.length === b.length && a.every((v, i) => sameType(v.type, (b[i] as Typed).type))

function siteOf(loc: Location): Site | undefined {
  return loc.site ?? (loc.of === undefined ? undefined : siteOf(loc.of))
}

/** An op that cannot be compiled or run: its operands, results and the user's line. */
export function opError(op: Op, code: string, what: string, details: Readonly<Record<string, string>> = {}): PluginError {
  const list = (values: readonly Typed[]): string => values.map(v => formatType(v.type)).join(', ') || 'none'
  return new PluginError({
    code, what: `${op.name.includes('.') ? '' : 'stablehlo.'}${op.name}: ${what}`, at: siteOf(op.loc),
    details: { operands: list(op.operands), results: list(op.results), ...details },
  })
}

/** Rejects an op that StableHLO's verifier would reject. */
export function check(op: Op, holds: boolean, what: string): asserts holds {
  if (!holds) throw opError(op, 'program-types', what)
}

/** The value of an operand or a result that the op must have. */
export function only<T>(op: Op, list: readonly T[], index = 0): T {
  const found = list[index]
  check(op, found !== undefined, `part ${index + 1} of it is missing`)
  return found
}
