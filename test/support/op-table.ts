/** The table of cases on meshes: which layouts a case is tried in, many cases in one program, and what is wrong with the numbers. */
import { mesh as meshOf } from '../../src/core/mesh.ts'
import type { Layout } from '../../src/core/layout.ts'
import type { Backend } from '../../src/engine/index.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf } from '../../src/graph/reference/values.ts'
import { typeOf } from '../../src/graph/node.ts'
import { everyCase } from '../cases/index.ts'
import { again, type MeshSizes } from './again.ts'
import { distinctLayouts, drawnLayout, layoutsOf } from './layouts.ts'
import { isLegal, perProgram, ready, runTogether, type Chosen, type Ready } from './ready.ts'
import { draw, relativeError, seedOf } from './values.ts'

/** The sizes of the axes x, y and z. */
export const meshes: readonly MeshSizes[] = [{ x: 1 }, { x: 2 }, { x: 4 }, { x: 2, y: 2 }, { x: 2, y: 4 }, { x: 2, y: 2, z: 2 }]

/** A case by its name, with a layout of its own dims: plain data, so that other processes can be told of it. */
export interface Trial { readonly name: string; readonly layout: Layout }

type Expected = { readonly [result: string]: ArrayLike<number> }
interface Known { readonly ready: Ready; expected?: Expected }
const known = new Map<string, Known>()

function knownOf(name: string): Known {
  const found = known.get(name)
  if (found !== undefined) return found
  const index = everyCase.findIndex(c => c.name === name)
  const c = everyCase[index]
  if (c === undefined) throw new Error(`the table has no case ${name}`)
  const made = { ready: ready(c, index) }
  known.set(name, made)
  return made
}

/** In f64, by the reference evaluator. */
function expectedOf(name: string): Expected {
  const k = knownOf(name)
  if (k.expected !== undefined) return k.expected
  const { inputs, data, f } = k.ready
  const outputs = f(inputs)
  const nodes = Object.values(inputs).map(t => t.node).filter(n => n.op === 'input')
  const values = evaluate({ inputs: nodes, outputs: Object.values(outputs).map(o => o.node) }, nodes.map((n, i) => valueOf(typeOf(n), data[`i${i}`] ?? [])))
  return k.expected = Object.fromEntries(Object.keys(outputs).map((key, i) => [key, values[i]?.data ?? []]))
}

const renamed = (layout: Layout, name: (dim: string) => string): Layout => Object.fromEntries(Object.entries(layout).map(([dim, axes]) => [name(dim), axes]))
const trialOf = (r: Ready, layout: Layout): Trial => ({ name: r.name, layout: renamed(layout, dim => dim.slice(r.prefix.length)) })
const chosenOf = ({ name, layout }: Trial): Chosen => {
  const { ready } = knownOf(name)
  return { ready, layout: renamed(layout, dim => `${ready.prefix}${dim}`) }
}

/** Numbers in [0, 1), a function of the words alone. */
function drawing(...words: readonly (string | number)[]): () => number {
  const seed = seedOf(words.join(' '))
  let i = 0
  return () => draw(seed, i++)
}

/** A legal layout of a case on a mesh, drawn by a seed: one that splits something, where one is found. */
export function drawnTrial(name: string, sizes: MeshSizes, seed: number): Trial {
  const { ready } = knownOf(name)
  const mesh = meshOf(sizes)
  const next = drawing(seed, name, JSON.stringify(sizes))
  for (let tries = mesh.size === 1 ? 0 : 40; tries > 0; tries--) {
    const layout = drawnLayout(ready.dims, mesh, next)
    if (Object.keys(layout).length > 0 && isLegal(ready, mesh, layout)) return trialOf(ready, layout)
  }
  return { name, layout: {} }
}

/** All legal layouts of a case on a mesh that differ in more than names of axes, or every `of`-th of them from `part` on. `seed` picks the names. */
export function everyTrial(name: string, sizes: MeshSizes, seed = 0, part = 0, of = 1): Trial[] {
  const { ready } = knownOf(name)
  const mesh = meshOf(sizes)
  const layouts = distinctLayouts(layoutsOf(ready.dims, mesh), mesh, seedOf(`${seed} ${name}`))
  return layouts.filter((l, i) => i % of === part && isLegal(ready, mesh, l)).map(l => trialOf(ready, l))
}

/** Trials sorted into programs: a case is at most once in each. */
export function programsOf(trials: readonly Trial[], most = perProgram): Trial[][] {
  const rounds: Trial[][] = []
  const times = new Map<string, number>()
  for (const t of trials) {
    const n = times.get(t.name) ?? 0
    times.set(t.name, n + 1)
    rounds[n] = [...rounds[n] ?? [], t]
  }
  return rounds.flatMap(round => Array.from({ length: Math.ceil(round.length / most) }, (_, i) => round.slice(i * most, (i + 1) * most)))
}

/** Runs trials of different cases as one program, and says where a number differs and how to see it again. `where` is the backend's name for that. */
export async function wrongIn(trials: readonly Trial[], sizes: MeshSizes, backend: Backend, where: string): Promise<string[]> {
  const said = (t: Trial, what: string): string => `${t.name}: ${what}\n  again: ${again(t, sizes, where)}`
  const chosen = trials.map(chosenOf)
  try {
    const wrong: string[] = []
    for (const { chosen: c, key, data } of await runTogether(chosen, meshOf(sizes), backend)) {
      const error = relativeError(data, expectedOf(c.ready.name)[key] ?? [])
      const most = c.ready.tolerance ?? 1e-5
      // Not `>`: an error that is no number must count.
      if (!(error <= most)) wrong.push(said(trialOf(c.ready, c.layout), `${key} is off by ${error}, at most ${most} is right`))
    }
    if (backend.liveBuffers() !== 0) wrong.push(`${backend.liveBuffers()} buffers are left over after ${trials.map(t => t.name).join(', ')}`)
    return wrong
  } catch (e) {
    const [only, ...others] = trials
    if (only === undefined || others.length === 0) return only === undefined ? [] : [said(only, e instanceof Error ? e.message : String(e))]
    // Whose fault it is, each alone tells; ranks must all do the same, so that they do it only where all fail alike.
    const alone: string[] = []
    for (const t of trials) alone.push(...await wrongIn([t], sizes, backend, where))
    return alone.length > 0 ? alone : [`together only: ${trials.map(t => t.name).join(', ')}: ${e instanceof Error ? e.message : String(e)}`]
  }
}
