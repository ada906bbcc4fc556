/** What a run's files tell: read once and then only what is new, anew where they were cut, and row by row where one looks closely. */
import { appendFile, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { History, mostRows } from '../../src/dashboard/history.ts'
import { Runs } from '../../src/dashboard/runs.ts'
import { claimFolder } from '../../src/io/claim.ts'
import { metricsLine, metricsOf, temporary, writeRun } from '../page/watching.ts'

const metrics = (folder: string): string => join(folder, 'metrics.jsonl')

test('what comes is told once, each row as it is in the file; half a line waits for its end', async () => {
  await using own = await temporary()
  await writeRun(own.path, { steps: 10, evalEvery: 5 })
  const history = new History(own.path)
  await history.refresh()
  const { next } = history
  expect(await history.since(next)).toEqual({ steps: [], evaluations: [], marks: [], next })
  const line = metricsLine(10, 1.25)
  await appendFile(metrics(own.path), line.slice(0, 20))
  expect((await history.since(next))?.steps).toEqual([])
  await appendFile(metrics(own.path), `${line.slice(20)}{"step":10,"evalLoss":"NaN","metrics":{}}\n{"type":"skipped","step":10,"why":"its loss is NaN"}\nnot JSON\n`)
  await appendFile(join(own.path, 'journal.jsonl'), '{"at":5,"type":"checkpoint","step":11,"path":"p","bytes":1,"waitMs":1,"totalMs":1}\n')
  const news = await history.since(next)
  expect(news?.steps).toEqual([JSON.parse(line)])
  expect(news?.evaluations).toEqual([{ step: 10, evalLoss: 'NaN', metrics: {} }])
  expect(news?.marks.map(m => [m.type, m.step])).toEqual([['skipped', 10], ['checkpoint', 11]])
  expect((await history.series(['loss'], { points: 100 })).values.loss).toEqual((await metricsOf(own.path).catch(async () => ({ steps: (await readFile(metrics(own.path), 'utf8')).split('\n').filter(l => l.includes('stepMs')).map(l => JSON.parse(l) as Record<string, number>) }))).steps.map(s => s['loss']))
  // Another process of the server goes on from the same place.
  expect((await new History(own.path).since(next))?.steps).toEqual([JSON.parse(line)])
  // Of more than one would read one by one the series is to be asked for.
  await appendFile(metrics(own.path), Array.from({ length: mostRows + 1 }, (_, i) => metricsLine(11 + i, 1)).join(''))
  expect(await history.since(next)).toBeUndefined()
})

test('a file that was cut, and one that was cut and has grown beyond, are other files', async () => {
  await using own = await temporary()
  await writeRun(own.path, { steps: 10 })
  const history = new History(own.path)
  await history.refresh()
  const { next } = history
  const at = (await readFile(metrics(own.path))).indexOf('\n', 1000) + 1
  await truncate(metrics(own.path), at)
  expect(await history.since(next)).toBeUndefined()
  const left = (await readFile(metrics(own.path), 'utf8')).split('\n').length - 1
  expect((await history.series(['loss'], { points: 100 })).rows).toBe(left)
  const { next: then } = history
  await truncate(metrics(own.path), 0)
  await writeFile(metrics(own.path), Array.from({ length: 20 }, (_, i) => metricsLine(i, 2)).join(''))
  expect(await history.since(then)).toBeUndefined()
  expect((await history.series(['loss'], { points: 100 })).values.loss).toEqual(Array.from({ length: 20 }, () => 2))
  // What is no place at all is none either.
  for (const wrong of ['', '1-2', 'x-y-z', '-5-0-0', '99999999-0-0']) expect([wrong, await history.since(wrong)]).toEqual([wrong, undefined])
})

test('a closer look at a long run is row by row, with its time from the beginning', async () => {
  await using own = await temporary()
  await writeRun(own.path, { steps: 12_000 })
  const history = new History(own.path)
  const whole = await history.series(['loss'], { points: 500 })
  expect(whole.span).toBeGreaterThan(1)
  const close = await history.series(['loss', 'gradNorm'], { points: 500, from: 7000, to: 7200 })
  const { steps } = await metricsOf(own.path)
  const rows = steps.slice(7000, 7201)
  const { span, step, values } = close
  expect(span).toBe(1)
  const inside = step.map((s, i) => [s, values.loss?.[i], values.gradNorm?.[i]]).filter(([s]) => (s ?? 0) >= 7000)
  expect(inside).toEqual(rows.map(r => [r['step'], r['loss'], r['gradNorm']]))
  const seconds = steps.slice(0, 7001).reduce((n, r) => n + (r['stepMs'] ?? 0) / 1000, 0)
  expect(close.elapsed[step.indexOf(7000)]).toBeCloseTo(seconds, 6)
})

test('states, by what is in the folder', async () => {
  await using own = await temporary()
  const at = (name: string): string => join(own.path, name)
  await writeRun(at('finished'), { steps: 5 })
  await writeRun(at('stopped'), { steps: 5, state: 'stopped' })
  await writeRun(at('failed'), { steps: 5, state: 'failed', code: 'write', why: 'no room' })
  await writeRun(at('sub/diverged'), { steps: 5, state: 'failed', code: 'bad-step', why: 'step 5 is bad' })
  await writeRun(at('infinite'), { steps: 5 })
  await writeFile(join(at('infinite'), 'summary.json'), '{"state":"finished","steps":5,"evalLoss":"NaN"}')
  for (const name of ['running', 'lost']) {
    await writeRun(at(name), { steps: 5 })
    await (await import('node:fs/promises')).rm(join(at(name), 'summary.json'))
  }
  await using _ = await claimFolder(at('running'))
  await writeFile(join(at('lost'), '.lock'), '{"pid":1,"host":"here","boot":"of another start","start":"1"}'.replace('here', (await import('node:os')).hostname()))
  const runs = await Runs.open(own.path)
  expect(Object.fromEntries(runs.rows.map(r => [r.id, r.state]))).toEqual({ 'finished': 'finished', 'stopped': 'stopped', 'failed': 'failed', 'sub/diverged': 'diverged', 'infinite': 'diverged', 'running': 'running', 'lost': 'lost' })
  expect(runs.rows.find(r => r.id === 'failed')?.why).toBe('no room')
  // A folder that is a run is the one run of it.
  expect((await Runs.open(at('finished'))).rows.map(r => [r.id, r.step, r.loss])).toEqual([['.', 5, (await metricsOf(at('finished'))).steps.at(-1)?.['loss']]])
  await expect(Runs.open(at('none'))).rejects.toThrow(/FileError\[no-runs\] there is no folder/)
})
