/** Adapters beside a model's weights: loaded and dropped while it answers. */
import { UsageError } from '../core/errors.ts'
import { compile, input, mapTree, param, type Arrays, type Placements, type Tree } from '../engine/index.ts'
import { pathsOf, type Adapters as Factors, type StackedModel } from '../models/index.ts'
import { AdapterSlots } from './adapter-slots.ts'
import type { Where } from './loading.ts'
import type { Steps } from './steps.ts'
import type { Turn, Turns } from './turns.ts'
import { free, loadParams, type Stored } from './weights.ts'

/** Adapters as they lie on a disk. */
export interface StoredAdapters extends Stored {
  /** Their factors, by the paths of what they change. */
  readonly factors: Factors
  /** α / r. */
  readonly scale: number
}
/** Finds adapters by a path. Every process is asked. @throws FileError, UsageError where there are none that fit */
export type FindAdapters = (path: string) => Promise<StoredAdapters>

export class AdapterHost {
  readonly slots: AdapterSlots
  readonly #turn: Turn
  readonly #load: (path: string, place: number) => Promise<void>
  #loading: Promise<unknown> = Promise.resolve()

  constructor(model: StackedModel, steps: Steps, { count, where, turns, find }: { readonly count: number; readonly where: Where; readonly turns: Turns; readonly find: FindAdapters }) {
    this.slots = new AdapterSlots(count)
    this.#load = async (path, place) => {
      const { factors, scale, ...stored } = await find(path)
      const other = pathsOf(factors).find(p => !pathsOf(model.params.lora).includes(p))
      if (other !== undefined) throw new UsageError({ code: 'adapter', what: `the adapter changes ${other}, which this model has no room for`, fix: 'begin with room for all layers: --adapter-slots' })
      // Under the names that files have them by.
      const one = { lora: mapTree(factors as Tree, (t, p) => param(`lora.${p}`, t.shape as never, t.dtype)) } as { readonly lora: Factors }
      const insert = await compile((stack: Tree, given: Tree, at: Tree) => mapTree(model.insert(stack as Factors, (given as { readonly lora: Factors }).lora, at as never, scale) as Tree, p => p.relayout('params')), [model.params.lora as Tree, one as unknown as Tree, input('place', [], 'i32') as Tree] as const, where)
      try {
        const loaded = await loadParams<Tree>(stored, insert.placements[1] as Placements<Tree>, where.backend, where.mesh)
        try {
          const { base, lora } = steps.weights as { readonly base: Arrays<Tree>; readonly lora: Arrays<Tree> }
          steps.replace({ base, lora: await insert(lora as never, loaded as never, place as never) } as never)
        } finally {
          free(loaded)
        }
      } finally {
        insert.dispose()
      }
    }
    this.#turn = turns.add(order => { const { path, place } = JSON.parse(order) as { readonly path: string; readonly place: number }; return this.#load(path, place) }, { mayFail: true })
  }

  get names(): readonly string[] { return this.slots.names }

  /** Loads adapters between two steps; who asks under the name from then on has them. @throws FileError, UsageError: then all is as before */
  load(name: string, path: string): Promise<void> {
    // One after another, so that each finds its place free.
    const done = this.#loading.then(async () => {
      const place = this.slots.place()
      await this.#turn(() => JSON.stringify({ path, place }), () => this.#load(path, place))
      this.slots.fill(place, name)
    })
    this.#loading = done.catch(() => undefined)
    return done
  }
  /** Answers that have begun with them end with them. @returns whether they were there */
  drop(name: string): boolean { return this.slots.drop(name) }
}
