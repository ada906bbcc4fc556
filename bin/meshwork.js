#!/usr/bin/env node
// The command: runs what was built, with lines of stack traces as they are in the sources.
import { withHugePages } from './huge-pages.js'

await withHugePages()
process.setSourceMapsEnabled(true)
const { main } = await import('../dist/src/cli/main.js')
process.exitCode = await main(process.argv.slice(2))
