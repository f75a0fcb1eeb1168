import type { Switch } from '../protocol/switches.ts';
import type { InstanceOverride } from '../protocol/types.ts';
import { nameOf } from './format.ts';

export function describeOverride({ enabled, weight, zone, metadata = {} }: InstanceOverride): string {
  const parts = [
    enabled === undefined ? '' : enabled ? 'enabled' : 'disabled',
    weight === undefined ? '' : `weight ${weight}`,
    zone === undefined ? '' : `zone ${zone}`,
    ...Object.entries(metadata).map(([name, value]) => `${name}=${value}`),
  ].filter((part) => part !== '');
  return parts.length === 0 ? 'nothing changed' : parts.join(', ');
}

/** Fields that say no more of which switch it is and what it does. */
const asides = new Set([
  'kind',
  'namespace',
  'group',
  'service',
  'id',
  'by',
  'reason',
  'since',
  'until',
  'orderedFrom',
  'override',
  'overMs',
]);

/** In one line; also of kinds that this page does not know. */
export function describeSwitch(standing: Switch): string {
  const { kind, namespace = '', group = '', service, id, override } = standing;
  const name = service === undefined ? namespace : nameOf(`${namespace}/${group}/${service}`);
  const target = [id, name === '' ? undefined : name].filter((part) => part !== undefined).join(' of ');
  const more = Object.entries(standing)
    .filter(([name]) => !asides.has(name))
    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`);
  const details = [...(override === undefined ? [] : [describeOverride(override)]), ...more].join(', ');
  return `${kind}${target === '' ? '' : ` ${target}`}${details === '' ? '' : ` (${details})`}`;
}
