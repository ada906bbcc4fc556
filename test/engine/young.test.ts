/** What a step drops: V8 collects it while it is young, for nothing that has become old still points at it. In a process of its own, with its own heap, as the package is built. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { median } from '../../bench/measure.ts'

const root = new URL('../..', import.meta.url)
const program = (plugin: string): string => `
import { compile, dim, input, mesh, openBackend } from ${JSON.stringify(new URL('dist/src/index.js', root).href)}
const backend = await openBackend({ plugin: '${plugin}', devices: 1 })
const n = dim('n', 4)
const state = Object.fromEntries(Array.from({ length: 48 }, (_, i) => ['x' + i, input('x' + i, [n])]))
const step = await compile(s => Object.fromEntries(Object.entries(s).map(([key, x]) => [key, x.mul(0.5)])), [state], { mesh: mesh({}), layout: {}, backend, donate: [0] })
let now = Object.fromEntries(Object.keys(state).map(key => [key, new Float32Array(4)]))
for (let i = 0; i < 3000; i++) {
  now = await step(now)
  await now.x0.read()
}
await backend.close()
`

test('a loop of short steps leaves a scavenge little to copy', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--trace-gc', '--max-semi-space-size=4', '--input-type=module', '-e', program('cpu')], { cwd: root })
  // Megabytes in use before each scavenge and after it.
  const scavenges = [...stdout.matchAll(/Scavenge ([\d.]+) \([\d.]+\) -> ([\d.]+) /g)].map(([, before, after]) => ({ before: Number(before), after: Number(after) }))
  const last = scavenges.slice(-12)
  const survived = last.slice(1).map(({ before, after }, i) => (after - (last[i]?.after ?? NaN)) / (before - (last[i]?.after ?? NaN)))
  expect(survived.length).toBe(11)
  // It was a quarter to a third, of what steps that were long over had had.
  expect(median(survived)).toBeLessThan(0.1)
})
