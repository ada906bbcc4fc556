/** Elementwise ops over whole arrays, and the constants they start from. */
import { dtypes, isBits } from '../../core/dtype.ts'
import { integer, word } from './attributes.ts'
import { elements, fromHost, narrowOf, toHost, type Store } from './element.ts'
import { check, only, sameShape, type Op } from './program.ts'
import { perDeviceLowerings, type Lowering } from './lowering.ts'
import { scalarFunctions, type ScalarFunction } from './scalar.ts'
import { offsets, sizeOf } from './strided.ts'

type Loop = (f: ScalarFunction, out: Store, ...operands: readonly Store[]) => void
interface Elementwise { readonly f: ScalarFunction; readonly loop: Loop }

/**
 * V8 optimises a loop for all that it has ever called: one for all ops would call through a pointer, on boxed numbers. So each
 * op has its own for each combination of types: the same text compiled again, with a number that keeps V8 from finding the
 * last one. A training step is three times as fast for it.
 */
const loops = new Map<string, Elementwise>()
function newLoop(scalars: readonly boolean[]): Loop {
  const names = scalars.map((_, i) => `x${i}`)
  const reads = names.map((name, i) => `${name}[${scalars[i] ? '0' : 'i'}]`)
  return new Function('f', 'out', ...names, `for (let i = 0; i < out.length; i++) out[i] = f(${reads.join(', ')}) // ${loops.size}`) as Loop
}

/** The operands that may be scalars where the others are not: `select`'s condition, `clamp`'s bounds. */
const mayBeScalar: Readonly<Record<string, readonly number[]>> = { select: [0], clamp: [0, 2] }

const givesBool: ReadonlySet<string> = new Set(['compare', 'is_finite'])

function checkDtypes(op: Op): void {
  const { dtype } = only(op, op.results).type
  const [first, ...others] = (op.name === 'select' ? op.operands.slice(1) : op.operands).map(v => v.type.dtype)
  check(op, others.every(d => d === first), 'the operands differ in element type')
  const expected = op.name === 'convert' ? dtype : givesBool.has(op.name) ? 'bool' : first
  check(op, dtype === expected, `the result must be of ${expected}`)
  check(op, op.name !== 'select' || only(op, op.operands).type.dtype === 'bool', 'the condition must be of bool')
}

/** What is done to each element, and the loop that does it, shared by all ops alike. */
function loopFor(op: Op, make: (op: Op) => ScalarFunction, scalars: readonly boolean[]): Elementwise {
  const { dtype } = only(op, op.results).type
  const kind = [word(op, 'comparison_direction', ''), word(op, 'compare_type', '')]
  const key = [op.name, ...kind, dtype, ...op.operands.map((v, i) => `${v.type.dtype}${scalars[i] ? ' scalar' : ''}`)].join(' ')
  const known = loops.get(key)
  if (known !== undefined) return known
  const exact = make(op)
  check(op, exact.length === op.operands.length, `it takes ${exact.length} operands`)
  const narrow = narrowOf(dtype)
  // The 16-bit floats have no stores that round by themselves.
  const f: ScalarFunction = !isBits(dtype) ? exact : (x, y, z) => narrow(exact(x, y, z))
  const made = { f, loop: newLoop(scalars) }
  loops.set(key, made)
  return made
}

function elementwise(op: Op, make: (op: Op) => ScalarFunction): (operands: readonly Store[]) => Store {
  const { type } = only(op, op.results)
  const scalars = op.operands.map(({ type: t }, i) => {
    const scalar = t.shape.length === 0 && mayBeScalar[op.name]?.includes(i) === true
    check(op, scalar || sameShape(t, type), 'operands and result differ in shape')
    return scalar
  })
  checkDtypes(op)
  const { f, loop } = loopFor(op, make, scalars)
  const length = sizeOf(type.shape)
  return operands => {
    const out = elements[type.dtype].make(length)
    loop(f, out, ...operands)
    return out
  }
}

/** The same bits under another type; a wider element is several narrower ones along a last dim. */
function bitcast(op: Op): (operands: readonly Store[]) => Store {
  const [from, to] = [only(op, op.operands).type, only(op, op.results).type]
  check(op, from.dtype !== 'bool' && to.dtype !== 'bool', 'a bool has no bits of its own here')
  check(op, sizeOf(from.shape) * elements[from.dtype].bits === sizeOf(to.shape) * elements[to.dtype].bits, 'the sizes in bytes differ')
  return ([x]) => {
    const { buffer } = toHost(x as Store, from.dtype)
    return fromHost(dtypes[to.dtype].view(buffer as ArrayBuffer), to.dtype)
  }
}

function constant(op: Op): () => Store {
  const value = op.attributes.get('value')
  check(op, value?.kind === 'dense' && sameShape(value.type, only(op, op.results).type), 'its value is not of its type')
  const { store } = value
  return () => store
}

function iota(op: Op): () => Store {
  const { type } = only(op, op.results)
  const along = integer(op, 'iota_dimension')
  check(op, along < type.shape.length, 'iota_dimension is no dim of the result')
  const positions = offsets(type.shape, type.shape.map((_, d) => (d === along ? 1 : 0)))
  const store = elements[type.dtype].make(positions.length)
  const scalar = elements[type.dtype].family === 'big' ? BigInt : narrowOf(type.dtype)
  positions.forEach((n, i) => { store[i] = scalar(n) })
  return () => store
}

export const elementwiseLowerings: readonly [string, Lowering][] = [
  ...perDeviceLowerings(Object.fromEntries([...scalarFunctions].map(([name, make]) => [name, (op: Op) => elementwise(op, make)]))),
  ...perDeviceLowerings({ constant, iota, bitcast_convert: bitcast }),
]
