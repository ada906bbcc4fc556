/** A run that the system asks to end, whatever it does just then: it ends with the newest state, and the same command goes on to the same end. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { newestIn } from '../../src/checkpoint/index.ts'
import { found } from '../mpi/support.ts'
import { all } from '../support/depth.ts'
import { differences } from './compare.ts'
import { freshCache, soakText, start, type Ended, type Kill, type StartOptions } from './harness.ts'

const steps = 20
const folder = mkdtempSync(join(tmpdir(), 'meshwork-signals-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
writeFileSync(join(folder, 'text.txt'), soakText(1, steps))
const bin = fileURLToPath(new URL('../../bin/meshwork.js', import.meta.url))
const recipe = fileURLToPath(new URL('run.mjs', import.meta.url))
const train = (out: string, more: readonly string[]): readonly string[] => [process.execPath, bin, 'train', recipe, '--out', out, '--json', ...more]

/** A folder for runs of one kind, and what starts them. */
function place(name: string, options: Pick<StartOptions, 'command' | 'ranks'>) {
  const at = join(folder, name)
  freshCache(at)
  const out = (run: string): string => join(at, run)
  return { out, start: (run: string, kill?: Kill): Promise<Ended> => start({ ...options, folder, steps }, out(run), at, kill === undefined ? {} : { SOAK_KILL: JSON.stringify([kill]) }) }
}
/** That it ended by the signal, with its state on the disk. */
async function expectStopped({ killed, code, err }: Ended, out: string, reached: number): Promise<void> {
  expect([killed, code], err).toEqual([0, 143])
  const { state, steps: at } = JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8')) as { readonly state: string; readonly steps: number }
  expect([state, (await newestIn(out))?.manifest.step]).toEqual(['stopped', at])
  expect(at).toBeGreaterThanOrEqual(reached)
}
const term = (moment: Omit<Kill, 'signal'>): Kill => ({ ...moment, signal: 'SIGTERM' })

test('while data is prepared, programs are compiled, a held-out loss is measured, and a checkpoint is written', async () => {
  const { out, start: begin } = place('one', { ranks: 1, command: path => train(path, ['--plugin', 'simulate']) })
  // Before there is anything to lose it ends at once, and leaves nothing of a run.
  for (const moment of [{ at: 'prepare', n: 20 }, { at: 'compiling', n: 2 }] as const) {
    const { killed, code, err } = await begin('run', term(moment))
    expect([killed, code, existsSync(join(out('run'), 'run.json'))], err).toEqual([0, 143, false])
  }
  // Behind step 10 a held-out loss is due: it is told once, by whoever goes on.
  await expectStopped(await begin('run', term({ at: 'step', n: 9 })), out('run'), 10)
  // In what a step waits for: so small a run would be at its end before the disk is.
  await expectStopped(await begin('run', term({ at: 'save', step: 15, n: 3 })), out('run'), 15)
  expect((await begin('run')).code).toBe(0)
  expect((await begin('calm')).code).toBe(0)
  expect(differences(out('calm'), out('run'))).toEqual([])
})

test('one rank of two: killed within a checkpoint, and asked to end; the job goes on to the same end', async ({ skip }) => {
  // Four jobs, of which each rank traces by itself; test/mpi/failures.test.ts kills ranks and asks them to end each time.
  if (!all) return skip('npm run test:deep starts its four jobs')
  const [mpi] = found
  if (mpi === undefined) return skip('no mpirun and mpicc: apt-get install openmpi-bin libopenmpi-dev')
  const { out, start: begin } = place('two', { ranks: 2, command: path => [mpi.mpirun, '-n', '2', ...train(path, ['--plugin', 'cpu', '--mesh', 'batch=2', '--set', 'params.embed=batch'])] })
  const killed = await begin('run', { at: 'save', step: 5, n: 100, rank: 1 })
  expect(killed.killed).toBe(0)
  expect(killed.code).not.toBe(0)
  expect(existsSync(join(out('run'), 'checkpoints', 'step-5'))).toBe(false)
  await expectStopped(await begin('run', term({ at: 'step', n: 7, rank: 1 })), out('run'), 8)
  expect((await begin('run')).code).toBe(0)
  expect((await begin('calm')).code).toBe(0)
  expect(differences(out('calm'), out('run'))).toEqual([])
})
