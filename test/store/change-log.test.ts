import fc from 'fast-check';
import { expect, test } from 'vitest';

import { ChangeLog } from '../../src/store/change-log.ts';

test('[PU1] what changed since a version is exactly what was appended after it', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 20 }),
      fc.array(fc.record({ step: fc.integer({ min: 1, max: 5 }), id: fc.constantFrom('a', 'b', 'c', 'd') }), {
        maxLength: 60,
      }),
      (entriesMax, steps) => {
        const log = new ChangeLog(100, entriesMax);
        const appended: { version: number; id: string }[] = [];
        let version = 100;
        for (const { step, id } of steps) {
          version += step;
          log.append(version, id);
          appended.push({ version, id });
        }
        const known = new Set([100, ...appended.map((entry) => entry.version)]);
        for (let since = 99; since <= version + 1; since++) {
          const changed = log.changedSince(since);
          if (changed === undefined) continue;
          expect(known).toContain(since);
          expect(changed).toEqual(new Set(appended.filter((entry) => entry.version > since).map((entry) => entry.id)));
        }
        // It reaches back at least half of what it may hold.
        const recent = appended.at(-Math.min(appended.length, Math.floor(entriesMax / 2)))?.version;
        if (recent !== undefined) expect(log.changedSince(recent)).toBeDefined();
      },
    ),
  );
});

test('[PU1] a number between two versions is no version: it may come from another registry', () => {
  const log = new ChangeLog(100, 10);
  log.append(110, 'a');
  log.append(120, 'b');
  expect(log.changedSince(115)).toBeUndefined();
  expect(log.changedSince(110)).toEqual(new Set(['b']));
});

test('[PU1] who holds the same list at a version of the life before is told what has changed since, as long as the log reaches back', () => {
  const log = new ChangeLog(100, 4, 50);
  expect(log.changedSince(50)).toEqual(new Set());
  expect(log.changedSince(51)).toBeUndefined();
  for (const [version, id] of [
    [101, 'a'],
    [102, 'b'],
    [103, 'c'],
    [104, 'd'],
  ] as const)
    log.append(version, id);
  expect(log.changedSince(50)).toEqual(new Set(['a', 'b', 'c', 'd']));
  log.append(105, 'e');
  expect(log.changedSince(50)).toBeUndefined();
  expect(log.changedSince(104)).toEqual(new Set(['e']));
});

test('[LI1] a full log forgets its older half and then answers only from what it still has', () => {
  const log = new ChangeLog(0, 4);
  for (const version of [1, 2, 3, 4, 5]) log.append(version, `i${version}`);
  expect(log.changedSince(0)).toBeUndefined();
  expect(log.changedSince(1)).toBeUndefined();
  expect(log.changedSince(2)).toEqual(new Set(['i3', 'i4', 'i5']));
});
