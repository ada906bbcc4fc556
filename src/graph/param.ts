/** Parameters: each declared once, with its dims, what it is at first, and whether weight decay applies to it. */
import { formatShape, type Dim, type DimLike } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { didYouMean } from '../core/nearest.ts'
import { userSite } from '../core/site.ts'
import { truncatedNormal } from './distributions.ts'
import { dimIn } from './infer/checks.ts'
import { inputNode } from './input.ts'
import { broadcastTo } from './make.ts'
import type { Node } from './node.ts'
import type { Declaration } from './ops.ts'
import { fold, normal, uniform, type Key } from './random.ts'
import { full, isTensor, leavesOf, mapTree, tensor } from './tensor.ts'
import type { AnyTensor, Distinct, Tensor, Tree } from './types.ts'

/** What a parameter is at first: one number everywhere, or what a function makes of a key, the dims and the dtype. */
export type Initialiser = number | ((key: Key, shape: readonly Dim[], dtype: DType) => AnyTensor)

/** What a parameter is declared with. */
export interface ParamOptions {
  /** f32 unless said. */
  readonly dtype?: DType
  /** What it is at first; `initialise` needs it. */
  readonly init?: Initialiser
  /** Whether weight decay applies to it; it does not unless said. */
  readonly decays?: boolean
  /** Whether training leaves it as it is: no gradient of it is computed, and optimizers keep nothing for it. */
  readonly frozen?: boolean
}

/**
 * A parameter: laid out by the `params` rules at rest, by `layout` where it is used. Its dtype alone may stand for the options.
 * @throws DimError when an option is none, or the initial value no number
 */
export function param<const S extends readonly Dim[]>(name: string, shape: S & Distinct<S>, how: DType | ParamOptions = {}): Tensor<S[number]['name']> {
  const { dtype = 'f32', init, decays = false, frozen = false, ...others }: ParamOptions = typeof how === 'string' ? { dtype: how } : how
  const [unknown] = Object.keys(others)
  const wrong = (what: string, fix: string): DimError => new DimError({ code: 'option', what: `param "${name}": ${what}`, fix, at: userSite() })
  if (unknown !== undefined) throw wrong(`there is no option "${unknown}"`, didYouMean(unknown, ['dtype', 'init', 'decays', 'frozen']))
  if (init !== undefined && typeof init !== 'function' && typeof init !== 'number') throw wrong(`init is ${shown(init)}`, 'give a number, or one of initialisers')
  return tensor(inputNode(name, 'params', { shape, dtype }, { decays, ...(frozen ? { frozen } : {}), ...(init === undefined ? {} : { init: typeof init === 'number' ? init : first(name, init, shape, dtype) }) }))
}

/** What an initialiser gives, in the parameter's order of dims. @throws DimError when it gives other dims or another dtype */
const first = (name: string, init: Exclude<Initialiser, number>, shape: readonly Dim[], dtype: DType) => ([word0, word1]: readonly [Node, Node]): Node => {
  const value = init({ word0: tensor(word0), word1: tensor(word1) }, shape, dtype)
  const fits = isTensor(value) && value.dtype === dtype && value.shape.length === shape.length && shape.every(d => value.shape.some(e => e.name === d.name && e.size === d.size))
  if (fits) return broadcastTo(value.node, shape)
  throw new DimError({
    code: 'initialiser', what: `initialise: the initialiser of "${name}" gives something else`, fix: 'return a tensor of the dims and the dtype that it is given', at: userSite(),
    details: { expected: `${dtype} ${formatShape(shape)}`, found: isTensor(value) ? `${value.dtype} ${formatShape(value.shape)}` : shown(value) },
  })
}

/** The dims of a weight that initialisers count, in any order. */
type Over = readonly DimLike<string>[]
const sizes = (shape: readonly Dim[], over: Over): number => over.reduce((n, d) => n * dimIn(shape, d, 'initialiser', userSite).size, 1)
/** Drawn in f32, and rounded to the parameter's dtype once. */
const drawn = (make: (key: Key, shape: readonly Dim[]) => AnyTensor) => (key: Key, shape: readonly Dim[], dtype: DType): AnyTensor => tensor<string>(make(key, shape).node).cast(dtype)
const scaledNormal = (stdOf: (shape: readonly Dim[]) => number): Initialiser => drawn((key, shape) => normal(key, shape).mul(stdOf(shape)))

/** What a parameter may be at first: numbers, or functions of a key. A weight's inputs are the dims that it is contracted over, its outputs those that it gives. */
export const initialisers = {
  zeros: 0,
  ones: 1,
  /** Normal with mean 0. */
  normal: (std: number): Initialiser => scaledNormal(() => std),
  /** Normal with mean 0, drawn again beyond two standard deviations. */
  truncatedNormal: (std: number): Initialiser => drawn((key, shape) => truncatedNormal(key, shape).mul(std)),
  /** Uniform in [low, high). */
  uniform: (low: number, high: number): Initialiser => drawn((key, shape) => uniform(key, shape, { low, high })),
  /** Normal with variance 1 / inputs, which keeps the variance of what passes (LeCun et al. 1998). */
  lecunNormal: (inputs: Over): Initialiser => scaledNormal(shape => 1 / Math.sqrt(sizes(shape, inputs))),
  /** Normal with variance 2 / inputs, for what `relu` follows (He et al. 2015). */
  heNormal: (inputs: Over): Initialiser => scaledNormal(shape => Math.sqrt(2 / sizes(shape, inputs))),
  /** Normal with variance 2 / (inputs + outputs) (Glorot and Bengio 2010). */
  glorotNormal: (inputs: Over, outputs: Over): Initialiser => scaledNormal(shape => Math.sqrt(2 / (sizes(shape, inputs) + sizes(shape, outputs)))),
} as const

/** A leaf's declaration. @throws DimError when it is no parameter */
function declarationOf(what: string, path: string, { node }: AnyTensor): Declaration {
  if (node.op === 'input' && node.attrs.declared !== undefined) return node.attrs.declared
  throw new DimError({ code: 'not-a-param', what: `${what}: ${path === '' ? 'the tensor' : `"${path}"`} is no parameter`, details: { tensor: `${node.op === 'input' ? 'input' : 'computed'} ${formatShape(tensor(node).shape)}` }, fix: 'give the tree that param() made', at: userSite() })
}

/**
 * The parameters' first values, each as its declaration says. Of those that are drawn the n-th of the tree has the key `fold(key, n)`, n from 0; what `frozenCopy` made has the
 * numbers of what it is a copy of.
 * @throws DimError for what is no parameter or has no initialiser, and where an initialiser gives other dims or another dtype
 */
export function initialise<P extends Tree>(params: P, key: Key): P {
  const draws = new Map<unknown, Key>()
  return mapTree(params, (p, path) => {
    const { init } = declarationOf('initialise', path, p)
    if (init === undefined) throw new DimError({ code: 'no-initialiser', what: `initialise: parameter ${path === '' ? '' : `"${path}" `}is declared without a first value`, fix: 'declare it with one: { init: 0 }, { init: initialisers.normal(0.02) }', at: p.node.site })
    if (typeof init === 'number') return full(init, p.shape, p.dtype)
    // A copy has the initialiser of what it is a copy of, the very same.
    const { word0, word1 } = draws.get(init) ?? fold(key, draws.size)
    draws.set(init, { word0, word1 })
    return tensor(init([word0.node, word1.node]))
  })
}

/** Whether weight decay applies to the parameter at a path, as the parameters were declared. @throws DimError for what is no parameter, or a path that none has */
export function decaysOf(params: Tree): (path: string) => boolean {
  const declared = new Map(leavesOf(params).map(({ path, leaf }) => [path, declarationOf('decaysOf', path, leaf).decays]))
  return path => {
    const found = declared.get(path)
    if (found === undefined) throw new DimError({ code: 'no-such-param', what: `decaysOf: there is no parameter "${path}"`, fix: didYouMean(path, [...declared.keys()]), at: userSite() })
    return found
  }
}

/** The parameters with those frozen whose paths are meant, and the others as they were declared. @throws DimError for what is no parameter */
export const freezeParams = <P extends Tree>(params: P, which: (path: string) => boolean = () => true): P => mapTree(params, (p, path) => {
  const declared = declarationOf('freezeParams', path, p)
  const { node } = p
  if (!which(path) || declared.frozen === true || node.op !== 'input') return p
  return tensor(inputNode(node.attrs.name, 'params', { shape: p.shape, dtype: p.dtype }, { ...declared, frozen: true }))
})

/** As many parameters of the same dims, dtypes and first values, all frozen, whose names begin with another word. @throws DimError for what is no parameter */
export const frozenCopy = <P extends Tree>(params: P, name: string): P => mapTree(params, (p, path) =>
  tensor(inputNode(`${name}.${path}`, 'params', { shape: p.shape, dtype: p.dtype }, { ...declarationOf('frozenCopy', path, p), frozen: true })))

/** Some of the parameters, apart from the rest of the tree. */
export interface Trained<P extends Tree> {
  /** Of values of all parameters those of the trained ones. */
  readonly of: (params: P) => Tree
  /** All parameters, with these for the trained ones. */
  readonly into: (params: P, trained: Tree) => P
}
/** What training changes of parameters, by how they were declared: all of them as they are where none is frozen, else by path. */
export function trainedOf<P extends Tree>(params: P): Trained<P> {
  const leaves = leavesOf(params)
  const frozen = new Set(leaves.filter(({ leaf: { node } }) => node.op === 'input' && node.attrs.declared?.frozen === true).map(l => l.path))
  if (frozen.size === 0) return { of: all => all, into: (_, trained) => trained as P }
  return {
    of: all => Object.fromEntries(leavesOf(all).filter(l => !frozen.has(l.path)).map(l => [l.path, l.leaf])),
    into: (all, trained) => {
      const by = new Map(leavesOf(trained).map(l => [l.path, l.leaf]))
      return mapTree(all, (p, path) => by.get(path) ?? p)
    },
  }
}
