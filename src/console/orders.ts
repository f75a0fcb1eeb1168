import type { ServiceInspection } from '../protocol/http-results.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import type { Switch, SwitchBody } from '../protocol/switches.ts';
import type { ActInput, Done } from './act.ts';
import { callApi, withQuery } from './api.ts';
import { countOf } from './format.ts';
import { refreshState, switchesPoller } from './registry-state.ts';
import { watched } from './session-client.ts';

const path = '/v1/switches';

/** Subscribers without this page. */
export function inspectService(key: string, more: { id?: string; limit?: number } = {}): Promise<ServiceInspection> {
  const path = withQuery('/v1/inspection/service', { ...parseServiceKey(key), ...more });
  return callApi<ServiceInspection>(path).then((found) => ({
    ...found,
    subscribers: Math.max(0, found.subscribers - (watched.has(key) ? 1 : 0)),
  }));
}

export async function countSubscribers(key: string): Promise<string> {
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

export async function lift(order: Partial<Switch>): Promise<Switch> {
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
export async function setAgain(order: Switch): Promise<void> {
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

export async function order(body: SwitchBody, input: ActInput, message: string): Promise<Done> {
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
