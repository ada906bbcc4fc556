/** A process that does parts of the deep run: XLA may end a process, and then only this one. */
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { compiled, saidOf, search, wrongTogether } from '../fuzz/search.ts'
import { everyTrial, programsOf, wrongIn } from '../support/op-table.ts'
import type { FuzzPart, OpsPart } from './parts.ts'

/** What the process that started this one is told of a part: what is wrong, nothing where all is right. */
export interface Answer { readonly wrong: readonly string[] }

const backends = new Map<string, Backend>()
async function backendOf(plugin: string): Promise<Backend> {
  const open = backends.get(plugin) ?? await openBackend({ plugin, devices: 8, cache: false })
  backends.set(plugin, open)
  return open
}

async function wrongOf(work: OpsPart | FuzzPart): Promise<string[]> {
  if (work.kind === 'ops') {
    const wrong: string[] = []
    const trials = work.names.flatMap(name => everyTrial(name, work.mesh, work.seed, work.part, work.of))
    for (const some of programsOf(trials)) wrong.push(...await wrongIn(some, work.mesh, await backendOf(work.where), work.where))
    return wrong
  }
  if (work.plugin === 'cpu') {
    const wrong = await wrongTogether(compiled(work.seed, work.mesh), await backendOf('cpu'))
    return wrong === undefined ? [] : [wrong]
  }
  const found = await search(await backendOf(work.plugin), work.seed, work.programs)
  return found === undefined ? [] : [saidOf(found, work.programs, work.plugin)]
}

process.on('message', (work: OpsPart | FuzzPart) => {
  wrongOf(work).catch((e: unknown): string[] => [e instanceof Error ? e.stack ?? e.message : String(e)]).then(wrong => { process.send?.({ wrong } satisfies Answer) }, () => { process.exit(1) })
})
// Ctrl-C reaches all processes of a terminal; who started this one decides.
process.on('SIGINT', () => undefined)
process.on('disconnect', () => { process.exit(0) })
