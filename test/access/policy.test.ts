import fc from 'fast-check';
import { expect, test } from 'vitest';

import {
  Access,
  beginning,
  exactly,
  needRegistry,
  needService,
  needServices,
  policiesFor,
} from '../../src/access/policy.ts';
import { accessActions } from '../../src/protocol/access.ts';
import type { Policy, PolicyRule } from '../../src/protocol/access.ts';

const serviceActions = ['read', 'register', 'subscribe', 'operate', 'admin'] as const;
const keyActions = ['keys:read', 'keys:write', 'lock'] as const;

/** Few names, so that rules meet. */
const name = fc.constantFrom('a', 'b', 'aa', 'ab', 'ba', 'aab');
const pattern = fc.oneof(
  name,
  name.map((each) => `${each}*`),
  fc.constant('*'),
);
const patterns = fc.option(fc.array(pattern, { minLength: 1, maxLength: 3 }), { nil: undefined });
const rule: fc.Arbitrary<PolicyRule> = fc
  .record({
    effect: fc.option(fc.constantFrom('allow' as const, 'deny' as const), { nil: undefined }),
    actions: fc.subarray([...accessActions], { minLength: 1 }),
    namespaces: patterns,
    groups: patterns,
    services: patterns,
    keys: patterns,
  })
  .map((fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never);
const rules = fc.array(rule, { maxLength: 5 });

function isNamed(names: readonly string[] | undefined, wanted: string): boolean {
  return names?.some((each) => (each.endsWith('*') ? wanted.startsWith(each.slice(0, -1)) : each === wanted)) ?? true;
}

/** What the rules say, word for word, of one service or one key. */
function isAllowed(
  list: readonly PolicyRule[],
  isOpen: boolean,
  action: (typeof accessActions)[number],
  of: { readonly service?: readonly [string, string, string]; readonly key?: string },
): boolean {
  const applying = list.filter(
    ({ actions, namespaces, groups, services, keys }) =>
      actions.includes(action) &&
      (of.key === undefined
        ? isNamed(namespaces, of.service![0]) && isNamed(groups, of.service![1]) && isNamed(services, of.service![2])
        : isNamed(keys, of.key)),
  );
  if (applying.some(({ effect }) => effect === 'deny')) return false;
  return applying.length > 0 || (isOpen && action !== 'operate' && action !== 'admin');
}

test('of one service, and of one key, rules allow what they say', () => {
  fc.assert(
    fc.property(rules, fc.boolean(), fc.tuple(name, name, name), (list, isOpen, service) => {
      const access = new Access(list, isOpen);
      for (const action of serviceActions) {
        const expected = isAllowed(list, isOpen, action, { service });
        expect([action, access.allows(needService(action, service.join('/')))]).toEqual([action, expected]);
      }
      for (const action of keyActions) {
        const expected = isAllowed(list, isOpen, action, { key: service[0] });
        expect([action, access.allows({ action, key: exactly(service[0]) })]).toEqual([action, expected]);
      }
    }),
    { numRuns: 2000 },
  );
});

test('what is allowed by a prefix is allowed of everything that begins so', () => {
  const prefix = fc.constantFrom('', 'a', 'b', 'aa', 'ab');
  fc.assert(
    fc.property(
      rules,
      fc.boolean(),
      prefix,
      fc.option(name, { nil: undefined }),
      fc.tuple(name, name, name),
      (list, isOpen, start, within, [namespace, group, rest]) => {
        const access = new Access(list, isOpen);
        if (access.allows(needServices('read', within, start))) {
          const service = [within ?? namespace, group, start + rest] as const;
          expect(isAllowed(list, isOpen, 'read', { service })).toBe(true);
        }
        if (access.allows({ action: 'keys:write', key: beginning(start) })) {
          expect(isAllowed(list, isOpen, 'keys:write', { key: start + rest })).toBe(true);
        }
        if (access.allows(needRegistry('operate'))) {
          expect(isAllowed(list, isOpen, 'operate', { service: [namespace, group, rest] })).toBe(true);
        }
      },
    ),
    { numRuns: 3000 },
  );
});

test.each([
  [[{ actions: ['read'], namespaces: ['shop'] }], 'shop', undefined, true],
  [[{ actions: ['read'], namespaces: ['shop'] }], undefined, undefined, false],
  [[{ actions: ['read'], services: ['orders*'] }], undefined, 'orders-', true],
  [[{ actions: ['read'], services: ['orders*'] }], undefined, 'order', false],
  [[{ actions: ['read'] }, { effect: 'deny', actions: ['read'], services: ['secret'] }], undefined, 'se', false],
  [[{ actions: ['read'] }, { effect: 'deny', actions: ['read'], services: ['secret'] }], undefined, 'sf', true],
] as const)('%j: services of %s that begin with %s may be listed: %s', (list, namespace, prefix, expected) => {
  expect(new Access(list, false).allows(needServices('read', namespace, prefix))).toBe(expected);
});

test('policies apply to those whose credentials name them, and to those that they name', () => {
  const all: Policy[] = [
    { policy: 'b', rules: [], principals: ['jwt:*'] },
    { policy: 'a', rules: [], principals: ['token:x', 'anonymous'] },
    { policy: 'c', rules: [] },
  ];
  const known = new Map(all.map((policy) => [policy.policy, policy]));
  expect(policiesFor(known, 'jwt:me', [])).toEqual(['b']);
  expect(policiesFor(known, 'token:x', ['c', 'gone'])).toEqual(['a', 'c']);
  expect(policiesFor(known, 'token:xy', ['admin'])).toEqual(['admin']);
  expect(policiesFor(known, 'anonymous', [])).toEqual(['a']);
});
