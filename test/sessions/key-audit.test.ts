import { expect, test } from 'vitest';

import { AuditState } from '../../src/audit/audit-state.ts';
import { HostAudit } from '../../src/audit/host-audit.ts';
import type { KeyOperation } from '../../src/keys/key-operations.ts';
import type { KeyRow } from '../../src/keys/key-row.ts';
import { KeyAudit } from '../../src/sessions/key-audit.ts';
import type { KeyAnswer } from '../../src/sessions/key-requests.ts';

const actor = { principal: 'anonymous', address: '::1' };
const secret = Buffer.from('a value that nobody may read').toString('base64');

class Bench {
  readonly state: AuditState = new AuditState();
  readonly keys: KeyAudit;
  #bodies: string[] = [];

  constructor() {
    const send = ({ bodies }: { readonly bodies: readonly string[] }): void => {
      this.#bodies.push(...bodies);
    };
    this.keys = new KeyAudit(new HostAudit({ state: this.state, hasKeys: true, readWallMs: () => 0, send }));
  }

  async read(): Promise<{ readonly target: unknown; readonly outcome: string }[]> {
    await Promise.resolve();
    const bodies = this.#bodies.splice(0);
    if (bodies.join('').includes(secret)) throw new Error('a line has a value');
    return bodies.map((body) => JSON.parse(`{${body}}`) as { target: unknown; outcome: string });
  }
}

const put = (key: string, rest: Partial<Extract<KeyOperation, { kind: 'put' }>> = {}): KeyOperation => ({
  kind: 'put',
  key,
  value: secret,
  flags: '0',
  ...rest,
});
const ephemeral = put('gone', { acquire: { onEnd: 'delete', lockDelayMs: 0 } });

function done(...rows: Partial<KeyRow>[]): KeyAnswer {
  return { kind: 'done', version: 9, rows: rows as KeyRow[] };
}

test('[AU1] a change of a key is noted by its name and version, with what became of its lock', async () => {
  const audited = new Bench();
  audited.keys.noteOperations('key.put', actor, [put('a')], done({}));
  audited.keys.noteOperations('key.put', actor, [put('b', { release: true })], done({}));
  audited.keys.noteOperations('key.delete', actor, [{ kind: 'delete', key: 'c' }], done({}));
  audited.keys.noteOperations('key.put', actor, [put('d')], {
    kind: 'refused',
    failure: { code: 'internal', message: 'it may have been carried out' },
  });
  audited.keys.noteOperations('key.put', actor, [put('e')], {
    kind: 'refused',
    failure: { code: 'busy', message: '' },
  });
  audited.keys.noteOperations('key.put', actor, [put('f')], { kind: 'unmet', version: 9, unmet: [] });
  expect((await audited.read()).map(({ target, outcome }) => [target, outcome])).toEqual([
    [{ key: 'a', version: 9 }, 'done'],
    [{ key: 'b', version: 9, lock: 'released' }, 'done'],
    [{ key: 'c', version: 9 }, 'done'],
    [{ key: 'd' }, 'unknown'],
  ]);
});

test('[AU1] a key that comes and goes with its session is not noted, unless it was there before', async () => {
  const bench = new Bench();
  bench.keys.noteOperations('key.put', actor, [ephemeral], done({ createVersion: 9, modifyVersion: 9 }));
  expect(await bench.read()).toEqual([]);
  bench.keys.noteOperations('key.put', actor, [ephemeral], done({ createVersion: 3, modifyVersion: 9 }));
  expect(await bench.read()).toHaveLength(1);
});

test('[AU1] of a transaction with long names the first keys are listed, and the rest counted', async () => {
  const bench = new Bench();
  const operations = Array.from({ length: 20 }, (_, i) => put(`${i}${'x'.repeat(500)}`));
  bench.keys.noteOperations('keys.transact', actor, operations, done(...operations.map(() => ({}))));
  const [line] = await bench.read();
  const { changes, more } = line!.target as { changes: object[]; more: number };
  expect(changes.length).toBeGreaterThan(3);
  expect(changes.length + more).toBe(20);
});

test('[AU5] while the log cannot be written, changes are refused, and what leaves no line is not', () => {
  const bench = new Bench();
  bench.state.setRefusing(true);
  expect(bench.keys.refuse([put('a')])).toMatchObject({ code: 'storage_unavailable' });
  expect(bench.keys.refuse([{ kind: 'delete', key: 'a' }])).toMatchObject({ code: 'storage_unavailable' });
  expect(bench.keys.refusal).toMatchObject({ code: 'storage_unavailable' });
  expect(bench.keys.refuse([{ kind: 'get', key: 'a' }])).toBeUndefined();
  expect(bench.keys.refuse([ephemeral])).toBeUndefined();
  bench.state.setRefusing(false);
  expect(bench.keys.refuse([put('a')])).toBeUndefined();
});
