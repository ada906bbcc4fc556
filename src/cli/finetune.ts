/** `meshwork finetune`: a model that exists, trained further on chats or text, whole or by adapters. */
import { basename, resolve } from 'node:path'
import { Command } from 'commander'
import type { Part } from '../core/configurable.ts'
import { FileError, UsageError } from '../core/errors.ts'
import { weightsIn } from '../checkpoint/index.ts'
import { pairData, readTokenizer, textData, type ChatRules } from '../data/index.ts'
import { isLanguageModel, layersCalled, loraModel, preferenceModel, type BuildOptions, type LoraOptions } from '../models/index.ts'
import { chatTemplateIn } from '../pretrained/chat-template.ts'
import { adamwCosine } from '../train/optimizers.ts'
import { partOf, readPretrained } from '../pretrained/pretrained.ts'
import { defineRun, modelOf, withFields, fieldsOf, type Run } from '../train/run.ts'
import { applyFlags, wholeNumber, type RunFlags } from './overrides.ts'
import { usualLayout } from '../pretrained/layout.ts'
import { trainRun, withTrainingFlags, type TrainingFlags } from './training.ts'

interface Flags extends RunFlags, TrainingFlags {
  readonly lora?: string | true; readonly seq?: string; readonly epochs?: string; readonly rate?: string; readonly dtype?: string; readonly loss: string; readonly prefer?: string | true
}

const flagError = (what: string, fix: string): UsageError => new UsageError({ code: 'flag', what, fix })

function positive(text: string, flag: string, example: string): number {
  const n = Number(text)
  if (text.trim() !== '' && Number.isFinite(n) && n > 0) return n
  throw flagError(`${flag}: "${text}" is not a number above 0`, `for example ${flag} ${example}`)
}

const loraExample = '--lora rank=16,alpha=32,on=query,value'

/** `rank=16,alpha=32,on=query,value`: what has no name of its own belongs to the one before it. @throws UsageError */
export function loraOptions(text: string): LoraOptions {
  const given = new Map<string, string[]>()
  for (const part of text.split(',').map(p => p.trim())) {
    const [, name, value] = /^(\w+)=(.+)$/.exec(part) ?? []
    const last = [...given.keys()].at(-1)
    if (name === undefined && last === 'on' && part !== '') given.get(last)?.push(part)
    else if (name === undefined || value === undefined || !['rank', 'alpha', 'on'].includes(name) || given.has(name)) throw flagError(`--lora: "${part}" says nothing of adapters`, `for example ${loraExample}`)
    else given.set(name, [value])
  }
  const one = (name: string): string | undefined => given.get(name)?.[0]
  const [rank, alpha, on] = [one('rank'), one('alpha'), given.get('on')]
  return {
    rank: rank === undefined ? 16 : wholeNumber(rank, '--lora rank', 1, 2 ** 16, loraExample), ...(alpha === undefined ? {} : { alpha: positive(alpha, '--lora alpha', loraExample) }), ...(on === undefined ? {} : { on }),
  }
}

/** Tokens of a window, where nobody says how many: more than most chats have. */
const usualSeq = 1024
/** Learning rates and epochs, where nobody says others. */
const rates = { chats: { all: 2e-5, adapters: 2e-4, epochs: 3 }, pairs: { all: 1e-6, adapters: 1e-5, epochs: 1 } }

/** The run that a command line asks for. @throws UsageError, FileError */
async function finetuneRun(path: string, flags: Flags): Promise<Run> {
  const given = await readPretrained(path)
  if (given.adapters !== undefined) throw new UsageError({ code: 'adapters-on-adapters', what: `${path} holds adapters, and what is trained further are whole weights`, fix: `merge them first: npx meshwork export ${path} --to DIR` })
  if (given.tokenizer === undefined) throw new FileError({ code: 'no-tokenizer', what: `${path} holds no tokenizer.json`, fix: 'copy the model\'s own there' })
  const seq = flags.seq === undefined ? Math.min(given.positions, usualSeq) : wholeNumber(flags.seq, '--seq', 2)
  const { prefer } = flags
  const base = partOf(given, { seq, packed: prefer === undefined, masked: true })
  if (!isLanguageModel(base.build({ batch: 1 }))) throw new UsageError({ code: 'no-text', what: `${path} is a model of type ${JSON.stringify(given.config['model_type'])}, which writes no text`, fix: 'train it by a recipe of its own: npx meshwork train RECIPE --init-from PATH' })
  const lora = flags.lora === undefined ? undefined : loraOptions(flags.lora === true ? 'rank=16' : flags.lora)
  const on = lora?.on === undefined ? undefined : layersCalled(lora.on, given.architecture.names(base.config as never), base.build({ batch: 1 }))
  const trained = lora === undefined ? base : loraModel(base, { ...lora, ...(on === undefined ? {} : { on }) })
  const model = prefer === undefined ? trained : preferenceModel(trained, { beta: prefer === true ? 0.1 : positive(prefer, '--prefer', '0.1') })
  const roles = flags.loss.split(',').map(r => r.trim())
  if (roles.includes('')) throw flagError(`--loss: "${flags.loss}" is no list of roles`, 'for example --loss assistant, or --loss all')
  const template: ChatRules['template'] = await chatTemplateIn(given, await readTokenizer(given.tokenizer)) ?? 'chatml'
  if (flags.steps !== undefined && flags.epochs !== undefined) throw flagError('--steps and --epochs are given, and a run has one length', 'give one of them')
  const usual = prefer === undefined ? rates.chats : rates.pairs
  const rate = flags.rate === undefined ? (lora === undefined ? usual.all : usual.adapters) : positive(flags.rate, '--rate', '1e-4')
  const weights = await weightsIn(path)
  const from = { files: [...flags.data ?? []], tokenizer: given.tokenizer, heldOut: 0, chat: { template, loss: roles.includes('all') ? [] : roles } }
  const run = defineRun({
    name: `${basename(resolve(path))}-${prefer !== undefined ? 'preferred' : lora === undefined ? 'tuned' : 'lora'}`, model: model as Part<never, BuildOptions>, batch: 8,
    data: (prefer === undefined ? textData(from) : pairData(from)) as never,
    optimizer: adamwCosine({ rate, warmup: 0.03, weightDecay: 0, beta2: 0.999 }), steps: { epochs: flags.epochs === undefined ? usual.epochs : positive(flags.epochs, '--epochs', '3') }, initFrom: { path: weights },
    ...(flags.dtype === undefined ? {} : { precision: { compute: flags.dtype as 'f32' } }),
  })
  const { data: _, ...rest } = flags
  const set = applyFlags(run, rest)
  return flags.layout === undefined ? withFields(set, { ...fieldsOf(set), layout: { ...usualLayout(modelOf(set).dims, set.mesh) } }, 'the command line') : set
}

export const finetuneCommand = (): Command => withTrainingFlags(new Command('finetune')
  .description('Train a model that exists further, on chats or text: all of its weights, or adapters of low rank beside them.')
  .argument('<model>', 'a folder in Hugging Face\'s layout, such as `meshwork import` writes, or a finished run')
  .requiredOption('--data <file...>', 'chats (JSONL or Parquet with "messages"), of which the assistant\'s turns are learnt, or text')
  .option('--lora [settings]', 'adapters alone: rank=16,alpha=32,on=query,value; of all linear layers unless said')
  .option('--seq <n>', 'tokens of a window; what is longer is cut into several')
  .option('--prefer [beta]', 'learn from pairs: records with "chosen" and "rejected" (DPO); beta is 0.1 unless given')
  .option('--epochs <n>', 'how often all of the data is gone through; 3, with --prefer 1 unless given')
  .option('--steps <n>', 'training steps, instead of epochs')
  .option('--rate <r>', 'the highest learning rate; 2e-5, of adapters 2e-4, with --prefer 1e-6 and 1e-5 unless given')
  .option('--dtype <dtype>', 'what is computed with: f32, bf16 or f16')
  .option('--loss <role,...>', 'roles of a chat whose turns are learnt, or all', 'assistant')
  .option('--seed <n>', 'seed of the adapters and of the order of the data')
  .option('--set <key=value...>', 'any field of the run, such as batch=16, microbatches=4 or data.heldOut=0.1'))
  .addHelpText('after', `
Examples:
  $ npx meshwork finetune models/smollm2 --data chats.jsonl --lora rank=16,alpha=32,on=query,value --batch 2 --model 2
  $ npx meshwork finetune models/smollm2 --data chats.jsonl --dtype bf16 --epochs 1 --out runs/mine
  $ npx meshwork finetune models/smollm2 --data pairs.jsonl --prefer 0.1 --lora
  $ npx meshwork export runs/mine --to exported                          the adapters merged into the weights`)
  .action(async (path: string, flags: Flags) => trainRun(await finetuneRun(path, flags), flags))
