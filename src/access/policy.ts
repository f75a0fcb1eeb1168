import type { AccessAction, Policy, PolicyRule } from '../protocol/access.ts';
import { adminPolicy } from '../protocol/access.ts';
import type { Failure } from '../protocol/errors.ts';
import { parseServiceKey } from '../protocol/service-key.ts';

/** A name, or all that begin with it. */
export interface Extent {
  readonly name: string;
  readonly isPrefix: boolean;
}

/** What somebody needs to be allowed: one action on something. What is asked for by a prefix is allowed only as a whole. */
export type Need =
  | {
      readonly action: Exclude<AccessAction, KeyAction>;
      readonly namespace: Extent;
      readonly group: Extent;
      readonly service: Extent;
    }
  | { readonly action: KeyAction; readonly key: Extent };

type KeyAction = 'keys:read' | 'keys:write' | 'lock';

const anything: Extent = { name: '', isPrefix: true };

export function exactly(name: string): Extent {
  return { name, isPrefix: false };
}

/** Without a prefix: all. */
export function beginning(prefix: string | undefined): Extent {
  return prefix === undefined ? anything : { name: prefix, isPrefix: true };
}

/** `key`: of a service. */
export function needService(action: Exclude<AccessAction, KeyAction>, key: string): Need {
  const { namespace, group, service } = parseServiceKey(key);
  return { action, namespace: exactly(namespace), group: exactly(group), service: exactly(service) };
}

/** Of the services that begin with a prefix, in a namespace or in all. */
export function needServices(
  action: Exclude<AccessAction, KeyAction>,
  namespace: string | undefined,
  prefix: string | undefined,
): Need {
  const within = namespace === undefined ? anything : exactly(namespace);
  return { action, namespace: within, group: anything, service: beginning(prefix) };
}

/** Of the whole registry. */
export function needRegistry(action: 'operate' | 'admin'): Need {
  return { action, namespace: anything, group: anything, service: anything };
}

interface Rule {
  readonly isDenial: boolean;
  readonly namespaces: readonly Extent[];
  readonly groups: readonly Extent[];
  readonly services: readonly Extent[];
  readonly keys: readonly Extent[];
}

/** What one principal may do. */
export class Access {
  /** Changes when that does. */
  readonly text: string;
  readonly #rules: ReadonlyMap<AccessAction, readonly Rule[]>;
  readonly #isOpen: boolean;

  /** `isOpen`: what no rule says anything of is allowed, save to operate and to administer. */
  constructor(rules: readonly PolicyRule[], isOpen: boolean) {
    const byAction = new Map<AccessAction, Rule[]>();
    for (const rule of rules) {
      const compiled = compile(rule);
      for (const action of new Set(rule.actions)) byAction.set(action, [...(byAction.get(action) ?? []), compiled]);
    }
    this.text = JSON.stringify(rules);
    this.#rules = byAction;
    this.#isOpen = isOpen;
  }

  allows(need: Need): boolean {
    const { action } = need;
    let isAllowed = this.#isOpen && action !== 'operate' && action !== 'admin';
    for (const rule of this.#rules.get(action) ?? []) {
      if (rule.isDenial) {
        if (concerns(rule, need, meets)) return false;
      } else isAllowed ||= concerns(rule, need, covers);
    }
    return isAllowed;
  }

  /** Why not all of it is allowed. It does not say whether there is such a thing. */
  refuse(needs: readonly Need[]): Failure | undefined {
    for (const need of needs) {
      if (!this.allows(need))
        return { code: 'forbidden', message: `no policy of the caller allows it to ${word(need)}` };
    }
    return undefined;
  }
}

/** The rules that apply to a principal: of policies that its credentials name, and of those that name it. Undefined ones allow nothing. */
export function rulesFor(
  policies: ReadonlyMap<string, Policy>,
  principal: string,
  named: readonly string[],
): readonly PolicyRule[] {
  return policiesFor(policies, principal, named).flatMap((policy) => policies.get(policy)?.rules ?? adminRules);
}

/** Names of the policies that apply, in order. */
export function policiesFor(
  policies: ReadonlyMap<string, Policy>,
  principal: string,
  named: readonly string[],
): readonly string[] {
  const applying = new Set(named.filter((name) => name === adminPolicy || policies.has(name)));
  for (const { policy, principals = [] } of policies.values()) {
    if (principals.some((pattern) => covers(readPattern(pattern), exactly(principal)))) applying.add(policy);
  }
  return [...applying].sort();
}

const adminRules: readonly PolicyRule[] = [
  { actions: ['read', 'register', 'subscribe', 'keys:read', 'keys:write', 'lock', 'operate', 'admin'] },
];

function compile({ effect, namespaces, groups, services, keys }: PolicyRule): Rule {
  return {
    isDenial: effect === 'deny',
    namespaces: readPatterns(namespaces),
    groups: readPatterns(groups),
    services: readPatterns(services),
    keys: readPatterns(keys),
  };
}

function readPatterns(patterns: readonly string[] | undefined): readonly Extent[] {
  return patterns === undefined ? [anything] : patterns.map((pattern) => readPattern(pattern));
}

function readPattern(pattern: string): Extent {
  return pattern.endsWith('*') ? { name: pattern.slice(0, -1), isPrefix: true } : exactly(pattern);
}

type Comparison = (pattern: Extent, wanted: Extent) => boolean;

function concerns({ namespaces, groups, services, keys }: Rule, need: Need, compare: Comparison): boolean {
  const some = (patterns: readonly Extent[], wanted: Extent): boolean =>
    patterns.some((pattern) => compare(pattern, wanted));
  if ('key' in need) return some(keys, need.key);
  return some(namespaces, need.namespace) && some(groups, need.group) && some(services, need.service);
}

/** Whether all that is wanted is within the pattern. */
function covers(pattern: Extent, wanted: Extent): boolean {
  if (pattern.isPrefix) return wanted.name.startsWith(pattern.name);
  return !wanted.isPrefix && wanted.name === pattern.name;
}

/** Whether something is within both. */
function meets(pattern: Extent, wanted: Extent): boolean {
  if (wanted.isPrefix && !pattern.isPrefix) return pattern.name.startsWith(wanted.name);
  if (wanted.isPrefix && wanted.name.startsWith(pattern.name)) return true;
  return wanted.isPrefix ? pattern.name.startsWith(wanted.name) : covers(pattern, wanted);
}

const verbs: Readonly<Record<AccessAction, string>> = {
  read: 'read',
  register: 'register instances of',
  subscribe: 'subscribe to',
  'keys:read': 'read',
  'keys:write': 'change',
  lock: 'hold',
  operate: 'operate',
  admin: 'administer',
};

function word(need: Need): string {
  const verb = verbs[need.action];
  if ('key' in need) return `${verb} ${need.key.isPrefix ? 'all keys there' : 'this key'}`;
  const { namespace, service } = need;
  if (!service.isPrefix) return `${verb} this service`;
  return namespace.isPrefix && service.name === '' ? `${verb} the whole registry` : `${verb} all services there`;
}
