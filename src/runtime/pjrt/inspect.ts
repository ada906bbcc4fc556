/** What a plugin says about itself, for `doctor`. */
import { loadPlugin } from './library.ts'
import { Struct } from './memory.ts'
import { readNamedValues } from './named.ts'
import { Session } from './session.ts'

export interface PluginReport {
  readonly path: string
  /** PJRT API version, `0.115`. */
  readonly api: string
  readonly platform: string
  readonly platformVersion: string
  /** A CPU plugin makes as many devices as it is asked for. */
  readonly devices: number
  /** StableHLO version it compiles, where it says. */
  readonly stablehlo: string | undefined
  readonly xlaFlags: string
  readonly attributes: Readonly<Record<string, string>>
}

export async function inspectPlugin(path: string): Promise<PluginReport> {
  const library = loadPlugin(path)
  const attributes: Record<string, string> = {}
  if (library.has('PJRT_Plugin_Attributes')) {
    const list = library.call(new Struct('PJRT_Plugin_Attributes_Args'))
    Object.assign(attributes, Object.fromEntries(readNamedValues(list.get('attributes'), list.number('num_attributes'))))
  }
  const session = await Session.create(library, { devices: 1 })
  const report = {
    path: library.path, api: `${library.apiVersion.major}.${library.apiVersion.minor}`, platform: session.platform.name,
    platformVersion: session.platform.version, devices: session.devices.length,
    stablehlo: attributes['stablehlo_current_version'], xlaFlags: library.xlaFlags, attributes,
  }
  await session.close()
  return report
}
