/** The loss and the metrics of held-out data: means over all that counts in it. */
import { treeOps } from '../core/tree.ts'
import type { DataSource, Rows } from '../data/index.ts'
import { MeshArray, type Tree } from '../engine/index.ts'
import { WeightedMeans, type Model } from '../models/index.ts'
import { sourcesOf } from './feed.ts'
import type { StateArrays, Trainer } from './program.ts'

const arrays = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array')
export const disposeAll = (tree: unknown): void => { for (const { leaf } of arrays.flatten(tree)) leaf.dispose() }
/** The arrays of a tree under their paths. */
export const namedArrays = (tree: unknown): { readonly path: string; readonly value: MeshArray }[] => arrays.flatten(tree).map(({ path, leaf }) => ({ path, value: leaf }))

/** The parameters that are evaluated and written: averages, where the optimizer keeps them. `work` may use them until it is done. */
export async function withWeights<T>({ averages }: Pick<Trainer<Tree, Tree>, 'averages'>, { params, slots }: StateArrays<Tree>, work: (params: unknown) => Promise<T>): Promise<T> {
  if (averages === undefined) return work(params)
  const found = await averages(params as never, slots as never)
  try {
    return await work(found)
  } finally {
    disposeAll(found)
  }
}

export interface EvaluateOptions {
  readonly model: Model<Tree, Tree>
  readonly evaluate: Trainer<Tree, Tree>['evaluate']
  readonly rows: Rows
  readonly source: DataSource<unknown>
  readonly batches: number
  /** Asked after each batch, in all processes alike: whether it is enough. */
  readonly enough?: (done: number) => Promise<boolean>
  /** What is added to; nothing yet unless given. */
  readonly means?: WeightedMeans
  /** What each weight is multiplied by: of batches that are smaller than others and do not say so. */
  readonly share?: number
}

/** The next batch is made, and the last one's numbers are read, while the devices work. */
export async function evaluateOn(params: unknown, { model, evaluate, rows, source, batches, enough, means = new WeightedMeans(), share = 1 }: EvaluateOptions): Promise<WeightedMeans> {
  type Found = { readonly [name: string]: { readonly value: MeshArray; readonly weight: MeshArray } }
  const add = async (found: Found): Promise<void> => {
    try {
      for (const [name, { value, weight }] of Object.entries(found)) means.add(name, { value: await value.item(), weight: await weight.item() * share })
    } finally {
      disposeAll(found)
    }
  }
  let underWay: Found | undefined
  for (let i = 0; i < batches; i++) {
    const batch = await source.batch(i, rows)
    const before = underWay
    underWay = await evaluate(params as never, sourcesOf(model.batch, batch, rows) as never) as Found
    if (before !== undefined) await add(before)
    if (await enough?.(i + 1) === true) break
  }
  if (underWay !== undefined) await add(underWay)
  return means
}
