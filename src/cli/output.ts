import type { Change, Instance, ServiceSummary } from '../client/index.ts';
import { highestOf } from '../protocol/extremes.ts';

/** Rows in columns as wide as their widest cell; the last column is not padded. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, highestOf(rows.map((row) => (row[column] ?? '').length))),
  );
  return [headings, ...rows]
    .map((row) =>
      row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join('  '),
    )
    .join('\n');
}

export function formatServices(services: readonly ServiceSummary[]): string {
  return formatTable(
    ['NAMESPACE', 'GROUP', 'SERVICE', 'INSTANCES'],
    services.map(({ namespace, group, service, instances }) => [namespace, group, service, String(instances)]),
  );
}

export function formatInstances(instances: readonly Instance[]): string {
  return formatTable(
    ['ID', 'ADDRESS', 'WEIGHT', 'ENABLED', 'ZONE', 'METADATA'],
    instances.map((instance) => [
      instance.id,
      formatAddress(instance.host, instance.port),
      String(instance.weight),
      instance.enabled ? 'yes' : 'no',
      instance.zone ?? '-',
      formatMetadata(instance.metadata),
    ]),
  );
}

/** One line for each instance that came, changed or went. */
export function formatChange({ put, removed, instances }: Pick<Change, 'put' | 'removed' | 'instances'>): string[] {
  const lines = [
    ...put.map((instance) => `+ ${formatInstance(instance)}`),
    ...removed.map((instance) => `- ${formatInstance(instance)}`),
  ];
  return lines.length === 0
    ? []
    : [...lines, `= ${instances.length} ${instances.length === 1 ? 'instance' : 'instances'}`];
}

function formatInstance({ id, host, port, weight, enabled }: Instance): string {
  const address = formatAddress(host, port);
  const name = id === address ? id : `${id} at ${address}`;
  return `${name} weight ${weight}${enabled ? '' : ' disabled'}`;
}

export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function formatMetadata(metadata: Instance['metadata']): string {
  const entries = Object.entries(metadata ?? {});
  return entries.length === 0 ? '-' : entries.map(([key, value]) => `${key}=${value}`).join(' ');
}
