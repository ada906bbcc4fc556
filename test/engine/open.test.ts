/** What `openBackend` makes of `auto`. */
import { expect, test } from 'vitest'
import { openBackend } from '../../src/engine/index.ts'
import { choosePlugin, type Choice } from '../../src/runtime/plugins/index.ts'

test('auto is the plugin of the best device that can be used here, and says which and why', async () => {
  const heard: Choice[] = []
  await using backend = await openBackend({ plugin: 'auto', onChoice: choice => { heard.push(choice) } })
  const expected = await choosePlugin()
  expect(heard).toEqual([expected])
  expect(backend.lowering.platform).toBe(expected.plugin)
})

test('nothing is said of a plugin that was named', async () => {
  await using backend = await openBackend({ plugin: 'simulate', onChoice: () => { throw new Error('it was named') } })
  expect(backend.name).toBe('simulate')
})
