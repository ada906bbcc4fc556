/** Runs of several ranks: the mesh says who holds what, and a wish in the run's folder reaches all ranks. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { small } from '../cli/support.ts'
import { bin, flavours, mpirun, start, takes, type Ended, type Mpi } from '../mpi/support.ts'
import { noBrowser, openBrowser } from './support.ts'
import { faultsOf, openPage, openWatch } from './watching.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-ranks-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Job { readonly out: string; readonly ended: Promise<Ended>; readonly trains: Promise<void> }
/** A run that goes on until it is told to stop; `trains` resolves when it has made a step. */
function begin(mpi: Mpi, ranks: number, name: string, mesh: string): Job {
  const out = join(folder, name, 'run')
  let [resolve, reject] = [(): void => {}, (_: Error): void => {}]
  const trains = new Promise<void>((done, failed) => { [resolve, reject] = [done, failed] })
  const ended = mpirun(mpi, ranks, [process.execPath, bin, 'train', 'gpt-tiny', '--steps', '1000000', '--mesh', mesh, ...small, 'evaluation.every=1000000', 'checkpoint.every=1000000', '--out', out], { onOutput: all => { if (/step \d+\/1000000/.test(all)) resolve() } })
  void ended.then(({ code, err }) => { reject(new Error(`the job ended with ${code}: ${err}`)) }, reject)
  return { out, ended, trains }
}
const told = (wish: readonly string[], out: string): Promise<Ended> => start(process.execPath, [bin, ...wish, out])
const checkpointsIn = (out: string): string[] => readdirSync(join(out, 'checkpoints')).filter(name => /^step-\d+$/.test(name))
const lastStep = (out: string): number => readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n').map(line => JSON.parse(line) as { readonly step: number; readonly loss?: number }).filter(r => r.loss !== undefined).at(-1)?.step ?? -1

describe.each(flavours)('$name', ({ name, mpi, missing }) => {
  test.runIf(takes(mpi, 0))('two ranks: the mesh says which rank a device is, and on which host; they save when the command line says so and stop when the page does, with the state on disk', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const folderOf = name.replace(' ', '-')
    const { out, ended, trains } = begin(mpi, 2, folderOf, 'batch=2,model=1')
    await trains
    const saved = await told(['checkpoint', 'save'], out)
    expect(saved.code, saved.err).toBe(0)
    await expect.poll(() => checkpointsIn(out).length).toBe(1)
    // Without a browser there is the command that does the same.
    const looked = await stoppedByPage(join(folder, folderOf))
    if (!looked) expect(await told(['stop'], out)).toMatchObject({ code: 0 })
    const { code, err, out: printed } = await ended
    expect(code, `${printed}\n${err}`).toBe(0)
    const steps = lastStep(out) + 1
    expect(JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8'))).toMatchObject({ state: 'stopped', steps })
    expect(checkpointsIn(out).map(c => Number(c.slice(5)))).toContain(steps)
    // It is told once, and to nobody who comes later.
    expect(readdirSync(out).filter(f => f.startsWith('.wish'))).toEqual([])
    expect((await told(['stop'], out)).code).toBe(2)
    if (!looked) skip(noBrowser)
  })
})

/** Looks at the one run of a folder, and ends it. @returns whether there is a browser */
async function stoppedByPage(runs: string): Promise<boolean> {
  await using browser = await openBrowser()
  if (browser === undefined) return false
  await using watch = await openWatch(runs)
  const { page, wrong } = await openPage(browser, watch.url)
  try {
    await page.evaluate('location.hash = "#/mesh?run=run"')
    const last = page.locator('.figure[data-figure=mesh] svg [data-device="1"]')
    await last.filter({ hasText: 'rank 1' }).waitFor()
    expect(await last.locator('title').first().textContent()).toContain(`rank 1 at batch 1, model 0, on ${hostname()}`)
    await page.getByLabel('Device', { exact: true }).fill('1')
    expect(await page.getByLabel('Device 1', { exact: true }).innerText()).toMatch(new RegExp(`Rank 1[^]*${hostname()}`))
    expect(await faultsOf(page)).toEqual([])
    await page.evaluate('location.hash = "#/training?run=run"')
    await page.locator('main[data-view="training"] [data-figure=loss] canvas').first().waitFor()
    await page.getByRole('button', { name: 'Stop after this step' }).click()
    expect(wrong).toEqual([])
  } finally {
    await page.close()
  }
  return true
}
