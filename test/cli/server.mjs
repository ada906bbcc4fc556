// The command, many times in one process: starting Node and loading the command takes longer than most refusals.
// Plain JavaScript, so that nothing but the command itself knows of TypeScript here.
import { captured } from '../support/captured.mjs'

process.setSourceMapsEnabled(true)
// After that, as in bin/meshwork.js: only of modules that are loaded later the lines are those of the sources.
const { main } = await import('../../dist/src/cli/main.js')

process.on('message', async ({ args, cwd, env }) => {
  process.chdir(cwd)
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, env)
  process.exitCode = undefined
  const { printed, restore } = captured()
  const code = await main(args)
  restore()
  for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners('error')
  process.send({ code, signal: null, ...printed })
})
process.on('disconnect', () => { process.exit() })
