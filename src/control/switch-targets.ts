import type { Failure } from '../protocol/errors.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { Switch, SwitchBody, SwitchKind, SwitchQuery } from '../protocol/switches.ts';
import type { Orders } from '../sessions/standing-orders.ts';

/** Names a switch among all. No name has control characters. */
export function nameOf(query: SwitchQuery): string {
  const { kind, id = '' } = query;
  const target = selectorFields.flatMap((field) => (query[field] === undefined ? [] : [`${field}\n${query[field]}`]));
  return [kind, scopeOf(query), id, ...target].join('\n');
}

/** Whether it is laid over a service, where that is; else it concerns sessions, and what they register. */
export function isOverlay({ kind }: SwitchQuery): boolean {
  return kind === 'service-off' || kind === 'instance-override' || kind === 'instance-drain';
}

/** Whether it concerns the loss guard. */
export function isGuarding({ kind }: SwitchQuery): boolean {
  return kind === 'guard-hold' || kind === 'guard-off';
}

/** A service's key, a namespace with a slash behind it, or, of the whole registry, an empty text. */
export function scopeOf(query: SwitchQuery): string {
  return keyOf(query) ?? (query.namespace === undefined ? '' : `${query.namespace}/`);
}

const selectorFields = ['host', 'address', 'app', 'session'] as const;

export function selectorOf({ address, app, session }: Switch): Orders['off'][number] {
  return {
    ...(address === undefined ? {} : { address }),
    ...(app === undefined ? {} : { app }),
    ...(session === undefined ? {} : { session }),
  };
}

/** Of the service that it is about; undefined: it is about the whole registry. */
export function keyOf({ service, ...name }: SwitchQuery): string | undefined {
  return service === undefined ? undefined : serviceKey({ ...name, service });
}

/** The fields that a switch of each kind must have, and others that it may have; schemas have looked at each by itself. */
const fieldsOf: Readonly<Record<SwitchKind, FieldRules>> = {
  'service-off': { needs: ['service'], may: ['namespace', 'group'] },
  'instance-override': { needs: ['service', 'id', 'override'], may: ['namespace', 'group'] },
  'instance-drain': { needs: ['service', 'id'], may: ['namespace', 'group', 'overMs'] },
  'host-drain': { needs: ['host'], may: ['overMs'] },
  'client-off': { needs: [], may: [], oneOf: ['address', 'app', 'session'] },
  'push-freeze': { needs: [], may: ['namespace', 'group', 'service'] },
  'guard-hold': { needs: [], may: ['namespace', 'group', 'service'] },
  'guard-off': { needs: [], may: ['namespace', 'group', 'service'] },
  'namespace-limit': { needs: ['namespace', 'limits'], may: [] },
  quarantine: { needs: [], may: ['namespace', 'group'], oneOf: ['service', 'address', 'app'] },
  'read-only': { needs: [], may: [] },
};
const targetFields = ['namespace', 'group', 'service', 'id', ...selectorFields] as const;

interface FieldRules {
  readonly needs: readonly Field[];
  readonly may: readonly Field[];
  /** Exactly one of these is given. */
  readonly oneOf?: readonly Field[];
}
type Field = (typeof targetFields)[number] | 'override' | 'overMs' | 'limits';

export function checkTarget(query: SwitchQuery): Failure | undefined {
  return checkFields(query, targetFields);
}

export function checkBody(body: SwitchBody): Failure | undefined {
  const failure = checkFields(body, [...targetFields, 'override', 'overMs', 'limits']);
  if (failure !== undefined) return failure;
  for (const field of ['override', 'limits'] as const) {
    const value = body[field];
    if (value !== undefined && Object.keys(value).length === 0) return refuseField(field, `${field} must have a field`);
  }
  return undefined;
}

function checkFields(input: SwitchBody, fields: readonly Field[]): Failure | undefined {
  const { kind } = input;
  const { needs, may, oneOf = [] } = fieldsOf[kind];
  for (const field of fields) {
    const isGiven = input[field] !== undefined;
    if (needs.includes(field) && !isGiven) return refuseField(field, `params lacks the field ${field}`);
    if (isGiven && ![...needs, ...may, ...oneOf].includes(field)) return refuseField(field, `${kind} has no ${field}`);
  }
  const given = oneOf.filter((field) => input[field] !== undefined);
  if (oneOf.length > 0 && given.length !== 1)
    return refuseField(given[1] ?? oneOf[0]!, `${kind} needs one of ${oneOf.join(', ')}`);
  for (const field of ['group', 'namespace'] as const) {
    const isScope = field === 'namespace' && (kind === 'push-freeze' || kind === 'namespace-limit');
    const isAlone = input.service === undefined && !isScope;
    if (input[field] !== undefined && isAlone) return refuseField(field, `there is no ${field} without a service`);
  }
  return undefined;
}

function refuseField(field: string, message: string): Failure {
  return { code: 'invalid_params', message, field: `/${field}` };
}
