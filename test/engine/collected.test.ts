/** Results that nobody holds any more: freed when they are collected, and collected before they hold much. In a process of its own, with its own heap, as the package is built. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const root = new URL('../..', import.meta.url)
const program = (plugin: string, body: string): string => `
import { compile, dim, input, mesh, openBackend } from ${JSON.stringify(new URL('dist/src/index.js', root).href)}
const turn = () => new Promise(f => setTimeout(f, 0))
const backend = await openBackend({ plugin: '${plugin}', devices: 1 })
const n = dim('n', 1 << 18), x = input('x', [n])
const p = await compile(x_ => x_.mul(0.5), [x], { mesh: mesh({}), layout: {}, backend })
let r = await p(new Float32Array(1 << 18))
${body}
await backend.close()
`
const run = async (text: string, ...flags: string[]): Promise<unknown> => {
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, '--input-type=module', '-e', text], { cwd: root })
  return JSON.parse(stdout)
}

test.each(['simulate', 'cpu'])('%s: a megabyte a turn that nobody frees stays below a bound', async plugin => {
  const most = await run(program(plugin, `
    let most = 0
    for (let i = 0; i < 600; i++) {
      r = await p(r)
      await r.read()
      most = Math.max(most, backend.liveBuffers())
    }
    console.log(most)`))
  // 600 turns of 1 MiB; 128 MiB start a collection.
  expect(most).toBeLessThan(250)
})

test('simulate: many short programs let the loop of Node turn', async () => {
  const turns = await run(program('simulate', `
    let turns = 0
    const timer = setInterval(() => { turns++ }, 1)
    const end = performance.now() + 500
    while (performance.now() < end) await p(r)
    clearInterval(timer)
    console.log(turns)`))
  expect(turns).toBeGreaterThan(2)
})

test('what can be reached is kept, also by a piece alone', async () => {
  const [live, kept, piece] = await run(program('simulate', `
    const kept = await p(r)
    let [piece] = (await p(r)).pieces.values()
    for (let i = 0; i < 20; i++) await p(r)
    // What was made a moment ago is not looked after yet.
    while (backend.liveBuffers() > 3) { gc(); await turn() }
    for (let i = 0; i < 3; i++) { gc(); await turn() }
    console.log(JSON.stringify([backend.liveBuffers(), (await kept.read()).length, (await piece.read()).length]))`), '--expose-gc') as number[]
  expect([live, kept, piece]).toEqual([3, 1 << 18, 1 << 18])
})
