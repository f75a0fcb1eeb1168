import type { ServerResponse } from 'node:http';

import type { MainCalls } from '../../control/main-calls.ts';
import type { Actor } from '../../protocol/actor.ts';
import type { Failure } from '../../protocol/errors.ts';
import type { StreamAnswer } from './http-caller.ts';

type BackupCalls = Pick<MainCalls, 'beginBackup' | 'readBackup' | 'endBackup'>;

export interface BackupStreamOptions {
  readonly calls: BackupCalls;
  readonly actor: Actor;
  /** A caller that reads nothing for so long, in milliseconds, is cut off. */
  readonly idleTimeoutMs: number;
  readonly onIdle: () => void;
}

/** A backup, part by part: the next one is asked for when its caller has taken the last one. */
export async function streamBackup({
  calls,
  actor,
  idleTimeoutMs,
  onIdle,
}: BackupStreamOptions): Promise<StreamAnswer | Failure> {
  const first = await calls.beginBackup(actor);
  if ('code' in first) return first;
  const { backup, part } = first;
  const readNext = (): ReturnType<BackupCalls['readBackup']> => calls.readBackup(backup);
  return {
    headers: { 'Content-Type': 'application/octet-stream', 'Cache-Control': 'no-store' },
    begin: (response) => {
      response.once('close', () => {
        void calls.endBackup(backup);
      });
      const cutIfIdle = (): void => {
        onIdle();
        response.destroy();
      };
      void sendParts(response, part, { readNext, idleTimeoutMs, cutIfIdle });
    },
  };
}

interface Sending {
  readonly readNext: () => ReturnType<BackupCalls['readBackup']>;
  readonly idleTimeoutMs: number;
  readonly cutIfIdle: () => void;
}

async function sendParts(
  response: ServerResponse,
  first: Uint8Array | undefined,
  { readNext, idleTimeoutMs, cutIfIdle }: Sending,
): Promise<void> {
  let part = first;
  while (part !== undefined && !response.destroyed) {
    if (!response.write(part)) {
      const timer = setTimeout(cutIfIdle, idleTimeoutMs);
      await waitForRoom(response);
      clearTimeout(timer);
    }
    const next = response.destroyed ? undefined : await readNext();
    // It cannot be finished, and whoever reads it must not take it for a whole one.
    if (next !== undefined && 'code' in next) {
      response.destroy();
      return;
    }
    part = next?.part;
  }
  if (!response.destroyed) response.end();
}

/** Resolves once more can be sent, or nobody is there any more. */
function waitForRoom(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      response.off('drain', settle);
      response.off('close', settle);
      resolve();
    };
    response.on('drain', settle);
    response.on('close', settle);
  });
}
