/** Adapters that a served model has, or may be given: by names, and from under one folder. */
import { realpath } from 'node:fs/promises'
import { join, relative, isAbsolute, resolve, sep } from 'node:path'
import { weightsIn } from '../checkpoint/index.ts'
import { UsageError } from '../core/errors.ts'
import { filesOf, pathsOf, type Adapters, type AdapterStackOptions } from '../models/index.ts'
import type { AdapterHost, FindAdapters } from '../serve/adapters.ts'
import type { AdapterPlace } from '../server/index.ts'
import { partOf, readPretrained, type Pretrained } from '../pretrained/pretrained.ts'
import { wholeNumber } from './overrides.ts'

export interface AdapterFlags { readonly adapter?: readonly string[]; readonly adapterRoot?: string; readonly adapterSlots?: string; readonly adapterRank?: string }

/** What a model has from the beginning, and what it may be given. */
export interface PlannedAdapters {
  readonly room: AdapterStackOptions & { readonly find: FindAdapters }
  /** Loads those that are given, in every process's turn. The first process calls it. */
  begin(host: AdapterHost): Promise<void>
  /** Where clients may have others loaded from. */
  place(host: AdapterHost): AdapterPlace | undefined
}

/** Ranks for which there is room where others may come later. */
const usualRank = 64
const usualSlots = 4

/** `NAME=PATH`, by name. @throws UsageError */
function named(given: readonly string[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const text of given) {
    const [, name, path] = /^([^=]+)=(.+)$/.exec(text) ?? []
    if (name === undefined || path === undefined) throw new UsageError({ code: 'flag', what: `--adapter: "${text}" is no name with a folder`, fix: 'for example --adapter kind=runs/kind' })
    if (found.has(name)) throw new UsageError({ code: 'flag', what: `--adapter: two are called "${name}"`, fix: 'give each a name of its own' })
    found.set(name, path)
  }
  return found
}

interface Read { readonly factors: Adapters; readonly rank: number; readonly found: Awaited<ReturnType<FindAdapters>> }
/** @throws FileError, UsageError where a folder holds no adapters of this model */
async function readFrom(path: string, base: Pretrained): Promise<Read> {
  const given = await readPretrained(path)
  const { adapters } = given
  if (adapters === undefined) throw new UsageError({ code: 'adapter', what: `${path} holds no adapters: it has no adapter_config.json`, fix: 'give a folder as `meshwork finetune --lora` or peft writes it' })
  if (given.config['model_type'] !== base.config['model_type']) throw new UsageError({ code: 'adapter', what: `${path} holds adapters of a ${String(given.config['model_type'])}, and ${base.folder} is a ${String(base.config['model_type'])}`, fix: 'serve the model that they are of' })
  const part = partOf(given, { seq: Math.min(given.positions, 64) })
  const model = part.build({ batch: 1 })
  const { lora } = model.params as unknown as { readonly lora: Adapters }
  const { rank, alpha = 2 * rank } = adapters
  return { factors: lora, rank, found: { weights: await weightsIn(path), naming: filesOf(part as never, model as never)?.naming, factors: lora, scale: alpha / rank } }
}

/** Undefined where no adapters are spoken of. @throws FileError, UsageError for folders and flags that are wrong */
export async function plannedAdapters(base: Pretrained, { adapter = [], adapterRoot: root, adapterSlots, adapterRank }: AdapterFlags): Promise<PlannedAdapters | undefined> {
  const given = named(adapter)
  if (given.size === 0 && root === undefined) {
    const [flag] = Object.entries({ '--adapter-slots': adapterSlots, '--adapter-rank': adapterRank }).filter(([, v]) => v !== undefined).map(([f]) => f)
    if (flag !== undefined) throw new UsageError({ code: 'flag', what: `${flag}: there is nothing that adapters would come from`, fix: 'give --adapter NAME=DIR, or --adapter-root DIR' })
    return undefined
  }
  const all: Read[] = []
  for (const path of given.values()) all.push(await readFrom(path, base))
  const slots = adapterSlots === undefined ? Math.max(given.size, root === undefined ? 0 : usualSlots) : wholeNumber(adapterSlots, '--adapter-slots', Math.max(1, given.size), 256)
  const most = Math.max(root === undefined ? 1 : usualRank, ...all.map(a => a.rank))
  const rank = adapterRank === undefined ? most : wholeNumber(adapterRank, '--adapter-rank', Math.max(1, ...all.map(a => a.rank)), 1024)
  const on = root === undefined ? [...new Set(all.flatMap(a => pathsOf(a.factors)))] : undefined
  const within = root === undefined ? undefined : await realpath(root).catch((cause: unknown) => { throw new UsageError({ code: 'flag', what: `--adapter-root: ${root} is no folder`, fix: 'give the one that adapters lie in', cause }) })
  return {
    room: { count: slots, rank, ...(on === undefined ? {} : { on }), find: async path => (await readFrom(path, base)).found },
    async begin(host) { for (const [name, path] of given) await host.load(name, resolve(path)) },
    place: host => (within === undefined ? undefined : {
      drop: name => host.drop(name),
      async load(name, path) {
        // What a client names lies under the folder, whatever links lead there.
        const at = await realpath(isAbsolute(path) ? path : join(within, path)).catch(() => undefined)
        const inside = at === undefined ? '..' : relative(within, at)
        if (at === undefined || inside === '' || inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)) throw new UsageError({ code: 'adapter', what: `there is no folder ${JSON.stringify(path)} among those of adapters`, fix: 'name one that lies there' })
        await host.load(name, at)
      },
    }),
  }
}
