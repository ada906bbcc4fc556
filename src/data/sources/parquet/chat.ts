/** A column of chats, each a list of structs of role and content: a piece a row group. */
import type { SchemaTree } from 'hyparquet'
import type { Cut } from '../cut.ts'
import { messagesOf } from '../jsonl.ts'
import { fault } from '../faults.ts'
import type { ByteSource } from '../source.ts'
import type { ColumnLayout, Document, Piece } from '../types.ts'
import { chunkOf, columnOf, groupRows, isText, notText, readFooter, spoilt, type Chunk, type Footer } from './footer.ts'
import { ParquetFault } from './guard.ts'
import { dataOf, dictionaryOf, pageAt } from './pages.ts'

/** A row group is read at once. */
const largestGroup = 2 ** 30

interface Turn { readonly path: readonly string[]; /** Definition level from which on an entry stands for a message, and for one that is there. */ readonly message: number }

/** The leaves of role and content. @throws DataError when the column is no list of such structs. */
function turns(footer: Footer, file: string, field: string): readonly [role: Turn, content: Turn] {
  const column = columnOf(footer, file, field)
  const [list] = column.children
  const element = list?.children.length === 1 ? list.children[0] : list
  const leaf = (name: string): Turn => {
    const found = element?.children.find(child => child.element.name === name)
    if (list === undefined || element === undefined || column.children.length !== 1 || list.element.repetition_type !== 'REPEATED' || found === undefined || !isText(found) || found.element.repetition_type === 'REPEATED') {
      throw fault({ ...notText(file, field, column).problem, code: 'not-a-chat', what: `the column "${field}" holds no chats`, at: file, fix: 'messages are a list of structs with the texts role and content' })
    }
    const optional = (tree: SchemaTree): number => tree.element.repetition_type === 'REQUIRED' ? 0 : 1
    return { path: found.path, message: optional(column) + optional(list) }
  }
  return [leaf('role'), leaf('content')]
}

export async function* chatCuts(source: ByteSource, field: string): AsyncGenerator<Cut> {
  const footer = await readFooter(source)
  const leaves = turns(footer, source.name, field)
  let row = 0
  try {
    for (const [group, rows] of groupRows(footer).entries()) {
      if (rows === 0) continue
      const chunks = leaves.map(({ path }) => chunkOf(footer, group, path))
      const size = chunks.reduce((n, c) => n + c.unpacked, 0)
      if (!(size <= largestGroup)) throw new ParquetFault(`row group ${group} has ${size} bytes of chats, more than ${largestGroup}: write it with smaller row groups`)
      yield { first: row, from: Math.min(...chunks.map(c => c.from)), to: Math.max(...chunks.map(c => c.to)), layout: { row, rows, group } }
      row += rows
    }
  } catch (cause) {
    throw spoilt(source.name, `from row ${row} on`, cause)
  }
}

export async function chatDocuments(source: ByteSource, piece: Piece, field: string): Promise<Iterable<Document>> {
  const { rows, group } = piece.layout as ColumnLayout
  const footer = await readFooter(source)
  const leaves = turns(footer, source.name, field)
  const [roles = [], contents = []] = await Promise.all(leaves.map(async leaf => {
    const chunk = chunkOf(footer, group, leaf.path)
    return lists(await source.read(chunk.from, chunk.to), chunk, leaf.message, piece)
  }))
  if (roles.length !== rows || contents.length !== rows) throw spoilt(piece.part, `from row ${piece.first} on`, new ParquetFault(`${rows} rows are announced, ${roles.length} and ${contents.length} are there`))
  return documents(roles, contents, piece, field)
}

type List = readonly (string | null)[]

function* documents(roles: readonly List[], contents: readonly List[], piece: Piece, field: string): Generator<Document> {
  for (const [i, role] of roles.entries()) {
    const at = `${piece.part}, row ${piece.first + i}`
    const content = contents[i] ?? []
    yield { record: piece.first + i, at, content: messagesOf(role.map((r, k) => ({ role: r, content: content[k] ?? null })), field, at) }
  }
}

/** The values of a leaf, row by row. */
function lists(bytes: Buffer, chunk: Chunk, message: number, piece: Piece): readonly List[] {
  const rows: (string | null)[][] = []
  let words: readonly string[] | undefined
  for (let at = 0; at < bytes.length;) {
    try {
      const page = pageAt(bytes, at, true)
      if (page === undefined) break
      at = page.to
      if (page.header.type === 'INDEX_PAGE') continue
      if (page.header.type === 'DICTIONARY_PAGE') {
        words = dictionaryOf(bytes, page, chunk)
        continue
      }
      const { count, repetition, definition, values } = dataOf(bytes, page, chunk, words)
      for (let [i, next] = [0, 0]; i < count; i++) {
        if (repetition[i] === 0) rows.push([])
        const row = rows.at(-1)
        if (row === undefined) throw new ParquetFault('a column begins within a row')
        const level = definition[i] ?? chunk.definition
        if (level >= message) row.push(level === chunk.definition ? values[next++] ?? '' : null)
      }
    } catch (cause) {
      throw spoilt(piece.part, `byte ${chunk.from + at}`, cause)
    }
  }
  return rows
}
