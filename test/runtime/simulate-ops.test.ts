/** Every op of the simulator on one device, against values computed by hand. */
import { describe, expect, test } from 'vitest'
import { dtypes, hostArray, type DType, type TypedArray } from '../../src/core/dtype.ts'
import { openSimulate } from '../../src/runtime/simulate/backend.ts'

type Values = readonly (number | bigint | boolean)[]
/** A type as StableHLO writes it between `tensor<` and `>`, and the elements. bf16 and f16 are given as their bits. */
type Tensor = readonly [type: string, values: Values]
interface Case {
  readonly op: string
  readonly why?: string | undefined
  readonly in?: readonly Tensor[]
  readonly out: readonly Tensor[]
  readonly attrs?: string
  readonly region?: string
}

const tensor = (type: string): string => `tensor<${type}>`

function parse(type: string): { shape: number[]; dtype: DType } {
  const parts = type.split('x')
  const dtype = (Object.keys(dtypes) as DType[]).find(d => dtypes[d].hlo === parts.at(-1))
  if (dtype === undefined) throw new Error(`no dtype in ${type}`)
  return { shape: parts.slice(0, -1).map(Number), dtype }
}

function host([type, values]: Tensor): TypedArray {
  const array = hostArray(parse(type).dtype, values.length)
  values.forEach((x, i) => { array[i] = typeof x === 'boolean' ? Number(x) : x })
  return array
}

async function evaluate({ op, in: inputs = [], out, attrs = '', region = '' }: Case): Promise<TypedArray[]> {
  const types = inputs.map(([t]) => tensor(t)).join(', ')
  const results = out.map(([t]) => tensor(t)).join(', ')
  const names = out.map((_, i) => (i === 0 ? '%r' : `%r#${i}`)).join(', ')
  const text = `module @test {
    func.func public @main(${inputs.map(([t], i) => `%${i}: ${tensor(t)}`).join(', ')}) -> (${results}) {
      %r:${out.length} = "${op.includes('.') ? op : `stablehlo.${op}`}"(${inputs.map((_, i) => `%${i}`).join(', ')}) <{${attrs}}> ${region}
        : (${types}) -> (${results}) loc("case.ts":1:1)
      "func.return"(${names}) : (${results}) -> ()
    }
  }`
  const backend = await openSimulate({ devices: 1 })
  const program = await backend.compile({ text, devices: 1, donated: [] })
  const args = await Promise.all(inputs.map(t => backend.put(host(t), parse(t[0]), 0)))
  const [made = []] = await program.execute([args])
  // What an op is given must be as it was, whatever shares memory with its result.
  for (const [i, arg] of args.entries()) expect(await arg.read()).toEqual(host(inputs[i] as Tensor))
  expect(made.map(b => b.shape)).toEqual(out.map(([t]) => parse(t).shape))
  return Promise.all(made.map(b => b.read()))
}

/** `-0` and NaN count; transcendental functions may differ in the last bits of an f32. */
function expectSame(actual: TypedArray, expected: TypedArray): void {
  expect(actual.constructor).toBe(expected.constructor)
  const near = (a: number | bigint, b: number | bigint): boolean =>
    Object.is(a, b) || (typeof a === 'number' && typeof b === 'number' && Math.abs(a - b) <= 1e-6 * Math.abs(b) && a !== 0)
  const wrong = [...actual].filter((x, i) => !near(x, expected[i] ?? Number.NaN))
  expect({ wrong, actual: [...actual] }).toEqual({ wrong: [], actual: [...actual] })
  expect(actual.length).toBe(expected.length)
}

const unary = (op: string, type: string, x: Values, y: Values, why?: string): Case =>
  ({ op, in: [[`${x.length}x${type}`, x]], out: [[`${y.length}x${type}`, y]], why })
const binary = (op: string, type: string, x: Values, y: Values, z: Values, why?: string): Case =>
  ({ op, in: [[`${x.length}x${type}`, x], [`${y.length}x${type}`, y]], out: [[`${z.length}x${type}`, z]], why })
const compare = (type: string, direction: string, x: Values, y: Values, z: Values, kind = 'NOTYPE'): Case => ({
  op: 'compare', why: `${direction} ${kind}`, in: [[`${x.length}x${type}`, x], [`${y.length}x${type}`, y]], out: [[`${z.length}xi1`, z]],
  attrs: `comparison_direction = #stablehlo<comparison_direction ${direction}>, compare_type = #stablehlo<comparison_type ${kind}>`,
})
const convert = (from: string, x: Values, to: string, y: Values, why: string): Case =>
  ({ op: 'convert', why, in: [[`${x.length}x${from}`, x]], out: [[`${y.length}x${to}`, y]] })
const constant = (type: string, literal: string, y: Values, why: string): Case =>
  ({ op: 'constant', why, out: [[type, y]], attrs: `value = dense<${literal}> : ${tensor(type)}` })
/** A region of one binary op. */
const body = (op: string, type: string): string => `({ ^bb0(%x: ${tensor(type)}, %y: ${tensor(type)}):
  %z = "stablehlo.${op}"(%x, %y) : (${tensor(type)}, ${tensor(type)}) -> ${tensor(type)}
  "stablehlo.return"(%z) : (${tensor(type)}) -> () })`

const [inf, nan] = [Infinity, Number.NaN]
const [most, least] = [2 ** 31 - 1, -(2 ** 31)]

const arithmetic: readonly Case[] = [
  binary('add', 'i32', [most, 1], [1, 2], [least, 3], 'wraps around'),
  binary('add', 'ui32', [4294967295], [2], [1], 'wraps around'),
  binary('add', 'i64', [2n ** 63n - 1n], [1n], [-(2n ** 63n)], 'wraps around'),
  binary('add', 'i8', [127], [1], [-128], 'wraps around'),
  binary('add', 'f32', [1], [2 ** -25], [1], 'rounds to f32'),
  binary('add', 'f64', [1], [2 ** -25], [1 + 2 ** -25]),
  binary('add', 'bf16', [0x4380, 0x3f80], [0x3f80, 0x3f80], [0x4380, 0x4000], '256 + 1 is 256, 1 + 1 is 2'),
  binary('add', 'f16', [0x6800, 0x3c00], [0x3c00, 0xbc00], [0x6800, 0], '2048 + 1 is 2048'),
  binary('add', 'i1', [true, false], [true, false], [true, false], 'is or'),
  binary('subtract', 'ui8', [3], [5], [254]),
  binary('multiply', 'ui32', [65537, 4294967295], [65537, 4294967295], [131073, 1], 'keeps all low bits'),
  binary('multiply', 'i32', [65536, -3], [65536, 7], [0, -21]),
  binary('multiply', 'i64', [2n ** 62n + 1n], [4n], [4n]),
  binary('multiply', 'i1', [true, true], [true, false], [true, false], 'is and'),
  binary('divide', 'i32', [-7, 7, 5, least], [2, -2, 0, -1], [-3, -3, -1, least], 'towards zero; by zero as XLA does'),
  binary('divide', 'ui32', [4294967295, 5], [2, 0], [2147483647, 4294967295]),
  binary('divide', 'i64', [-7n, 5n], [2n, 0n], [-3n, -1n]),
  binary('divide', 'f32', [1, -1, 0], [0, 0, 0], [inf, -inf, nan]),
  binary('remainder', 'i32', [-7, 7, 5, least], [2, -2, 0, -1], [-1, 1, 5, 0], 'has the sign of the dividend'),
  binary('remainder', 'f32', [-5.5, 5], [2, inf], [-1.5, 5]),
  binary('maximum', 'f32', [-3, nan, 1, -0, 0], [-2, 1, nan, 0, -0], [-2, nan, nan, 0, 0], 'keeps NaN'),
  binary('minimum', 'f32', [3, nan, -0, 0], [2, 1, 0, -0], [2, nan, -0, -0], 'keeps NaN'),
  binary('maximum', 'i64', [-3n], [-2n], [-2n]), binary('minimum', 'ui32', [4294967295], [1], [1]),
  binary('maximum', 'i1', [true, false], [false, false], [true, false]),
  binary('power', 'f32', [2, 9, -8, 1], [10, 0.5, 3, nan], [1024, 3, -512, 1]),
  binary('power', 'i32', [3, -1, 2, 7], [5, -3, -1, 0], [243, -1, 0, 1]),
  binary('power', 'i64', [10n], [12n], [10n ** 12n]),
  binary('and', 'i32', [12], [-6], [8]), binary('or', 'ui8', [12], [3], [15]), binary('xor', 'i64', [-1n], [5n], [-6n]),
  binary('xor', 'i1', [true, true], [true, false], [false, true]),
  unary('not', 'i1', [true, false], [false, true]), unary('not', 'i32', [5], [-6]), unary('not', 'ui32', [0], [4294967295]),
  binary('shift_left', 'i32', [1, 1, 3], [31, 32, -1], [least, 0, 0], 'by the width or more gives 0'),
  binary('shift_left', 'ui8', [255], [4], [240]),
  binary('shift_right_logical', 'i32', [-1, -1, 8], [1, 32, 2], [most, 0, 2]),
  binary('shift_right_logical', 'i8', [-1, -1], [4, 8], [15, 0]),
  binary('shift_right_logical', 'i64', [-1n, -1n], [63n, 64n], [1n, 0n]),
  binary('shift_right_arithmetic', 'i32', [-8, -8, 8], [1, 99, 99], [-4, -1, 0], 'leaves the sign'),
  binary('shift_right_arithmetic', 'ui32', [4294967295], [4], [4294967295], 'of unsigned too'),
  unary('negate', 'ui32', [1], [4294967295]), unary('negate', 'f32', [0, -2], [-0, 2]), unary('abs', 'i32', [-5, least], [5, least]),
  unary('sign', 'f32', [-3, -0, 0, 2, nan], [-1, -0, 0, 1, nan]), unary('sign', 'i64', [-3n, 0n, 9n], [-1n, 0n, 1n]),
  unary('exponential', 'f32', [0, 1, -inf], [1, Math.E, 0]), unary('exponential_minus_one', 'f32', [1e-10], [1e-10]),
  unary('log', 'f32', [1, 0, -1], [0, -inf, nan]), unary('log_plus_one', 'f32', [1e-10], [1e-10]),
  unary('sqrt', 'f32', [9, -1], [3, nan]), unary('rsqrt', 'f32', [4, 0], [0.5, inf]), unary('cbrt', 'f32', [-27], [-3]),
  unary('logistic', 'f32', [0, -inf, inf], [0.5, 0, 1]), unary('tanh', 'f32', [0, inf], [0, 1]),
  unary('sine', 'f32', [0], [0]), unary('cosine', 'f32', [0], [1]), unary('tan', 'f32', [0], [0]),
  unary('floor', 'f32', [-1.5, 1.5], [-2, 1]), unary('ceil', 'f32', [-1.5, 1.5], [-1, 2]),
  unary('round_nearest_even', 'f32', [0.5, 1.5, 2.5, -0.5, 3e9], [0, 2, 2, -0, 3e9], 'ties to even'),
  { op: 'is_finite', in: [['4xf32', [1, inf, -inf, nan]]], out: [['4xi1', [true, false, false, false]]] },
  { op: 'optimization_barrier', in: [['f32', [1]], ['i32', [2]]], out: [['f32', [1]], ['i32', [2]]] },
  compare('f32', 'LT', [1, nan, 2], [2, 1, 1], [true, false, false], 'FLOAT'), compare('f32', 'NE', [nan, 1], [nan, 1], [true, false]),
  compare('f32', 'LT', [-0, 1, nan, inf], [0, nan, 1, inf], [true, true, false, false], 'TOTALORDER'),
  compare('ui32', 'GT', [4294967295], [1], [true]), compare('i64', 'GE', [-1n, 2n], [0n, 2n], [false, true]),
  compare('i1', 'EQ', [true, false], [true, true], [true, false]), compare('i32', 'LE', [-1], [0], [true], 'SIGNED'),
  { op: 'select', in: [['2xi1', [true, false]], ['2xf32', [1, 2]], ['2xf32', [3, 4]]], out: [['2xf32', [1, 4]]] },
  { op: 'select', why: 'by a scalar', in: [['i1', [false]], ['2xf32', [1, 2]], ['2xf32', [3, 4]]], out: [['2xf32', [3, 4]]] },
  { op: 'clamp', in: [['f32', [0]], ['3xf32', [-1, 0.5, 9]], ['f32', [1]]], out: [['3xf32', [0, 0.5, 1]]] },
]

const conversions: readonly Case[] = [
  convert('f32', [2.9, -2.9, nan, 3e9, -inf], 'i32', [2, -2, 0, most, least], 'cuts the fraction off and stays in range'),
  convert('f32', [-1, 300], 'ui8', [0, 255], 'stays in range'),
  convert('f64', [1e30, -1.5], 'i64', [2n ** 63n - 1n, -1n], 'stays in range'),
  convert('i32', [300, -1], 'ui8', [44, 255], 'keeps the low bits'), convert('i64', [2n ** 32n + 5n], 'i32', [5], 'keeps the low bits'),
  convert('ui32', [4294967295], 'i64', [4294967295n], 'is not signed'), convert('i64', [3n], 'f32', [3], 'to a float'),
  convert('f32', [0, -0, 0.5, nan], 'i1', [false, false, true, true], 'is whether it is not zero'),
  convert('i1', [true, false], 'f32', [1, 0], 'is 1 or 0'),
  convert('f32', [1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -inf, 3.4e38], 'bf16', [0x3f80, 0x3f80, 0x3f82, 0xff80, 0x7f80], 'has ties to even'),
  convert('f32', [1, 65504, 65520, 2 ** -24, 2 ** -25, 1 + 2 ** -11], 'f16', [0x3c00, 0x7bff, 0x7c00, 1, 0, 0x3c00], 'has subnormals'),
  convert('f16', [0x3555, 0x8001, 0xfc00], 'f32', [0.333251953125, -(2 ** -24), -inf], 'is exact'),
  convert('bf16', [0x3fc0, 0xc000], 'f32', [1.5, -2], 'is exact'),
  { op: 'bitcast_convert', in: [['2xf32', [1, -2]]], out: [['2xui32', [1065353216, 3221225472]]] },
  { op: 'bitcast_convert', why: 'to narrower', in: [['ui32', [0x04030201]]], out: [['4xui8', [1, 2, 3, 4]]] },
  { op: 'bitcast_convert', why: 'to wider', in: [['2xbf16', [0, 0x3f80]]], out: [['f32', [1]]] },
  constant('3xf32', '[1.000000e+00, -2.5, 0x7F800000]', [1, -2.5, inf], 'nested and bits'),
  constant('2x2xi32', '[[1, -2], [3, 4]]', [1, -2, 3, 4], 'nested'), constant('3xi64', '7', [7n, 7n, 7n], 'splat'),
  constant('2xi1', '[true, false]', [true, false], 'words'), constant('f32', '0xFF800000', [-inf], 'bits'),
  constant('2xf32', '"0x0000803F00000040"', [1, 2], 'little-endian bytes'), constant('2xbf16', '"0x803F0040"', [0x3f80, 0x4000], 'bytes'),
  constant('0xf32', '', [], 'empty'), constant('10xi1', '"0x0102"', [1, 0, 0, 0, 0, 0, 0, 0, 0, 1], 'bits of bools'),
  { op: 'iota', attrs: 'iota_dimension = 1 : i64', out: [['2x3xf32', [0, 1, 2, 0, 1, 2]]] },
  { op: 'iota', attrs: 'iota_dimension = 0 : i64', out: [['2x2xi64', [0n, 0n, 1n, 1n]]] },
]

const six: Tensor = ['2x3xi32', [1, 2, 3, 4, 5, 6]]
const move = (op: string, attrs: string, inputs: readonly Tensor[], out: Tensor, why?: string): Case =>
  ({ op, attrs, in: inputs, out: [out], why })
const broadcast = (dims: string, x: Tensor, out: Tensor, why: string): Case =>
  move('broadcast_in_dim', `broadcast_dimensions = array<i64: ${dims}>`, [x], out, why)
const pad = (sizes: readonly number[], out: Tensor): Case => {
  const [low, high, interior] = sizes.map(n => `array<i64: ${n}>`)
  const attrs = `edge_padding_low = ${low}, edge_padding_high = ${high}, interior_padding = ${interior}`
  return move('pad', attrs, [['3xi32', [1, 2, 3]], ['i32', [9]]], out, `by ${sizes.join(', ')}`)
}
const slice = (starts: string, limits: string, steps: string, out: Tensor): Case =>
  move('slice', `start_indices = ${starts}, limit_indices = ${limits}, strides = ${steps}`, [six], out)
const moves: readonly Case[] = [
  broadcast('0', ['2xi32', [1, 2]], ['2x2xi32', [1, 1, 2, 2]], 'behind'),
  broadcast('1', ['2xi32', [1, 2]], ['2x2xi32', [1, 2, 1, 2]], 'before'),
  broadcast('0, 1', ['1x2xi32', [1, 2]], ['2x2xi32', [1, 2, 1, 2]], 'of size 1'),
  broadcast('1, 0', six, ['3x2xi32', [1, 4, 2, 5, 3, 6]], 'turning'),
  move('reshape', '', [six], ['3x2xi32', [1, 2, 3, 4, 5, 6]]),
  move('transpose', 'permutation = array<i64: 1, 0>', [six], ['3x2xi32', [1, 4, 2, 5, 3, 6]]),
  move('transpose', 'permutation = array<i64: 2, 0, 1>',
    [['2x2x2xi32', [1, 2, 3, 4, 5, 6, 7, 8]]], ['2x2x2xi32', [1, 3, 5, 7, 2, 4, 6, 8]]),
  slice('array<i64: 0, 0>', 'array<i64: 2, 3>', 'array<i64: 1, 2>', ['2x2xi32', [1, 3, 4, 6]]),
  slice('dense<1> : tensor<2xi64>', 'dense<[2, 3]> : tensor<2xi64>', 'dense<1> : tensor<2xi64>', ['1x2xi32', [5, 6]]),
  move('reverse', 'dimensions = array<i64: 1>', [six], ['2x3xi32', [3, 2, 1, 6, 5, 4]]),
  move('concatenate', 'dimension = 1 : i64', [six, ['2x1xi32', [7, 8]]], ['2x4xi32', [1, 2, 3, 7, 4, 5, 6, 8]]),
  pad([1, 2, 1], ['8xi32', [9, 1, 9, 2, 9, 3, 9, 9]]), pad([-1, -1, 1], ['3xi32', [9, 2, 9]]), pad([-5, 2, 0], ['0xi32', []]),
  move('dynamic_slice', 'slice_sizes = array<i64: 1, 2>', [six, ['i32', [-5]], ['i32', [2]]], ['1x2xi32', [2, 3]], 'moved inside'),
  move('dynamic_update_slice', '', [six, ['1x2xi32', [8, 9]], ['i64', [9n]], ['i64', [0n]]],
    ['2x3xi32', [1, 2, 3, 8, 9, 6]], 'moved inside'),
]

const dot = (numbers: string, x: Tensor, y: Tensor, out: Tensor, why: string): Case =>
  move('dot_general', `dot_dimension_numbers = #stablehlo.dot<${numbers}>, precision_config = [#stablehlo<precision DEFAULT>]`,
    [x, y], out, why)
const batched = `lhs_batching_dimensions = [0], rhs_batching_dimensions = [0],
  lhs_contracting_dimensions = [2], rhs_contracting_dimensions = [1]`
const plain = 'lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0]'
const dots: readonly Case[] = [
  dot(plain, ['2x3xf32', [1, 2, 3, 4, 5, 6]], ['3x2xf32', [1, 0, 0, 1, 1, 1]], ['2x2xf32', [4, 5, 10, 11]], 'matrices'),
  dot('lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [1]', ['2x1xf32', [1, 2]],
    ['5x2xf32', [1, 1, 2, 0, 0, 3, 1, -1, 4, 4]], ['1x5xf32', [3, 2, 6, -1, 12]], 'both turned, five columns'),
  dot(batched, ['2x1x2xf32', [1, 2, 3, 4]], ['2x2x1xf32', [5, 6, 7, 8]], ['2x1x1xf32', [17, 53]], 'batches'),
  dot(batched, ['2x1x1xf32', [2, 3]], ['2x1x4xf32', [1, 2, 3, 4, 5, 6, 7, 8]],
    ['2x1x4xf32', [2, 4, 6, 8, 15, 18, 21, 24]], 'batches, wide'),
  dot('', ['2xf32', [1, 2]], ['2xf32', [3, 4]], ['2x2xf32', [3, 4, 6, 8]], 'an outer product'),
  dot(plain, ['1x2xi32', [65536, 1]], ['2x1xi32', [65536, 7]], ['1x1xi32', [7]], 'integers wrap around'),
  dot(plain, ['1x2xi64', [2n ** 40n, 1n]], ['2x1xi64', [2n, 7n]], ['1x1xi64', [2n ** 41n + 7n]], 'bigints'),
  dot(plain, ['1x2xi8', [100, 100]], ['2x1xi8', [100, 100]], ['1x1xi32', [20000]], 'i8 summed in i32'),
  dot(plain, ['1x2xbf16', [0x4380, 0x3f80]], ['2x1xbf16', [0x3f80, 0x3f80]], ['1x1xf32', [257]], 'bf16 summed in f32'),
  dot(plain, ['1x2xbf16', [0x4380, 0x4040]], ['2x1xbf16', [0x3f80, 0x3f80]], ['1x1xbf16', [0x4382]], 'bf16: 256 + 3 is 260'),
]

/** Of two (value, index) pairs the one with the greater value. */
const argmax = `({ ^bb0(%v: tensor<f32>, %i: tensor<i32>, %w: tensor<f32>, %j: tensor<i32>):
  %c = "stablehlo.compare"(%v, %w) {comparison_direction = #stablehlo<comparison_direction GE>} : (tensor<f32>, tensor<f32>) -> tensor<i1>
  %m = "stablehlo.select"(%c, %v, %w) : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>
  %n = "stablehlo.select"(%c, %i, %j) : (tensor<i1>, tensor<i32>, tensor<i32>) -> tensor<i32>
  stablehlo.return %m, %n : tensor<f32>, tensor<i32> })`
const reduce = (op: string, type: string, x: Tensor, first: number | bigint, over: string, out: Tensor): Case =>
  ({ ...move('reduce', `dimensions = array<i64: ${over}>`, [x, [type, [first]]], out, `${op} over ${over}`), region: body(op, type) })
const descending = `({ ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<f32>, %d: tensor<f32>):
  %r = "stablehlo.compare"(%a, %b) {comparison_direction = #stablehlo<comparison_direction GT>} : (tensor<i32>, tensor<i32>) -> tensor<i1>
  "stablehlo.return"(%r) : (tensor<i1>) -> () })`
const floats: Tensor = ['2x3xf32', [1, 2, 3, 4, 5, 6]]
const reductions: readonly Case[] = [
  reduce('add', 'f32', floats, 10, '0', ['3xf32', [15, 17, 19]]), reduce('add', 'f32', floats, 0, '1', ['2xf32', [6, 15]]),
  reduce('add', 'f32', floats, 0, '0, 1', ['f32', [21]]), reduce('maximum', 'i32', six, least, '1', ['2xi32', [3, 6]]),
  reduce('minimum', 'f32', floats, inf, '0', ['3xf32', [1, 2, 3]]), reduce('multiply', 'i32', six, 1, '0, 1', ['i32', [720]]),
  reduce('or', 'i1', ['2x2xi1', [0, 0, 1, 0]], 0, '1', ['2xi1', [false, true]]),
  reduce('and', 'i1', ['2xi1', [1, 0]], 1, '0', ['i1', [false]]),
  reduce('add', 'ui32', ['2xui32', [4294967295, 3]], 0, '0', ['ui32', [2]]),
  reduce('add', 'bf16', ['3xbf16', [0x4380, 0x3f80, 0x4000]], 0, '0', ['bf16', [0x4382]]),
  reduce('subtract', 'i32', ['3xi32', [1, 2, 3]], 10, '0', ['i32', [4]]),
  {
    op: 'reduce', why: 'of two operands', attrs: 'dimensions = array<i64: 1>', region: argmax, out: [['2xf32', [9, -1]], ['2xi32', [1, 0]]],
    in: [['2x3xf32', [3, 9, 9, -1, -2, -3]], ['2x3xi32', [0, 1, 2, 0, 1, 2]], ['f32', [-inf]], ['i32', [0]]],
  },
  {
    op: 'sort', attrs: 'dimension = 0 : i64, is_stable = true', region: descending,
    in: [['4xi32', [2, 7, 2, 9]], ['4xf32', [1, 2, 3, 4]]], out: [['4xi32', [9, 7, 2, 2]], ['4xf32', [4, 2, 1, 3]]],
  },
  {
    op: 'sort', why: 'along the first dim', attrs: 'dimension = 0 : i64', region: descending,
    in: [['2x2xi32', [1, 5, 3, 4]], ['2x2xf32', [1, 2, 3, 4]]], out: [['2x2xi32', [3, 5, 1, 4]], ['2x2xf32', [3, 2, 1, 4]]],
  },
]

const slide = (attrs: string, out: Tensor, why: string): Case =>
  ({ ...move('reduce_window', attrs, [floats, ['f32', [0]]], out, why), region: body('add', 'f32') })
const ordered: readonly Case[] = [
  slide('window_dimensions = array<i64: 1, 3>, padding = dense<[[0, 0], [2, 0]]> : tensor<2x2xi64>', ['2x3xf32', [1, 3, 6, 4, 9, 15]], 'all before'),
  slide('window_dimensions = array<i64: 1, 3>, padding = dense<[[0, 0], [0, 2]]> : tensor<2x2xi64>', ['2x3xf32', [6, 5, 3, 15, 11, 6]], 'all after'),
  slide('window_dimensions = array<i64: 2, 1>, window_strides = array<i64: 1, 2>', ['1x2xf32', [5, 9]], 'by steps'),
  { op: 'chlo.top_k', attrs: 'k = 2 : i64, largest = true', in: [['2x4xf32', [1, 5, 5, 2, -1, NaN, 0, -inf]]], out: [['2x2xf32', [5, 5, NaN, 0]], ['2x2xi32', [1, 2, 1, 2]]] },
]

const rows = 'offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1'
const intoRows = 'update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1'
const table: Tensor = ['3x2xf32', [1, 2, 3, 4, 5, 6]]
/** What else it computes must not be taken for what it gives. */
const overwrite = `({ ^bb0(%x: tensor<f32>, %y: tensor<f32>):
  %z = "stablehlo.add"(%x, %y) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  "stablehlo.return"(%y) : (tensor<f32>) -> () })`
const scatter = (numbers: string, inputs: readonly Tensor[], region: string, out: Tensor, why: string): Case =>
  ({ ...move('scatter', `scatter_dimension_numbers = #stablehlo.scatter<${numbers}>, unique_indices = false`, inputs, out, why), region })
const gather = (numbers: string, sizes: string, inputs: readonly Tensor[], out: Tensor, why: string): Case =>
  move('gather', `dimension_numbers = #stablehlo.gather<${numbers}>, slice_sizes = array<i64: ${sizes}>`, inputs, out, why)
const indexed: readonly Case[] = [
  gather(rows, '1, 2', [table, ['3x1xi32', [2, 0, 9]]], ['3x2xf32', [5, 6, 1, 2, 5, 6]], 'rows, clamped'),
  gather('offset_dims = [0], collapsed_slice_dims = [1], start_index_map = [1], index_vector_dim = 1', '3, 1',
    [table, ['2xi64', [1n, 0n]]], ['3x2xf32', [2, 1, 4, 3, 6, 5]], 'columns, by indices that are no vectors'),
  gather('offset_dims = [1], start_index_map = [0], index_vector_dim = 1', '2',
    [['4xf32', [1, 2, 3, 4]], ['2x1xi32', [3, -1]]], ['2x2xf32', [3, 4, 1, 2]], 'windows moved inside'),
  gather(`collapsed_slice_dims = [1], operand_batching_dims = [0], start_indices_batching_dims = [0], start_index_map = [1],
    index_vector_dim = 2`, '1, 1', [floats, ['2x2x1xi32', [2, 0, 1, 1]]], ['2x2xf32', [3, 1, 5, 5]], 'batches'),
  scatter(intoRows, [table, ['4x1xi32', [1, 1, 3, -1]], ['4x2xf32', [1, 1, 2, 2, 9, 9, 9, 9]]],
    body('add', 'f32'), ['3x2xf32', [1, 2, 6, 7, 5, 6]], 'adds twice, drops what lies outside'),
  scatter(intoRows, [table, ['1x1xi32', [0]], ['1x2xf32', [8, 9]]], overwrite, ['3x2xf32', [8, 9, 3, 4, 5, 6]], 'overwrites'),
  scatter('update_window_dims = [0], inserted_window_dims = [1], scatter_dims_to_operand_dims = [1], index_vector_dim = 1',
    [table, ['2xi64', [-1n, 2n]], ['3x2xf32', [9, 9, 9, 9, 9, 9]]], body('add', 'f32'), table, 'drops columns outside'),
  scatter(`inserted_window_dims = [1], input_batching_dims = [0], scatter_indices_batching_dims = [0], scatter_dims_to_operand_dims = [1],
    index_vector_dim = 2`, [floats, ['2x1x1xi32', [2, 0]], ['2x1xf32', [10, 20]]],
    body('add', 'f32'), ['2x3xf32', [1, 2, 13, 24, 5, 6]], 'batches'),
  scatter('update_window_dims = [1], scatter_dims_to_operand_dims = [0], index_vector_dim = 1',
    [['4xf32', [0, 0, 0, 0]], ['2x1xi32', [3, 1]], ['2x2xf32', [1, 1, 2, 3]]],
    body('add', 'f32'), ['4xf32', [0, 2, 3, 0]], 'drops a window that reaches out, as XLA does'),
]

const convolve = (numbers: string, attrs: string, x: Tensor, w: Tensor, out: Tensor, why: string): Case =>
  ({ op: 'convolution', why, in: [x, w], out: [out], attrs: `batch_group_count = 1 : i64, dimension_numbers = #stablehlo.conv<${numbers}>, ${attrs}` })
const line = '[b, 0, f]x[0, i, o]->[b, 0, f]'
const ramp: Tensor = ['1x5x1xf32', [1, 2, 3, 4, 5]]
const taps: Tensor = ['3x1x1xf32', [1, 10, 100]]
const convolutions: readonly Case[] = [
  convolve(line, 'feature_group_count = 1 : i64', ramp, taps, ['1x3x1xf32', [321, 432, 543]], 'correlates'),
  convolve(line, 'feature_group_count = 1 : i64, padding = dense<[[1, 2]]> : tensor<1x2xi64>, window_strides = array<i64: 2>', ramp, taps, ['1x3x1xf32', [210, 432, 54]], 'pads and steps'),
  convolve(line, 'feature_group_count = 1 : i64, padding = dense<-1> : tensor<1x2xi64>', ramp, taps, ['1x1x1xf32', [432]], 'cuts off'),
  convolve(line, 'feature_group_count = 1 : i64, lhs_dilation = array<i64: 2>', ramp, taps, ['1x7x1xf32', [201, 20, 302, 30, 403, 40, 504]], 'with gaps in the left'),
  convolve(line, 'feature_group_count = 1 : i64, rhs_dilation = array<i64: 2>', ramp, taps, ['1x1x1xf32', [531]], 'with gaps in the right'),
  convolve(line, 'feature_group_count = 1 : i64, window_reversal = array<i1: true>', ramp, taps, ['1x3x1xf32', [123, 234, 345]], 'turns the window'),
  convolve('[0, f, b]x[o, i, 0]->[f, 0, b]', 'feature_group_count = 1 : i64', ['2x2x2xf32', [1, 2, 3, 4, 5, 6, 7, 8]], ['1x2x2xf32', [1, 0, 10, 100]], ['1x1x2xf32', [731, 842]], 'dims in any order'),
  convolve(line, 'feature_group_count = 2 : i64', ['1x1x2xi32', [3, 4]], ['1x1x4xi32', [1, 2, 3, 4]], ['1x1x4xi32', [3, 6, 12, 16]], 'groups of channels'),
  convolve('[b, f]x[i, o]->[b, f]', 'feature_group_count = 1 : i64', ['1x2xf32', [3, 4]], ['2x1xf32', [1, 10]], ['1x1xf32', [43]], 'without a window'),
]

const groups = {
  convolutions,
  arithmetic, 'conversions and constants': conversions, moves, dots, reductions, 'windows and the largest': ordered, 'gathers and scatters': indexed,
}
describe.each(Object.entries(groups))('%s', (_, cases) => {
  const named = cases.map((c, i) => ({ name: [i, c.op, c.in?.[0]?.[0] ?? c.out[0]?.[0], c.why].join(' '), c }))
  test.each(named)('$name', async ({ c }) => {
    const made = await evaluate(c)
    expect(made.length).toBe(c.out.length)
    made.forEach((actual, i) => { expectSame(actual, host(c.out[i] as Tensor)) })
  })
})

describe('what StableHLO rejects', () => {
  const reducing = { op: 'reduce', attrs: 'dimensions = array<i64: 0>' }
  const passingOut = '({ ^bb0(%x: tensor<f32>, %y: tensor<f32>): "stablehlo.return"(%0) : (tensor<f32>) -> () })'
  const wrong: readonly (Case & { readonly says: RegExp })[] = [
    { op: 'add', in: [['2xf32', [1, 2]], ['3xf32', [1, 2, 3]]], out: [['2xf32', []]], says: /differ in shape/ },
    { op: 'add', in: [['f32', [1]], ['i32', [1]]], out: [['f32', []]], says: /differ in element type/ },
    { op: 'add', in: [['f32', [1]], ['f32', [1]]], out: [['i32', []]], says: /must be of f32/ },
    { op: 'add', in: [['f32', [1]]], out: [['f32', []]], says: /takes 2 operands/ },
    { op: 'sine', in: [['i32', [1]]], out: [['i32', []]], says: /does not take i32/ },
    { op: 'reshape', in: [six], out: [['5xi32', []]], says: /differ in size/ },
    { op: 'transpose', in: [six], attrs: 'permutation = array<i64: 0, 0>', out: [['2x2xi32', []]], says: /every dim once/ },
    { ...broadcast('0, 1', six, ['2x4xi32', []], ''), says: /does not fit/ },
    { op: 'concatenate', in: [six, six], attrs: 'dimension = 0 : i64', out: [['3x3xi32', []]], says: /do not fill/ },
    { ...dot(plain, floats, floats, ['2x3xf32', []], ''), says: /contracting dims/ },
    { ...convolve(line, 'feature_group_count = 1 : i64', ramp, taps, ['1x4x1xf32', []], ''), says: /as many places/ },
    { ...convolve(line, 'feature_group_count = 2 : i64', ramp, taps, ['1x3x1xf32', []], ''), says: /groups and features/ },
    { ...convolve('[b, 0, f]x[0, i, 1]->[b, 0, f]', 'feature_group_count = 1 : i64', ramp, taps, ['1x3x1xf32', []], ''), says: /do not fit the rhs/ },
    { op: 'iota', out: [['2xf32', []]], says: /iota_dimension is missing/ },
    { ...reducing, in: [floats, ['f32', [0]]], out: [['2xf32', []]], region: body('add', 'f32'), says: /without the reduced dims/ },
    { ...reducing, in: [['2xf32', [1, 2]], ['f32', [0]]], out: [['f32', []]], region: passingOut, says: /uses %0/ },
  ]
  test.each(wrong.map(c => ({ name: `${c.op} ${c.says}`, c })))('$name', async ({ c }) => {
    await expect(evaluate(c)).rejects.toThrow(c.says)
    await expect(evaluate(c)).rejects.toMatchObject({ problem: { code: 'program-types', at: { file: 'case.ts', line: 1, column: 1 } } })
  })
})
