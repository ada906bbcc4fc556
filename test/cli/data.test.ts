/** `meshwork data`: what it prints, what can be wrong, and an interruption. */
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jsonLines, tokenizerPath } from '../data/store/corpus.ts'
import { openServer, run, temporaryPlace, type Server } from './support.ts'

const place = temporaryPlace()
let server: Server
const meshwork = (...args: readonly string[]) => server.run(args.map(a => a.replaceAll('$F', place.path)), { cwd: place.path })
const prepare = (...args: readonly string[]): readonly string[] => ['data', 'prepare', '$F/corpus.jsonl', '--workers', '1', ...args]
const given = ['--tokenizer', tokenizerPath]

beforeAll(async () => {
  server = openServer()
  place.file('corpus.jsonl', jsonLines(1, 60, 40))
  place.file('bad.jsonl', '{"text":"fine"}\n{"text"\n')
  place.file('other.jsonl', '{"body":"fine"}\n')
  place.file('empty.jsonl', '')
  place.file('blank.jsonl', '{"text":""}\n')
  place.file('lonely.jsonl', '{"messages":[{"role":"user","content":"hm"}]}\n')
  place.file('broken.json', '{')
  place.file('taken/note.txt', 'mine')
  place.file('bare.idx', 'MMIDIDX')
  place.file('bare.bin', '')
  await meshwork(...prepare(...given, '--out', '$F/store'))
})
afterAll(() => { place.remove() })

describe('bad input', () => {
  const cases: readonly { readonly name: string; readonly args: readonly string[]; readonly exit: 1 | 2; readonly says: readonly (string | RegExp)[] }[] = [
    { name: 'no files', args: ['data', 'prepare', '--out', '$F/x'], exit: 2, says: ['missing-argument', 'files'] },
    { name: 'no --out', args: ['data', 'prepare', '$F/corpus.jsonl'], exit: 2, says: ['missing-mandatory-option-value', '--out'] },
    { name: 'an --out without a name', args: prepare('--out', ''), exit: 2, says: ['flag', '--out'] },
    { name: 'a missing file', args: ['data', 'prepare', '$F/corpus.json', '--out', '$F/x'], exit: 1, says: ['no-such-file', 'corpus.json'] },
    { name: 'a file given twice', args: ['data', 'prepare', '$F/corpus.jsonl', '$F/corpus.jsonl', '--out', '$F/x'], exit: 2, says: ['file-twice', 'corpus.jsonl', 'epochs'] },
    { name: 'a line that is no JSON', args: ['data', 'prepare', '$F/bad.jsonl', '--out', '$F/x', ...given], exit: 1, says: [/bad\.jsonl:2/] },
    { name: 'a field that is not there', args: ['data', 'prepare', '$F/other.jsonl', '--out', '$F/x', ...given], exit: 1, says: [/other\.jsonl:1/] },
    { name: 'nothing in the files', args: ['data', 'prepare', '$F/blank.jsonl', '--out', '$F/x', ...given], exit: 1, says: ['no-documents', 'blank.jsonl'] },
    { name: 'a chat without a turn to learn', args: ['data', 'prepare', '$F/lonely.jsonl', '--out', '$F/x', ...given], exit: 1, says: ['chat-without-loss', 'lonely.jsonl:1', '--loss'] },
    { name: 'a tokenizer that is not there', args: prepare('--out', '$F/x', '--tokenizer', '$F/tok.json'), exit: 1, says: ['read', 'tok.json'] },
    { name: 'a tokenizer that is none', args: prepare('--out', '$F/x', '--tokenizer', '$F/broken.json'), exit: 1, says: ['tokenizer-format', 'broken.json'] },
    { name: 'a tokenizer given and learnt', args: prepare('--out', '$F/x', ...given, '--vocab', '300'), exit: 2, says: ['flag', '--tokenizer and --vocab'] },
    { name: 'a vocabulary without room for the bytes', args: prepare('--out', '$F/x', '--vocab', '256'), exit: 2, says: ['flag', '--vocab', '257'] },
    { name: 'a vocabulary that is no number', args: prepare('--out', '$F/x', '--vocab', 'many'), exit: 2, says: ['flag', '"many"'] },
    { name: 'an end token that there is not', args: prepare('--out', '$F/x', ...given, '--end', '</s>'), exit: 2, says: ['no-such-token', '</s>', '<|endoftext|>'] },
    { name: 'a begin token that a learnt tokenizer has not', args: prepare('--out', '$F/x', '--begin', '<s>'), exit: 2, says: ['no-such-token', '<s>'] },
    { name: 'no workers', args: ['data', 'prepare', '$F/corpus.jsonl', '--out', '$F/x', '--workers', '0'], exit: 2, says: ['flag', '--workers'] },
    { name: 'an unknown format', args: prepare('--out', '$F/x', '--format', 'jsnl'), exit: 2, says: ['flag', '"jsnl"', 'did you mean "jsonl"'] },
    { name: 'a field without a format', args: prepare('--out', '$F/x', '--field', 'body'), exit: 2, says: ['flag', '--field', '--format jsonl'] },
    { name: 'a flag of another format', args: prepare('--out', '$F/x', '--format', 'text', '--delimiter', ';'), exit: 2, says: ['flag', '--delimiter', 'csv'] },
    { name: 'a delimiter of two characters', args: prepare('--out', '$F/x', '--format', 'csv', '--delimiter', ';;'), exit: 2, says: ['flag', '";;"'] },
    { name: 'no role to learn', args: prepare('--out', '$F/x', '--loss', 'user,'), exit: 2, says: ['flag', '--loss'] },
    { name: 'an --out that is something else', args: prepare('--out', '$F/taken', ...given), exit: 1, says: ['out-taken', 'note.txt'] },
    { name: 'an --out that is a file', args: prepare('--out', '$F/bad.jsonl', ...given), exit: 1, says: ['out-taken'] },
    { name: 'an --out below a file', args: prepare('--out', '$F/bad.jsonl/x', ...given), exit: 1, says: [/out-taken|write/] },
    { name: 'a store that was made otherwise', args: prepare('--out', '$F/store', ...given, '--end', 'none'), exit: 1, says: ['store-differs', 'end', 'rm -r'] },
    { name: 'showing what is no store', args: ['data', 'show', '$F/taken'], exit: 1, says: ['no-store', 'taken'] },
    { name: 'showing what is not there', args: ['data', 'show', '$F/nowhere'], exit: 1, says: ['no-store', 'nowhere'] },
    { name: 'showing an index cut short', args: ['data', 'show', '$F/bare'], exit: 1, says: ['store-index', 'bare.idx'] },
    { name: 'a document that there is not', args: ['data', 'show', '$F/store', '--doc', '60'], exit: 2, says: ['flag', '0 to 59'] },
    { name: 'a document that is no number', args: ['data', 'show', '$F/store', '--doc', 'last'], exit: 2, says: ['flag', '"last"'] },
    { name: 'an unknown command', args: ['data', 'shwo'], exit: 2, says: ['unknown-command', 'did you mean "show"'] },
  ]
  it.each(cases)('$name', async ({ args, exit, says }) => {
    const { code, out, err } = await meshwork(...args)
    expect([code, out]).toEqual([exit, ''])
    for (const part of says) expect(err).toMatch(part)
    expect(err).not.toMatch(/^ {4}at /m)
    expect(existsSync(join(place.path, 'x'))).toBe(false)
  })
})

it('prepares, says what it made, finds it again, and shows it', async () => {
  const { code, out } = await meshwork(...prepare(...given, '--out', '$F/store'))
  expect([code, out]).toEqual([0, expect.stringMatching(/^it was there already[^]*\ndocuments {2}60\n[^]*data show .*store\n$/)])
  const shown = await meshwork('data', 'show', '$F/store', '--verify')
  expect(shown.out).toMatch(/^documents {2}60, [^]*tokenizer {2}400 tokens; begin none, end <\|endoftext\|> \(0\)\n[^]*checksums {2}all as written\n\ndocument 30, .*corpus\.jsonl:31/)
  const json = JSON.parse((await meshwork('data', 'show', '$F/store', '--json')).out) as { readonly documents: number; readonly parts: unknown }
  expect([json.documents, json.parts]).toEqual([60, [expect.objectContaining({ documents: 60 })]])
  const doc = JSON.parse((await meshwork('data', 'show', '$F/store', '--doc', '3', '--json')).out) as { readonly text: string; readonly source: object }
  const { text } = JSON.parse(readFileSync(join(place.path, 'corpus.jsonl'), 'utf8').split('\n')[3] ?? '') as { readonly text: string }
  expect([doc.text, doc.source]).toEqual([`${text}<|endoftext|>`, expect.objectContaining({ record: 3 })])
  const made = JSON.parse((await meshwork(...prepare('--vocab', '280', '--out', '$F/learnt', '--json'))).out) as { readonly made: boolean; readonly vocab: number }
  expect([made.made, made.vocab]).toEqual([true, 280])
})

it('a store shown on a terminal moves no cursor', async () => {
  place.file('odd.jsonl', `${JSON.stringify({ text: 'a\u001b[2Jb' })}\n`)
  await meshwork('data', 'prepare', '$F/odd.jsonl', '--out', '$F/odd', ...given, '--workers', '1')
  expect((await meshwork('data', 'show', '$F/odd')).out).not.toContain('\u001b')
})

it('SIGTERM ends it with 143 in the middle of its work, and while a server keeps it waiting; the same command goes on', async () => {
  const body = Buffer.from(jsonLines(5, 200, 60))
  // What is called when half of the text has gone out and the rest does not come; once there is nothing to call, all of it comes.
  let halfway: (() => void) | undefined
  const host = createServer((request, response) => {
    response.writeHead(200, { etag: '"one"', 'content-length': body.length })
    // The first byte alone is asked for to learn of the whole.
    if (halfway === undefined || request.headers.range !== undefined) response.end(body)
    else response.write(body.subarray(0, body.length / 2), halfway)
  })
  await new Promise<void>(resolve => { host.listen(0, '127.0.0.1', resolve) })
  const args = ['data', 'prepare', `http://127.0.0.1:${(host.address() as AddressInfo).port}/slow.jsonl`, '--out', 'slow', '--workers', '1', ...given]
  try {
    const stopped = await run(args, { cwd: place.path, onStart: child => { halfway = () => { child.kill('SIGTERM') } } })
    expect([stopped.code, stopped.err, existsSync(join(place.path, 'slow'))]).toEqual([143, expect.stringContaining('stopped: what is done is kept'), false])
    halfway = undefined
    const again = await run(args, { cwd: place.path })
    expect([again.code, existsSync(join(place.path, 'slow', 'manifest.json')), existsSync(join(place.path, '.slow.preparing'))]).toEqual([0, true, false])
  } finally {
    host.closeAllConnections()
    host.close()
  }
})
