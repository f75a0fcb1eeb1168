import fc from 'fast-check';
import { expect, test } from 'vitest';

import { exactly, Patterns } from '../../src/access/patterns.ts';
import type { Extent } from '../../src/access/patterns.ts';
import { Access, beginning, needRegistry, needService, needServices, Policies } from '../../src/access/policy.ts';
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
  const known = new Policies(all);
  expect(known.namesFor('jwt:me', [])).toEqual(['b']);
  expect(known.namesFor('token:x', ['c', 'gone'])).toEqual(['a', 'c']);
  expect(known.namesFor('token:xy', ['admin'])).toEqual(['admin']);
  expect(known.namesFor('anonymous', [])).toEqual(['a']);
});

function reaches(outer: Extent, inner: Extent): boolean {
  return outer.isPrefix ? inner.name.startsWith(outer.name) : !inner.isPrefix && inner.name === outer.name;
}

test('many patterns together say what each of them does', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', '/', '\u{1F600}', '\uffff'), maxLength: 4 });
  const extent = fc.record({ name: word, isPrefix: fc.boolean() });
  fc.assert(
    fc.property(fc.array(extent, { maxLength: 8 }), extent, (list, wanted) => {
      const patterns = new Patterns(list);
      expect(patterns.covers(wanted)).toBe(list.some((each) => reaches(each, wanted)));
      expect(patterns.meets(wanted)).toBe(list.some((each) => reaches(each, wanted) || reaches(wanted, each)));
    }),
    { numRuns: 5000 },
  );
});

test('how long a call is looked at hardly depends on how many patterns there are', () => {
  const keys = Array.from({ length: 10_000 }, (_, i) => `a/${i}/*`);
  const list: PolicyRule[] = Array.from({ length: 100 }, (_, i) => ({
    actions: ['keys:read'],
    keys: keys.slice(i * 100, i * 100 + 100),
  }));
  const access = new Access(list, false);
  const startedMs = performance.now();
  for (let i = 0; i < 20_000; i++) access.allows({ action: 'keys:read', key: exactly(`b/${i}`) });
  // One after the other it took more than ten times as long.
  expect(performance.now() - startedMs).toBeLessThan(400);
});
