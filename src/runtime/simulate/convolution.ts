/** `convolution`: each window of the left side is gathered into a row, zeros outside, and every row meets every feature. */
import { integer, integers, texts } from './attributes.ts'
import { elements, settle, type Cells, type Scalar, type Store } from './element.ts'
import { check, only, type Op } from './program.ts'
import { perDeviceLowerings, type Lowering } from './lowering.ts'
import { pick, range, sameList, sizeOf, stridesOf, offsets } from './strided.ts'

/** Where the dims of one side are. */
interface Side { readonly shape: readonly number[]; readonly strides: readonly number[]; readonly spatial: readonly number[]; readonly at: (letter: string) => number }

function sideOf(op: Op, name: string, shape: readonly number[], letters: string): Side {
  const marks = texts(op, `dimension_numbers.${name}`)
  const count = shape.length - 2
  const spatial = range(count).map(i => marks.indexOf(String(i)))
  const at = (letter: string): number => marks.indexOf(letter)
  const all = [...spatial, ...[...letters].map(at)]
  check(op, marks.length === shape.length && sameList([...all].sort((a, b) => a - b), range(shape.length)), `dimension_numbers do not fit the ${name}`)
  return { shape, strides: stridesOf(shape), spatial, at }
}
const size = (s: Side, letter: string): number => s.shape[s.at(letter)] ?? 1
const stride = (s: Side, letter: string): number => s.strides[s.at(letter)] ?? 0

/** For each place of the windows and each element in them, where that element lies in the left operand; −1 where it lies outside. */
function meetings(op: Op, left: Side, right: Side, out: Side): Int32Array {
  const count = left.spatial.length
  const ones = range(count).map(() => 1)
  const [strides, xDilation, wDilation] = [integers(op, 'window_strides', ones), integers(op, 'lhs_dilation', ones), integers(op, 'rhs_dilation', ones)]
  const padding = integers(op, 'padding', range(2 * count).map(() => 0))
  const reversal = texts(op, 'window_reversal', range(count).map(() => 'false'))
  check(op, [strides, xDilation, wDilation].every(l => l.length === count && l.every(n => n >= 1)) && padding.length === 2 * count && reversal.length === count,
    'the windows are not described for each spatial dim')
  let all = new Int32Array(1)
  // Spatial dims one after another; the order is places, then elements, each row-major.
  const [places, widths] = [pick(out.shape, out.spatial), pick(right.shape, right.spatial)]
  for (let i = 0; i < count; i++) {
    const n = left.shape[left.spatial[i] as number] as number
    const [s, xd, wd, low, high] = [strides[i], xDilation[i], wDilation[i], padding[2 * i], padding[2 * i + 1]] as [number, number, number, number, number]
    const [place, width] = [places[i] as number, widths[i] as number]
    const room = (n - 1) * xd + 1 + low + high - ((width - 1) * wd + 1)
    check(op, place === (room < 0 ? 0 : Math.floor(room / s) + 1), 'the result is not of as many places as the windows have')
    const step = left.strides[left.spatial[i] as number] as number
    const [before, within] = [sizeOf(places.slice(0, i)), sizeOf(widths.slice(0, i))]
    const next = new Int32Array(all.length * place * width)
    let o = 0
    for (let p = 0; p < before; p++) for (let j = 0; j < place; j++) for (let q = 0; q < within; q++) for (let k = 0; k < width; k++) {
      const at = j * s + (reversal[i] === 'true' ? width - 1 - k : k) * wd - low
      const known = all[p * within + q] as number
      next[o++] = known < 0 || at < 0 || at % xd !== 0 || at / xd >= n ? -1 : known + at / xd * step
    }
    all = next
  }
  return all
}

function convolution(op: Op): (operands: readonly Store[]) => Store {
  const [x, w, y] = [only(op, op.operands).type, only(op, op.operands, 1).type, only(op, op.results).type]
  check(op, x.dtype === w.dtype && x.shape.length === w.shape.length && x.shape.length === y.shape.length && x.shape.length >= 2, 'the sides differ in rank or element type')
  const [left, right, out] = [sideOf(op, 'lhs', x.shape, 'bf'), sideOf(op, 'rhs', w.shape, 'io'), sideOf(op, 'result', y.shape, 'bf')]
  const groups = integer(op, 'feature_group_count', 1)
  check(op, integer(op, 'batch_group_count', 1) === 1, 'batch groups are not supported')
  const [channels, features] = [size(right, 'i'), size(right, 'o')]
  check(op, size(left, 'f') === channels * groups && features % groups === 0 && size(out, 'f') === features && size(out, 'b') === size(left, 'b'),
    'batch, channels, groups and features do not fit')
  const met = meetings(op, left, right, out)
  const weights = offsets(pick(right.shape, right.spatial), pick(right.strides, right.spatial))
  const places = offsets(pick(out.shape, out.spatial), pick(out.strides, out.spatial))
  const { family, make } = elements[y.dtype]
  check(op, family === 'float' || family === 'int', `convolutions of ${y.dtype} are not supported`)
  const product = family === 'float' ? (a: number, b: number) => a * b : Math.imul
  const one = (to: Cells, from: Cells, weight: Cells, base: { readonly x: number; readonly w: number; readonly y: number }): void => {
    places.forEach((place, p) => {
      let sum = 0
      weights.forEach((k, q) => {
        const start = met[p * weights.length + q] as number
        if (start < 0) return
        for (let c = 0; c < channels; c++) sum += product(from[base.x + start + c * stride(left, 'f')] as number, weight[base.w + k + c * stride(right, 'i')] as number)
      })
      to[base.y + place] = (family === 'float' ? sum : sum | 0) as Scalar
    })
  }
  return ([a, b]) => {
    const result = make(sizeOf(y.shape))
    for (let i = 0; i < size(out, 'b'); i++) {
      for (let f = 0; f < features; f++) {
        const group = Math.floor(f / (features / groups))
        one(result, a as Store, b as Store, { x: i * stride(left, 'b') + group * channels * stride(left, 'f'), w: f * stride(right, 'o'), y: i * stride(out, 'b') + f * stride(out, 'f') })
      }
    }
    return settle(result, y.dtype)
  }
}

export const convolutionLowerings: readonly [string, Lowering][] = perDeviceLowerings({ convolution })
