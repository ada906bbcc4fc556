// What a start waits for before the compiler is asked: the default recipe's step, from its model to its text, once, in a new process of what was built. Its one line of output says how many milliseconds that took.
import { setFlagsFromString } from 'node:v8'

// As the command has it (bin/meshwork.js), and not through a loader of TypeScript, which writes stack traces itself.
for (const flag of process.versions.v8.startsWith('11.') ? ['--interrupt-budget=270336'] : ['--invocation-count-for-maglev=1600', '--invocation-count-for-turbofan=12000']) setFlagsFromString(flag)
process.setSourceMapsEnabled(true)
const { openBackend } = await import('../dist/src/index.js')
const { fit } = await import('../dist/src/train/index.js')
const { default: recipe } = await import('../dist/recipes/gpt-tiny.js')

// No batch is asked for: the first program that the backend is given to compile ends it.
const run = { ...recipe, data: { batch: () => ({}) } }
const plugin = await openBackend({ devices: Object.values(run.mesh).reduce((n, size) => n * size, 1), cache: false })
await plugin.kernels()
let taken
const backend = new Proxy(plugin, {
  get(of, name) {
    if (name === 'compile') return () => { taken ??= performance.now() - start; return Promise.reject(new Error('that is all')) }
    const value = Reflect.get(of, name)
    return typeof value === 'function' ? value.bind(of) : value
  },
})
const start = performance.now()
await fit(run, { backend }).catch(failure => { if (taken === undefined) throw failure })
await plugin.close()
process.stdout.write(`${taken}\n`)
