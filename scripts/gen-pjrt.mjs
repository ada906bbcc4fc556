/** Reads pjrt_c_api.h and writes src/runtime/pjrt/header.gen.ts: `node scripts/gen-pjrt.mjs PATH/pjrt_c_api.h`. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

// What the runtime touches; everything else in the header is left out. A call `X` takes `X_Args`.
const CALLS = [
  'Error_Destroy', 'Error_Message', 'Error_GetCode', 'Plugin_Initialize', 'Plugin_Attributes',
  'Event_Destroy', 'Event_IsReady', 'Event_Error', 'Event_Await',
  'Client_Create', 'Client_Destroy', 'Client_PlatformName', 'Client_PlatformVersion', 'Client_AddressableDevices', 'Client_Compile',
  'Client_BufferFromHostBuffer', 'Device_AddressableMemories', 'Memory_Kind', 'Device_GetDescription', 'DeviceDescription_Kind', 'Executable_Destroy', 'Executable_NumOutputs', 'Executable_OptimizedProgram', 'Executable_OutputElementTypes',
  'Executable_OutputDimensions', 'Executable_GetCompiledMemoryStats', 'Executable_Serialize', 'Executable_DeserializeAndLoad',
  'LoadedExecutable_Destroy', 'LoadedExecutable_GetExecutable', 'LoadedExecutable_AddressableDevices', 'LoadedExecutable_Execute',
  'Buffer_Destroy', 'Buffer_IsDeleted', 'Buffer_ToHostBuffer',
].map((name) => `PJRT_${name}`)
const STRUCTS = ['PJRT_NamedValue', 'PJRT_Program', 'PJRT_ExecuteOptions', 'PJRT_Buffer_MemoryLayout', 'PJRT_Buffer_MemoryLayout_Tiled',
  'PJRT_Api_Version', 'PJRT_Extension_Base']
const ENUMS = ['PJRT_Error_Code', 'PJRT_NamedValue_Type', 'PJRT_Buffer_Type', 'PJRT_HostBufferSemantics',
  'PJRT_Buffer_MemoryLayout_Type', 'PJRT_Extension_Type']

const path = process.argv[2]
if (path === undefined) {
  console.error('usage: node scripts/gen-pjrt.mjs PATH/pjrt_c_api.h')
  process.exit(2)
}
const source = readFileSync(path, 'utf8').replace(/\/\/.*$/gm, '').replace(/\/\*[\s\S]*?\*\//g, '')

const scalars = { size_t: 8, int64_t: 8, int: 4, float: 4, bool: 1 }
const bodies = new Map([...source.matchAll(/struct (PJRT_\w+) \{([\s\S]*?)\n\}/g)].map((m) => [m[1], m[2]]))
const enums = new Map([...source.matchAll(/typedef enum \{([\s\S]*?)\} (PJRT_\w+);/g)].map((m) => [m[2], m[1]]))

const known = new Map()
const align = (at, to) => Math.ceil(at / to) * to

/** Bytes and alignment of a declared type, on a 64-bit machine. */
function measure(type) {
  if (type.includes('*') || type.includes('(') || /Callback$/.test(type)) return { bytes: 8, alignment: 8 }
  const name = type.replace(/\bconst\b|\bstruct\b/g, '').trim()
  if (name in scalars) return { bytes: scalars[name], alignment: scalars[name] }
  if (enums.has(name)) return { bytes: 4, alignment: 4 }
  const inner = layout(name)
  return { bytes: align(inner.size, inner.alignment), alignment: inner.alignment }
}

/** Declarations of a struct's body: unions come as one entry with several names at one offset. */
function declarations(body) {
  const flat = body.replace(/union \{([\s\S]*?)\};/g, (_, inner) => `UNION ${inner.replace(/;/g, '|')};`)
  return flat.split(';').map((line) => line.replace(/\s+/g, ' ').trim()).filter((line) => line !== '').map((line) => {
    const parts = line.startsWith('UNION ') ? line.slice(6).split('|') : [line]
    return parts.map((part) => part.trim()).filter((part) => part !== '').map((part) => {
      const pointer = /\(\*(\w+)\)/.exec(part)
      if (pointer !== null) return { name: pointer[1], type: '*' }
      const plain = /^(.*?)(\w+)$/.exec(part)
      return { name: plain[2], type: plain[1].trim() }
    })
  })
}

function layout(name) {
  const cached = known.get(name)
  if (cached !== undefined) return cached
  const body = bodies.get(name)
  if (body === undefined) throw new Error(`no struct ${name} in ${path}`)
  const fields = {}
  let end = 0
  let alignment = 1
  for (const group of declarations(body)) {
    const sizes = group.map((field) => measure(field.type))
    const widest = Math.max(...sizes.map((s) => s.alignment))
    const start = align(end, widest)
    group.forEach((field, i) => { fields[field.name] = [start, sizes[i].bytes] })
    end = start + align(Math.max(...sizes.map((s) => s.bytes)), group.length > 1 ? widest : 1)
    alignment = Math.max(alignment, widest)
  }
  const made = { size: end, alignment, fields }
  known.set(name, made)
  return made
}

function enumValues(name) {
  let next = 0
  return enums.get(name).split(',').map((line) => line.trim()).filter((line) => line !== '').map((line) => {
    const [label, value] = line.split('=').map((part) => part.trim())
    next = value === undefined ? next : Number(value)
    return [label.replace(`${name}_`, '').replace(`${name.replace(/_Type$/, '')}_`, '').replace(/^k(?=[A-Z])/, ''), next++]
  })
}

const table = [...source.slice(source.indexOf('typedef struct PJRT_Api {')).matchAll(/_PJRT_API_STRUCT_FIELD\((\w+)\);/g)].map((m) => m[1])
const first = 16 + measure('PJRT_Api_Version').bytes
const version = (part) => Number(new RegExp(`#define PJRT_API_${part} (\\d+)`).exec(source)[1])
const wrap = (items, indent) => {
  const lines = ['']
  for (const item of items) {
    if (indent.length + lines.at(-1).length + item.length + 2 > 138) lines.push('')
    lines[lines.length - 1] += `${lines.at(-1) === '' ? '' : ' '}${item},`
  }
  return lines.map((line) => `${indent}${line}`).join('\n')
}

const structs = [...CALLS.map((name) => `${name}_Args`), ...STRUCTS].map((name) => {
  const { size, fields } = layout(name)
  return `  ${name}: {\n    size: ${size}, fields: {\n${
    wrap(Object.entries(fields).map(([field, [at, bytes]]) => `${field}: [${at}, ${bytes}]`), '      ')}\n    },\n  },`
})
const slots = CALLS.map((name) => {
  if (!table.includes(name)) throw new Error(`no table slot ${name} in ${path}`)
  return `${name}: ${first + 8 * table.indexOf(name)}`
})

writeFileSync(fileURLToPath(new URL('../src/runtime/pjrt/header.gen.ts', import.meta.url)), `\
/** The parts of pjrt_c_api.h that Meshwork uses. Written by scripts/gen-pjrt.mjs; do not edit. */

/** The header's own version. Fields and slots are only ever appended, so newer plugins fit as well. */
export const headerVersion = { major: ${version('MAJOR')}, minor: ${version('MINOR')} } as const

/** \`size\` is the end of the last field, which is what struct_size must hold; a field is [offset, bytes]. */
export const structs = {
${structs.join('\n')}
} as const

/** Byte offset of each function pointer in PJRT_Api. */
export const slots = {
${wrap(slots, '  ')}
} as const

export const enums = {
${ENUMS.map((name) => `  ${name}: {\n${wrap(enumValues(name).map(([label, value]) => `${label}: ${value}`), '    ')}\n  },`).join('\n')}
} as const
`)
