import { expect, test } from 'vitest';

import { NameResolver } from '../../src/health/name-resolver.ts';
import { createDeferred } from '../../src/runtime/deferred.ts';

test('[HC4] a name that does not resolve is asked about once at a time, however often it is probed', async () => {
  const asked: string[] = [];
  let nowMs = 0;
  let answer = createDeferred<{ address: string }>();
  const names = new NameResolver({
    lookup: (host) => {
      asked.push(host);
      return answer.promise;
    },
    readMs: () => nowMs,
  });
  for (let i = 0; i < 3; i++) expect(await names.find('slow.example', 20)).toBeUndefined();
  expect(asked).toEqual(['slow.example']);
  // The answer comes after all, and is good for the next.
  answer.resolve({ address: '10.0.0.1' });
  await answer.promise;
  expect(await names.find('slow.example', 20)).toEqual({ address: '10.0.0.1', leftMs: 20 });
  nowMs = 60_000;
  answer = createDeferred<{ address: string }>();
  const late = names.find('slow.example', 1000);
  answer.resolve({ address: '10.0.0.2' });
  expect(await late).toMatchObject({ address: '10.0.0.2' });
  expect(asked).toHaveLength(2);
});

test('[HC4] a name that cannot be resolved is asked about again the next time', async () => {
  let asked = 0;
  const names = new NameResolver({
    lookup: (host) => {
      asked += 1;
      return Promise.reject(new Error(`no ${host}`));
    },
    readMs: () => 0,
  });
  for (let i = 0; i < 2; i++) await expect(names.find('a.example', 50)).rejects.toThrow('no a.example');
  expect(asked).toBe(2);
});

test('[HC4] names that are being resolved are bounded', async () => {
  let asked = 0;
  const names = new NameResolver({
    lookup: () => {
      asked += 1;
      return new Promise(() => undefined);
    },
    readMs: () => 0,
  });
  const findings = Array.from({ length: 10_001 }, async (_, i) => names.find(`n${i}.example`, 20));
  const outcomes = await Promise.allSettled(findings);
  expect(asked).toBe(10_000);
  expect(outcomes.at(-1)).toMatchObject({ reason: { message: 'too many names are being resolved' } });
});
