/** Cases: moving elements to places known beforehand. */
import { concat, dim, index, pad, parts, reverse, roll, shift, slice, stack, unstack } from '../../src/engine/index.ts'
import { at, dimOf, type Case } from './case.ts'

const along = { a: 8, b: 4 }
/** A dim in the case's own name space. */
const like = (d: { readonly name: string }, suffix: string, size: number) => dim(`${d.name}${suffix}`, size)

export const rearranging: readonly Case[] = [
  { name: 'split', dims: { a: 8, b: 4, h: 4, l: 2 }, in: ['a b'], f: (x, d) => at(x, 0).split(dimOf(d, 'a'), [dimOf(d, 'h'), dimOf(d, 'l')]).square() },
  { name: 'split in three', dims: { a: 16, b: 2, h: 2, k: 4, l: 2 }, in: ['b a'], f: (x, d) => at(x, 0).split(dimOf(d, 'a'), [dimOf(d, 'h'), dimOf(d, 'k'), dimOf(d, 'l')]).exp() },
  { name: 'merge', dims: { a: 8, h: 4, l: 2, b: 4 }, in: ['h b l'], f: (x, d) => at(x, 0).merge([dimOf(d, 'h'), dimOf(d, 'l')], dimOf(d, 'a')).exp() },
  { name: 'merge of three', dims: { a: 16, h: 4, k: 2, l: 2 }, in: ['h k l'], f: (x, d) => at(x, 0).square().merge([dimOf(d, 'l'), dimOf(d, 'h'), dimOf(d, 'k')], dimOf(d, 'a')).exp() },
  { name: 'split of a sum', dims: { a: 8, i: 4, h: 4, l: 2 }, in: ['a i', 'i'], f: (x, d) => at(x, 0).dot(at(x, 1), dimOf(d, 'i')).split(dimOf(d, 'a'), [dimOf(d, 'h'), dimOf(d, 'l')]) },
  { name: 'slice', dims: along, in: ['a b'], f: (x, d) => slice(at(x, 0), dimOf(d, 'a'), { start: 1, end: 6 }).square() },
  { name: 'slice by steps', dims: along, in: ['a b'], f: (x, d) => slice(at(x, 0), dimOf(d, 'a'), { start: 1, step: 2, as: `${dimOf(d, 'a').name}h` }).exp() },
  { name: 'slice of halves', dims: { a: 16, b: 4 }, in: ['b a'], f: (x, d) => slice(at(x, 0), dimOf(d, 'a'), { step: 2 }).mul(slice(at(x, 0), dimOf(d, 'a'), { start: 1, step: 2 })) },
  { name: 'pad', dims: along, in: ['a b'], f: (x, d) => pad(at(x, 0), dimOf(d, 'a'), 1, 3, { value: 2 }).square() },
  { name: 'pad and cut', dims: along, in: ['b a'], f: (x, d) => pad(at(x, 0), dimOf(d, 'a'), -2, 2).square() },
  { name: 'shift', dims: along, in: ['a b'], f: (x, d) => shift(at(x, 0), dimOf(d, 'a'), 1).mul(at(x, 0)) },
  { name: 'shift back and far', dims: along, in: ['b a'], f: (x, d) => shift(at(x, 0), dimOf(d, 'a'), -5, { fill: 3 }).mul(shift(at(x, 0), dimOf(d, 'a'), 9)).add(shift(at(x, 0), dimOf(d, 'a'), 3, { fill: -1 })) },
  { name: 'roll', dims: along, in: ['a b'], f: (x, d) => roll(at(x, 0), dimOf(d, 'a'), 1).mul(roll(at(x, 0), dimOf(d, 'a'), -3)).add(roll(at(x, 0), dimOf(d, 'a'), 12)) },
  { name: 'reverse', dims: along, in: ['a b'], f: (x, d) => reverse(at(x, 0), dimOf(d, 'a')).mul(at(x, 0)) },
  { name: 'concat', dims: { a: 4, b: 4 }, in: ['a b', 'b a'], f: (x, d) => concat([at(x, 0), at(x, 1), at(x, 0).exp()], dimOf(d, 'a'), { as: `${dimOf(d, 'a').name}c` }).square() },
  { name: 'concat of unequal', dims: { a: 8, b: 4 }, in: ['a b'], f: (x, d) => concat([slice(at(x, 0), dimOf(d, 'a'), { end: 3 }), at(x, 0), slice(at(x, 0), dimOf(d, 'a'), { start: 3 })], dimOf(d, 'a')).square() },
  { name: 'stack', dims: { a: 4, b: 4 }, in: ['a b', 'a b'], f: (x, d) => stack([at(x, 0), at(x, 1)], like(dimOf(d, 'a'), 's', 2)).exp() },
  { name: 'stack along a dim that is split', dims: { a: 4, s: 4 }, in: ['a', 'a'], f: (x, d) => stack([at(x, 0), at(x, 1), at(x, 0).mul(at(x, 1)), at(x, 1).exp()], dimOf(d, 's')).square() },
  { name: 'unstack', dims: { a: 4, b: 4 }, in: ['a b'], f: (x, d) => unstack(at(x, 0), dimOf(d, 'a')).reduce((p, q) => p.mul(2).add(q.square())) },
  { name: 'index', dims: along, in: ['a b'], f: (x, d) => index(at(x, 0), dimOf(d, 'a'), 5).exp() },
  { name: 'parts', dims: along, in: ['a b'], f: (x, d) => { const [p, q] = parts(at(x, 0), dimOf(d, 'a'), 2); return at([p, q].filter(t => t !== undefined), 0).mul(at([p, q].filter(t => t !== undefined), 1)) } },
  { name: 'relayout to others', dims: { a: 8, b: 8 }, in: ['a b'], f: (x, d) => {
    const [a, b] = [dimOf(d, 'a').name, dimOf(d, 'b').name]
    return at(x, 0).relayout({ [a]: 'x' }).exp().relayout({ [b]: 'x' }).square()
  } },
]
