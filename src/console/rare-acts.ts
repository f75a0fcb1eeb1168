import type { RemovalResult, SessionInspection } from '../protocol/http-results.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import type { SwitchBody } from '../protocol/switches.ts';
import type { Act } from './act.ts';
import { callApi, withQuery } from './api.ts';
import { countOf, formatDuration, nameOf } from './format.ts';
import { countSubscribers, inspectService, order } from './orders.ts';

/** Whom an act is about. */
export type Clients = { readonly session: string } | { readonly app: string } | { readonly address: string };

function nameClients(clients: Clients): string {
  return Object.entries(clients)
    .map(([kind, name]) => `${kind} ${name}`)
    .join();
}

async function describeHeld(clients: Clients): Promise<string> {
  if (!('session' in clients)) return `all that clients of ${nameClients(clients)} have registered, or register,`;
  const { registrations, more } = await callApi<SessionInspection>(
    withQuery('/v1/inspection/session', { ...clients, limit: 1000 }),
  );
  return `${more ? 'more than ' : ''}${countOf(registrations.length, 'registration')} of this session`;
}

export function switchClientOff(clients: Clients): Act {
  return {
    title: `Switch off ${nameClients(clients)}`,
    verb: 'Switch off',
    isDangerous: true,
    isOrder: true,
    describeEffect: async () =>
      `Hides ${await describeHeld(clients)} from all subscribers. What these clients subscribe to goes on, and they are told that an operator has closed them.`,
    run: (input) => order({ kind: 'client-off', ...clients }, input, `Switched off: ${nameClients(clients)}.`),
  };
}

export function quarantineClient(clients: Exclude<Clients, { readonly session: string }>): Act {
  return {
    title: `Quarantine ${nameClients(clients)}`,
    verb: 'Quarantine',
    isDangerous: true,
    isOrder: true,
    describeEffect: () =>
      Promise.resolve(
        `Closes the connections of ${nameClients(clients)} and refuses them with the reason that you give. What they have registered ends when their grace is over; lifting brings it back only when they connect again.`,
      ),
    run: (input) => order({ kind: 'quarantine', ...clients }, input, `Quarantined: ${nameClients(clients)}.`),
  };
}

export function quarantineService(key: string): Act {
  return {
    title: `Quarantine ${nameOf(key)}`,
    verb: 'Quarantine',
    isDangerous: true,
    isOrder: true,
    describeEffect: async () =>
      `Refuses whoever registers, subscribes to or reads ${nameOf(key)}, with the reason that you give. It has ${await countSubscribers(key)}.`,
    run: (input) => order({ kind: 'quarantine', ...parseServiceKey(key) }, input, `${nameOf(key)} is quarantined.`),
  };
}

/** `key`: of one service; undefined: of all. */
export function freezePushes(key: string | undefined): Act {
  const what = key === undefined ? 'all services' : nameOf(key);
  const body: SwitchBody = { kind: 'push-freeze', ...(key === undefined ? {} : parseServiceKey(key)) };
  return {
    title: `Freeze pushes of ${what}`,
    verb: 'Freeze',
    isDangerous: true,
    isOrder: true,
    describeEffect: async () => {
      const whom = key === undefined ? 'All subscribers' : await countSubscribers(key);
      return `${whom} will keep the lists of ${what} that they have now, however these change, until it is lifted; then they get the latest state, once. Reads go on.`;
    },
    run: (input) => order(body, input, `Pushes of ${what} are frozen.`),
  };
}

export function drainHost(host: string): Act {
  return {
    title: `Drain all instances on ${host}`,
    verb: 'Drain host',
    isDangerous: true,
    isOrder: true,
    field: { kind: 'over' },
    describeEffect: ({ overMs }) =>
      Promise.resolve(
        `Takes the weight of all instances that are registered with the host ${host}, of all services, down to 0 in ten steps over ${formatDuration(overMs)}, and then disables them; also those that come meanwhile.`,
      ),
    run: (input) => order({ kind: 'host-drain', host, overMs: input.overMs }, input, `${host} is being drained.`),
  };
}

export const holdGuard: Act = {
  title: 'Hold back all removals',
  verb: 'Hold',
  isDangerous: false,
  isOrder: true,
  describeEffect: () =>
    Promise.resolve(
      'Nothing that is lost leaves any list, however little it is, until this is lifted: subscribers may call instances that are gone.',
    ),
  run: (input) => order({ kind: 'guard-hold' }, input, 'All removals are held back.'),
};

export const switchGuardOff: Act = {
  title: 'Switch the loss guard off',
  verb: 'Switch off',
  isDangerous: true,
  isOrder: true,
  describeEffect: () =>
    Promise.resolve(
      'Whatever is lost leaves the lists of all subscribers when its grace is over, even if it is most of what there is.',
    ),
  run: (input) => order({ kind: 'guard-off' }, input, 'The loss guard is switched off.'),
};

export function removeInstance(key: string, id: string): Act {
  return {
    title: `Remove ${id} of ${nameOf(key)}`,
    verb: 'Remove',
    isDangerous: true,
    isOrder: false,
    describeEffect: async () => {
      const { claims } = await inspectService(key, { id });
      return `Takes ${id} from the lists of ${await countSubscribers(key)}, and from ${countOf(claims.length, 'claim')}. It comes back when one of its owners registers it again, as clients do that reconnect; there is no other undo. To keep it away, override it as disabled.`;
    },
    run: async () => {
      const { claims } = await callApi<RemovalResult>('/v1/instances/remove', {
        method: 'POST',
        body: { ...parseServiceKey(key), id },
      });
      return { message: `${id} has been taken from ${countOf(claims.length, 'session')}.` };
    },
  };
}
