/** What is judged: models small enough to print, different enough that no two sizes can be mistaken for each other. */
import { threefry2x32 } from '../../src/core/threefry.ts'
import type { GptConfig } from '../../src/models/gpt-config.ts'
import { adamwCosine, type AdamwCosine } from '../../src/train/optimizers.ts'
import type { Transformation } from '../../src/optim/index.ts'
import type { Arrays, HostArray } from './exchange.ts'

/** AdamW on a cosine of `steps`, as both sides are told it. */
export type PlainOptimizer = Omit<AdamwCosine, 'length'> & { readonly steps: number }
/** The same as ours. */
export const optimizerOf = ({ steps, ...config }: PlainOptimizer): Transformation => adamwCosine(config).build({ steps })

export interface Case {
  readonly name: string
  readonly config: GptConfig
  readonly batch: number
  /** Noise on every weight: as initialised, gains are one, biases zero, and attention all but uniform. */
  readonly noise: number
  /** Training steps, each on a batch of its own. */
  readonly steps: number
  readonly optimizer: PlainOptimizer
}

const optimizer: PlainOptimizer = {
  rate: 2e-3, warmup: 2, steps: 8, floor: 0.1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clip: 0.5,
}

export const cases: readonly Case[] = [
  {
    name: 'as initialised', batch: 4, noise: 0, steps: 5, optimizer,
    config: { vocab: 62, seq: 16, layers: 2, embed: 32, heads: 4, headDim: 8, hidden: 64, dropout: 0 },
  },
  {
    name: 'rough', batch: 4, noise: 0.15, steps: 5, optimizer,
    config: { vocab: 62, seq: 16, layers: 2, embed: 32, heads: 4, headDim: 8, hidden: 64, dropout: 0 },
  },
  {
    name: 'other ratios', batch: 6, noise: 0.15, steps: 5, optimizer: { ...optimizer, clip: 0.8, beta2: 0.99 },
    config: { vocab: 38, seq: 11, layers: 3, embed: 20, heads: 2, headDim: 14, hidden: 50, dropout: 0 },
  },
]

/** In [0, 1), a pure function of its arguments. */
const draw = (stream: number, i: number): number => threefry2x32(2024, stream, i, 0) / 2 ** 32

/** The weights with evenly spread noise on every element. */
export const roughened = (weights: Arrays, noise: number): Map<string, HostArray> =>
  new Map([...weights].map(([name, { shape, data }], k) =>
    [name, { shape, data: Float32Array.from(data, (x, i) => x + noise * (2 * draw(100 + k, i) - 1)) }]))

/** Random windows: `targets` are not the tokens shifted, so that no order of them can hide a mistake. */
export function batchOf({ config, batch }: Case, step: number): { readonly tokens: HostArray; readonly targets: HostArray } {
  const ids = (stream: number): HostArray => {
    const data = Int32Array.from({ length: batch * config.seq }, (_, i) => Math.floor(draw(stream, i) * config.vocab))
    return { shape: [batch, config.seq], data }
  }
  return { tokens: ids(2 * step), targets: ids(2 * step + 1) }
}
