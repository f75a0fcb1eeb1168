import { setTimeout as sleep } from 'node:timers/promises';

import { percentile } from '../statistics.ts';
import { closeConnections, openConnections } from './connection.ts';
import type { Connection, Target } from './connection.ts';
import { buildTextFrame } from './frames.ts';
import { registerFirst, subscribeAll } from './push-load.ts';
import { buildInstance, buildRegisterText, checkResult, requestId } from './requests.ts';
import { UsageMeter } from './usage-meter.ts';
import type { LatencyMs, Outcome, Workload } from './workloads.ts';

type LatencyWorkload = Extract<Workload, { kind: 'latency' }>;

const revisionKey = Buffer.from('"revision":"');
const revisionDigits = 8;
const revisionFirst = 10_000_000;

function readRevision(bytes: Buffer, start: number, end: number): number {
  const at = bytes.indexOf(revisionKey, start) + revisionKey.length;
  const digits = bytes.toString('latin1', at, at + revisionDigits);
  const revision = Number(digits) - revisionFirst;
  if (at >= end || !Number.isInteger(revision)) throw new Error(`no revision in ${bytes.toString('utf8', start, end)}`);
  return revision;
}

function nameOf(service: number): string {
  return `hop-${1000 + service}`;
}

function buildFrame(service: number, revision: number): Buffer {
  return buildTextFrame(buildRegisterText(requestId(service), nameOf(service), buildInstance(service, revision)));
}

/** One service under way: when each of its revisions was written, and how many subscribers have yet to hear of it. */
class Published {
  readonly writtenAtMs: number[] = [];
  readonly awaited: number[] = [];

  write(subscribers: number): number {
    this.awaited.push(subscribers);
    return this.writtenAtMs.push(performance.now()) - 1;
  }
}

/**
 * Changes services by turns at a low, fixed rate, whatever comes back (open loop), and takes the time from writing a change to
 * reading its push. Publisher and subscribers are this one process, so one clock measures both ends. A change that reached a
 * subscriber only merged into a later one is counted with its own, earlier start.
 */
export async function runLatency(target: Target, workload: LatencyWorkload): Promise<Outcome> {
  const { services, subscribersPerService } = workload;
  const [publisher, ...subscribers] = await openConnections(target, 1 + services * subscribersPerService);
  if (publisher === undefined) throw new Error('no connection');
  const published = Array.from({ length: services }, () => new Published());
  for (const [service, { writtenAtMs, awaited }] of published.entries()) {
    await registerFirst(publisher, buildFrame(service, 0));
    writtenAtMs.push(Number.NaN);
    awaited.push(0);
  }
  await subscribeAll(subscribers, (index) => nameOf(index % services));

  const measure = new LatencyRecord();
  publisher.onText = checkResult;
  for (const [index, subscriber] of subscribers.entries()) listen(subscriber, published[index % services]!, measure);
  const publish = (service: number): void => {
    const of = published[service]!;
    const frame = buildFrame(service, of.writtenAtMs.length);
    of.write(subscribersPerService);
    publisher.send(frame);
  };
  await publishOnSchedule(workload.warmUpMs, workload, publish, () => {});
  await waitUntilHeard(published);
  measure.clear();
  const meter = new UsageMeter(target.pid);
  const changes = await publishOnSchedule(workload.measureMs, workload, publish, (lateMs) =>
    measure.lateness.push(lateMs),
  );
  const usage = meter.read();
  await waitUntilHeard(published);
  // The publisher last: nobody is left to be told that its instance goes.
  await closeConnections(subscribers);
  await closeConnections([publisher]);
  return { kind: 'latency', usage, changes, pushBytes: measure.pushBytes, ...measure.summarize() };
}

class LatencyRecord {
  each: number[] = [];
  last: number[] = [];
  lateness: number[] = [];
  pushBytes = 0;

  clear(): void {
    this.each = [];
    this.last = [];
    this.lateness = [];
  }

  summarize(): { each: LatencyMs; last: LatencyMs; lateness: LatencyMs } {
    return { each: summarize(this.each), last: summarize(this.last), lateness: summarize(this.lateness) };
  }
}

function listen(subscriber: Connection, { writtenAtMs, awaited }: Published, record: LatencyRecord): void {
  let newest = 0;
  subscriber.onText = (bytes, start, end) => {
    const nowMs = performance.now();
    const revision = readRevision(bytes, start, end);
    record.pushBytes = end - start;
    for (let r = newest + 1; r <= revision; r++) {
      const latencyMs = nowMs - writtenAtMs[r]!;
      awaited[r]! -= 1;
      record.each.push(latencyMs);
      if (awaited[r] === 0) record.last.push(latencyMs);
    }
    newest = revision;
  };
}

/** Publishes at fixed times for `durationMs`. A late timer does not shift those that follow. Returns how many it published. */
async function publishOnSchedule(
  durationMs: number,
  { intervalMs, services }: LatencyWorkload,
  publish: (service: number) => void,
  onPublished: (lateMs: number) => void,
): Promise<number> {
  const startMs = performance.now() + intervalMs;
  const count = Math.max(services, Math.floor(durationMs / intervalMs));
  for (let i = 0; i < count; i++) {
    const dueMs = startMs + i * intervalMs;
    await sleep(Math.max(0, dueMs - performance.now()));
    onPublished(performance.now() - dueMs);
    publish(i % services);
  }
  await sleep(intervalMs);
  return count;
}

async function waitUntilHeard(published: readonly Published[]): Promise<void> {
  while (published.some(({ awaited }) => awaited.some((subscribers) => subscribers > 0))) await sleep(5);
}

function summarize(samples: readonly number[]): LatencyMs {
  const sorted = samples.toSorted((a, b) => a - b);
  return {
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
    max: sorted.at(-1) ?? Number.NaN,
    samples: sorted.length,
  };
}
