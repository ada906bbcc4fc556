/** Formats of texts that JSON Schema names, as regular expressions over their characters. */
const [year, month, day, time, offset] = ['\\d{4}', '(?:0[1-9]|1[0-2])', '(?:0[1-9]|1\\d|2[0-8])', '(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?', '(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)']
const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const label = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?'

/** Days beyond the 28th are left out: no date is written that its month lacks. */
export const formats: { readonly [name: string]: string } = {
  date: `${year}-${month}-${day}`, time: `${time}${offset}`, 'date-time': `${year}-${month}-${day}T${time}${offset}`, uuid: '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}',
  ipv4: `${octet}(?:\\.${octet}){3}`, hostname: `${label}(?:\\.${label}){0,3}`, email: `[A-Za-z0-9_+-]{1,32}(?:\\.[A-Za-z0-9_+-]{1,32}){0,3}@${label}(?:\\.${label}){1,3}`,
  uri: `https?://${label}(?:\\.${label}){0,3}(?::\\d{1,4})?(?:/[A-Za-z0-9._~-]{0,64}){0,16}`,
}
