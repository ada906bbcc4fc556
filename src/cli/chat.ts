/** `meshwork chat`: a conversation with a model, in the terminal or through a pipe. */
import { createInterface } from 'node:readline'
import { Command } from 'commander'
import { FileError } from '../core/errors.ts'
import type { Message } from '../data/index.ts'
import { leadersFirst, openBackend } from '../engine/index.ts'
import { led } from '../serve/turns.ts'
import { Refused } from '../serve/asking.ts'
import { encodeChatPrompt } from '../serve/chat-prompt.ts'
import { askedOf } from '../serve/generate.ts'
import { meshOfRun } from '../train/run.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'
import { visible } from './format.ts'
import { interrupts } from './interrupt.ts'
import { joinCommand, outputOf, requireRanks, told, whereDevices, withDeviceFlags } from './job.ts'
import { wholeNumber, withMeshFlags } from './overrides.ts'
import { preparedPlugin } from './plugins.ts'
import { samplingOf, withSamplingFlags, withWritingFlags, writtenModel, type SamplingFlags, type WrittenFlags } from './written-model.ts'

interface Flags extends WrittenFlags, SamplingFlags { readonly system?: string; readonly tokens?: string; readonly plugin: string; readonly platform?: PlatformOptions; readonly backend?: string; readonly json?: boolean }

export const chatCommand = (): Command => withDeviceFlags(withMeshFlags(withWritingFlags(withSamplingFlags(new Command('chat')
  .description('Talk with a model, by its own chat template: a line of yours, its answer as it is written. In a pipe each line of stdin is a turn.')
  .argument('<model>', 'a run\'s folder, one in Hugging Face\'s layout, or a .gguf file')
  .option('--system <text>', 'what the model is told before anything is said')
  .option('--tokens <n>', 'tokens of an answer at most; until it ends unless given')
  .option('--context <n>', 'tokens of a conversation; 4096, or what the model is made for, unless given')))))
  .option('--json', 'print each answer as a line of JSON')
  .addHelpText('after', `
Examples:
  $ npx meshwork chat models/smollm2 --model 2
  $ echo "What is the capital of France?" | npx meshwork chat model.Q8_0.gguf --system "Answer in one word."

Ctrl-C ends the answer that is being written, and between answers the conversation; so does the end of the input.`)
  .action(async (folder: string, { system, tokens, ...flags }: Flags) => {
    const processes = await joinCommand(flags.backend)
    const written = await writtenModel(folder, flags, ({ positions }) => Promise.resolve(Math.min(positions, 4096)))
    const { template, from: { tokenizer } } = written
    if (template === undefined) throw new FileError({ code: 'chat-template', what: `${folder} has no chat template`, fix: 'put its chat_template.jinja beside it, or continue texts: npx meshwork generate' })
    const sampling = samplingOf(flags, { temperature: 0.7 })
    const maxTokens = tokens === undefined ? undefined : wholeNumber(tokens, '--tokens', 1)
    requireRanks(meshOfRun(written.run), flags.plugin)
    const output = outputOf(processes, flags.json === true)
    const stops = interrupts()
    try {
      const plugin = await leadersFirst(processes, 'fetching the plugin', () => preparedPlugin(flags.plugin, output, stops))
      stops.quit(() => output.clear())
      output.status('starting')
      const backend = await openBackend({ devices: written.devices, plugin, ...told(flags.platform), backend: whereDevices() })
      try {
        const { answering, turns, close } = await written.open(backend, { requests: 1 })
        output.clear()
        await led(turns, processes, async () => {
          const terminal = process.stdin.isTTY === true && flags.json !== true
          const lines = createInterface({ input: process.stdin, ...(terminal ? { output: process.stdout, prompt: '> ' } : {}) })
          const messages: Message[] = system === undefined ? [] : [{ role: 'system', content: system }]
          let answered: AbortController | undefined
          lines.on('SIGINT', () => { if (answered === undefined) lines.close(); else answered.abort() })
          if (terminal) lines.prompt()
          for await (const line of lines) {
            if (line.trim() !== '') {
              answered = new AbortController()
              messages.push({ role: 'user', content: line })
              const prompt = encodeChatPrompt(tokenizer, template, messages)
              let text = ''
              let reason: string = 'aborted'
              try {
                for await (const told of answering.ask(askedOf(prompt, { sampling, maxTokens }), answered.signal)) {
                  if (told.type === 'end') ({ reason } = told)
                  if (told.type !== 'more') continue
                  text += told.text
                  output.write(visible(told.text))
                }
              } catch (e) {
                if (!(e instanceof Refused) || e.refusal.type !== 'invalid') throw e
                throw new FileError({ code: 'context', what: `the conversation is too long: ${e.refusal.why}`, fix: 'begin a new one, or give more: --context' })
              }
              answered = undefined
              messages.push({ role: 'assistant', content: text })
              output.print('')
              if (flags.json === true) process.stdout.write(`${JSON.stringify({ text, finish_reason: reason })}\n`)
            }
            if (terminal) lines.prompt()
          }
        })
        await close()
      } finally {
        await backend.close()
      }
      process.exitCode = stops.code
    } finally {
      output.clear()
      stops.release()
    }
  })
