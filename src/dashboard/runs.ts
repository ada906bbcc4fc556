/** The runs of a folder: which there are, what each is doing, and how far it is. Only folders that were found here can be asked about. */
import { readdir, realpath } from 'node:fs/promises'
import { basename, join, relative, resolve, sep } from 'node:path'
import { FileError } from '../core/errors.ts'
import { holderOf } from '../io/claim.ts'
import { shellPath } from '../io/shell.ts'
import { History } from './history.ts'
import { bytesOf, fieldsIn, infoOf, textOf } from './lines.ts'
import { evaluationIn, numberIn, rowIn } from './rows.ts'
import type { RunRow, RunState } from './shape.ts'
import type { Row } from './spans.ts'

/** How deep runs may lie, and how many are looked at. */
const [usualDepth, most] = [3, 2000]
/** Histories that are kept: of a run that is looked at again all is read again. */
const mostHistories = 128
/** Milliseconds after which what is written no more is looked at in one of so many looks. */
const [settled, seldom] = [60_000, 8]
/** Bytes of the end of a file that say how far a run is. */
const tail = 1 << 16
/** Milliseconds after which a run on another host that writes nothing is no more taken to be alive. */
const patience = 600_000

type Fields = Readonly<Record<string, unknown>>
interface About { readonly name: string; readonly mesh: RunRow['mesh']; readonly steps: number | null; readonly run: Fields; readonly recipe: string | null }
interface Seen { readonly stamp: string; readonly row: RunRow; readonly turn: number; readonly end: End }

const jsonOf = async (path: string): Promise<Fields | undefined> => fieldsIn(await textOf(path))
const told = (x: number): number | null => (Number.isFinite(x) ? x : null)
const objectIn = (x: unknown): Fields => (typeof x === 'object' && x !== null && !Array.isArray(x) ? x as Fields : {})

export class Runs {
  /** The folder of runs, without links. */
  readonly root: string
  /** As it was given, for the command lines that are shown. */
  readonly #shown: string
  /** Folders, by the id of their run. */
  #folders = new Map<string, string>()
  #rows: readonly RunRow[] = []
  readonly #seen = new Map<string, Seen>()
  readonly #histories = new Map<string, History>()
  /** Of each folder, what its journal begins with, once that is all there. */
  readonly #beginnings = new Map<string, Beginning>()

  readonly #depth: number
  #looks = 0

  private constructor(root: string, shown: string, depth: number) {
    this.root = root
    this.#shown = shown
    this.#depth = depth
  }

  /** @param depth of folders in which runs are looked for @param awaited whether the folder may come to be later @throws FileError where there is no such folder */
  static async open(path: string, { depth = usualDepth, awaited = false }: { readonly depth?: number; readonly awaited?: boolean } = {}): Promise<Runs> {
    if (awaited) {
      const runs = new Runs(await realpath(path).catch(() => resolve(path)), path, depth)
      await runs.look()
      return runs
    }
    const root = await realpath(path).catch((cause: unknown) => { throw new FileError({ code: 'no-runs', what: `there is no folder ${path}`, fix: 'give the folder that runs lie in, or one run\'s', cause }) })
    await readdir(root).catch((cause: unknown) => { throw new FileError({ code: 'no-runs', what: `${path} is no folder that can be read`, fix: 'give the folder that runs lie in, or one run\'s', cause }) })
    const runs = new Runs(root, path, depth)
    await runs.look()
    return runs
  }

  get rows(): readonly RunRow[] { return this.#rows }

  /** The folder of a run; undefined for what is none of these. */
  folderOf(id: string): string | undefined { return this.#folders.get(id) }
  /** As a shell takes it, from where the server was started. */
  shownOf(id: string): string { return shellPath(id === '.' ? this.#shown : join(this.#shown, id)) }

  historyOf(id: string): History | undefined {
    const folder = this.#folders.get(id)
    if (folder === undefined) return undefined
    const found = this.#histories.get(id) ?? new History(folder)
    this.#histories.delete(id)
    this.#histories.set(id, found)
    for (const old of [...this.#histories.keys()].slice(0, Math.max(0, this.#histories.size - mostHistories))) this.#histories.delete(old)
    return found
  }

  async aboutOf(id: string): Promise<About | undefined> {
    const folder = this.#folders.get(id)
    return folder === undefined ? undefined : aboutIn(folder)
  }

  /** Looks at all of them again. */
  async look(): Promise<readonly RunRow[]> {
    this.#looks++
    const found = new Map<string, string>()
    await this.#find(this.root, 0, found)
    const rows: RunRow[] = []
    for (const [id, folder] of found) {
      const row = await this.#rowOf(id, folder).catch(() => undefined)
      if (row === undefined) found.delete(id)
      else rows.push(row)
    }
    this.#folders = found
    for (const id of this.#seen.keys()) if (!found.has(id)) this.#seen.delete(id)
    for (const folder of this.#beginnings.keys()) if (![...found.values()].includes(folder)) this.#beginnings.delete(folder)
    this.#rows = rows.sort((a, b) => b.changed - a.changed || (a.id < b.id ? -1 : 1))
    return this.#rows
  }

  async #find(folder: string, depth: number, into: Map<string, string>): Promise<void> {
    const id = relative(this.root, folder).split(sep).join('/') || '.'
    // What was a run is one until its files are gone.
    if (this.#folders.has(id) && into.size < most) {
      into.set(id, folder)
      return
    }
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
    if (entries.some(e => e.name === 'run.json' && e.isFile())) {
      if (into.size < most) into.set(id, folder)
      return
    }
    // Links are not followed: what lies elsewhere is not shown.
    if (depth < this.#depth) for (const e of entries) if (e.isDirectory() && !e.name.startsWith('.')) await this.#find(join(folder, e.name), depth + 1, into)
  }

  async #rowOf(id: string, folder: string): Promise<RunRow | undefined> {
    // A run that is over is seldom looked at: a run that trains beside it should not feel how many there are.
    const known = this.#seen.get(id)
    if (known !== undefined && known.row.state !== 'running' && Date.now() - known.row.changed > settled && (this.#looks + known.turn) % seldom !== 0) return known.row
    const [metrics, run, summary, holder] = [await infoOf(join(folder, 'metrics.jsonl')), await infoOf(join(folder, 'run.json')), await infoOf(join(folder, 'summary.json')), await holderOf(folder)]
    if (run === undefined) return undefined
    const changed = Math.max(metrics?.changed ?? 0, run.changed, summary?.changed ?? 0)
    // On a host that cannot be asked, what is written lately is a sign of life.
    const lives = holder !== undefined && (holder.alive ?? Date.now() - changed < patience)
    const stamp = JSON.stringify([metrics, run, summary, lives])
    const before = this.#seen.get(id)
    if (before?.stamp === stamp) return before.row
    const end = await endOf(join(folder, 'metrics.jsonl'), metrics?.size ?? 0, before?.end)
    const row = await this.#read(id, folder, { changed, lives, end })
    this.#seen.set(id, { stamp, row, turn: before?.turn ?? this.#seen.size, end })
    return row
  }

  async #beginningOf(folder: string): Promise<Beginning> {
    const known = this.#beginnings.get(folder)
    if (known !== undefined) return known
    const found = await beginningOf(folder)
    if (found.plan !== undefined && found.start !== null) this.#beginnings.set(folder, found)
    return found
  }

  async #read(id: string, folder: string, { changed, lives, end }: { readonly changed: number; readonly lives: boolean; readonly end: End }): Promise<RunRow> {
    const [about, summary] = [await aboutIn(folder), await jsonOf(join(folder, 'summary.json'))]
    const { plan, start, first } = await this.#beginningOf(folder)
    const evalLoss = numberIn(summary?.['evalLoss'] ?? end.evalLoss)
    const { state, why } = stateOf(summary, lives, evalLoss)
    return {
      id, name: about.name, state, why, step: typeof summary?.['steps'] === 'number' ? summary['steps'] : end.step, steps: about.steps ?? start, loss: told(end.loss), evalLoss: told(evalLoss), perSecond: told(end.perSecond),
      unit: plan?.unit ?? 'tokens', parameters: plan?.parameters ?? null, mesh: about.mesh, began: first ?? changed, changed, folder: this.shownOf(id),
    }
  }
}

async function aboutIn(folder: string): Promise<About> {
  const file = await jsonOf(join(folder, 'run.json')) ?? {}
  const run = objectIn(file['run'])
  const mesh = Object.fromEntries(Object.entries(objectIn(run['mesh'])).filter((e): e is [string, number] => typeof e[1] === 'number'))
  return { name: typeof run['name'] === 'string' ? run['name'] : basename(folder), mesh, steps: typeof run['steps'] === 'number' ? run['steps'] : null, run, recipe: typeof file['recipe'] === 'string' ? file['recipe'] : null }
}

/** How a run ended, or that it has not. A held-out loss that is no number is a run that diverged, whoever let it go on. */
function stateOf(summary: Fields | undefined, lives: boolean, evalLoss: number): { readonly state: RunState; readonly why: string | null } {
  if (summary === undefined) return lives ? { state: 'running', why: null } : { state: 'lost', why: 'its process ended without a word: the same command line goes on' }
  const why = typeof summary['why'] === 'string' ? summary['why'] : null
  if (summary['state'] === 'failed') return { state: summary['code'] === 'bad-step' ? 'diverged' : 'failed', why }
  if (summary['evalLoss'] !== undefined && !Number.isFinite(evalLoss)) return { state: 'diverged', why: `its held-out loss is ${String(summary['evalLoss'])}` }
  return { state: summary['state'] === 'stopped' ? 'stopped' : 'finished', why }
}

/** The last step and the last evaluation of a file, and where its whole lines end. */
interface End { readonly step: number; readonly loss: number; readonly perSecond: number; readonly evalLoss: unknown; readonly at: number }
const nothing: End = { step: 0, loss: NaN, perSecond: NaN, evalLoss: undefined, at: 0 }

/** Of a file that has grown since `before` only what is new is read. */
async function endOf(path: string, size: number, before: End = nothing): Promise<End> {
  const known = before.at <= size ? before : nothing
  const from = Math.max(known.at, size - tail)
  const bytes = await bytesOf(path, from, size)
  const whole = bytes.lastIndexOf(10) + 1
  let row: Row | undefined
  let evalLoss: unknown
  for (const line of bytes.toString('utf8', 0, whole).split('\n').reverse()) {
    const fields = line === '' ? undefined : fieldsIn(line)
    if (fields === undefined) continue
    row ??= rowIn(fields)
    evalLoss ??= evaluationIn(fields)?.evalLoss
    if (row !== undefined && evalLoss !== undefined) break
  }
  return { ...(row === undefined ? known : { step: row.step + 1, loss: row.values.loss, perSecond: row.values.perSecond }), evalLoss: evalLoss ?? known.evalLoss, at: from + whole }
}

/** What the journal says at its beginning: what there is of the run, and since when. */
interface Beginning { readonly plan: { readonly unit: 'tokens' | 'examples'; readonly parameters: number } | undefined; readonly start: number | null; readonly first: number | undefined }
async function beginningOf(folder: string): Promise<Beginning> {
  const lines = (await bytesOf(join(folder, 'journal.jsonl'), 0, 1 << 20)).toString().split('\n', 8).map(line => fieldsIn(line) ?? {})
  const [plan, start] = [lines.find(l => l['type'] === 'plan'), lines.find(l => l['type'] === 'start')]
  return {
    plan: typeof plan?.['parameters'] === 'number' ? { unit: plan['unit'] === 'examples' ? 'examples' : 'tokens', parameters: plan['parameters'] } : undefined,
    start: typeof start?.['steps'] === 'number' ? start['steps'] : null, first: typeof lines[0]?.['at'] === 'number' ? lines[0]['at'] : undefined,
  }
}
