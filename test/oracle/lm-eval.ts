/** lm-evaluation-harness asks `meshwork serve` over HTTP: its accuracies, and the log-probability of every choice, are those that `meshwork eval` finds by itself. */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Backend } from '../../src/engine/index.ts'
import { fetchModel } from '../../src/formats/index.ts'
import type { Report } from './compare.ts'
import { lmEvalPython, lmEvalVersion, PythonError, type Say } from './python.ts'
import { serveModel } from './served.ts'

const bin = fileURLToPath(new URL('../../bin/meshwork.js', import.meta.url))
const limit = 1e-3

const questions: readonly (readonly [question: string, choices: readonly string[], answer: number])[] = [
  ['What is the capital of France?', ['Paris', 'London', 'Madrid', 'Rome'], 0], ['How many legs does a spider have?', ['six', 'eight', 'ten'], 1], ['Which planet is the largest?', ['Mars', 'Venus', 'Jupiter', 'Earth'], 2], ['What do bees make?', ['milk', 'honey'], 1],
  ['Water freezes at what temperature in Celsius?', ['0', '32', '100', '-40'], 0], ['Who wrote Hamlet?', ['Charles Dickens', 'William Shakespeare', 'Jane Austen'], 1], ['What is two plus two?', ['three', 'four', 'five'], 1], ['Which animal barks?', ['a cat', 'a dog', 'a fish'], 1],
  ['The sun rises in the', ['east', 'west', 'north', 'south'], 0], ['Which of these is a fruit?', ['a carrot', 'an apple', 'a potato'], 1], ['What colour is a clear sky?', ['green', 'blue', 'red'], 1], ['How many days are in a week?', ['five', 'six', 'seven', 'eight'], 2],
  ['What gas do plants take in?', ['oxygen', 'carbon dioxide', 'helium'], 1], ['Which metal is liquid at room temperature?', ['iron', 'gold', 'mercury'], 2], ['What is the opposite of hot?', ['warm', 'cold', 'dry'], 1], ['Which month comes after June?', ['May', 'July', 'August'], 1],
  ['On which continent is Egypt?', ['Asia', 'Africa', 'Europe', 'South America'], 1], ['What is H2O?', ['salt', 'water', 'air'], 1], ['Which language is spoken in Brazil?', ['Spanish', 'Portuguese', 'French'], 1], ['How many sides has a triangle?', ['two', 'three', 'four'], 1],
  ['A doctor works in a', ['hospital', 'bakery', 'mine'], 0], ['Which is the fastest?', ['a snail', 'a cheetah', 'a tortoise'], 1], ['What do you use to write on paper?', ['a pen', 'a spoon', 'a shoe'], 0], ['Ice is made of', ['sand', 'frozen water', 'wood', 'stone'], 1],
]
/** What both make of them. */
const promptOf = (question: string): string => `Question: ${question}\nAnswer:`
const task = (file: string): string => [
  'task: meshwork_choice', 'dataset_path: json', `dataset_kwargs: {data_files: {test: ${JSON.stringify(file)}}}`, 'test_split: test', 'output_type: multiple_choice', 'doc_to_text: "{{prompt}}"', 'doc_to_choice: "{{choices}}"', 'doc_to_target: "{{answer}}"',
  'metric_list:', '  - metric: acc', '  - metric: acc_norm', '',
].join('\n')

/** Runs to its end, with no way to any network but this machine. @throws PythonError */
async function must(command: string, args: readonly string[], cwd: string): Promise<void> {
  const lines: string[] = []
  const code = await new Promise<number | null>(resolve => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, HF_HUB_OFFLINE: '1', HF_DATASETS_OFFLINE: '1', HF_HOME: join(cwd, 'hf'), OPENAI_API_KEY: 'none' } })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { lines.push(chunk.toString()) })
    child.on('close', resolve)
  })
  if (code !== 0) throw new PythonError({ code: 'judge', what: `${command} ended with ${code ?? 'a signal'}`, details: { said: lines.join('').trim().split('\n').slice(-6).join(' ').slice(-800) }, fix: `run it by hand: ${command} ${args.join(' ')}` })
}

interface Ours { readonly logprobs: readonly number[]; readonly picked: number; readonly picked_norm: number }
interface Theirs { readonly doc_id: number; readonly filtered_resps: readonly (readonly [string | number, string | boolean])[]; readonly acc: number; readonly acc_norm: number }

export async function lmEvalReport(backend: Backend, say: Say): Promise<Report> {
  const python = await lmEvalPython(say)
  const { path } = await fetchModel('smollm2', {})
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-lm-eval-'))
  try {
    const items = questions.map(([question, choices, answer]) => ({ prompt: promptOf(question), choices, answer }))
    await writeFile(join(folder, 'items.jsonl'), items.map(i => `${JSON.stringify(i)}\n`).join(''))
    await mkdir(join(folder, 'tasks'))
    await writeFile(join(folder, 'tasks', 'choice.yaml'), task(join(folder, 'items.jsonl')))
    say('meshwork eval')
    await must(process.execPath, [bin, 'eval', path, '--task', 'choice', '--data', join(folder, 'items.jsonl'), '--out', join(folder, 'ours'), '--seq', '128'], folder)
    {
      await using server = await serveModel([path], ['--context', '256'])
      say('lm-eval')
      await must(python, ['-m', 'lm_eval', '--model', 'local-completions', '--model_args', `base_url=${server.url}/v1/completions,model=${server.model},num_concurrent=4,max_retries=1,max_length=256`, '--tasks', 'meshwork_choice', '--include_path', join(folder, 'tasks'), '--output_path', join(folder, 'theirs'), '--log_samples'], folder)
    }
    const lines = async <T>(file: string): Promise<T[]> => (await readFile(file, 'utf8')).trim().split('\n').map(line => JSON.parse(line) as T)
    const ours = await lines<Ours>(join(folder, 'ours', 'items.jsonl'))
    const samples = (await readdir(join(folder, 'theirs'), { recursive: true })).find(name => name.includes('samples_'))
    const theirs = (await lines<Theirs>(join(folder, 'theirs', samples ?? ''))).sort((a, b) => a.doc_id - b.doc_id)
    const error = Math.max(...ours.flatMap((o, i) => o.logprobs.map((p, k) => { const d = Math.abs(p - Number(theirs[i]?.filtered_resps[k]?.[0])); return Number.isNaN(d) ? Infinity : d })))
    const right = (of: readonly number[]): number => of.filter((picked, i) => picked === questions[i]?.[2]).length
    const [acc, norm] = [right(ours.map(o => o.picked)), right(ours.map(o => o.picked_norm))]
    const [theirAcc, theirNorm] = [theirs.filter(t => t.acc === 1).length, theirs.filter(t => t.acc_norm === 1).length]
    const passes = error < limit && acc === theirAcc && norm === theirNorm && theirs.length === questions.length
    return {
      judge: `lm-eval ${lmEvalVersion}`, plugin: backend.name, passes, worst: { 'lm-eval': error }, verdicts: [],
      text: [
        `SmolLM2-135M-Instruct, ${questions.length} questions, ${items.reduce((n, i) => n + i.choices.length, 0)} choices, asked by lm-eval ${lmEvalVersion} over HTTP (local-completions), and by meshwork eval itself`,
        `log-probabilities of choices${error.toExponential(1).padStart(10)}  limit ${limit}  ${error < limit ? 'ok' : 'FAILS'}`, `right: ${theirAcc} by lm-eval, ${acc} by us; by length ${theirNorm} and ${norm}  ${acc === theirAcc && norm === theirNorm ? 'ok' : 'FAILS'}`,
      ].join('\n'),
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
