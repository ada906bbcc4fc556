// Loaded before a program (`node --import`): sends its process a signal, SIGKILL unless told, where SOAK_KILL says; or counts, into SOAK_COUNTS, the moments there are.
//   {"at": "prepare" | "save" | "log", "n", "step"}  at the n-th call that changes files of that kind, of the save of that step; a line of the log is then written by half
//   {"at": "step" | "eval" | "compiling", "n"}  when the run tells of it: of that step, or the n-th time
//   {"at": "time" | "compile", "n"}  n ms after the program has begun, or after it has begun to compile, whatever it does then
// `rank` says in which process of a job. Of several moments the first that comes counts: its place in the list is written to SOAK_DEAD just before.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { isMainThread, Worker } from 'node:worker_threads'

const { SOAK_KILL: asked, SOAK_COUNTS: counting, SOAK_DEAD: dead = '', OMPI_COMM_WORLD_RANK: open, PMI_RANK: mpich } = process.env
const rank = Number(open ?? mpich ?? 0)
const moments = (asked === undefined ? [] : JSON.parse(asked)).map((moment, i) => ({ ...moment, i })).filter(moment => (moment.rank ?? 0) === rank)
const { writeFileSync } = fs
const die = ({ i, signal = 'SIGKILL' }) => {
  writeFileSync(dead, `${i}`)
  process.kill(process.pid, signal)
}
/** From a thread: this one may be busy with native code. */
const dieAfter = ({ i, n }) => {
  const text = `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${n}); require('node:fs').writeFileSync(${JSON.stringify(dead)}, '${i}'); process.kill(process.pid, 'SIGKILL')`
  new Worker(text, { eval: true, env: {}, execArgv: [] }).unref()
}

/** Steps whose checkpoints got their names, or lost them: they are not being written any more. */
const named = new Set()
/** What kind of file it is, and of a save which step's. */
const kindOf = path => {
  const text = String(path)
  const [, step] = /[/]step-(\d+)\.(?:tmp|old)-/.exec(text) ?? []
  return step !== undefined ? named.has(step) ? undefined : `save-${step}` : /\.preparing[/]/.test(text) || /\.preparing$/.test(text) ? 'prepare' : text.endsWith('metrics.jsonl') ? 'log' : undefined
}
const counts = {}
/** The moment that has come with this call, if one has. */
const called = path => {
  const kind = kindOf(path)
  if (kind === undefined) return undefined
  const n = counts[kind] = (counts[kind] ?? 0) + 1
  return moments.find(m => (m.at === 'save' ? `save-${m.step}` : m.at) === kind && m.n === n)
}

const paths = new WeakMap()
const probe = await fs.promises.open(new URL(import.meta.url))
const handle = Object.getPrototypeOf(probe)
await probe.close()
const opens = fs.promises.open
fs.promises.open = async (path, ...how) => {
  const moment = called(path)
  if (moment !== undefined) die(moment)
  const file = await opens(path, ...how)
  paths.set(file, path)
  return file
}
for (const name of ['write', 'writeFile', 'appendFile', 'sync', 'datasync', 'truncate']) {
  const does = handle[name]
  handle[name] = function (data, ...more) {
    const path = paths.get(this)
    const moment = path === undefined ? undefined : called(path)
    if (moment !== undefined) {
      if (moment.at === 'log' && data instanceof Uint8Array) fs.appendFileSync(path, data.subarray(0, data.length >> 1))
      die(moment)
    }
    return does.call(this, data, ...more)
  }
}
for (const name of ['rename', 'rm', 'link', 'mkdir', 'unlink', 'rmdir', 'copyFile']) {
  const does = fs.promises[name]
  fs.promises[name] = (path, ...more) => {
    const moment = called(path)
    if (moment !== undefined) die(moment)
    if (name === 'rename') named.add(/[/]step-(\d+)/.exec(String(path))?.[1])
    return does(path, ...more)
  }
}
syncBuiltinESMExports()

const told = {}
globalThis.meshworkSoak = ({ type, step }) => {
  const n = told[type] = (told[type] ?? 0) + 1
  if (type === 'started') counts.startedMs = performance.now()
  for (const moment of moments) {
    if (moment.at === type && moment.n === (type === 'step' ? step : n)) die(moment)
    if (moment.at === 'compile' && type === 'compiling' && n === 1) dieAfter(moment)
  }
}
if (isMainThread) {
  for (const moment of moments) if (moment.at === 'time') dieAfter(moment)
  if (counting !== undefined) process.on('exit', () => { writeFileSync(`${counting}-${rank}`, JSON.stringify(counts)) })
}
