import { parseServiceKey } from '../protocol/service-key.ts';
import type { Switch, SwitchKind } from '../protocol/switches.ts';
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
  'limits',
]);

/** In one line; also of kinds that this page does not know. */
export function describeSwitch(standing: Switch): string {
  const { kind, namespace, group = '', service, id, override, limits = {} } = standing;
  const whole = namespace === undefined ? '' : `${namespace}/*`;
  const name = service === undefined ? whole : nameOf(`${namespace}/${group}/${service}`);
  const target = [id, name === '' ? undefined : name].filter((part) => part !== undefined).join(' of ');
  const more = Object.entries(standing)
    .filter(([name]) => !asides.has(name))
    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`);
  const bounds = Object.entries(limits).map(([name, max]) => `${name} ${max}`);
  const details = [...(override === undefined ? [] : [describeOverride(override)]), ...bounds, ...more].join(', ');
  return `${kind}${target === '' ? '' : ` ${target}`}${details === '' ? '' : ` (${details})`}`;
}

const servedStates: readonly (readonly [kind: SwitchKind, state: string])[] = [
  ['service-off', 'off'],
  ['quarantine', 'quarantined'],
  ['push-freeze', 'frozen'],
];

/** What switches make of a whole service, the gravest first. Pushes are also frozen for a namespace, and for all. */
export function statesOf(key: string, switches: readonly Switch[]): readonly string[] {
  const { namespace } = parseServiceKey(key);
  const holds = ({ kind, service, ...order }: Switch): boolean =>
    service === undefined
      ? kind === 'push-freeze' && (order.namespace === undefined || order.namespace === namespace)
      : `${order.namespace}/${order.group}/${service}` === key;
  const kinds = new Set(switches.filter(holds).map(({ kind }) => kind));
  return servedStates.filter(([kind]) => kinds.has(kind)).map(([, state]) => state);
}
