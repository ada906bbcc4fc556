/** A model's loss and metrics over many batches: what a program gives of one, and means over all that counts in all of them. */
import { settled, type Weighted } from '../graph/outcome.ts'
import type { Tree } from '../graph/types.ts'
import type { Model } from './model.ts'

/** The function of an evaluation program: the loss and the metrics of a batch, each with its weight, in one tree by name. There is no key: nothing is dropped. */
export const evaluated = <P extends Tree, B extends Tree>(model: Pick<Model<P, B>, 'loss'>) => (params: P, batch: B): { readonly [name: string]: Weighted } => {
  const { loss, metrics } = settled(model.loss(params, batch))
  return { ...metrics, loss }
}

/** Means over everything that was added, each number as often as its weight says; in f64. */
export class WeightedMeans {
  readonly #sums = new Map<string, { sum: number; weight: number }>()

  add(name: string, { value, weight }: { readonly value: number; readonly weight: number }): void {
    const known = this.#sums.get(name) ?? { sum: 0, weight: 0 }
    // Not multiplied where nothing counted: a mean of nothing may be any number there.
    this.#sums.set(name, { sum: known.sum + (weight === 0 ? 0 : value * weight), weight: known.weight + weight })
  }
  /** 0 where nothing counted. Undefined where nothing was added. */
  mean(name: string): number | undefined {
    const found = this.#sums.get(name)
    return found === undefined ? undefined : found.weight === 0 ? 0 : found.sum / found.weight
  }
  /** Over how many `mean` is; 0 where nothing was added. */
  weight(name: string): number { return this.#sums.get(name)?.weight ?? 0 }
  names(): string[] { return [...this.#sums.keys()] }
}
