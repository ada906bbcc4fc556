/** Measuring a model on files by a task: over a mesh, in order, each item once, and gone on with where it was left. */
import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { FileError } from '../core/errors.ts'
import type { PlainObject } from '../core/plain.ts'
import { isSystemError, writeFileAtomic } from '../io/atomic.ts'
import type { DocumentFormat } from '../data/index.ts'
import { anyOf, barrier, fromFirst, type Processes } from '../engine/index.ts'
import { PartialWork } from './partial.ts'
import { markdownOf, reportJson, type MeasureReport } from './report.ts'
import { behind, known, nothingIn, openInputs, stretches } from './stream.ts'
import type { Tally, Task } from './tasks/task.ts'

export interface MeasureOptions {
  /** Files, folders, patterns or addresses. */
  readonly data: readonly string[]
  readonly format?: DocumentFormat | undefined
  /** A folder for what is found of each item, and for the report; nothing is kept without it. */
  readonly out?: string | undefined
  /** The model, as the report names it. */
  readonly model: string
  /** What decides the results beside task and files. */
  readonly identity: PlainObject
  readonly restart?: boolean
  readonly processes: Processes
  readonly signal?: AbortSignal | undefined
  /** Hears how many items are done, how many of them were before, and which share of the files that is where it is known. */
  readonly onProgress?: ((done: number, before: number, share: number | undefined) => void) | undefined
}

const itemsName = 'items.jsonl'
/** Names that a folder of ours may have; one that holds others and no work is somebody else's. */
const workName = 'work.json'

async function requireOurs(out: string): Promise<void> {
  const names: readonly string[] = await readdir(out).catch((cause: unknown) => {
    if (isSystemError(cause) && cause.code === 'ENOENT') return []
    throw isSystemError(cause) ? new FileError({ code: 'out-folder', what: `${out} cannot be a folder of results: ${cause.message}`, fix: 'give another: --out DIR', cause }) : cause
  })
  if (names.length === 0 || names.includes(workName) || names.every(n => n.startsWith('.'))) return
  throw new FileError({ code: 'out-exists', what: `${out} holds other files already`, details: { such: names.slice(0, 4).join(', ') }, fix: 'give another folder: --out DIR' })
}

/** Tells a tally of what was found before. */
async function replay<D>(work: PartialWork, tally: Tally<D>): Promise<void> {
  if (work.reached.bytes === 0) return
  const lines = createInterface({ input: createReadStream(work.path, { end: work.reached.bytes - 1 }), crlfDelay: Infinity })
  for await (const line of lines) {
    let done: D
    try { done = JSON.parse(line) as D } catch (cause) { throw new FileError({ code: 'partial-damaged', what: `${work.path} has a line that is not JSON`, fix: 'begin anew: --restart', cause }) }
    tally.add(done)
  }
}

/** Under MPI every rank calls it and gets the report; rank 0 reads and writes. @throws DataError, FileError; the signal's reason */
export async function measure<I, D extends PlainObject>(task: Task<I, D>, { data, format, out, model, identity, restart = false, processes, signal, onProgress = () => {} }: MeasureOptions): Promise<MeasureReport> {
  const open = async (): Promise<{ readonly parts: Awaited<ReturnType<typeof openInputs>>['parts']; readonly work: PartialWork | undefined }> => {
    if (out !== undefined) await requireOurs(out)
    const { parts, fingerprint } = await openInputs(data, format)
    return { parts, work: out === undefined ? undefined : await PartialWork.open(out, itemsName, { ...identity, task: task.name, options: task.options, data: fingerprint, field: format ?? null }, restart) }
  }
  let mine: Awaited<ReturnType<typeof open>> | undefined
  const tally = task.tally()
  const before = await fromFirst(processes, 'what is done already', async () => {
    mine = await open()
    if (mine.work !== undefined) await replay(mine.work, tally)
    return mine.work?.reached.items ?? 0
  })
  try {
    let done = before
    let share: number | undefined
    const read = async function* (): AsyncGenerator<readonly I[]> {
      for await (const placed of stretches(behind(task.read(mine?.parts ?? []), before), task.stretch)) {
        share = placed[0]?.share
        yield placed.map(p => p.item)
      }
    }
    for await (const items of known(processes, 'the next items', read)) {
      const found = await task.measure(items, n => {
        if (processes.count === 1) signal?.throwIfAborted()
        onProgress(done + n, before, share)
      })
      await mine?.work?.add(Buffer.from(found.map(d => `${JSON.stringify(d)}\n`).join('')), items.length)
      for (const d of found) tally.add(d)
      done += items.length
      if (await anyOf(processes, 'whether to stop', signal?.aborted === true)) {
        signal?.throwIfAborted()
        throw new DOMException('stopped in another process', 'AbortError')
      }
    }
    if (done === 0) throw nothingIn(data)
    // Only rank 0 knows what was found before.
    const report = await fromFirst(processes, 'the report', () => JSON.parse(reportJson({ task: task.name, model, data, items: done, ...tally.report() })) as MeasureReport)
    if (processes.rank === 0 && out !== undefined) {
      await writeFileAtomic(join(out, 'report.json'), `${JSON.stringify(report, null, 2)}\n`)
      await writeFileAtomic(join(out, 'report.md'), markdownOf(report))
    }
    await barrier(processes, 'the report')
    return report
  } catch (e) {
    if (mine?.work?.reached.items === 0) await mine.work.remove()
    throw e
  } finally {
    await mine?.work?.[Symbol.asyncDispose]()
  }
}
