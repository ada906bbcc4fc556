/** What a machine was measured to do lies in the cache: a quick calibration does not take the place of a full one unless it is told to. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { keepMachine, machinePath, measuredBy } from '../../src/calibrate/kept.ts'
import type { MachineInput } from '../../src/machine/machine.ts'

const machine = (quick: boolean, rate: number): MachineInput => ({
  name: 'here', devicesPerHost: 1, memory: { bytes: 1e9 }, peak: { f32: rate }, products: { f32: [{ side: 1, points: [[1e6, rate]] }] }, bandwidth: { peak: 1e10, points: [[1e6, 1e10]] },
  links: { within: { topology: 'switch', perFlow: 1e9, perHost: 1e9, latencyUs: 1 } }, sources: { products: `${measuredBy(quick)} on this machine` },
})
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'meshwork-machines-'))
  vi.stubEnv('MESHWORK_CACHE_DIR', folder)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true })
})
const rateKept = async (): Promise<number | undefined> => (JSON.parse(await readFile(machinePath('here'), 'utf8')) as MachineInput).peak.f32

test.each([
  { before: 'nothing', then: true, kept: true }, { before: 'quick', then: true, kept: true }, { before: 'full', then: true, kept: false }, { before: 'full', then: true, replace: true, kept: true }, { before: 'full', then: false, kept: true },
  { before: 'quick', then: false, kept: true }, { before: 'no JSON', then: true, kept: true },
])('over $before, quick: $then, to be replaced: $replace', async ({ before, then, replace, kept }) => {
  if (before !== 'nothing') await keepMachine(machine(before === 'quick', 1e9))
  if (before === 'no JSON') await writeFile(machinePath('here'), '{')
  expect(await keepMachine(machine(then, 2e9), replace)).toEqual({ path: machinePath('here'), kept })
  expect(await rateKept()).toBe(kept ? 2e9 : 1e9)
})
