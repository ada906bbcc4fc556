/** Run folders, live ones and written ones, a server over them, and pages of it that must not fail in any way. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Locator, Page } from 'playwright-core'
import { expect, test as declared, type TestContext } from 'vitest'
import { PlanThread } from '../../src/cli/plan-thread.ts'
import { openDashboard, type Dashboard, type DashboardOptions } from '../../src/dashboard/index.ts'
import { openBackend } from '../../src/engine/index.ts'
import { train, type Run, type TrainResult } from '../../src/train/index.ts'
import { all } from '../support/depth.ts'
import { noBrowser, type Browser } from './support.ts'

export interface Folder extends AsyncDisposable { readonly path: string }
export async function temporary(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), 'meshwork-watched-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

export interface Watch extends AsyncDisposable { readonly dashboard: Dashboard; readonly url: string; readonly problems: string[] }
export async function openWatch(runs: string, options: Partial<DashboardOptions> = {}): Promise<Watch> {
  const problems: string[] = []
  const dashboard = await openDashboard({ runs, planner: new PlanThread(), log: p => { problems.push(p) }, ...options })
  return { dashboard, url: dashboard.url, problems, [Symbol.asyncDispose]: () => dashboard.close() }
}

export interface Live extends AsyncDisposable {
  readonly folder: string
  readonly done: Promise<TrainResult>
  /** Lets it take so many steps more, and resolves once they are told of. */
  let(steps: number): Promise<void>
}
/** A run that trains on pretend devices as far as a test lets it. */
export async function openLive(run: Run, folder: string): Promise<Live> {
  let [allowed, told]: [number, number] = [0, 0]
  let wake = (): void => {}
  const over = new AbortController()
  const backend = await openBackend({ plugin: 'simulate', devices: Object.values(run.mesh).reduce((a, b) => a * b, 1) })
  const waiting: { readonly at: number; readonly resolve: () => void }[] = []
  const hear = (): void => { for (const w of waiting.filter(x => x.at <= told)) w.resolve() }
  const done = train(run, {
    backend, out: folder, signal: over.signal, onEvent: e => {
      if (e.type !== 'step') return
      told = e.step + 1
      hear()
    },
    // The numbers of a step are read when the next has been launched: one more is let through than is told of.
    beside: () => Promise.resolve(async step => { while (step > allowed && !over.signal.aborted) await new Promise<void>(resolve => { wake = resolve }) }),
  })
  const ended = done.catch(() => undefined).finally(() => { told = Infinity; hear() })
  return {
    folder, done,
    let(steps) {
      allowed += steps
      wake()
      const at = allowed
      return new Promise(resolve => { waiting.push({ at, resolve }); hear() })
    },
    async [Symbol.asyncDispose]() {
      over.abort()
      wake()
      await ended
      await backend.close()
    },
  }
}

export interface Written { readonly name?: string; readonly steps: number; readonly state?: 'finished' | 'stopped' | 'failed'; readonly code?: string; readonly why?: string; readonly run?: object; readonly loss?: (step: number) => number; readonly evalEvery?: number; readonly journal?: readonly object[] }
export const metricsLine = (step: number, loss: number): string => `${JSON.stringify({
  step, loss, gradNorm: 1 + Math.sin(step), updateNorm: 0.01, paramNorm: 10 + step / 1000, learningRate: 1e-3, seen: 64 * (step + 1),
  time: { stepMs: 10 + step % 3, dataWaitMs: 0.1, perSecond: 6400, flopsPerSecond: 1e9, ofPeak: 0.4 },
}, (_, x: unknown) => (typeof x === 'number' && !Number.isFinite(x) ? String(x) : x))}\n`
/** A run's folder as it would be after so many steps, without training. */
export async function writeRun(folder: string, { name = 'written', steps, state = 'finished', code, why, run = {}, loss = step => 5 * Math.exp(-step / 1000) + 0.1 * Math.sin(step), evalEvery = 100, journal = [] }: Written): Promise<void> {
  await mkdir(folder, { recursive: true })
  const lines: string[] = []
  for (let step = 0; step < steps; step++) {
    lines.push(metricsLine(step, loss(step)))
    if ((step + 1) % evalEvery === 0) lines.push(`${JSON.stringify({ step, evalLoss: loss(step) + 0.2, metrics: {} })}\n`)
  }
  await writeFile(join(folder, 'metrics.jsonl'), lines.join(''))
  await writeFile(join(folder, 'run.json'), JSON.stringify({ id: 'abc', version: '0', recipe: 'gpt-tiny', run: { name, steps, mesh: { batch: 2, model: 2 }, ...run }, identity: {} }))
  await writeFile(join(folder, 'journal.jsonl'), journal.map(j => `${JSON.stringify(j)}\n`).join(''))
  await writeFile(join(folder, 'summary.json'), JSON.stringify({ state, steps, ...(code === undefined ? {} : { code }), ...(why === undefined ? {} : { why }) }))
}

/** Rows of metrics.jsonl, those of steps apart from evaluations. */
export async function metricsOf(folder: string): Promise<{ readonly steps: readonly Record<string, number>[]; readonly evaluations: readonly { readonly step: number; readonly evalLoss: number }[] }> {
  const rows = (await readFile(join(folder, 'metrics.jsonl'), 'utf8')).trim().split('\n').map(l => JSON.parse(l) as Record<string, unknown>)
  return {
    steps: rows.filter(r => r['time'] !== undefined).map(({ time, ...r }) => ({ ...r, ...time as object }) as Record<string, number>),
    evaluations: rows.filter(r => 'evalLoss' in r) as unknown as { step: number; evalLoss: number }[],
  }
}

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
interface Fault { readonly id: string; readonly impact: string; readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[] }
/** Faults by which somebody could not use the page. */
export async function faultsOf(page: Page): Promise<string[]> {
  // By the debugger: the page's own policy lets no script be added.
  await page.evaluate(await readFile(axe, 'utf8'))
  const found = await page.evaluate('axe.run(document, { resultTypes: ["violations"] }).then(r => r.violations)') as readonly Fault[]
  return found.filter(f => f.impact === 'serious' || f.impact === 'critical').map(f => `${f.id}: ${f.nodes.map(n => `${n.html.slice(0, 160)} (${n.failureSummary.split('\n').slice(1).join(' ').slice(0, 200)})`).join(' | ')}`)
}

interface Row { querySelectorAll(selector: string): Iterable<{ readonly textContent: string }> }
/** What rows of a table say, cell by cell: asked of the browser at once, since each question takes as long as all of them. */
export const cellsOf = (rows: Locator): Promise<string[][]> => rows.evaluateAll(found => (found as unknown as readonly Row[]).map(row => [...row.querySelectorAll('th, td')].map(cell => cell.textContent)))

export interface Checked { readonly page: Page; readonly wrong: string[] }
/** A page that is watched: what it throws, warns of, or asks others for is wrong. */
export async function openPage(browser: Browser, url: string): Promise<Checked> {
  const page = await browser.context.newPage()
  const wrong: string[] = []
  page.on('pageerror', e => { wrong.push(e.message) })
  page.on('console', m => { if (m.type() === 'error' || m.type() === 'warning') wrong.push(m.text()) })
  page.on('request', r => { if (!r.url().startsWith(new URL(url).origin) && !r.url().startsWith('blob:')) wrong.push(r.url()) })
  await page.goto(url)
  return { page, wrong }
}
/** Views that were without faults at the end of a test: what one has shown others look at where tests are deep. */
const faultless = new Set<unknown>()
/** A test in a page, which is without faults at its end too. */
export function checked(name: string, browser: () => Browser | undefined, url: () => string, run: (page: Page, context: TestContext) => Promise<void>): void {
  declared(name, async context => {
    const own = browser()
    if (own === undefined) return context.skip(noBrowser)
    const { page, wrong } = await openPage(own, url())
    try {
      await run(page, context)
      const view = await page.evaluate('document.querySelector("main")?.dataset.view')
      if (all || !faultless.has(view)) expect(await faultsOf(page)).toEqual([])
      faultless.add(view)
      expect(wrong).toEqual([])
    } finally {
      await page.close()
    }
  })
}
