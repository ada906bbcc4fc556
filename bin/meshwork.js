#!/usr/bin/env node
// The command: runs what was built, with lines of stack traces as they are in the sources.
import { setFlagsFromString } from 'node:v8'
import { withAllocator } from '../dist/src/runtime/pjrt/cpu/allocator.js'

await withAllocator(process.argv.slice(2))
// What a start runs, it runs a few times. V8 would optimize much of it on other threads, which takes as much processor time as running it, and is done when nobody needs it any more:
// functions have to run four times as long as usual before that. What each step runs comes to be optimized all the same. Node 20 counts bytes of what has run, later ones calls; a flag that a V8 does not have it complains of.
const later = process.versions.v8.startsWith('11.') ? ['--interrupt-budget=270336'] : ['--invocation-count-for-maglev=1600', '--invocation-count-for-turbofan=12000']
for (const flag of later) setFlagsFromString(flag)
process.setSourceMapsEnabled(true)
const { main } = await import('../dist/src/cli/main.js')
process.exitCode = await main(process.argv.slice(2))
