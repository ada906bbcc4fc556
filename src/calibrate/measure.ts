/** How long a turn of a small program takes: many turns against few, the least of some rounds, so that neither the host's part of a run nor what else the machine does counts. */
import { hostArray } from '../core/dtype.ts'
import { barrier, fromFirst, slowest, type Backend } from '../engine/index.ts'
import type { DeviceBuffer, Executable } from '../runtime/backend.ts'
import { emit } from '../stablehlo/emit.ts'
import type { Looped } from './programs.ts'

/** A run that takes so long has shown it. */
const longEnoughMs = 8
const mostTurns = 2 ** 20
/** Of what was measured at least so much is what is looked for: where less is left once the rest is taken off, something else was on the way. */
export const leastShare = 0.2

export interface Measuring {
  readonly backend: Backend
  readonly signal?: AbortSignal | undefined
  /** Of each of which the least counts: so many at most, and as many as there is time for. */
  readonly rounds: number
  /** Whether the middle of these rounds counts instead: of ranks that share cores, which an operating system may have spread well for one short run, and seldom has for a whole step. */
  readonly usual?: boolean | undefined
  /** What rounds may take; any time unless given. */
  readonly budget?: Budget | undefined
  /** Milliseconds, from anywhere on; the wall's unless given. */
  readonly clock?: (() => number) | undefined
}

/** Time for rounds, by the wall's clock: what is left of it, in even shares for what is still to be measured. Compiling takes none of it, which a processor that compiles slowly would have little left of for what is measured last. */
export class Budget {
  private spentMs = 0
  private readonly totalMs: number
  private readonly open: () => number
  /** `open`: how many are still to be measured. */
  constructor(totalMs: number, open: () => number) { this.totalMs = totalMs; this.open = open }

  shareMs(): number { return Math.max(0, this.totalMs - this.spentMs) / Math.max(1, this.open()) }
  spend(ms: number): void { this.spentMs += ms }
}

/** A program that runs, and how long a run of so many turns takes, in milliseconds. */
async function opened({ backend, backend: { processes }, clock = () => performance.now() }: Measuring, { graph, given }: Looped): Promise<{ readonly ms: (turns: number) => Promise<number>; readonly dispose: () => void }> {
  const devices = graph.mesh.size
  const program: Executable = await backend.compile({ text: emit(graph, { devicesAs: backend.devicesAs, kernels: await backend.kernels(), lowering: backend.lowering }), devices, donated: [] })
  const used = backend.addressable.filter(d => d < devices)
  const fixed = await Promise.all(used.map(d => Promise.all(given.map(t => { const shape = t.shape.map(x => x.size); return backend.put(hostArray(t.dtype, shape.reduce((a, b) => a * b, 1)), { shape, dtype: t.dtype }, d) }))))
  const ms = async (turns: number): Promise<number> => {
    const counts = await Promise.all(used.map(d => backend.put(Int32Array.of(turns), { shape: [], dtype: 'i32' }, d)))
    await barrier(processes, 'the start of a run')
    const start = clock()
    const results: DeviceBuffer[][] = await program.execute(used.map((_, i) => [...counts.slice(i, i + 1), ...fixed[i] ?? []]))
    await Promise.all(results.map(row => row[0]?.read()))
    const taken = clock() - start
    for (const b of [...counts, ...results.flat()]) b.dispose()
    // Ranks that share cores do not end together: what a run takes is what the last of them does.
    return slowest(processes, 'how long a run took', taken)
  }
  return { ms, dispose: () => { program.dispose(); for (const b of fixed.flat()) b.dispose() } }
}

/** How many turns take long enough, and what few of them take. */
async function turnsOf(ms: (turns: number) => Promise<number>, agreed: (value: number) => Promise<number>): Promise<{ readonly few: number; readonly turns: number }> {
  const few = await least(() => ms(1), 6)
  let turns = 3
  for (let taken = await ms(turns); turns < mostTurns; taken = await ms(turns)) {
    const next = taken - few > longEnoughMs ? turns : Math.min(mostTurns, Math.ceil(turns * Math.min(64, Math.max(2, 1.3 * longEnoughMs / Math.max(0.05, taken - few)))))
    const grown = await agreed(next)
    if (grown === turns) break
    turns = grown
  }
  return { few, turns }
}
/** All ranks do as the first. */
const agreement = ({ backend: { processes } }: Measuring) => async (value: number): Promise<number> => fromFirst(processes, 'how many turns', () => value)

/** Microseconds of a turn, of the rank that takes longest: the least of some rounds, or the middle one. Every rank of a job calls it. @throws what `signal` was aborted with */
export async function turnUs(measuring: Measuring, looped: Looped): Promise<number> {
  const { backend: { processes }, signal, rounds, usual = false, budget } = measuring
  signal?.throwIfAborted()
  const agreed = agreement(measuring)
  const { ms, dispose } = await opened(measuring, looped)
  const [began, share] = [performance.now(), budget?.shareMs() ?? Infinity]
  try {
    const { few, turns } = await turnsOf(ms, agreed)
    // What takes long is seldom disturbed for all of it. Where the time is short, fewer rounds do.
    const start = performance.now()
    const found = [await ms(turns)]
    const [now, round] = [performance.now(), performance.now() - start]
    const more = await agreed(Math.max(1, Math.min((few > 4 * longEnoughMs ? Math.min(3, rounds) : rounds) - 1, Math.floor((share - (now - began)) / Math.max(round, 0.01)))))
    for (let i = 0; i < more; i++) found.push(await ms(turns))
    found.sort((a, b) => a - b)
    const many = found[usual ? Math.floor(found.length / 2) : 0] ?? NaN
    return await fromFirst(processes, 'how long a turn took', () => 1000 * Math.max((many - few) / (turns - 1), leastShare * many / turns))
  } finally {
    budget?.spend(performance.now() - began)
    dispose()
  }
}

/**
 * Of pairs of programs, microseconds of a turn of the first, and by how much a turn of the second takes longer: medians, or another `quantile`, of rounds in which one follows the other, since what both take is much more than what they differ by, and a
 * machine is not as fast at any time. All pairs have their rounds in turn: how an operating system has spread threads over cores lasts for many runs, and is another one later. Every rank of a job calls it.
 * @throws what `signal` was aborted with
 */
export async function laterUs(measuring: Measuring, pairs: readonly (readonly [Looped, Looped])[], quantile = 0.5): Promise<readonly { readonly us: number; readonly later: number }[]> {
  const { backend: { processes }, signal, rounds, budget } = measuring
  signal?.throwIfAborted()
  const agreed = agreement(measuring)
  const open: Awaited<ReturnType<typeof opened>>[] = []
  try {
    for (const looped of pairs.flat()) open.push(await opened(measuring, looped))
    const [began, share] = [performance.now(), (budget?.shareMs() ?? Infinity) * pairs.length]
    const ready: { readonly a: typeof open[number]; readonly b: typeof open[number]; readonly turns: number; readonly few: number; readonly fewOther: number; readonly found: (readonly [number, number])[] }[] = []
    for (let i = 0; i < open.length; i += 2) {
      const [a, b] = open.slice(i, i + 2)
      if (a !== undefined && b !== undefined) ready.push({ a, b, ...await turnsOf(a.ms, agreed), fewOther: await least(() => b.ms(1), 6), found: [] })
    }
    const round = async (): Promise<void> => { for (const { a, b, turns, found } of ready) found.push([await a.ms(turns), await b.ms(turns)]) }
    const start = performance.now()
    await round()
    const more = await agreed(Math.max(4, Math.min(rounds, Math.floor((share - (performance.now() - began)) / Math.max(performance.now() - start, 0.01)))))
    for (let i = 0; i < more; i++) await round()
    budget?.spend(performance.now() - began)
    return await fromFirst(processes, 'how long turns took', () => ready.map(({ turns, few, fewOther, found }) => {
      const middle = (of: (pair: readonly [number, number]) => number): number => found.map(of).sort((x, y) => x - y)[Math.floor(quantile * found.length)] ?? NaN
      return { us: 1000 * Math.max(middle(([x]) => x - few), leastShare * few) / (turns - 1), later: 1000 * (middle(([x, y]) => y - x) - fewOther + few) / (turns - 1) }
    }))
  } finally {
    for (const { dispose } of open) dispose()
  }
}

async function least(measure: () => Promise<number>, rounds: number): Promise<number> {
  let found = Infinity
  for (let i = 0; i < rounds; i++) found = Math.min(found, await measure())
  return found
}
