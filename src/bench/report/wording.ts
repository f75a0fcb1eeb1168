import type { BenchResult, Figure } from '../result.ts';

/** Three significant digits. */
export function wordNumber(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-GB').replaceAll(',', ' ');
  return String(Number(value.toPrecision(3)));
}

export function wordBytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB'];
  let [scaled, unit] = [value, 0];
  while (Math.abs(scaled) >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${wordNumber(scaled)} ${units[unit]}`;
}

export function wordMs(value: number): string {
  return `${wordNumber(value)} ms`;
}

export function wordFigure({ value, unit }: Pick<Figure, 'value' | 'unit'>): string {
  if (unit === 'B') return wordBytes(value);
  return unit === '' ? wordNumber(value) : `${wordNumber(value)} ${unit}`.replace(' /s', '/s');
}

/** `metadataBytes` as it is given: `--metadata-bytes`. */
export function wordOption(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

export function wordEnvironment({ environment, server, slotcast }: BenchResult): string {
  const { node, platform, kernel, cpus, cpuModel, memoryBytes, serverCores, loadCores } = environment;
  const bound =
    serverCores === null || loadCores === null
      ? 'not bound to cores'
      : `server on core ${serverCores}, load on core ${loadCores}`;
  const partitions =
    server.partitions === null ? '' : `, ${server.partitions} ${server.partitions === 1 ? 'partition' : 'partitions'}`;
  const at = server.url === null ? `slotcast ${slotcast}${partitions}` : `the server at ${server.url}`;
  return `${at}; Node.js ${node}, ${platform}, kernel ${kernel}, ${cpus} × ${cpuModel}, ${wordBytes(memoryBytes)}; ${bound}`;
}
