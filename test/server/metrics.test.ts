import { spawnSync } from 'node:child_process';

import parsePrometheusTextFormat from 'parse-prometheus-text-format';
import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, expect, test } from 'vitest';

import { metricFamilies } from '../../src/metrics/metric-families.ts';
import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

let server: FaultyServer;
afterEach(() => server.stop());

interface ParsedLine {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value?: string;
}

interface ParsedFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly metrics: readonly ParsedLine[];
}

class Scrape {
  readonly text: string;
  readonly families: ReadonlyMap<string, ParsedFamily>;
  /** The same with histograms as the lines that they are written in: the parser loses the labels of histograms. */
  readonly #flat: ReadonlyMap<string, ParsedFamily>;

  constructor(text: string) {
    this.text = text;
    this.families = parse(text);
    this.#flat = parse(text.replaceAll(/^# TYPE \w+ histogram\n/gm, ''));
  }

  lines(name: string, labels: Readonly<Record<string, string>> = {}): readonly ParsedLine[] {
    const family = this.#flat.get(name);
    if (family === undefined) throw new Error(`there is no ${name}`);
    return family.metrics.filter((line) =>
      Object.entries(labels).every(([label, value]) => line.labels?.[label] === value),
    );
  }

  /** All lines that have these labels, added up; of histograms their counts. */
  sum(name: string, labels?: Readonly<Record<string, string>>): number {
    const isHistogram = this.families.get(name)?.type === 'HISTOGRAM';
    const lines = this.lines(isHistogram ? `${name}_count` : name, labels);
    return lines.reduce((total, { value }) => total + Number(value), 0);
  }
}

function parse(text: string): Map<string, ParsedFamily> {
  const families = new Map<string, ParsedFamily>();
  // Lines of a name that others come between are families of their own to the parser.
  for (const family of parsePrometheusTextFormat(text) as ParsedFamily[]) {
    const known = families.get(family.name);
    families.set(
      family.name,
      known === undefined ? family : { ...known, metrics: [...known.metrics, ...family.metrics] },
    );
  }
  return families;
}

function metricsUrl(): string {
  return `${server.address.httpUrl}/metrics`;
}

async function scrape(): Promise<Scrape> {
  const reply = await fetch(metricsUrl());
  expect([reply.status, reply.headers.get('content-type')]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
  return new Scrape(await reply.text());
}

async function scrapeUntil(accepts: (scraped: Scrape) => boolean): Promise<Scrape> {
  const deadlineMs = performance.now() + 15_000;
  for (;;) {
    const scraped = await scrape();
    if (accepts(scraped)) return scraped;
    if (performance.now() > deadlineMs) throw new Error(`not so in time:\n${scraped.text}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function register(client: RawClient, service: string, port: number): Promise<void> {
  await client.request('instance.register', { service, instance: { host: 'h', port } });
}

test('metrics agree with what was done', async () => {
  server = await startFaultyServer({ port: 0, ioThreads, partitions: 2, logLevel: 'silent' });
  const provider = await RawClient.open(server.address.url);
  const watchers = await Promise.all([1, 2, 3].map(() => RawClient.open(server.address.url)));
  const modes = ['delta', 'delta', 'snapshot'];
  await Promise.all(watchers.map((one, i) => one.request('service.subscribe', { service: 'pay', mode: modes[i] })));
  await register(provider, 'pay', 1);
  await Promise.all(watchers.map((watcher) => watcher.nextNotification()));
  await Promise.all(Array.from({ length: 20 }, (_, i) => register(provider, `other-${i}`, 1)));
  await expect(provider.request('instance.register', { service: '' })).rejects.toThrow();
  provider.send(new Uint8Array([1]), { binary: true });
  await provider.closed;

  // Threads write what they hold ten times a second.
  const scraped = await scrapeUntil((one) => one.sum('slotcast_partition_instances') === 21);
  const one = (name: string, labels?: Readonly<Record<string, string>>): number => scraped.sum(name, labels);
  // One for each thread that holds subscribers of the kind; which thread gets a connection is the transport's choice.
  const deltaPushes = one('slotcast_pushes_total', { kind: 'delta' });
  expect(deltaPushes).toBeGreaterThanOrEqual(1);
  expect(deltaPushes).toBeLessThanOrEqual(ioThreads > 0 ? 2 : 1);
  expect({
    opened: one('slotcast_sessions_opened_total'),
    connected: one('slotcast_sessions', { state: 'connected' }),
    registrations: one('slotcast_registrations'),
    deltas: one('slotcast_subscriptions', { kind: 'delta' }),
    snapshots: one('slotcast_subscriptions', { kind: 'snapshot' }),
    snapshotPushes: one('slotcast_pushes_total', { kind: 'snapshot' }),
    deltaFrames: one('slotcast_push_frames_total', { kind: 'delta' }),
    snapshotFrames: one('slotcast_push_frames_total', { kind: 'snapshot' }),
    published: one('slotcast_publish_duration_seconds'),
    changes: one('slotcast_push_changes'),
    registerRequests: one('slotcast_request_duration_seconds', { method: 'instance.register' }),
    subscribeRequests: one('slotcast_request_duration_seconds', { method: 'service.subscribe' }),
    refused: one('slotcast_requests_refused_total', { code: 'invalid_params' }),
    closed: one('slotcast_closes_total', { reason: 'binary_frame' }),
    slots: one('slotcast_partition_slots'),
    ready: one('slotcast_partition_ready'),
    services: one('slotcast_partition_services'),
  }).toEqual({
    opened: 4,
    connected: 3,
    registrations: 21,
    deltas: 2,
    snapshots: 1,
    snapshotPushes: 1,
    deltaFrames: 2,
    snapshotFrames: 1,
    published: deltaPushes + 1,
    changes: 1,
    // What is invalid has no method that could be timed.
    registerRequests: 21,
    subscribeRequests: 3,
    refused: 1,
    closed: 1,
    slots: 16_384,
    ready: 2,
    services: 21,
  });
  const published = one('slotcast_publish_duration_seconds_sum');
  expect(published).toBeGreaterThan(0);
  expect(published).toBeLessThan(10);
  const io = Array.from({ length: ioThreads }, (_, i) => `io-${i + 1}`);
  for (const thread of ['main', ...io, 'partition-0', 'partition-1']) {
    expect(one('slotcast_heap_used_bytes', { thread })).toBeGreaterThan(1_000_000);
    expect(one('slotcast_event_loop_delay_seconds', { thread })).toBeGreaterThan(0);
    expect(one('slotcast_event_loop_busy_seconds_total', { thread })).toBeGreaterThan(0);
  }
  for (const watcher of watchers) watcher.close();
});

test('changes that were merged count as one push of as many changes, as old as the oldest', async () => {
  server = await startFaultyServer({
    port: 0,
    ioThreads,
    partitions: 1,
    logLevel: 'silent',
    coalesceWindowMinMs: 300,
    coalesceWindowMaxMs: 300,
  });
  const client = await RawClient.open(server.address.url);
  await client.request('service.subscribe', { service: 'pay' });
  await register(client, 'pay', 1);
  await client.nextNotification();
  await Promise.all([2, 3, 4, 5, 6].map((port) => register(client, 'pay', port)));
  await client.nextNotification();
  const scraped = await scrapeUntil((one) => one.sum('slotcast_publish_duration_seconds') === 2);
  expect(scraped.sum('slotcast_push_changes')).toBe(2);
  expect(scraped.sum('slotcast_push_changes_sum')).toBe(6);
  client.close();
});

test('[RE1] a partition that died shows, and so does how long its slots were away', async () => {
  server = await startFaultyServer({ port: 0, ioThreads, partitions: 2, logLevel: 'silent' });
  const client = await RawClient.open(server.address.url);
  await Promise.all(Array.from({ length: 40 }, (_, i) => register(client, `service-${i}`, 1)));
  server.inflict(1, 'throw');
  const rebuilds = 'slotcast_partition_rebuild_duration_seconds';
  const scraped = await scrapeUntil((one) => one.sum(rebuilds) === 1);
  expect(scraped.sum('slotcast_partition_deaths_total', { partition: '1' })).toBe(1);
  expect(scraped.sum('slotcast_partition_deaths_total', { partition: '0' })).toBe(0);
  expect(scraped.sum('slotcast_slots_shut')).toBe(0);
  const after = await scrapeUntil((one) => one.sum('slotcast_partition_instances') === 40);
  expect(after.sum('slotcast_partition_ready')).toBe(2);
  await server.resize(3);
  const resized = await scrape();
  expect(resized.sum('slotcast_slots_moved_total')).toBe(resized.sum('slotcast_partition_slots', { partition: '2' }));
  expect(resized.sum('slotcast_partition_slots')).toBe(16_384);
  client.close();
});

test('[PU5] a partition that hangs still shows its last, and frozen slots while it is gone', async () => {
  server = await startFaultyServer({
    port: 0,
    ioThreads,
    partitions: 1,
    logLevel: 'silent',
    partitionHeartbeatTimeoutMs: 1000,
    // A machine that is short of time lets partitions that live seem to hang, too.
    partitionRestartsMax: 1000,
    partitionRestartBackoffMs: 500,
  });
  const client = await RawClient.open(server.address.url);
  await register(client, 'pay', 1);
  await scrapeUntil((one) => one.sum('slotcast_partition_instances') === 1);
  server.inflict(0, 'hang');
  const scraped = await scrapeUntil((one) => one.sum('slotcast_slots_shut') > 0);
  expect(scraped.sum('slotcast_slots_shut')).toBe(16_384);
  expect(scraped.sum('slotcast_partition_ready')).toBe(0);
  expect(scraped.sum('slotcast_partition_instances')).toBe(1);
  await scrapeUntil((one) => one.sum('slotcast_partition_ready') === 1);
  client.close();
});

test('[SE2] a guard that holds back shows', async () => {
  server = await startFaultyServer({
    port: 0,
    ioThreads,
    partitions: 1,
    logLevel: 'silent',
    disconnectGraceMs: 100,
    lossSessionsMin: 4,
  });
  const clients = await Promise.all([1, 2, 3, 4, 5].map(() => RawClient.open(server.address.url)));
  await Promise.all(clients.map((client, i) => register(client, `s-${i}`, 1)));
  for (const client of clients) client.terminate();
  const scraped = await scrapeUntil((one) => one.sum('slotcast_guard_held_instances') === 5);
  expect(scraped.sum('slotcast_guards_holding', { scope: 'registry' })).toBe(1);
  expect(scraped.sum('slotcast_guard_trips_total')).toBe(1);
  expect(scraped.sum('slotcast_sessions', { state: 'held' })).toBe(5);
  expect(scraped.sum('slotcast_sessions_broken_total')).toBe(5);
  expect(scraped.sum('slotcast_registrations')).toBe(5);
});

test('every family is told, documented, and named by convention, and none beside', async () => {
  server = await startFaultyServer({ port: 0, ioThreads, partitions: 1, logLevel: 'silent' });
  const scraped = await scrape();
  const { families } = scraped;
  expect([...families.keys()]).toEqual(metricFamilies.map(({ name }) => name));
  expect(metricFamilies.length).toBeLessThanOrEqual(90);
  for (const { name, type, labels } of metricFamilies) {
    expect(name).toMatch(/^(slotcast|process)_[a-z]+(_[a-z]+)*$/);
    expect(name.endsWith('_total'), `of ${name}`).toBe(type === 'counter');
    expect(name).not.toMatch(/_(ms|milliseconds|micros|kb|mb|percent)(_|$)/);
    expect(families.get(name)?.type).toBe(type.toUpperCase());
    // A bound appears when it is first met.
    if (name === 'slotcast_limits_met_total') continue;
    // There is none without TLS.
    if (name === 'slotcast_tls_certificate_expiry_seconds') continue;
    const lines = scraped.lines(type === 'histogram' ? `${name}_count` : name);
    expect(lines, `of ${name}`).not.toEqual([]);
    for (const line of lines) {
      expect(Object.keys(line.labels ?? {}), `of ${name}`).toEqual(labels);
    }
  }
});

test('histograms are cumulative, and end with everything', async () => {
  server = await startFaultyServer({ port: 0, ioThreads, partitions: 1, logLevel: 'silent' });
  const scraped = await scrapeUntil((one) => one.sum('slotcast_event_loop_delay_seconds') > 4);
  for (const { name, labels } of metricFamilies.filter(({ type }) => type === 'histogram')) {
    for (const line of scraped.lines(`${name}_count`)) {
      const own = Object.fromEntries(labels.map((label) => [label, line.labels?.[label] ?? '']));
      const buckets = scraped.lines(`${name}_bucket`, own).map(({ value }) => Number(value));
      expect(buckets, `of ${name}`).toEqual(buckets.toSorted((a, b) => a - b));
      expect(buckets.at(-1), `of ${name}`).toBe(Number(line.value));
      expect(scraped.lines(`${name}_bucket`, { ...own, le: '+Inf' }), `of ${name}`).toHaveLength(1);
    }
  }
});

const hasPromtool = spawnSync('promtool', ['--version']).error === undefined;

test.skipIf(!hasPromtool)("promtool (Debian's package prometheus) finds no fault", async () => {
  server = await startFaultyServer({ port: 0, ioThreads, partitions: 2, logLevel: 'silent' });
  const { text } = await scrape();
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
});

async function ask(path: string, method: string): Promise<unknown> {
  const reply = await fetch(`${metricsUrl()}${path}`, { method });
  return [reply.status, await reply.json()];
}

test('[WP3] what is no scrape gets the errors of the HTTP API', async () => {
  server = await startFaultyServer({ port: 0, ioThreads, partitions: 1, logLevel: 'silent' });
  expect(await ask('', 'POST')).toMatchObject([405, { error: { code: 'unknown_method' } }]);
  expect(await ask('', 'DELETE')).toMatchObject([405, { error: { code: 'unknown_method' } }]);
  expect(await ask('?name=x', 'GET')).toMatchObject([400, { error: { code: 'invalid_params' } }]);
  expect(await ask('?%ff', 'GET')).toMatchObject([400, { error: { code: 'parse_error' } }]);
  expect(await ask('/', 'GET')).toMatchObject([404, { error: { code: 'not_found' } }]);
});
