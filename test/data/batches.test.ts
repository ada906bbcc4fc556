/** The order of training: fixed by the seed, every window once an epoch, any step at once. And what is held out. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DataError } from '../../src/core/errors.ts'
import { fixedBatches, trainingBatches } from '../../src/data/batches.ts'
import { pack, holdOut, type Packed } from '../../src/data/dataset.ts'
import { hash, permutation } from '../../src/data/shuffle.ts'
import { createTokenizer } from '../../src/data/tokenizer.ts'
import { trainBpe } from '../../src/data/bpe.ts'

/** Tokens that are their own places. */
const places = (length: number): Uint16Array => Uint16Array.from({ length }, (_, i) => i)
const sorted = (numbers: Iterable<number>): number[] => [...numbers].sort((a, b) => a - b)

describe('permutation', () => {
  test('is one, for every size and key', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 3000 }), fc.nat(), (size, key) => {
      const place = permutation(size, key)
      expect(sorted(Array.from({ length: size }, (_, i) => place(i)))).toEqual(Array.from({ length: size }, (_, i) => i))
    }))
  })

  test('keys give different ones', () => {
    const orders = Array.from({ length: 50 }, (_, key) => Array.from({ length: 64 }, (_, i) => permutation(64, hash(key))(i)).join())
    expect(new Set(orders).size).toBe(50)
  })

  test('hash sees seeds beyond 32 bits', () => {
    expect(new Set([hash(1), hash(2 ** 32 + 1), hash(2 ** 33 + 1), hash(1, 0), hash(0, 1)]).size).toBe(5)
  })
})

describe('training batches', () => {
  const order = fc.record({
    batch: fc.integer({ min: 1, max: 7 }), seq: fc.integer({ min: 1, max: 9 }), seed: fc.nat(), extra: fc.nat({ max: 300 }),
  })

  test('a target is the token after', () => {
    fc.assert(fc.property(order, fc.nat({ max: 100 }), ({ batch, seq, seed, extra }, step) => {
      const length = batch * seq + 1 + extra
      const { tokens, targets } = trainingBatches(places(length), { batch, seq, seed }).batch(step)
      expect(tokens).toHaveLength(batch * seq)
      tokens.forEach((t, i) => { expect(targets[i]).toBe((t + 1) % length) })
      for (let row = 0; row < batch; row++) {
        for (let i = 1; i < seq; i++) expect(tokens[row * seq + i]).toBe(targets[row * seq + i - 1])
      }
    }))
  })

  test('an epoch takes every window once', () => {
    fc.assert(fc.property(order, fc.nat({ max: 3 }), ({ batch, seq, seed, extra }, epoch) => {
      const length = batch * seq + 1 + extra
      const { windows, batch: at } = trainingBatches(places(length), { batch, seq, seed })
      // Rows run on over the steps, so an epoch is `windows` rows, wherever its steps begin.
      const seen: number[] = []
      for (let nth = epoch * windows; nth < (epoch + 1) * windows; nth++) {
        const row = nth % batch
        seen.push(...at(Math.floor(nth / batch)).tokens.slice(row * seq, (row + 1) * seq))
      }
      expect(windows).toBe(Math.floor(length / seq))
      expect(new Set(seen).size).toBe(windows * seq)
    }))
  })

  test('a step does not depend on the steps before it', () => {
    const make = () => trainingBatches(places(1000), { batch: 4, seq: 16, seed: 7 })
    const forward = make()
    const inOrder = Array.from({ length: 60 }, (_, step) => forward.batch(step))
    const backward = make()
    for (let step = 59; step >= 0; step--) expect(backward.batch(step)).toEqual(inOrder[step])
  })

  test('rows do not depend on the size of the batch', () => {
    const [one, four] = [1, 4].map(batch => trainingBatches(places(1000), { batch, seq: 16, seed: 7 }))
    for (let step = 0; step < 40; step++) {
      const rows = [0, 1, 2, 3].flatMap(row => [...one!.batch(step * 4 + row).tokens])
      expect([...four!.batch(step).tokens]).toEqual(rows)
    }
  })

  test('other seeds and epochs: other orders and offsets', () => {
    const starts = (seed: number, epoch: number): string => {
      const order = trainingBatches(places(1024), { batch: 8, seq: 16, seed })
      return Array.from({ length: 8 }, (_, i) => order.batch(epoch * 8 + i).tokens[0]).join()
    }
    expect(new Set([starts(0, 0), starts(0, 1), starts(0, 2), starts(1, 0), starts(1, 1)]).size).toBe(5)
  })

  test('golden: the order is the same tomorrow', () => {
    const order = trainingBatches(places(100), { batch: 4, seq: 8, seed: 42 })
    const starts = [0, 1, 5].map(step => [...order.batch(step).tokens].filter((_, i) => i % 8 === 0))
    expect(starts).toEqual([[76, 68, 84, 0], [16, 32, 24, 48], [98, 42, 50, 34]])
  })

  test('text shorter than a batch', () => {
    const short = () => trainingBatches(places(64), { batch: 4, seq: 16, seed: 0 })
    expect(short).toThrow(DataError)
    expect(short).toThrow(/shorter than one batch of 4 × 16 tokens\n {2}tokens {2,}64\n {2}needed {2,}65\n {2}fix/)
    expect(trainingBatches(places(65), { batch: 4, seq: 16, seed: 0 }).batch(0).tokens).toHaveLength(64)
  })
})

describe('held-out batches', () => {
  test('all of the text in order, but for the rest', () => {
    const batches = fixedBatches(places(100), { batch: 3, seq: 8 })
    expect(batches.flatMap(b => [...b.tokens])).toEqual(Array.from({ length: 96 }, (_, i) => i))
    expect(batches.flatMap(b => [...b.targets])).toEqual(Array.from({ length: 96 }, (_, i) => i + 1))
  })

  test('fewer, spread over the text, no window twice', () => {
    const batches = fixedBatches(places(1001), { batch: 2, seq: 10, atMost: 5 })
    expect(batches.map(b => b.tokens[0])).toEqual([0, 200, 400, 600, 800])
    expect(new Set(batches.flatMap(b => [...b.tokens])).size).toBe(100)
  })

  test('too short', () => {
    expect(() => fixedBatches(places(20), { batch: 2, seq: 10 })).toThrow(/held-out text is shorter[^]*needed {2,}21/)
  })
})

describe('packing and splitting', () => {
  const tokenizer = createTokenizer(trainBpe(new Map(), { vocab: 257 }))
  /** Documents of a length, token i of document d being d. */
  const packed = (lengths: readonly number[]): Packed => {
    let end = 0
    return { tokens: Uint16Array.from(lengths.flatMap((n, d) => Array<number>(n).fill(d))), ends: lengths.map(n => end += n) }
  }

  test('documents with <|endoftext|> after each', () => {
    const { tokens, ends } = pack(['ab', 'c'], tokenizer)
    expect(tokenizer.decode(tokens, { special: true })).toBe('ab<|endoftext|>c<|endoftext|>')
    expect([tokens.constructor, ends]).toEqual([Uint16Array, [3, 5]])
  })

  test('many documents: whole ones, about 5 %, from all over', () => {
    const { train, heldOut } = holdOut(packed(Array<number>(400).fill(50)), 0)
    expect(train.length + heldOut.length).toBe(20_000)
    expect(heldOut.length).toBe(1000)
    const held = new Set(heldOut)
    expect(held.size).toBe(20)
    expect(train.some(d => held.has(d))).toBe(false)
    expect(Math.max(...held) - Math.min(...held)).toBeGreaterThan(200)
  })

  test('few documents, or one that is nearly all: the tail', () => {
    for (const lengths of [[1000], [10_000, ...Array<number>(30).fill(1)]]) {
      const p = packed(lengths)
      const { train, heldOut } = holdOut(p, 77)
      const least = Math.ceil(p.tokens.length * 0.05)
      expect(heldOut).toEqual(p.tokens.slice(-least))
      expect(train).toEqual(Uint16Array.of(...p.tokens.slice(0, -least), 77))
    }
  })

  test('a batch at least on each side', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 2, max: 60 }), { minLength: 1, maxLength: 50 }), lengths => {
      const p = packed(lengths)
      const shape = { batch: 2, seq: 8 }
      if (p.tokens.length < 34) expect(() => holdOut(p, 0, shape)).toThrow(/too short for one batch of 2 × 8[^]*needed {2,}34/)
      else {
        const { train, heldOut } = holdOut(p, 0, shape)
        expect(trainingBatches(train, { ...shape, seed: 0 }).windows).toBeGreaterThan(1)
        expect(fixedBatches(heldOut, shape).length).toBeGreaterThan(0)
      }
    }))
  })
})
