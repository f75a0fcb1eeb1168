import { UsageError } from '../failures.ts';
import type { Population } from '../population.ts';
import type { Scenario } from '../scenario.ts';
import type { ResolvedSizes } from '../sizes.ts';
import type { Stage } from '../stage.ts';
import { addRss, churn, setUp, verifyViews } from '../steps.ts';

/** Scenarios that change instances on a schedule and watch how it reaches readers; they differ in their shape. */

/** A population where `instances` counts those of one service. */
export function populateServices(sizes: ResolvedSizes): Omit<Population, 'namespace' | 'seed'> {
  const { services, sessions, subscribers, instances, metadataBytes } = sizes;
  const readers = sizes.readers || subscribers;
  if (readers < subscribers)
    throw new UsageError(
      `--readers must be at least --subscribers (${subscribers}): a session subscribes a service once`,
    );
  if (readers > services * subscribers)
    throw new UsageError(`--readers must be at most services × subscribers (${services * subscribers})`);
  return {
    services,
    instances: services * instances,
    providers: Math.min(sessions, services * instances),
    subscribers,
    readers,
    metadataBytes,
  };
}

async function runChurn(stage: Stage): Promise<void> {
  const { warmUp, seconds } = stage.sizes;
  await setUp(stage);
  const warm = warmUp === 0 ? 0 : await churn(stage, { phase: 'warm up', firstChange: 0, seconds: warmUp });
  const changes = await churn(stage, { phase: 'churn', firstChange: warm, seconds, title: 'churn' });
  addRss(stage, 'rssBytes', 'memory of the server, resident');
  await verifyViews(stage, { changes, holds: 'all' });
}

export const hotService: Scenario = {
  name: 'hot-service',
  summary: 'one service that everybody watches changes at a fixed rate',
  measures: 'time until a change has reached the last of its subscribers; CPU and bytes of a push',
  sizes: {
    instances: { meaning: 'instances of the service', at: [10, 100, 20] },
    sessions: { at: [2, 10, 10] },
    subscribers: { meaning: 'subscribers of the service, each a session', at: [20, 1000, 1000] },
    rate: { meaning: 'changes a second', at: [20, 10, 10_000] },
    seconds: { at: [1, 15, 60] },
    warmUp: { at: [0, 3, 10] },
    metadataBytes: { at: [150, 150, 150] },
  },
  populate: (sizes) => populateServices({ ...sizes, services: 1 }),
  run: runChurn,
};

export const steadyChurn: Scenario = {
  name: 'steady-churn',
  summary: 'many services with a few subscribers each change at a fixed rate',
  measures: 'time until a change has reached the last of its subscribers; pushes for each second of CPU',
  sizes: {
    services: { at: [20, 1000, 10_000] },
    instances: { meaning: 'instances of each service', at: [3, 10, 10] },
    sessions: { at: [5, 100, 1000] },
    subscribers: { at: [3, 10, 10] },
    readers: { at: [6, 200, 1000] },
    rate: { meaning: 'changes a second', at: [50, 200, 1000] },
    seconds: { at: [1, 15, 60] },
    warmUp: { at: [0, 3, 10] },
    metadataBytes: { at: [150, 150, 150] },
  },
  populate: populateServices,
  run: runChurn,
};

export const manyServices: Scenario = {
  name: 'many-services',
  summary: 'very many small services change at a fixed rate',
  measures: 'memory, and whether latency stays what it is with few services',
  sizes: {
    services: { at: [100, 20_000, 100_000] },
    instances: { meaning: 'instances of each service', at: [2, 2, 2] },
    sessions: { at: [5, 200, 1000] },
    subscribers: { at: [2, 2, 2] },
    readers: { at: [5, 200, 1000] },
    rate: { meaning: 'changes a second', at: [50, 200, 1000] },
    seconds: { at: [1, 15, 60] },
    warmUp: { at: [0, 3, 10] },
    metadataBytes: { at: [150, 150, 150] },
  },
  populate: populateServices,
  run: runChurn,
};
