// The command, many times in one process: starting Node and loading the command takes longer than most refusals.
// Plain JavaScript, so that nothing but the command itself knows of TypeScript here.
process.setSourceMapsEnabled(true)
// After that, as in bin/meshwork.js: only of modules that are loaded later the lines are those of the sources.
const { main } = await import('../../dist/src/cli/main.js')

process.on('message', async ({ args, cwd, env }) => {
  process.chdir(cwd)
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, env)
  process.exitCode = undefined
  const printed = { out: '', err: '' }
  const kept = [[process.stdout, 'out'], [process.stderr, 'err']].map(([stream, key]) => {
    const { write } = stream
    stream.write = (chunk, ...rest) => {
      printed[key] += chunk.toString()
      rest.find(r => typeof r === 'function')?.()
      return true
    }
    return () => { stream.write = write; stream.removeAllListeners('error') }
  })
  const code = await main(args)
  for (const restore of kept) restore()
  process.send({ code, signal: null, ...printed })
})
process.on('disconnect', () => { process.exit() })
