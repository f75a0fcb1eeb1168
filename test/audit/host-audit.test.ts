import { expect, test } from 'vitest';

import { AuditState } from '../../src/audit/audit-state.ts';
import { HostAudit } from '../../src/audit/host-audit.ts';
import type { AuditBatch } from '../../src/audit/host-audit.ts';

const by = { actor: { principal: 'anonymous', address: '10.0.0.9', session: 's' } };

class Bench {
  readonly batches: AuditBatch[] = [];
  readonly state: AuditState = new AuditState();
  nowMs = 0;
  readonly audit: HostAudit;

  constructor(hasKeys = true) {
    this.audit = new HostAudit({
      state: this.state,
      hasKeys,
      readWallMs: () => this.nowMs,
      send: (batch) => this.batches.push(batch),
    });
  }

  put(key: string): void {
    this.audit.noteKeys({ ...by, what: 'key.put', target: { key }, outcome: 'done' });
  }

  /** Ends the turn. */
  async read(): Promise<string[]> {
    await Promise.resolve();
    return this.batches.splice(0).flatMap(({ bodies }) => bodies);
  }
}

test('[AU1] what is noted in one turn is one message, on its way before anybody who waits goes on', async () => {
  const bench = new Bench();
  bench.put('a');
  const isSentBefore = Promise.resolve().then(() => bench.batches.length);
  bench.put('b');
  expect(bench.batches).toHaveLength(0);
  expect(await isSentBefore).toBe(1);
  const [batch] = bench.batches;
  expect(batch?.bodies.map((body) => (JSON.parse(`{${body}}`) as { target: object }).target)).toEqual([
    { key: 'a' },
    { key: 'b' },
  ]);
  expect(JSON.parse(`{${batch?.bodies[0]}}`)).toMatchObject({
    who: 'anonymous',
    from: { address: '10.0.0.9', session: 's' },
  });
});

test('[AU1] without auditKeys no change of a key is noted, nor refused for the log', async () => {
  const bench = new Bench(false);
  bench.state.setRefusing(true);
  bench.put('a');
  expect(await bench.read()).toEqual([]);
  expect(bench.audit.keyRefusal).toBeUndefined();
  expect(new Bench().audit.keyRefusal).toBeUndefined();
});

test('[AU6] of each code ten refusals a second are noted, and others are counted', async () => {
  const bench = new Bench();
  for (let i = 0; i < 25; i++) bench.audit.noteRefusal('forbidden', by, 'GET /v1/switches');
  bench.audit.noteRefusal('quarantined', by, 'kv.put');
  bench.audit.noteRefusal('busy', by, 'kv.put');
  const first = await bench.read();
  expect(first.filter((body) => body.includes('"forbidden"'))).toHaveLength(10);
  expect(first).toHaveLength(11);
  bench.audit.tick();
  expect(await bench.read()).toEqual([]);
  bench.nowMs = 1000;
  bench.audit.tick();
  await Promise.resolve();
  expect(bench.batches[0]?.leftOut).toBe(15);
  const [told, ...more] = await bench.read();
  expect(JSON.parse(`{${told}}`)).toMatchObject({ who: 'server', target: { code: 'forbidden', leftOut: 15 } });
  expect(more).toEqual([]);
  bench.audit.noteRefusal('forbidden', by, undefined);
  expect(await bench.read()).toHaveLength(1);
});
