/** Parameters as optimizers see them: flat, by path, so that some may be left out and others go elsewhere. */
import { formatShape, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { isFloat } from '../core/dtype.ts'
import { DimError, UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { onCallersLine, userSite } from '../core/site.ts'
import { decaysOf } from '../graph/param.ts'
import { leavesOf, loose } from '../graph/tensor.ts'
import type { AnyTensor, Tensor, Tree } from '../graph/types.ts'
import { checkValue, type Check } from './options.ts'

/** A tensor for each parameter, by its path in the tree. */
export type ByPath = { readonly [path: string]: Tensor<string> }

/** What is known of a parameter before it has a value. */
export interface Parameter {
  readonly path: string
  readonly shape: readonly Dim[]
  readonly dtype: DType
  /** Whether it was declared to decay. @throws DimError where it was not declared at all: a tensor that is no `param` */
  readonly decays: boolean
}

/** Some of the parameters: paths, of parameters or of what holds them (`blocks` is all in it), or a function that chooses. */
export type Which = readonly string[] | ((parameter: Parameter) => boolean)
export const which: Check = { fits: x => typeof x === 'function' || (Array.isArray(x) && x.every(p => typeof p === 'string')), fix: 'give a list of paths, or a function of a parameter' }

export function parametersOf(tree: Tree): readonly Parameter[] {
  const leaves = leavesOf(tree)
  const paths = new Set<string>()
  for (const { path, leaf } of leaves) {
    if (!isFloat(leaf.dtype)) throw new DimError({ code: 'dtype', what: `an optimizer: parameter "${path}" is ${leaf.dtype}, which has no gradient`, details: { tensor: formatShape(leaf.shape) }, fix: 'give floats; leave other tensors out of the tree', at: userSite() })
    // A key may hold a ".": what lies beside another by such a path could not be told from what lies in it.
    const within = path.split('.').map((_, i, keys) => keys.slice(0, i + 1).join('.')).slice(0, -1)
    const twice = paths.has(path) ? path : within.find(p => paths.has(p)) ?? [...paths].find(p => p.startsWith(`${path}.`))
    if (twice !== undefined) throw new DimError({ code: 'same-path', what: `an optimizer: two parameters have the path "${path}"`, details: { other: twice }, fix: 'use keys without "."', at: userSite() })
    paths.add(path)
  }
  // Asked for only by what decays: values that a program has computed are no declarations.
  let declared: ((path: string) => boolean) | undefined
  return leaves.map(({ path, leaf: { shape, dtype } }) => ({ path, shape, dtype, get decays() { return (declared ??= decaysOf(tree))(path) } }))
}

/** Those of the parameters that are meant. @throws UsageError for a path that none has */
export function chosen(what: string, of: Which, parameters: readonly Parameter[]): ReadonlySet<string> {
  if (typeof of === 'function') {
    return new Set(parameters.filter(p => {
      const found = of(p)
      checkValue(`${what}: what is chosen of "${p.path}"`, found, { fits: x => typeof x === 'boolean', fix: 'return true or false' })
      return found
    }).map(p => p.path))
  }
  const under = (path: string, { path: of }: Parameter): boolean => of === path || of.startsWith(`${path}.`)
  // Asked without parameters, it says only how its slots are called.
  const unknown = parameters.length === 0 ? undefined : of.find(path => !parameters.some(p => under(path, p)))
  if (unknown !== undefined) throw new UsageError({ code: 'no-such-param', what: `${what}: there is no parameter "${unknown}"`, fix: didYouMean(unknown, parameters.map(p => p.path)), at: userSite() })
  return new Set(parameters.filter(p => of.some(path => under(path, p))).map(p => p.path))
}

/** A tensor of a record that must be there. */
export function at(record: ByPath, path: string): Tensor<string> {
  const found = Object.hasOwn(record, path) ? record[path] : undefined
  if (found === undefined) throw new Error(`there is no tensor for parameter "${path}"`)
  return found
}
/** A record of the same paths, by a function of ours: all of it bears its caller's line. */
export const mapPaths = (record: ByPath, f: (x: Tensor<string>, path: string) => AnyTensor): ByPath =>
  onCallersLine(() => Object.fromEntries(Object.entries(record).map(([path, x]) => [path, loose(f(x, path))])))
/** Those of a record whose paths are meant. */
export const only = (record: ByPath, paths: ReadonlySet<string>): ByPath => Object.fromEntries(Object.entries(record).filter(([path]) => paths.has(path)))

/** The dims of a parameter along which no matrices lie, but whole parameters are stacked: those are left out. */
export const apart = (shape: readonly Dim[], stacked: readonly string[]): string[] => shape.map(d => d.name).filter(name => !stacked.includes(name))
/** Sums and means over dims that may be none: what has none is its own. */
export const sumOver = (x: Tensor<string>, over: readonly string[]): Tensor<string> => (over.length === 0 ? x : x.sum(...over))
export const meanOver = (x: Tensor<string>, over: readonly string[]): Tensor<string> => (over.length === 0 ? x : x.mean(...over))
