/** `meshwork data`: files tokenised into a store, and what a store holds. */
import { availableParallelism } from 'node:os'
import { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import type { DocumentFormat } from '../data/documents.ts'
import { prepareStore, type PrepareProgress, type Prepared } from '../data/store/prepare.ts'
import { openStore, type Store } from '../data/store/store.ts'
import type { Tokenizer } from '../data/tokenizer.ts'
import { isRunFolder, showStep, type StepFlags } from './data-step.ts'
import { formatBytes, formatCount, formatDuration, formatInteger, shellPath, visible } from './format.ts'
import { joinCommand, outputOf } from './job.ts'
import { goesOn, keptWork } from './long-work.ts'
import { openOutput, type Output } from './output.ts'
import { wholeNumber } from './overrides.ts'

export function dataCommand(): Command {
  const root = new Command('data').description('Text for training, tokenised once into a store on disk.')
    .addHelpText('after', '\nExamples:\n  $ npx meshwork data prepare corpus.jsonl --out stores/corpus --vocab 8192\n  $ npx meshwork data show stores/corpus')
  root.addCommand(prepareCommand())
  root.addCommand(showCommand())
  return root
}

interface PrepareFlags {
  readonly out: string; readonly tokenizer?: string; readonly vocab?: string; readonly begin?: string; readonly end?: string; readonly workers?: string
  readonly format?: string; readonly field?: string; readonly messages?: string; readonly separator?: string; readonly delimiter?: string
  readonly loss?: string; readonly restart?: boolean; readonly json?: boolean
}

const prepareCommand = (): Command => new Command('prepare')
  .description('Tokenise files into a store: indexed, checksummed, as Megatron reads it. Interrupted, the same command goes on.')
  .argument('<files...>', 'text, JSON lines and whatever else documents are read from')
  .requiredOption('--out <store>', 'the store\'s folder; it appears when it is whole')
  .option('--tokenizer <file>', 'a tokenizer.json')
  .option('--vocab <n>', 'learn a tokenizer of so many tokens from the files; 8192 unless one is given')
  .option('--begin <token>', 'the token that each document begins with; none unless given')
  .option('--end <token>', 'the token that each document ends with, or none', '<|endoftext|>')
  .option('--workers <n>', 'threads that tokenise, in each process; as many as there are cores unless given')
  .option('--format <name>', 'text, jsonl, parquet, csv or tar; by each file\'s name unless given')
  .option('--field <name>', 'with --format: the field, column or member that holds the text')
  .option('--messages <name>', 'with --format jsonl: the field that holds a chat')
  .option('--separator <line>', 'with --format text: what stands between documents')
  .option('--delimiter <char>', 'with --format csv: what stands between columns')
  .option('--loss <role,...>', 'roles of a chat whose turns are learnt, or all', 'assistant')
  .option('--restart', 'throw away what an interrupted run left')
  .option('--json', 'print as JSON')
  .addHelpText('after', `
Examples:
  $ npx meshwork data prepare corpus.jsonl --out stores/corpus --vocab 8192
  $ npx meshwork data prepare more/*.jsonl --out stores/more --tokenizer stores/corpus/tokenizer.json
  $ npx meshwork data prepare table.csv --out stores/table --format csv --field body --tokenizer tokenizer.json
  $ mpirun -n 4 npx meshwork data prepare big/*.jsonl --out stores/big --tokenizer tokenizer.json`)
  .action(async (names: readonly string[], flags: PrepareFlags) => {
    const options = optionsOf(names, flags)
    const processes = await joinCommand(undefined)
    const output = outputOf(processes, flags.json === true)
    await keptWork(processes, output, goesOn, async ({ signal }) => {
      const workers = options.workers ?? Math.max(1, Math.floor(availableParallelism() / sharing(processes)))
      const made = await prepareStore({
        ...options, workers, ranks: processes, signal, onProgress: progressOf(output),
        onWait: holder => output.note(`waiting for another process that prepares the same store (${holder})`),
      })
      if (processes.rank > 0) return
      if (flags.json === true) process.stdout.write(`${JSON.stringify({ folder: flags.out, made: made.made, resumed: made.resumed, ...made.manifest })}\n`)
      else summary(flags.out, made).forEach(line => output.print(line))
    })
  })

/** Processes on this machine. */
const sharing = ({ hosts, rank }: { readonly hosts: readonly string[]; readonly rank: number }): number => hosts.filter(h => h === hosts[rank]).length

function optionsOf(files: readonly string[], flags: PrepareFlags) {
  if (flags.out === '') throw new UsageError({ code: 'flag', what: '--out: the folder has no name', fix: 'for example --out stores/first' })
  if (flags.tokenizer !== undefined && flags.vocab !== undefined) throw new UsageError({ code: 'flag', what: '--tokenizer and --vocab: a tokenizer is given or learnt', fix: 'give one of them' })
  const tokenizer = flags.tokenizer === undefined ? { vocab: flags.vocab === undefined ? 8192 : wholeNumber(flags.vocab, '--vocab', 257) } : { path: flags.tokenizer }
  const roles = (flags.loss ?? '').split(',').map(r => r.trim())
  if (roles.includes('')) throw new UsageError({ code: 'flag', what: `--loss: "${flags.loss}" is no list of roles`, fix: 'for example --loss assistant, or --loss all' })
  const format = formatOf(flags)
  return {
    files, out: flags.out, tokenizer, begin: named(flags.begin), end: named(flags.end), chat: { template: 'chatml' as const, loss: roles.includes('all') ? [] : roles },
    ...flags.workers === undefined ? {} : { workers: wholeNumber(flags.workers, '--workers', 1) },
    ...format === undefined ? {} : { format }, ...flags.restart === true ? { restart: true } : {},
  }
}
const named = (token: string | undefined): string | null => (token === undefined || token === 'none' ? null : token)

/** Which flags go with which format. */
const formatFlags = { text: ['separator'], jsonl: ['field', 'messages'], parquet: ['field', 'messages'], csv: ['field', 'delimiter'], tar: ['field'] } as const satisfies { readonly [F in DocumentFormat['format']]: readonly (keyof PrepareFlags)[] }

function formatOf(flags: PrepareFlags): DocumentFormat | undefined {
  const all = ['field', 'messages', 'separator', 'delimiter'] as const
  const given = all.filter(f => flags[f] !== undefined)
  const { format } = flags
  if (format === undefined) {
    if (given.length === 0) return undefined
    throw new UsageError({ code: 'flag', what: `--${given[0]} says how a format is read, and no format is given`, fix: `add --format ${Object.entries(formatFlags).find(([, f]) => (f as readonly string[]).includes(given[0] ?? ''))?.[0]}` })
  }
  const names = Object.keys(formatFlags)
  if (!names.includes(format)) throw new UsageError({ code: 'flag', what: `--format: there is no "${format}"`, fix: didYouMean(format, names) })
  const known: readonly string[] = formatFlags[format as DocumentFormat['format']]
  const other = given.find(f => !known.includes(f))
  if (other !== undefined) throw new UsageError({ code: 'flag', what: `--${other} is none of ${format}'s`, fix: `it goes with --format ${names.filter(n => (formatFlags[n as DocumentFormat['format']] as readonly string[]).includes(other)).join(' or ')}` })
  if (flags.delimiter !== undefined && !/^[\x01-\x7f]$/.test(flags.delimiter)) throw new UsageError({ code: 'flag', what: `--delimiter: "${flags.delimiter}" is not one ASCII character`, fix: 'for example --delimiter ";"' })
  return { format, ...Object.fromEntries(given.map(f => [f, flags[f]])) } as DocumentFormat
}

/** A rate over the last seconds of work, and what it leaves. */
function progressOf(output: Output): (p: PrepareProgress) => void {
  const words = { count: 'counting words', learn: 'learning tokens', encode: 'tokenising', finish: 'writing the index' } as const
  let [stage, began, start] = ['', 0, 0]
  return p => {
    const now = performance.now()
    // What an earlier run did tells nothing of the rate.
    if (p.stage !== stage) [stage, began, start] = [p.stage, now, p.done]
    const seconds = (now - began) / 1000
    const rate = (p.done - start) / Math.max(seconds, 1e-3)
    const known = seconds >= 0.5 && rate > 0
    const left = p.total === undefined || !known ? '' : `  ${formatDuration((p.total - p.done) / rate)} left`
    const amount = (n: number): string => (p.stage === 'learn' ? formatInteger(n) : formatBytes(n))
    const line = p.stage === 'finish' ? words.finish : `${words[p.stage]}  ${amount(p.done)}${p.total === undefined ? '' : ` of ${amount(p.total)}`}${known ? `  ${amount(rate)}/s` : ''}${p.tokens === 0 ? '' : `  ${formatCount(p.tokens)} tokens`}${left}`
    output.status(line, p.stage === 'finish')
  }
}

function summary(out: string, { manifest, made, resumed }: Prepared): string[] {
  const { documents, tokens, empty, text, vocab } = manifest
  return [
    ...made ? [] : ['it was there already, made of the same files in the same way'],
    ...resumed > 0 ? [`went on behind ${resumed} chunk${resumed === 1 ? '' : 's'} of an interrupted run`] : [],
    `documents  ${formatInteger(documents)}${empty === 0 ? '' : `, and ${formatInteger(empty)} without text left out`}`,
    `tokens     ${formatInteger(tokens)} of a vocabulary of ${formatInteger(vocab)}; ${(text / tokens).toFixed(2)} bytes of text each`,
    `store      ${out}`, `look       npx meshwork data show ${shellPath(out)}`,
  ]
}

interface ShowFlags extends StepFlags { readonly doc?: string; readonly verify?: boolean }

const showCommand = (): Command => new Command('show')
  .description('What a store holds: documents, tokens, the tokenizer, a sample. Megatron\'s files, too: their name without .bin and .idx. Of a run: the documents that made a step.')
  .argument('<path>', 'the folder of a store or of a run')
  .option('--doc <n>', 'one document, counted from 0')
  .option('--verify', 'read all of it, and compare it with its checksums')
  .option('--step <n>', 'of a run: the step, counted from 1 as it is printed')
  .option('--recipe <file>', 'of a run: the recipe that it was made with, where it is not where it was')
  .option('--json', 'print as JSON')
  .addHelpText('after', '\nExamples:\n  $ npx meshwork data show stores/corpus\n  $ npx meshwork data show stores/corpus --doc 17 --json\n  $ npx meshwork data show megatron/my-corpus_text_document\n  $ npx meshwork data show runs/gpt-tiny-0 --step 120')
  .action(async (path: string, flags: ShowFlags) => {
    const output = openOutput()
    const [ofRun, ofStore] = [['step', 'recipe'] as const, ['doc', 'verify'] as const].map(names => names.find(name => flags[name] !== undefined))
    if (await isRunFolder(path)) {
      if (ofStore !== undefined) throw new UsageError({ code: 'flag', what: `--${ofStore}: ${path} is a run, and no store`, fix: 'give a store; of a run a step can be shown' })
      return showStep(path, flags, output)
    }
    if (ofRun !== undefined) throw new UsageError({ code: 'flag', what: `--${ofRun}: ${path} holds no run: it has no run.json`, fix: 'give a folder that `npx meshwork train` named at its end' })
    const store = await openStore(path)
    try {
      const doc = flags.doc === undefined ? undefined : wholeNumber(flags.doc, '--doc', 0)
      if (doc !== undefined && doc >= store.documents) {
        throw new UsageError({ code: 'flag', what: `--doc: there is no document ${doc}`, fix: store.documents === 0 ? 'the store holds none' : `they are 0 to ${store.documents - 1}` })
      }
      if (flags.verify === true) await store.verify((done, total) => output.status(`comparing  ${formatBytes(done)} of ${formatBytes(total)}`))
      output.clear()
      const tokenizer = await store.tokenizer()
      if (flags.json === true) process.stdout.write(`${JSON.stringify(described(store, tokenizer, doc, flags.verify === true))}\n`)
      else (doc === undefined ? aboutStore(store, tokenizer, flags.verify === true) : aboutDocument(store, tokenizer, doc)).forEach(line => output.print(line))
    } finally {
      store.close()
    }
  })

/** Tokens that are shown of a document unless it is asked for. */
const sampleTokens = 48

function aboutStore(store: Store, tokenizer: Tokenizer | undefined, verified: boolean): string[] {
  const { manifest, documents, tokens, type } = store
  const longest = store.starts.reduce((most, at, i) => Math.max(most, i === 0 ? 0 : at - (store.starts[i - 1] as number)), 0)
  const nameOf = (id: number | null): string => (id === null ? 'none' : `${tokenizer?.tokens[id] ?? ''} (${id})`)
  return [
    `documents  ${formatInteger(documents)}, of ${formatInteger(tokens / Math.max(1, documents))} tokens on average, ${formatInteger(longest)} at most`,
    `tokens     ${formatInteger(tokens)}, ${type}`,
    ...manifest === undefined ? ['tokenizer  not known: these are Megatron\'s bare files'] : [
      `text       ${formatBytes(manifest.text)}, ${(manifest.text / tokens).toFixed(2)} bytes a token`,
      `tokenizer  ${formatInteger(manifest.vocab)} tokens${'learnt' in manifest.settings.tokenizer ? ', learnt from the files' : ''}; begin ${nameOf(manifest.settings.begin)}, end ${nameOf(manifest.settings.end)}`,
      ...manifest.files.mask === null ? [] : [`loss       of chats on ${manifest.settings.loss.join(', ') || 'all of it'}`],
      ...manifest.parts.slice(0, 8).map((p, i) => `${i === 0 ? 'parts     ' : '          '} ${visible(p.name)}  ${formatInteger(p.documents)} documents, ${formatInteger(p.tokens)} tokens`),
      ...manifest.parts.length > 8 ? [`           and ${manifest.parts.length - 8} more`] : [],
    ],
    ...verified ? ['checksums  all as written'] : [],
    ...documents === 0 ? [] : ['', ...aboutDocument(store, tokenizer, Math.floor(documents / 2), sampleTokens)],
  ]
}

function aboutDocument(store: Store, tokenizer: Tokenizer | undefined, doc: number, most = Infinity): string[] {
  const ids = store.document(doc)
  const shown = ids.subarray(0, most)
  const from = store.source(doc)
  const text = tokenizer === undefined ? [...shown].join(' ') : tokenizer.decode(shown, { special: true })
  return [`document ${doc}${from === undefined ? '' : `, ${visible(from.at)}`}, ${formatInteger(ids.length)} tokens`, `${visible(text)}${shown.length < ids.length ? ' …' : ''}`]
}

function described(store: Store, tokenizer: Tokenizer | undefined, doc: number | undefined, verified: boolean): object {
  if (doc === undefined) return { path: store.path, documents: store.documents, tokens: store.tokens, type: store.type, verified, ...store.manifest }
  const ids = store.document(doc)
  return {
    document: doc, source: store.source(doc) ?? null, tokens: [...ids], ...tokenizer === undefined ? {} : { text: tokenizer.decode(ids, { special: true }) },
    ...store.files.mask === null ? {} : { learnt: [...store.mask(doc)] },
  }
}
