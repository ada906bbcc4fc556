/** The conversation, and what can be done with it. Answers are written into it as they come. */
import { batch, computed, effect, signal, type ReadonlySignal, type Signal } from '@preact/signals'
import { answerTo, joined } from './answer.ts'
import { adding, changing, copyOf, emptyConversation, pathOf, pathTo, settled, showing, siblingsOf, turnsOf, type About, type Conversation, type Lane, type Piece, type Settings } from './conversation.ts'
import { keep, kept } from './kept.ts'
import { key, modelOf, writers } from './server.ts'
import { fromJson, toJson } from './stored.ts'

const storedName = 'meshwork-conversation'
/** What a reload finds. What cannot be read is left out. */
function stored(): Conversation {
  const json = kept('localStorage', storedName)
  try { return json === null ? emptyConversation('') : fromJson(json) } catch { return emptyConversation('') }
}

export const conversation: Signal<Conversation> = signal(stored())
/** Answers that are being written: what stops each. */
const writing: Signal<readonly AbortController[]> = signal([])
/** Of them those whose conversation is gone. */
const left = new WeakSet<AbortController>()
export const isWriting: ReadonlySignal<boolean> = computed(() => writing.value.length > 0)
/** What is said once below the conversation, with what undoes it. */
export interface Note { readonly text: string; readonly undo?: () => void }
export const note: Signal<Note | undefined> = signal(undefined)

/** A lane without a model, or of one that the server has no more, has the first. */
export const laneModel = ({ model }: Lane): string => (modelOf(model) ?? writers.value[0])?.name ?? model
const setLane = (i: number, change: (lane: Lane) => Lane): void => { conversation.value = { ...conversation.value, lanes: conversation.value.lanes.map((lane, j) => (i === j ? change(lane) : lane)) } }
const lanes = (): readonly Lane[] => conversation.value.lanes

export const setSystem = (system: string): void => { conversation.value = { ...conversation.value, system } }
export const setSettings = (change: Partial<Settings>): void => { conversation.value = { ...conversation.value, settings: { ...conversation.value.settings, ...change } } }
export const setModel = (lane: number, model: string): void => { setLane(lane, l => ({ ...l, model })) }

export function stop(): void {
  for (const controller of writing.value) controller.abort()
}

/** A prompt to every lane, behind what it shows. */
export function send(text: string): void {
  note.value = undefined
  batch(() => { for (const [i, lane] of lanes().entries()) ask(i, text, pathOf(lane).at(-1) ?? -1) })
}

/** Another answer to the same prompt. */
export function regenerate(lane: number, at: number): void {
  note.value = undefined
  const parent = lanes()[lane]?.messages[at]?.parent ?? -1
  batch(() => { write(lane, parent) })
}

/** Lanes that show the same prompt in the same place, the given one first. */
export const alike = (lane: number, turn: number): readonly { readonly lane: number; readonly at: number }[] => {
  const promptOf = (l: Lane): { readonly at: number; readonly text: string } | undefined => {
    const at = turnsOf(l)[turn]?.user
    return at === undefined ? undefined : { at, text: l.messages[at]?.text ?? '' }
  }
  const own = promptOf(lanes()[lane] as Lane)
  return own === undefined ? [] : lanes().flatMap((l, i) => { const found = promptOf(l); return found?.text === own.text ? [{ lane: i, at: found.at }] : [] }).sort((a, b) => Number(b.lane === lane) - Number(a.lane === lane))
}

/** A prompt in place of another, in every lane that shows that one: the conversation goes on from there, and what was said before stays. */
export function edit(lane: number, turn: number, text: string): void {
  note.value = undefined
  batch(() => { for (const { lane: i, at } of alike(lane, turn)) ask(i, text, lanes()[i]?.messages[at]?.parent ?? -1) })
}

/** Shows another of those that stand in the place of a message. */
export function choose(lane: number, at: number, by: number): void {
  const of = lanes()[lane] as Lane
  const siblings = siblingsOf(of, at)
  const next = siblings[siblings.indexOf(at) + by]
  if (next !== undefined) setLane(lane, l => showing(l, next))
}
/** The same of a prompt, in every lane that has it there. */
export function chooseTurn(lane: number, turn: number, by: number): void {
  batch(() => { for (const { lane: i, at } of alike(lane, turn)) choose(i, at, by) })
}

/** A second model beside the first. It has what the first shows: from there on they have the same prompts. */
export function compare(): void {
  const [first] = lanes()
  if (first === undefined) return
  const other = writers.value.find(m => m.name !== laneModel(first))?.name ?? laneModel(first)
  conversation.value = { ...conversation.value, lanes: [first, copyOf(first, other)] }
}

function replace(next: Conversation, text: string): void {
  for (const controller of writing.value) left.add(controller)
  stop()
  const before = settled(conversation.value)
  batch(() => {
    conversation.value = next
    note.value = { text, undo: () => { replace(before, 'It is back.') } }
  })
}
export const closeLane = (lane: number): void => { replace({ ...conversation.value, lanes: lanes().filter((_, i) => i !== lane) }, 'The model was taken away, with its answers.') }
export const startAnew = (): void => { replace({ ...conversation.value, lanes: lanes().map(l => ({ model: l.model, messages: [], shown: -1 })) }, 'A new conversation.') }
/** @throws NotAConversation */
export const importJson = (json: string): void => { replace(fromJson(json), 'The conversation was imported.') }

function ask(lane: number, text: string, parent: number): void {
  const [next, at] = adding(lanes()[lane] as Lane, { role: 'user', text, parent })
  setLane(lane, () => next)
  write(lane, at)
}

/** How long pieces wait for others, to be shown with them. */
const together = 40

function write(lane: number, parent: number): void {
  const { system, settings } = conversation.value
  const model = laneModel(lanes()[lane] as Lane)
  const seed = settings.seed ?? Math.floor(Math.random() * 2 ** 31)
  const [next, at] = adding(lanes()[lane] as Lane, { role: 'assistant', text: '', parent, about: { model, ending: 'writing', seed, tokens: 0 } })
  setLane(lane, () => next)
  const controller = new AbortController()
  writing.value = [...writing.value, controller]
  const question = { model, chat: modelOf(model)?.kind !== 'text', system, settings, seed, messages: pathTo(next, parent).map(i => next.messages[i] as Lane['messages'][number]) }
  void listenTo(question, lane, at, controller).finally(() => { writing.value = writing.value.filter(c => c !== controller) })
}

async function listenTo(question: Parameters<typeof answerTo>[0], lane: number, at: number, controller: AbortController): Promise<void> {
  const began = performance.now()
  const since = (): number => (performance.now() - began) / 1000
  let about: About = { model: question.model, ending: 'writing', seed: question.seed, tokens: 0 }
  let come: Piece[] = []
  let final: 'stop' | 'length' | undefined
  let waits: ReturnType<typeof setTimeout> | undefined
  const tell = (): void => {
    clearTimeout(waits)
    waits = undefined
    const [more, told] = [come, about]
    come = []
    // The conversation is another one by now.
    if (left.has(controller)) return
    setLane(lane, l => {
      const { text, pieces = [] } = l.messages[at] as Lane['messages'][number]
      return changing(l, at, { text: text + more.map(p => p.text).join(''), pieces: joined(pieces, more), about: told })
    })
  }
  try {
    for await (const { piece, step, ending, usage } of answerTo(question, { key: key.value, signal: controller.signal })) {
      if (step !== undefined) about = { ...about, step }
      if (piece !== undefined) {
        come.push(piece)
        about = { ...about, first: about.first ?? since(), all: since(), tokens: about.tokens + Math.max(1, piece.tokens.length) }
      }
      if (usage !== undefined) about = { ...about, promptTokens: usage.prompt, cachedTokens: usage.cached, tokens: usage.tokens }
      // It counts once all is known.
      final = ending ?? final
      waits ??= setTimeout(tell, together)
    }
    about = { ...about, ending: final ?? 'stopped' }
  } catch (e) {
    about = controller.signal.aborted ? { ...about, ending: 'stopped' } : { ...about, ending: 'failed', error: e instanceof Error ? e.message : String(e) }
  }
  tell()
}

/** Keeps the conversation in the browser: without the tokens of answers where there is no room for them. */
function keepConversation(): void {
  for (const withTokens of [true, false]) if (keep('localStorage', storedName, toJson(conversation.value, { withTokens }))) return
  note.value = { text: 'There is no room in the browser: a reload will not find the last messages. Export them.' }
}

/** Keeps what changes, a moment later, and at the latest when the page is left. */
export function keepAll(): void {
  let waits: ReturnType<typeof setTimeout> | undefined
  effect(() => {
    void conversation.value
    waits ??= setTimeout(() => { waits = undefined; keepConversation() }, 500)
  })
  addEventListener('pagehide', keepConversation)
}
