import { setTimeout as sleep } from 'node:timers/promises';

import { readRssBytes } from '../process-usage.ts';
import { closeConnections, openConnections } from './connection.ts';
import type { Connection, Target } from './connection.ts';
import { buildTextFrame } from './frames.ts';
import { buildInstance, buildRegisterText, checkResult, requestId } from './requests.ts';
import type { Outcome, Workload } from './workloads.ts';

type SessionWorkload = Extract<Workload, { kind: 'sessionMemory' }>;
type InstanceWorkload = Extract<Workload, { kind: 'instanceMemory' }>;

/** The slope of resident memory between two numbers of idle sessions: what the process itself takes cancels out. */
export async function runSessionMemory(target: Target, { from, to, settleMs }: SessionWorkload): Promise<Outcome> {
  const connections = await openConnections(target, from);
  await sleep(settleMs);
  const before = readRssBytes(target.pid);
  connections.push(...(await openConnections(target, to - from)));
  await sleep(settleMs);
  const rssBytes = readRssBytes(target.pid);
  await closeConnections(connections);
  return { kind: 'sessionMemory', bytesEach: (rssBytes - before) / (to - from), rssBytes };
}

/** The slope of resident memory between two numbers of instances, all held by the same sessions in the same services. */
export async function runInstanceMemory(target: Target, workload: InstanceWorkload): Promise<Outcome> {
  const { from, to, settleMs, services } = workload;
  const connections = await openConnections(target, workload.connections);
  await registerRange(connections, 0, from, services);
  await sleep(settleMs);
  const before = readRssBytes(target.pid);
  await registerRange(connections, from, to, services);
  await sleep(settleMs);
  const rssBytes = readRssBytes(target.pid);
  await closeConnections(connections);
  return { kind: 'instanceMemory', bytesEach: (rssBytes - before) / (to - from), rssBytes };
}

/** Requests that a connection sends before it waits. */
const windowSize = 32;

/** Which service the instance of a number is in. */
export function serviceName(index: number, services: number): string {
  return `fleet-${10_000 + (index % services)}`;
}

/** Registers instances `from` up to, not including, `to`, shared out among the connections. */
export async function registerRange(
  connections: readonly Connection[],
  from: number,
  to: number,
  services: number,
): Promise<void> {
  let next = from;
  const nextWindow = (): Buffer[] => {
    const frames: Buffer[] = [];
    for (; next < to && frames.length < windowSize; next++) {
      const text = buildRegisterText(requestId(next), serviceName(next, services), buildInstance(next, 0));
      frames.push(buildTextFrame(text));
    }
    return frames;
  };
  await Promise.all(connections.map((connection) => sendWindows(connection, nextWindow)));
}

function sendWindows(connection: Connection, nextWindow: () => Buffer[]): Promise<void> {
  return new Promise((resolve) => {
    let awaited = 0;
    const sendNext = (): void => {
      const frames = nextWindow();
      awaited = frames.length;
      if (awaited === 0) resolve();
      else connection.send(Buffer.concat(frames));
    };
    connection.onText = (bytes, start, end) => {
      checkResult(bytes, start, end);
      awaited -= 1;
      if (awaited === 0) sendNext();
    };
    sendNext();
  });
}
