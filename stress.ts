// several multi-device programs in flight
import { compile, dims, input, mesh, openBackend } from './src/engine/index.ts'
const n = Number(process.argv[2] ?? 4)
const backend = await openBackend({ devices: n, cache: false })
const d = dims({ a: 64, b: 64 })
const x = input('x', [d.a, d.b])
const where = { mesh: mesh({ m: n }), layout: { a: 'm' }, backend }
const p = await compile((x_: typeof x) => { let y = x_; for (let i = 0; i < 5; i++) y = y.sub(y.mean()).add(y.dot(y.rename('a', 'c'), 'b').mean()).mul(0.5); return y }, [x] as const, where)
const q = await compile((x_: typeof x) => ({ s: x_.sum(), y: x_.relayout({ b: 'm' }).add(1).relayout({ a: 'm' }) }), [x] as const, { ...where, donate: [0] })
let t = performance.now()
let r = await p(Float32Array.from({ length: 4096 }, (_, i) => i % 7))
const sums: any[] = []
for (let i = 0; i < 2000; i++) { const o = await q(r); o.s && sums.push(o.s); const r2 = await p(o.y); o.y.dispose(); r = r2; if (sums.length > 20) { await sums.shift().item() } }
console.log('sequential awaits', (performance.now() - t).toFixed(0), await r.read().then(v => v[0]), backend.liveBuffers())
t = performance.now()
const all = await Promise.all(Array.from({ length: 500 }, () => p(r)))
console.log('at once', (performance.now() - t).toFixed(0)); for (const a of all) { await a.read(); a.dispose() }
await backend.close()
