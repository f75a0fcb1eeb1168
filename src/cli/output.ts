import type { Change, Instance, KeyEntry, KeyMeta, ServiceSummary } from '../client/index.ts';
import { highestOf } from '../protocol/extremes.ts';
import { escapeJson, escapeTerminal } from '../runtime/terminal-escapes.ts';

/** Stands where there is nothing. */
export const nothing = '-';

/**
 * A name, an address or anything else that somebody else chose, so that it cannot pass for more than one thing: without what a terminal obeys, and in quotes
 * where it has spaces, is empty, or looks like something that was written here.
 */
export function formatText(text: string): string {
  const shown = escapeTerminal(text);
  return shown === '' || shown === nothing || /["\s]/.test(shown) ? JSON.stringify(shown) : shown;
}

/** One line of JSON that a terminal may be shown. */
export function formatJson(value: unknown): string {
  return escapeJson(JSON.stringify(value));
}

/** How a table is shown. */
export interface TableLook {
  /** Characters of a line: cells are cut until it fits. Without it nothing is cut. */
  readonly widthMax?: number;
  readonly styleHeadings?: (line: string) => string;
}

const gap = '  ';
/** A column is not made narrower than this, in characters, nor than its heading. */
const columnWidthMin = 8;

/** Rows in columns as wide as their widest cell, or as fits; the last column is not padded. Cells are shown as they are. */
export function formatTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  { widthMax = Number.POSITIVE_INFINITY, styleHeadings = (line) => line }: TableLook = {},
): string {
  const widths = fitWidths(
    headings.map((heading, column) =>
      Math.max(heading.length, highestOf(rows.map((row) => (row[column] ?? '').length))),
    ),
    headings,
    widthMax,
  );
  const [first = '', ...others] = [headings, ...rows].map((row) =>
    row
      .map((cell, column) => cutText(cell, widths[column] ?? 0))
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join(gap),
  );
  return [styleHeadings(first), ...others].join('\n');
}

/** Takes from the widest columns what is too much for a line, as far as they give it. */
function fitWidths(widths: readonly number[], headings: readonly string[], widthMax: number): number[] {
  const fitted = [...widths];
  const leasts = headings.map(({ length }) => Math.max(length, columnWidthMin));
  let excess = fitted.reduce((sum, width) => sum + width, gap.length * (fitted.length - 1)) - widthMax;
  while (excess > 0) {
    let widest = -1;
    for (const [at, width] of fitted.entries())
      if (width > (leasts[at] ?? 0) && width > (fitted[widest] ?? 0)) widest = at;
    if (widest === -1) break;
    fitted[widest] = (fitted[widest] ?? 0) - 1;
    excess -= 1;
  }
  return fitted;
}

/** With an ellipsis in place of what does not fit. */
export function cutText(text: string, widthMax: number): string {
  return text.length <= widthMax ? text : `${text.slice(0, Math.max(0, widthMax - 1))}…`;
}

export function formatServices(services: readonly ServiceSummary[], look?: TableLook): string {
  return formatTable(
    ['NAMESPACE', 'GROUP', 'SERVICE', 'INSTANCES'],
    services.map(({ namespace, group, service, instances }) => [
      formatText(namespace),
      formatText(group),
      formatText(service),
      String(instances),
    ]),
    look,
  );
}

export function formatInstances(instances: readonly Instance[], look?: TableLook): string {
  return formatTable(
    ['ID', 'ADDRESS', 'WEIGHT', 'ENABLED', 'HEALTH', 'PERSISTENT', 'ZONE', 'METADATA'],
    instances.map((instance) => [
      formatText(instance.id),
      formatText(formatAddress(instance.host, instance.port)),
      String(instance.weight),
      instance.enabled ? 'yes' : 'no',
      formatHealth(instance),
      instance.persistent === true ? 'yes' : 'no',
      instance.zone === undefined ? nothing : formatText(instance.zone),
      formatMetadata(instance.metadata),
    ]),
    look,
  );
}

export function formatKeys(entries: readonly KeyEntry[], look?: TableLook): string {
  return formatTable(
    ['KEY', 'BYTES', 'FLAGS', 'VERSION', 'HOLDER', 'FENCE'],
    entries.map(({ key, value, flags, modifyVersion, holder, fence }) => [
      formatText(key),
      String(value.length),
      String(flags),
      String(modifyVersion),
      holder === undefined ? nothing : formatText(holder),
      fence === undefined ? nothing : String(fence),
    ]),
    look,
  );
}

/** A key as JSON can have it: its value in base64, and also as text if it is UTF-8. */
export function toKeyJson(entry: KeyEntry | KeyMeta): object {
  const meta = { ...entry, flags: String(entry.flags) };
  if (!('value' in entry)) return meta;
  const { value, text, ...rest } = { ...entry, flags: meta.flags };
  const bytes = Buffer.from(value);
  const isText = bytes.equals(Buffer.from(text));
  return { ...rest, value: bytes.toString('base64'), ...(isText ? { text } : {}) };
}

/** One line for each instance that came, changed or went. */
export function formatChange({
  put,
  removed,
  instances,
  unconfirmed = 0,
}: Pick<Change, 'put' | 'removed' | 'instances'> & { readonly unconfirmed?: number }): string[] {
  const lines = [
    ...put.map((instance) => `+ ${formatInstance(instance)}`),
    ...removed.map((instance) => `- ${formatInstance(instance)}`),
  ];
  return lines.length === 0
    ? []
    : [
        ...lines,
        `= ${instances.length} ${instances.length === 1 ? 'instance' : 'instances'}${unconfirmed > 0 ? `, ${unconfirmed} unconfirmed` : ''}`,
      ];
}

/** Without spaces, so that it stays one word of its line. */
function formatHealth({ health, protected: isProtected }: Instance): string {
  return `${health ?? 'passing'}${isProtected === true ? '(protected)' : ''}`;
}

function formatInstance(instance: Instance): string {
  const { id, host, port, weight, enabled, persistent, health } = instance;
  const address = formatAddress(host, port);
  const name = id === address ? formatText(id) : `${formatText(id)} at ${formatText(address)}`;
  return `${name} weight ${weight}${enabled ? '' : ' disabled'}${persistent === true ? ' persistent' : ''}${health === undefined ? '' : ` ${formatHealth(instance)}`}`;
}

export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export function formatMetadata(metadata: Instance['metadata']): string {
  const entries = Object.entries(metadata ?? {});
  return entries.length === 0
    ? nothing
    : entries.map(([key, value]) => `${formatKey(key)}=${value === '' ? '' : formatText(value)}`).join(' ');
}

/** One that holds an equals sign would pass for a key and the beginning of its value. */
function formatKey(key: string): string {
  const shown = formatText(key);
  return shown.includes('=') && !shown.startsWith('"') ? JSON.stringify(shown) : shown;
}
