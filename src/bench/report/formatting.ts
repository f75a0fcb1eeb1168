import type { BenchResult, Figure } from '../result.ts';

/** Three significant digits. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-GB').replaceAll(',', ' ');
  return String(Number(value.toPrecision(3)));
}

export function formatBytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB'];
  let [scaled, unit] = [value, 0];
  while (Math.abs(scaled) >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${formatNumber(scaled)} ${units[unit]}`;
}

export function formatMs(value: number): string {
  return `${formatNumber(value)} ms`;
}

export function formatFigure({ value, unit }: Pick<Figure, 'value' | 'unit'>): string {
  if (unit === 'B') return formatBytes(value);
  return unit === '' ? formatNumber(value) : `${formatNumber(value)} ${unit}`.replace(' /s', '/s');
}

/** `metadataBytes` as it is given: `--metadata-bytes`. */
export function formatOption(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

export function formatEnvironment({ environment, server, slotcast }: BenchResult): string {
  const { node, platform, kernel, cpus, cpuModel, memoryBytes, serverCores, loadCores } = environment;
  const bound =
    serverCores === null || loadCores === null
      ? 'not bound to cores'
      : `server on core ${serverCores}, load on core ${loadCores}`;
  const partitions =
    server.partitions === null ? '' : `, ${server.partitions} ${server.partitions === 1 ? 'partition' : 'partitions'}`;
  const at = server.url === null ? `slotcast ${slotcast}${partitions}` : `the server at ${server.url}`;
  return `${at}; Node.js ${node}, ${platform}, kernel ${kernel}, ${cpus} × ${cpuModel}, ${formatBytes(memoryBytes)}; ${bound}`;
}
