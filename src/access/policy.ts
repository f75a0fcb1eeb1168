import type { AccessAction, Policy, PolicyRule } from '../protocol/access.ts';
import { accessActions, adminPolicy } from '../protocol/access.ts';
import type { Failure } from '../protocol/errors.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import { exactly, Patterns, readPattern } from './patterns.ts';
import type { Extent } from './patterns.ts';

/** What somebody needs to be allowed: one action on something. What is asked for by a prefix is allowed only as a whole. */
export type Need =
  | {
      readonly action: Exclude<AccessAction, KeyAction>;
      readonly namespace: Extent;
      readonly group: Extent;
      readonly service: Extent;
    }
  | { readonly action: KeyAction; readonly key: Extent };

const keyActions = ['keys:read', 'keys:write', 'lock'] as const;

type KeyAction = (typeof keyActions)[number];

export function isKeyAction(action: AccessAction): action is KeyAction {
  return keyActions.some((each) => each === action);
}

const anything: Extent = { name: '', isPrefix: true };

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

/** About services. */
interface Rule {
  readonly isDenial: boolean;
  readonly namespaces: Patterns;
  readonly groups: Patterns;
  readonly services: Patterns;
}

/** All rules about keys that have the same effect. */
interface KeyRules {
  readonly allowed: Patterns;
  readonly denied: Patterns;
}

/** What one principal may do. */
export class Access {
  /** Changes when that does. */
  readonly text: string;
  readonly #rules: ReadonlyMap<AccessAction, readonly Rule[]>;
  readonly #keyRules: ReadonlyMap<KeyAction, KeyRules>;
  readonly #isOpen: boolean;

  /** `isOpen`: what no rule says anything of is allowed, save to operate and to administer. */
  constructor(rules: readonly PolicyRule[], isOpen: boolean) {
    const compiled = rules.map((rule) => compile(rule));
    const byAction = new Map<AccessAction, readonly Rule[]>();
    for (const action of accessActions)
      byAction.set(
        action,
        compiled.filter((_, i) => rules[i]!.actions.includes(action)),
      );
    this.text = JSON.stringify(rules);
    this.#rules = byAction;
    this.#keyRules = new Map(keyActions.map((action) => [action, compileKeys(rules, action)]));
    this.#isOpen = isOpen;
  }

  allows(need: Need): boolean {
    const { action } = need;
    let isAllowed = this.#isOpen && action !== 'operate' && action !== 'admin';
    if ('key' in need) {
      const { allowed, denied } = this.#keyRules.get(need.action)!;
      return !denied.meets(need.key) && (isAllowed || allowed.covers(need.key));
    }
    const { namespace, group, service } = need;
    for (const { isDenial, namespaces, groups, services } of this.#rules.get(action)!) {
      if (isDenial) {
        if (namespaces.meets(namespace) && groups.meets(group) && services.meets(service)) return false;
      } else isAllowed ||= namespaces.covers(namespace) && groups.covers(group) && services.covers(service);
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

/** All policies of a registry. */
export class Policies {
  readonly #byName: ReadonlyMap<string, Policy>;
  /** Names of policies, by principals that they name. */
  readonly #byPrincipal: Map<string, string[]> = new Map();
  readonly #byPrefix: { readonly prefix: string; readonly policy: string }[] = [];

  constructor(policies: readonly Policy[]) {
    this.#byName = new Map(policies.map((policy) => [policy.policy, policy]));
    for (const { policy, principals = [] } of policies) {
      for (const { name, isPrefix } of principals.map((principal) => readPattern(principal))) {
        if (isPrefix) this.#byPrefix.push({ prefix: name, policy });
        else if (!this.#byPrincipal.get(name)?.push(policy)) this.#byPrincipal.set(name, [policy]);
      }
    }
  }

  /** Names of the policies that apply to a principal, in order: those that its credentials name, and those that name it. Undefined ones allow nothing. */
  namesFor(principal: string, named: readonly string[]): readonly string[] {
    const applying = new Set(named.filter((name) => name === adminPolicy || this.#byName.has(name)));
    for (const policy of this.#byPrincipal.get(principal) ?? []) applying.add(policy);
    for (const { prefix, policy } of this.#byPrefix) if (principal.startsWith(prefix)) applying.add(policy);
    return [...applying].sort();
  }

  rulesFor(principal: string, named: readonly string[]): readonly PolicyRule[] {
    return this.namesFor(principal, named).flatMap((policy) => this.#byName.get(policy)?.rules ?? adminRules);
  }
}

const adminRules: readonly PolicyRule[] = [{ actions: accessActions }];

function compile({ effect, namespaces, groups, services }: PolicyRule): Rule {
  return {
    isDenial: effect === 'deny',
    namespaces: readPatterns(namespaces),
    groups: readPatterns(groups),
    services: readPatterns(services),
  };
}

function compileKeys(rules: readonly PolicyRule[], action: KeyAction): KeyRules {
  const concerned = rules.filter(({ actions }) => actions.includes(action));
  const read = (isDenial: boolean): Patterns =>
    new Patterns(
      concerned
        .filter(({ effect }) => (effect === 'deny') === isDenial)
        .flatMap(({ keys }) => keys?.map((pattern) => readPattern(pattern)) ?? [anything]),
    );
  return { allowed: read(false), denied: read(true) };
}

function readPatterns(patterns: readonly string[] | undefined): Patterns {
  return new Patterns(patterns?.map((pattern) => readPattern(pattern)) ?? [anything]);
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
