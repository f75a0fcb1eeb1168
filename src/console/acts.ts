import type { Stats } from '../protocol/http-results.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import type { Switch } from '../protocol/switches.ts';
import type { InstanceOverride } from '../protocol/types.ts';
import type { Act } from './act.ts';
import { callApi } from './api.ts';
import { countOf, formatDuration, nameOf } from './format.ts';
import { countSubscribers, inspectService, lift, order, setAgain } from './orders.ts';
import { refreshState } from './registry-state.ts';
import { describeOverride, describeSwitch } from './switch-text.ts';

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
