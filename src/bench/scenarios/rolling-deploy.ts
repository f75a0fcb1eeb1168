import { highestOf, lowestOf } from '../../protocol/extremes.ts';
import { UsageError } from '../failures.ts';
import type { Scenario } from '../scenario.ts';
import { enterPhase, soonMs } from '../stage.ts';
import {
  checkDelivered,
  checkRemovals,
  noteTrouble,
  openSessions,
  registerAll,
  reportHearing,
  subscribeAll,
  sum,
  verifyViews,
} from '../steps.ts';

const settleMs = 30_000;

/** Instances with an even number are there before the deploy, each replaced by its odd neighbour of the same session. */
export const rollingDeploy: Scenario = {
  name: 'rolling-deploy',
  summary: 'all instances of one service restart, batch after batch, while many watch it',
  measures:
    'time until the last subscriber knows that an instance left, and that its successor came; pushes and bytes that it takes',
  sizes: {
    instances: { meaning: 'instances of the service, each a session', at: [10, 300, 2000] },
    subscribers: { meaning: 'subscribers of the service, each a session', at: [10, 300, 2000] },
    batch: { at: [5, 30, 100] },
    batchEveryMs: { at: [200, 1000, 2000] },
    restartMs: { at: [50, 300, 500] },
    metadataBytes: { at: [150, 150, 150] },
  },
  populate({ instances, subscribers, batch, batchEveryMs, restartMs, metadataBytes }) {
    if (batch > instances) throw new UsageError(`--batch must be at most --instances (${instances})`);
    if (restartMs > 100 * batchEveryMs) throw new UsageError('--restart-ms is too long for --batch-every-ms');
    return {
      services: 1,
      instances: 2 * instances,
      providers: instances,
      subscribers,
      readers: subscribers,
      metadataBytes,
    };
  },
  async run(stage) {
    const { findings, fleet, population, sampler, sizes } = stage;
    const { batch, batchEveryMs, restartMs } = sizes;
    await openSessions(stage, 'providers');
    await registerAll(stage, { isHalf: true });
    await openSessions(stage, 'readers');
    await subscribeAll(stage);
    await verifyViews(stage, { changes: 0, holds: 'even' });
    enterPhase(stage, 'deploy', true);
    const startAtMs = soonMs();
    const stop = sampler.meter();
    const outcomes = await fleet.give('deploy', { batch, batchEveryMs, restartMs, startAtMs, settleMs });
    const usage = stop();
    sampler.sample();
    noteTrouble(stage, outcomes);
    const intendedAtMs = (instance: number): number =>
      startAtMs + Math.floor((instance >> 1) / batch) * batchEveryMs + (instance % 2 === 0 ? 0 : restartMs);
    const common = { outcomes, events: population.instances, intendedAtMs };
    reportHearing(stage, {
      ...common,
      usage,
      title: 'came',
      suffix: '',
      noun: 'connect and register',
      only: (event) => event % 2 === 1,
    });
    reportHearing(stage, {
      ...common,
      usage: undefined,
      title: 'left',
      suffix: 'Left',
      noun: 'close',
      only: (event) => event % 2 === 0,
    });
    const lastHeardMs = highestOf(outcomes.map(({ lastAtMs }) => lastAtMs.reduce((a, b) => (b > a ? b : a), 0)));
    findings.addFigure(
      'deployMs',
      'from the first close until all knew of all',
      lastHeardMs - startAtMs,
      'ms',
      'lower',
    );
    const readers = population.readers;
    findings.addFigure(
      'pushesPerReader',
      'pushes to each subscriber',
      sum(outcomes, ({ pushes }) => pushes) / readers,
      '',
      'lower',
    );
    findings.addFigure(
      'bytesPerReader',
      'bytes to each subscriber',
      sum(outcomes, ({ pushBytes }) => pushBytes) / readers,
      'B',
      'lower',
    );
    findings.addFigure(
      'countMin',
      'the shortest list that a subscriber held',
      lowestOf(outcomes.map(({ countMin }) => countMin)),
      'instances',
      'higher',
    );
    checkDelivered(stage, outcomes, 'every departure and arrival reached every reader');
    checkRemovals(stage, outcomes, 'no instance was seen to leave that had not');
    await verifyViews(stage, { changes: 0, holds: 'odd' });
  },
};
