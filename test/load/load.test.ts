/** A server under load in a process of its own: nothing lost, doubled or mixed up, whoever leaves and whatever is sent. `npm run load` does it with 10,000 streams. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { load } from './clients.ts'
import { startServer } from './server.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-load-'))
afterAll(() => { rmSync(folder, { recursive: true, force: true }) })

test('200 streams, 40 at once', async () => {
  const server = await startServer({ folder, plugin: 'cpu', ranks: 1, atOnce: 16, queue: 256 })
  try {
    const { whole, left, hostile, wrong, notReady } = await load({ url: server.url, model: 'model', streams: 200, atOnce: 40, seed: 3, pids: server.pids() })
    expect(wrong).toEqual([])
    expect([whole + left + hostile, notReady]).toEqual([200, 0])
    expect([whole > 150, left > 5, hostile > 0]).toEqual([true, true, true])
  } finally {
    expect(await server.stop()).toBe(143)
  }
})
