import type { ServiceInspection, Stats } from '../protocol/http-results.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import type { Switch, SwitchBody } from '../protocol/switches.ts';
import type { InstanceOverride } from '../protocol/types.ts';
import { callApi, withQuery } from './api.ts';
import { countOf, formatDuration, nameOf } from './format.ts';
import { refreshState, switchesPoller } from './registry-state.ts';
import { watched } from './session-client.ts';

/** What is asked before an act, beside who does it, why, and for how long. */
export type ActField = { readonly kind: 'override'; readonly initial: InstanceOverride } | { readonly kind: 'over' };

/** What the operator has filled in. */
export interface ActInput {
  readonly reason: string;
  readonly by: string;
  /** Undefined: until somebody lifts it. */
  readonly forMs: number | undefined;
  readonly override: InstanceOverride;
  readonly overMs: number;
}

/** How an act is undone. */
export interface Undo {
  readonly label: string;
  readonly run: () => Promise<void>;
}

/** Something that an operator may do. */
export interface Act {
  readonly title: string;
  /** On the button that does it. */
  readonly verb: string;
  readonly isDangerous: boolean;
  /** Whether who, why and for how long is asked. */
  readonly isOrder: boolean;
  readonly field?: ActField;
  /** What it will do, by what there is now. */
  readonly describeEffect: (input: ActInput) => Promise<string>;
  readonly run: (input: ActInput) => Promise<Done>;
}

export interface Done {
  readonly message: string;
  readonly undo?: Undo;
}

const path = '/v1/switches';

/** Subscribers without this page. */
export function inspectService(key: string, more: { id?: string; limit?: number } = {}): Promise<ServiceInspection> {
  const path = withQuery('/v1/inspection/service', { ...parseServiceKey(key), ...more });
  return callApi<ServiceInspection>(path).then((found) => ({
    ...found,
    subscribers: Math.max(0, found.subscribers - (watched.has(key) ? 1 : 0)),
  }));
}

async function countSubscribers(key: string): Promise<string> {
  return countOf((await inspectService(key, { limit: 1 })).subscribers, 'subscriber');
}

/** Names of what identifies a switch, and of what it is ordered with, by the server's own description: kinds that this page does not know have fields of their own. */
let fields: Promise<{ readonly named: readonly string[]; readonly ordered: readonly string[] }> | undefined;

interface OpenapiDocument {
  readonly paths: Readonly<
    Record<
      string,
      Readonly<
        Record<
          string,
          {
            readonly parameters: readonly { readonly name: string; readonly in: string }[];
            readonly requestBody?: {
              readonly content: Readonly<Record<string, { readonly schema: { readonly properties: object } }>>;
            };
          }
        >
      >
    >
  >;
}

function readFields(): NonNullable<typeof fields> {
  fields ??= callApi<OpenapiDocument>('/openapi.json').then(({ paths }) => {
    const { delete: lift, put: set } = paths[path] ?? {};
    const named = (lift?.parameters ?? []).filter((each) => each.in === 'query').map(({ name }) => name);
    return { named, ordered: Object.keys(set?.requestBody?.content['application/json']?.schema.properties ?? {}) };
  });
  fields.catch(() => {
    fields = undefined;
  });
  return fields;
}

function pick(order: object, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(order).filter(([name, value]) => names.includes(name) && value !== undefined),
  );
}

async function lift(order: Partial<Switch>): Promise<Switch> {
  const { named } = await readFields();
  const lifted = await callApi<Switch>(withQuery(path, pick(order, named)), { method: 'DELETE' });
  refreshState();
  return lifted;
}

async function set(body: object): Promise<Switch> {
  const order = await callApi<Switch>(path, { method: 'PUT', body });
  refreshState();
  return order;
}

/** As it stood, for as long as it was still to stand. */
async function setAgain(order: Switch): Promise<void> {
  const { ordered } = await readFields();
  const forMs = order.until === undefined ? undefined : Math.max(1000, Date.parse(order.until) - Date.now());
  await set({ ...pick(order, ordered), ...(forMs === undefined ? {} : { forMs }) });
}

/** The switch that another would replace. */
function findBefore(wanted: Partial<Switch>): Switch | undefined {
  return switchesPoller.state.value?.switches.find(
    (each) =>
      each.kind === wanted.kind &&
      each.service === wanted.service &&
      each.namespace === wanted.namespace &&
      each.group === wanted.group &&
      each.id === wanted.id &&
      each.host === wanted.host &&
      each.session === wanted.session,
  );
}

async function order(body: SwitchBody, input: ActInput, message: string): Promise<Done> {
  const before = findBefore(body);
  const { reason, by, forMs } = input;
  const done = await set({
    ...body,
    ...(reason === '' ? {} : { reason }),
    ...(by === '' ? {} : { by }),
    ...(forMs === undefined ? {} : { forMs }),
  });
  const run = async (): Promise<void> => {
    if (before === undefined) await lift(done);
    else await setAgain(before);
  };
  return { message, undo: { label: before === undefined ? 'Undo' : 'Set what was before', run } };
}

export function switchServiceOff(key: string, instances: number): Act {
  return {
    title: `Switch ${nameOf(key)} off`,
    verb: 'Switch off',
    isDangerous: true,
    isOrder: true,
    describeEffect: async () =>
      `Closes traffic of ${await countSubscribers(key)}: their list of ${countOf(instances, 'instance')} becomes empty and says that an operator has closed it. Registrations go on.`,
    run: (input) => order({ kind: 'service-off', ...parseServiceKey(key) }, input, `${nameOf(key)} is switched off.`),
  };
}

export function overrideInstance(key: string, id: string, initial: InstanceOverride): Act {
  return {
    title: `Override ${id} of ${nameOf(key)}`,
    verb: 'Override',
    isDangerous: false,
    isOrder: true,
    field: { kind: 'override', initial },
    describeEffect: async ({ override }) =>
      `${await countSubscribers(key)} will see ${id} with ${describeOverride(override)}, also when it is registered again. Its owner is not told.`,
    run: (input) =>
      order(
        { kind: 'instance-override', ...parseServiceKey(key), id, override: input.override },
        input,
        `${id} of ${nameOf(key)} is overridden.`,
      ),
  };
}

export function drainInstance(key: string, id: string): Act {
  return {
    title: `Drain ${id} of ${nameOf(key)}`,
    verb: 'Drain',
    isDangerous: true,
    isOrder: true,
    field: { kind: 'over' },
    describeEffect: async ({ overMs }) =>
      `Takes the weight of ${id} down to 0 in ten steps over ${formatDuration(overMs)} and then disables it. ${await countSubscribers(key)} will be told of each step.`,
    run: (input) =>
      order(
        { kind: 'instance-drain', ...parseServiceKey(key), id, overMs: input.overMs },
        input,
        `${id} of ${nameOf(key)} is being drained.`,
      ),
  };
}

export const makeReadOnly: Act = {
  title: 'Make the registry read-only',
  verb: 'Make read-only',
  isDangerous: true,
  isOrder: true,
  describeEffect: async () => {
    const { sessions, leases } = await callApi<Stats>('/v1/stats');
    return `Refuses registrations and changes of keys of ${countOf(sessions, 'session')} and ${countOf(leases, 'lease')}. Reads, heartbeats and deregistrations go on. A client that has lost its session cannot register again meanwhile.`;
  },
  run: (input) => order({ kind: 'read-only' }, input, 'The registry is read-only.'),
};

export function releaseGuard(held: { readonly instances: number; readonly sessions: number }): Act {
  return {
    title: 'Release the loss guard',
    verb: 'Release',
    isDangerous: true,
    isOrder: false,
    describeEffect: () =>
      Promise.resolve(
        `Removes ${countOf(held.instances, 'held instance')} of ${countOf(held.sessions, 'lost session')} from the lists of all subscribers. This cannot be undone: only their clients can register them again.`,
      ),
    run: async () => {
      await callApi('/v1/guard/release', { method: 'PUT', body: {} });
      refreshState();
      return { message: 'The guard has been released.' };
    },
  };
}

export function liftSwitch(standing: Switch): Act {
  const what = describeSwitch(standing);
  return {
    title: `Lift: ${what}`,
    verb: 'Lift',
    isDangerous: false,
    isOrder: false,
    describeEffect: () => describeLifting(standing),
    run: async () => {
      const lifted = await lift(standing);
      return { message: `Lifted: ${what}.`, undo: { label: 'Set it again', run: () => setAgain(lifted) } };
    },
  };
}

async function describeLifting({ kind, id, ...name }: Switch): Promise<string> {
  if (kind === 'read-only') return 'Lets everybody register and change keys again.';
  if (name.service === undefined) return 'Everything is again as it would be without it.';
  const key = `${name.namespace ?? ''}/${name.group ?? ''}/${name.service}`;
  const found = await inspectService(key, { limit: 1000 });
  const subscribers = countOf(found.subscribers, 'subscriber');
  if (kind !== 'service-off') return `${subscribers} will see ${id ?? nameOf(key)} again as its owner registered it.`;
  const shown = found.claims.filter(({ isShown }) => isShown).length;
  return `Opens traffic of ${subscribers} again: they get ${found.more ? 'more than ' : ''}${countOf(shown, 'instance')} in one push.`;
}

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
  const target = [id, service === undefined ? undefined : nameOf(`${namespace}/${group}/${service}`)]
    .filter((part) => part !== undefined)
    .join(' of ');
  const more = Object.entries(standing)
    .filter(([name]) => !asides.has(name))
    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`);
  const details = [...(override === undefined ? [] : [describeOverride(override)]), ...more].join(', ');
  return `${kind}${target === '' ? '' : ` ${target}`}${details === '' ? '' : ` (${details})`}`;
}
