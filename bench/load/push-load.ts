import { closeConnections, openConnections } from './connection.ts';
import type { Connection, Target } from './connection.ts';
import { buildTextFrame } from './frames.ts';
import { buildInstance, buildRegisterText, buildSubscribeFrame, checkResult, isAnswer, requestId } from './requests.ts';
import { UsageMeter } from './usage-meter.ts';
import type { Outcome, Usage, Workload } from './workloads.ts';

type PushWorkload = Extract<Workload, { kind: 'push' }>;

/** One of its own for each process that generates load. */
const service = `hot-${process.pid}`;

/** Subscribes each connection to its service and resolves when all have their first list. */
export async function subscribeAll(
  connections: readonly Connection[],
  serviceOf: (index: number) => string,
): Promise<void> {
  await Promise.all(
    connections.map(
      (connection, index) =>
        new Promise<void>((resolve) => {
          connection.onText = (bytes, start, end) => {
            checkResult(bytes, start, end);
            resolve();
          };
          connection.send(buildSubscribeFrame(requestId(index), serviceOf(index)));
        }),
    ),
  );
}

/** Changes one instance in a closed loop: the next change goes out when every subscriber has been told of the one before. */
export async function runPush(target: Target, workload: PushWorkload): Promise<Outcome> {
  const [publisher, ...subscribers] = await openConnections(target, workload.subscribers + 1);
  if (publisher === undefined) throw new Error('no connection');
  const frames = [0, 1].map((revision) =>
    buildTextFrame(buildRegisterText(requestId(0), service, buildInstance(0, revision))),
  );
  await registerFirst(publisher, frames[1]!);
  await subscribeAll(subscribers, () => service);

  const measured = await new Promise<{ usage: Usage; changes: number; pushBytes: number }>((resolve) => {
    const startedAtMs = performance.now();
    let meter: UsageMeter | undefined;
    let awaited = 0;
    let published = 0;
    let publishedBefore = 0;
    let pushBytes = 0;
    const publish = (): void => {
      awaited = subscribers.length + 1;
      publisher.send(frames[published % 2]!);
      published += 1;
    };
    // Only between two changes is it known how many pushes the CPU time so far has paid for.
    const step = (): void => {
      const elapsedMs = performance.now() - startedAtMs;
      if (meter === undefined && elapsedMs >= workload.warmUpMs) {
        meter = new UsageMeter(target.pid);
        publishedBefore = published;
      } else if (meter !== undefined && elapsedMs >= workload.warmUpMs + workload.measureMs) {
        resolve({ usage: meter.read(), changes: published - publishedBefore, pushBytes });
        return;
      }
      publish();
    };
    const settle = (): void => {
      awaited -= 1;
      if (awaited === 0) step();
    };
    publisher.onText = (bytes, start, end) => {
      checkResult(bytes, start, end);
      settle();
    };
    for (const subscriber of subscribers) {
      subscriber.onText = (bytes, start, end) => {
        if (isAnswer(bytes, start)) throw new Error('an answer came to somebody who asked nothing');
        pushBytes = end - start;
        settle();
      };
    }
    step();
  });
  // The publisher last: nobody is left to be told that its instance goes.
  await closeConnections(subscribers);
  await closeConnections([publisher]);
  return { kind: 'push', ...measured, pushes: measured.changes * subscribers.length };
}

/** Registers once and waits for the answer. */
export function registerFirst(publisher: Connection, frame: Buffer): Promise<void> {
  return new Promise((resolve) => {
    publisher.onText = (bytes, start, end) => {
      checkResult(bytes, start, end);
      resolve();
    };
    publisher.send(frame);
  });
}
