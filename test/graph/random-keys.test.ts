/** Random numbers of several keys at once: each key gives what it would give alone. */
import { expect, test } from 'vitest'
import { input, randomBits, type Key } from '../../src/engine/index.ts'
import { valueOfTensor, type T } from './support.ts'

test('keys along a dim', () => {
  const keys = [[1, 2], [3, 4], [1, 5]] as const
  const shape = [{ name: 'x', size: 5 }, { name: 'y', size: 2 }] as const
  const words = (along: readonly { readonly name: string; readonly size: number }[]): readonly [T, T] => [input('word0', along, 'u32') as unknown as T, input('word1', along, 'u32') as unknown as T]
  const bits = (along: readonly { readonly name: string; readonly size: number }[], of: readonly (readonly [number, number])[]): number[] => {
    const [word0, word1] = words(along)
    return valueOfTensor(randomBits({ word0, word1 } as unknown as Key, shape) as never, { tensor: word0, data: of.map(k => k[0]) }, { tensor: word1, data: of.map(k => k[1]) })
  }
  expect(bits([{ name: 'key', size: 3 }], keys)).toEqual(keys.flatMap(key => bits([], [key])))
})
