import { defaultGroup, defaultNamespace, parseServiceKey } from '../protocol/service-key.ts';

const counts = new Intl.NumberFormat('en');
const rates = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const byteUnits = ['B', 'kB', 'MB', 'GB', 'TB'];

export function formatCount(value: number): string {
  return counts.format(value);
}

export function formatRate(value: number): string {
  return rates.format(value);
}

/** `1 subscriber`, `2 subscribers`. */
export function countOf(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

export function formatBytes(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < byteUnits.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${byteUnits[unit] ?? ''}`;
}

/** In the two largest units that it has. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = Math.floor(ms / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600), Math.floor(seconds / 60)];
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

/** What stands before the name of a service, if it is not what everybody uses; with a slash at its end. */
export function prefixOf(key: string): string {
  const { namespace, group } = parseServiceKey(key);
  return namespace === defaultNamespace && group === defaultGroup ? '' : `${namespace}/${group}/`;
}

/** A service as people know it. */
export function nameOf(key: string): string {
  return prefixOf(key) + parseServiceKey(key).service;
}
