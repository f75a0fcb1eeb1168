import { countLongPauses } from '../long-pauses.ts';
import { countRegistered } from '../registry-count.ts';
import type { Scenario } from '../scenario.ts';
import { readServerRss } from '../stage.ts';
import { addRss, churn, openSessions, registerAll, subscribeAll, verifyViews } from '../steps.ts';
import { populateServices } from './churns.ts';

export const million: Scenario = {
  name: 'million',
  summary: 'as many instances as one machine may hold, and changes while it holds them',
  measures:
    'memory of it all and of an instance, long pauses for garbage collection, time until a change has reached the last of its subscribers meanwhile',
  sizes: {
    services: { at: [100, 10_000, 100_000] },
    instances: { meaning: 'instances of each service', at: [10, 10, 10] },
    sessions: { at: [20, 1000, 10_000] },
    subscribers: { at: [1, 1, 2] },
    readers: { at: [2, 100, 1000] },
    rate: { meaning: 'changes a second', at: [50, 200, 200] },
    seconds: { at: [1, 10, 60] },
    warmUp: { at: [0, 2, 10] },
    window: { at: [16, 16, 16] },
    metadataBytes: { at: [200, 200, 200] },
  },
  populate: populateServices,
  async run(stage) {
    const { findings, population, sizes } = stage;
    const pauses = await countLongPauses(stage.server.http);
    await openSessions(stage, 'providers');
    const before = readServerRss(stage);
    const { acks, tookMs } = await registerAll(stage);
    findings.addFigure('registrationsPerS', 'registrations a second', (acks * 1000) / tookMs, '/s', 'higher');
    const held = addRss(stage, 'rssHeldBytes', 'memory of the server when all have registered');
    if (held !== undefined && before !== undefined)
      findings.addFigure('bytesPerInstance', 'memory for an instance', (held - before) / acks, 'B', 'lower');
    const listed = await countRegistered(stage.server.http, population.namespace);
    findings.check(
      'the registry lists them all',
      listed.instances === population.instances,
      `${listed.instances} of ${population.instances}`,
    );
    await openSessions(stage, 'readers');
    await subscribeAll(stage);
    const warm =
      sizes.warmUp === 0 ? 0 : await churn(stage, { phase: 'warm up', firstChange: 0, seconds: sizes.warmUp });
    const changes = await churn(stage, { phase: 'churn', firstChange: warm, seconds: sizes.seconds, title: 'churn' });
    addRss(stage, 'rssBytes', 'memory of the server with subscribers, after changes');
    const { sockets, partitions } = await countLongPauses(stage.server.http);
    findings.addFigure(
      'gcOver20Ms',
      'garbage collections of over 20 ms, on threads with sessions',
      sockets - pauses.sockets,
      '',
      'lower',
    );
    findings.addFigure(
      'gcPartitionsOver50Ms',
      'garbage collections of over 50 ms, on partitions',
      partitions - pauses.partitions,
      '',
      'lower',
    );
    await verifyViews(stage, { changes, holds: 'all' });
  },
};
