/** Programs that tell when their parts run: compiled as they are, taken apart as XLA has made them, and compiled once more with a clock around each part. */
import { PluginError } from '../../../core/errors.ts'
import type { CompileRequest, Span, TracedExecutable, TracedPart } from '../../backend.ts'
import { compileCode, compileProgram, parameterTypes } from '../compile.ts'
import { PjrtExecutable } from '../executable.ts'
import { registerHandlers } from '../ffi.ts'
import { tickHandlers, type Ticks } from '../cpu/kernels.ts'
import { Memory } from '../memory.ts'
import type { Session } from '../session.ts'
import { backendOnly, instrument } from './instrument.ts'

/** Ticks of one recording: 16 MiB. */
const mostTicks = 2 ** 20
const tickBytes = 16

/** @throws PluginError where the plugin is none for CPUs, does not give its programs back, or our part in C cannot be built */
export async function traceProgram(session: Session, request: CompileRequest): Promise<TracedExecutable> {
  const { library, kind: { name, handlersAs } } = session
  const no = (what: string, fix: string, cause?: unknown): PluginError => new PluginError({ code: 'no-trace', what, details: { plugin: library.path }, fix, cause })
  if (name !== 'cpu' || handlersAs === undefined) throw no(`what runs on the platform ${name} is not traced`, 'use its own profiler (for a GPU: nsys profile), or --plugin cpu')
  const native = await tickHandlers()
  if (native === undefined) throw no('programs are traced by a few lines of C, which cannot be built here', 'install a C compiler, or name it in CC; npx meshwork doctor says what is wrong')
  registerHandlers(library, native.handlers, handlersAs)
  const whole = await compileProgram(session, request, undefined)
  try {
    const { module, parts } = instrument(whole.optimized())
    const handle = await compileCode(session, module, 'hlo', backendOnly(request.devices))
    return new Traced(session, handle, request, parts, native.ticks)
  } catch (cause) {
    if (cause instanceof PluginError) throw no(`the plugin does not take its own program apart: ${cause.problem.what}`, 'use the plugin of the catalog: --plugin cpu', cause)
    throw cause
  } finally {
    whole.dispose()
  }
}

class Traced extends PjrtExecutable implements TracedExecutable {
  readonly parts: readonly TracedPart[]
  readonly #session: Session
  readonly #ticks: Ticks

  constructor(session: Session, handle: bigint, { text, devices, donated }: CompileRequest, parts: readonly TracedPart[], ticks: Ticks) {
    super(session, handle, { devices, donated, parameters: parameterTypes(text), fromCache: false })
    this.parts = parts
    this.#session = session
    this.#ticks = ticks
  }

  async record(work: () => Promise<void>): Promise<{ readonly spans: readonly Span[]; readonly lost: number }> {
    const room = new Memory(mostTicks * tickBytes)
    this.#ticks.begin(room.address, mostTicks)
    let found = 0
    try {
      await work()
    } finally {
      // Nothing may write any more when the room is given back.
      await this.#session.idle()
      found = this.#ticks.end()
    }
    return { spans: spansIn(room.view, Math.min(found, mostTicks)), lost: Math.max(0, found - mostTicks) }
  }
}

/** A part's two ticks on a device make a span; it never runs twice at a time on one. */
function spansIn(view: DataView, count: number): Span[] {
  const ticks = Array.from({ length: count }, (_, i) => ({ mark: view.getInt32(i * tickBytes, true), device: view.getInt32(i * tickBytes + 4, true), ns: Number(view.getBigInt64(i * tickBytes + 8, true)) }))
  const began = new Map<string, number>()
  const spans: Span[] = []
  for (const { mark, device, ns } of ticks.sort((a, b) => a.ns - b.ns || a.mark - b.mark)) {
    const part = mark >> 1
    const key = `${device} ${part}`
    const from = began.get(key)
    if ((mark & 1) === 0) began.set(key, ns)
    else if (from !== undefined) {
      spans.push({ part, device, from, to: ns })
      began.delete(key)
    }
  }
  return spans
}
