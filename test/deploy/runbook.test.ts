import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';

import { runCommand, RunningCommand } from '../support/command.ts';
import { findFreePort } from '../support/free-port.ts';
import { RawClient } from '../support/raw-client.ts';
import { root } from '../support/source-files.ts';

const looksMax = 8;

const runbook = readFileSync(`${root}docs/RUNBOOK.md`, 'utf8');
/** What stands under a heading. */
const sections = new Map(
  runbook
    .split(/^## /m)
    .slice(1)
    .map((text): [string, string] => [text.slice(0, text.indexOf('.')), text]),
);

/** What is seen of a registry in a bad night, which its section of the runbook says: a line of the log, a line of `doctor`, or a metric. */
interface Sign {
  readonly log?: string;
  readonly doctor?: string;
  readonly metric?: string;
}

/** A registry of one night. */
class Night {
  readonly section: string;
  readonly registry: RunningCommand;
  readonly server: string;
  readonly url: string;
  readonly http: string;

  private constructor(section: string, registry: RunningCommand, ports: readonly [number, number]) {
    this.section = sections.get(section) ?? '';
    this.registry = registry;
    this.server = `127.0.0.1:${ports[0]}`;
    this.url = `ws://${this.server}/v1/session`;
    this.http = `http://127.0.0.1:${ports[1]}`;
  }

  static async begin(section: number, settings: Readonly<Record<string, string | number>>): Promise<Night> {
    const ports = [await findFreePort(), await findFreePort()] as const;
    const all = { port: ports[0], 'http-port': ports[1], partitions: 1, ...settings };
    const flags = Object.entries(all).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const registry = new RunningCommand(
      ['start', ...('data-dir' in settings ? [] : ['--in-memory']), ...flags],
      {},
      { lifeMaxMs: 120_000 },
    );
    nights.push(registry);
    await registry.waitFor(/ listens on /);
    return new Night(String(section), registry, ports);
  }

  run(...args: string[]): ReturnType<typeof runCommand> {
    return runCommand([...args, '--server', this.server]);
  }

  doctor(): ReturnType<typeof runCommand> {
    return this.run('doctor');
  }
}

/** It is seen, and the runbook says so. */
async function expectSign(night: Night, { log, doctor, metric }: Sign): Promise<void> {
  if (log !== undefined) {
    expect(night.section).toContain(`\`${log}\``);
    await night.registry.waitForError(new RegExp(`"msg":"${log.replaceAll(/\bN\b/g, String.raw`\d+`)}`));
  }
  if (doctor !== undefined) {
    expect(night.section).toContain(`\`${doctor}\``);
    const pattern = new RegExp(doctor.replaceAll(/[()]/g, String.raw`\$&`).replaceAll(/\bN\b/g, String.raw`\d+`));
    // It comes about while it is looked for.
    let out = '';
    for (let look = 0; look < looksMax && !pattern.test(out); look++) ({ out } = await night.doctor());
    expect(out).toMatch(pattern);
  }
  if (metric !== undefined) {
    expect(night.section).toContain(`\`${metric}\``);
    const text = await (await fetch(`${night.http}/metrics`)).text();
    const [, value] = new RegExp(`^${metric.replace(/[{}]/g, String.raw`\$&`)}.* (\\S+)$`, 'm').exec(text) ?? [];
    expect([metric, Number(value) > 0]).toEqual([metric, true]);
  }
}

const nights: RunningCommand[] = [];
let folder: string;
const clients: RawClient[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slotcast-'));
  return () => {
    rmSync(folder, { recursive: true, force: true });
  };
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.terminate();
  for (const night of nights.splice(0)) {
    night.signal('SIGKILL');
    await night.exited;
  }
});

async function connect(url: string, service?: string, host = 'h', port = 1): Promise<RawClient> {
  const client = await RawClient.open(url);
  clients.push(client);
  if (service !== undefined) await client.request('instance.register', { service, instance: { host, port } });
  return client;
}

/** Registers one after the other, whether or not it is refused, until it is stopped. */
function keepRegistering(client: RawClient, make: (i: number) => object): () => Promise<void> {
  const over = new AbortController();
  const run = async (): Promise<void> => {
    for (let i = 1; !over.signal.aborted; i++)
      await client.request('instance.register', make(i)).catch(() => undefined);
  };
  const running = run();
  return async () => {
    over.abort();
    await running;
  };
}

interface Alerts {
  readonly groups: readonly { readonly rules: readonly { readonly annotations: { readonly runbook: string } }[] }[];
}

test('every alert leads to a section of the runbook', () => {
  const anchors = [...runbook.matchAll(/^## (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^a-z0-9 -]/g, '')
      .replaceAll(' ', '-'),
  );
  const { groups } = parse(readFileSync(`${root}deploy/prometheus/slotcast.rules.yml`, 'utf8')) as Alerts;
  const targets = groups.flatMap(({ rules }) => rules.map(({ annotations }) => annotations.runbook));
  expect(targets.length).toBeGreaterThan(10);
  expect(targets.filter((target) => !anchors.some((anchor) => target === `docs/RUNBOOK.md#${anchor}`))).toEqual([]);
});

test('1: a partition whose keys do not fit into its heap dies, and is rebuilt', async () => {
  const night = await Night.begin(1, {
    'partition-heap-max-mb': 48,
    // However often it dies: how often that is depends on when its heap is cleared.
    'partition-restarts-max': 1000,
  });
  const client = await connect(night.url);
  const value = Buffer.alloc(400_000, 1).toString('base64');
  const put = async (): Promise<void> => {
    for (let key = 0; key < 400; key++) await client.request('kv.put', { key: `k${key}`, value });
  };
  void put().catch(() => undefined);
  await expectSign(night, { log: 'partition N died' });
  await expectSign(night, { doctor: 'died since the start, and came back: partition N' });
  await expectSign(night, { log: 'partition rebuilt' });
});

test('2: a mass loss trips a guard, which can be released', async () => {
  const night = await Night.begin(2, { 'disconnect-grace-ms': 200, 'warm-up-ms': 0 });
  const lost = await Promise.all(Array.from({ length: 30 }, (_, i) => connect(night.url, `s${i % 3}`, 'h', i + 1)));
  for (const client of lost) client.terminate();
  await expectSign(night, {
    log: 'many connections of the whole registry broke at once: what they registered is held back from removal',
  });
  await expectSign(night, { doctor: 'N instances are held back from removal' });
  await expectSign(night, { metric: 'slotcast_guards_holding' });
  expect((await night.run('guard')).out).toContain('30 of 30 sessions are missing');
  await night.run('guard', 'release', '--all');
  expect((await night.run('guard')).out).toContain('holds nothing back');
});

test('3: a client that does not read is behind, and is closed', async () => {
  const night = await Night.begin(3, {
    'warm-up-ms': 0,
    'session-unconsumed-bytes-max': 65_536,
    'slow-consumer-timeout-ms': 10_000,
    'slow-consumer-bytes-max': 536_870_912,
    'heartbeat-timeout-ms': 12_000,
  });
  const slow = await connect(night.url);
  await slow.request('service.subscribe', { service: 'big' });
  const writer = await connect(night.url);
  slow.socket.pause();
  const metadata = { text: 'x'.repeat(2000) };
  const stopWriting = keepRegistering(writer, (i) => ({
    service: 'big',
    instance: { host: 'h', port: (i % 50) + 1, weight: i % 10_000, metadata },
  }));
  await expectSign(night, { doctor: 'N do not read what they are sent' });
  await expectSign(night, { log: 'closed the connection of a client' });
  await expectSign(night, { metric: 'slotcast_closes_total{reason="slow_consumer"}' });
  await stopWriting();
});

test('4: nothing is stored while there is no room, and what is registered goes on', async () => {
  const night = await Night.begin(4, {
    'store-bytes-max': 1_048_576,
    'data-dir': join(folder, 'full'),
    'warm-up-ms': 0,
  });
  const client = await connect(night.url, 'orders');
  const value = Buffer.alloc(300_000, 1).toString('base64');
  for (let key = 0; key < 8; key++) await client.request('kv.put', { key: `k${key}`, value }).catch(() => undefined);
  await expectSign(night, { log: 'nothing can be stored that must outlive the process' });
  // Small commits fit again.
  await expectSign(night, { doctor: 'N commits could not be stored since the start' });
  await expectSign(night, { metric: 'slotcast_store_failed_commits_total' });
  expect((await night.run('instances', 'orders')).status).toBe(0);
});

test('7: a service that changes all the time is merged, and seen in top', async () => {
  const night = await Night.begin(7, { 'warm-up-ms': 0 });
  const writer = await connect(night.url);
  const reader = await connect(night.url);
  await reader.request('service.subscribe', { service: 'hot' });
  const stopWriting = keepRegistering(writer, (i) => ({
    service: 'hot',
    instance: { host: 'h', port: 1, weight: i % 1000 },
  }));
  const { out } = await night.run('top', '--once', '--json');
  await stopWriting();
  const { requestsPerSecond, pushesPerSecond } = JSON.parse(out) as Record<string, number>;
  expect(pushesPerSecond).toBeGreaterThan(0);
  expect(requestsPerSecond! / pushesPerSecond!).toBeGreaterThan(2);
  await expectSign(night, { metric: 'slotcast_publish_duration_seconds_count' });
});

test('8: after a crash the lists of before are there, and clients are waited for', async () => {
  const settings = { 'data-dir': join(folder, 'restart'), 'warm-up-ms': 60_000 };
  const before = await Night.begin(8, settings);
  await connect(before.url, 'orders');
  // The journal lags.
  await new Promise((resolve) => {
    setTimeout(resolve, 1000);
  });
  before.registry.signal('SIGKILL');
  await before.registry.exited;
  const night = await Night.begin(8, settings);
  await expectSign(night, { log: 'began with what was registered before the start' });
  await expectSign(night, { doctor: 'clients of before the start are still coming back' });
  await expectSign(night, { doctor: 'N have no connection' });
  await expectSign(night, { metric: 'slotcast_warming' });
  expect((await night.run('instances', 'orders')).status).toBe(0);
});

test('9: a switch that was left on is seen, with who set it and how it is undone', async () => {
  const night = await Night.begin(9, { 'warm-up-ms': 0 });
  await connect(night.url, 'orders');
  await night.run('off', 'orders', '--by', 'ann', '--reason', 'bad release');
  expect((await night.run('instances', 'orders')).err).toBe('orders is switched off by an operator\n');
  await expectSign(night, { log: 'a switch was set' });
  await expectSign(night, { doctor: 'service-off of public/DEFAULT/orders by ann' });
  await expectSign(night, { metric: 'slotcast_switches{kind="service-off"}' });
  await night.run('on', 'orders');
  expect((await night.doctor()).out).toContain('none is in force');
});

test('10: memory for instances has a bound, which is met and told', async () => {
  const night = await Night.begin(10, { 'warm-up-ms': 0, 'instance-bytes-max': 1_048_576 });
  const client = await connect(night.url);
  const metadata = { text: 'x'.repeat(4000) };
  const stopWriting = keepRegistering(client, (i) => ({
    service: `s${i}`,
    instance: { host: 'h', port: 1, metadata },
  }));
  await expectSign(night, { log: 'a bound was met' });
  await expectSign(night, { doctor: 'met just now: instanceBytesMax' });
  await stopWriting();
});
