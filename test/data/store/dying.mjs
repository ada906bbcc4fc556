// Prepares a store and kills itself at its n-th write, sync, truncation, link, removal or rename: `node dying.mjs N OPTIONS`. Tells how many there were.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const [, , at, options] = process.argv
let calls = 0
const counted = f => function (...args) {
  if (++calls === Number(at)) process.kill(process.pid, 'SIGKILL')
  return f.apply(this, args)
}
const probe = await fs.promises.open(new URL(import.meta.url))
const handle = Object.getPrototypeOf(probe)
await probe.close()
for (const name of ['write', 'writeFile', 'sync', 'datasync', 'truncate']) handle[name] = counted(handle[name])
for (const name of ['rename', 'rm', 'link']) fs.promises[name] = counted(fs.promises[name])
syncBuiltinESMExports()
const { prepareStore } = await import('../../../dist/src/data/index.js')
const { resumed } = await prepareStore(JSON.parse(options))
process.stdout.write(JSON.stringify({ calls, resumed }))
