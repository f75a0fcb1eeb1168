import type { Logger } from 'pino';

import type { ServerConfig } from '../config/config.ts';
import { HealthChecks } from '../control/health-checks.ts';
import type { PersistentServices } from '../control/persistent-services.ts';
import { CheckThread } from '../health/check-thread.ts';
import type { Counters } from '../runtime/counters.ts';
import { logCheck } from './server-lines.ts';

export interface HealthOptions {
  readonly config: ServerConfig;
  readonly counters: Counters;
  readonly log: Logger;
  readonly persistent: PersistentServices;
}

/** Checks of instances, and the thread that makes them. */
export function createHealth({ config, counters, log, persistent }: HealthOptions): {
  readonly checks: HealthChecks;
  readonly thread: CheckThread;
} {
  const thread: CheckThread = new CheckThread({
    settings: config,
    onReport: (report) => {
      checks.take(report);
    },
    onRestart: () => {
      checks.renew();
    },
    onDeath: (cause) => {
      counters.count('health_thread_died');
      log.error({ err: cause }, `the thread of checks died: ${cause.message}`);
    },
  });
  const checks = new HealthChecks({
    checksMax: config.checksMax,
    counters,
    persistent,
    tell: (message) => {
      thread.tell(message);
    },
    onEvent: (event) => {
      logCheck(log, event);
    },
    readWallMs: Date.now,
  });
  return { checks, thread };
}
