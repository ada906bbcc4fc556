/** What measuring a model came to, as JSON and as Markdown. */
import type { TaskReport } from './tasks/task.ts'

export interface MeasureReport extends Omit<TaskReport, 'metrics'> {
  readonly task: string
  readonly model: string
  readonly data: readonly string[]
  readonly items: number
  /** Numbers that JSON lacks are text: "NaN". */
  readonly metrics: { readonly [name: string]: number | string }
}

export const reportJson = (report: MeasureReport): string => JSON.stringify(report, (_, x: unknown) => (typeof x === 'number' && !Number.isFinite(x) ? String(x) : x))

export const shownMetric = (value: number | string): string => (typeof value === 'number' ? value.toFixed(4) : value)

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
const table = ([head = [], ...rows]: readonly (readonly string[])[]): string => [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows].map(row => `| ${row.map(cell).join(' | ')} |`).join('\n')

export function markdownOf({ task, model, data, metrics, counts, definitions, tables = [] }: MeasureReport): string {
  const values = [['', 'value'], ...Object.entries(metrics).map(([name, value]) => [name, shownMetric(value)]), ...Object.entries(counts).map(([name, value]) => [name, value.toLocaleString('en-US')])]
  return [
    `# ${task}: ${cell(model)}`, `Data: ${data.map(cell).join(', ')}`, table(values),
    Object.entries(definitions).map(([name, text]) => `- **${name}**: ${text}.`).join('\n'), ...tables.flatMap(({ title, rows }) => [`## ${title}`, table(rows)]),
  ].join('\n\n') + '\n'
}
