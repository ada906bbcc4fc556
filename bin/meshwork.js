#!/usr/bin/env node
// The command: runs what was built, with lines of stack traces as they are in the sources.
import { withAllocator } from '../dist/src/runtime/pjrt/cpu/allocator.js'

await withAllocator(process.argv.slice(2))
process.setSourceMapsEnabled(true)
const { main } = await import('../dist/src/cli/main.js')
process.exitCode = await main(process.argv.slice(2))
