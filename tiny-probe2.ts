// raw: time the pieces of Execute
import { PluginLibrary } from './src/runtime/pjrt/library.ts'
const acc = new Map<string, { n: number; sync: number; total: number; worst: number }>()
const note = (name: string, sync: number, total: number) => { const a = acc.get(name) ?? { n: 0, sync: 0, total: 0, worst: 0 }; a.n++; a.sync += sync; a.total += total; acc.set(name, a) }
const call = PluginLibrary.prototype.call, callAsync = PluginLibrary.prototype.callAsync
PluginLibrary.prototype.call = function (this: PluginLibrary, args: any) { const t = performance.now(); try { return call.call(this, args) } finally { const d = performance.now() - t; note(args.name, d, d) } } as never
PluginLibrary.prototype.callAsync = async function (this: PluginLibrary, args: any) { const t = performance.now(); const p = callAsync.call(this, args); const s = performance.now() - t; try { return await p } finally { note(args.name + ' async', s, performance.now() - t) } } as never
process.on('exit', () => { for (const [k, a] of acc) console.log(k.padEnd(50), a.n, 'sync us', (a.sync / a.n * 1000).toFixed(1), 'total us', (a.total / a.n * 1000).toFixed(1), 'sum ms', a.total.toFixed(0)) })
await import('./tiny-probe.ts')
