import { highestOf } from '../../protocol/extremes.ts';
import { UsageError } from '../failures.ts';
import { countRegistered } from '../registry-count.ts';
import type { Scenario } from '../scenario.ts';
import { enterPhase, soonMs } from '../stage.ts';
import { addAll, addRss, checkRemovals, noteForeign, noteTrouble, setUp, sum, verifyViews } from '../steps.ts';

const timeoutMs = 120_000;
/** Longer than the grace for broken connections, so that a removal that should not be is seen. */
const watchOnMs = 2000;

export const reconnectStorm: Scenario = {
  name: 'reconnect-storm',
  summary: 'all sessions that register break at once and come back, while steady witnesses watch',
  measures: 'time until everybody is back; instances that a witness saw leave, which must be none',
  sizes: {
    sessions: { at: [20, 1000, 10_000] },
    instances: { meaning: 'instances of each session', at: [5, 20, 50] },
    services: { at: [20, 1000, 5000] },
    subscribers: { meaning: 'witnesses of each service', at: [1, 1, 2] },
    readers: { meaning: 'sessions of witnesses; they stay connected', at: [2, 10, 50] },
    window: { at: [5, 5, 5] },
    jitterMs: { at: [0, 0, 0] },
    metadataBytes: { at: [150, 150, 150] },
  },
  populate({ sessions, instances, services, subscribers, readers, metadataBytes }) {
    if (readers < subscribers) throw new UsageError(`--readers must be at least --subscribers (${subscribers})`);
    return { services, instances: sessions * instances, providers: sessions, subscribers, readers, metadataBytes };
  },
  async run(stage) {
    const { findings, fleet, population, sampler, sizes } = stage;
    await setUp(stage);
    await verifyViews(stage, { changes: 0, holds: 'all' });
    addRss(stage, 'rssBeforeBytes', 'memory of the server before');
    enterPhase(stage, 'storm', true);
    const dropAtMs = soonMs();
    const stop = sampler.meter();
    const outcomes = await fleet.give('storm', { dropAtMs, jitterMs: sizes.jitterMs, window: sizes.window, timeoutMs });
    const usage = stop();
    sampler.sample();
    noteTrouble(stage, outcomes);
    noteForeign(stage, usage);
    const returned = sum(outcomes, (outcome) => outcome.returned);
    findings.addLatency(
      'back',
      'broken → all registrations of a session acknowledged again',
      addAll(outcomes.map(({ back }) => back)),
    );
    findings.addFigure(
      'convergenceMs',
      'from the loss until everybody was back',
      highestOf(outcomes.map(({ lastBackAtMs }) => lastBackAtMs)) - dropAtMs,
      'ms',
      'lower',
    );
    findings.addFigure(
      'refusals',
      'connects that the server refused',
      sum(outcomes, ({ refusals }) => refusals),
      '',
      'neither',
    );
    findings.addFigure(
      'witnessPushes',
      'pushes to witnesses',
      sum(outcomes, ({ pushes }) => pushes),
      '',
      'lower',
    );
    if (usage.serverCpuMs !== undefined)
      findings.addFigure('cpuMs', 'CPU of the server for the storm', usage.serverCpuMs, 'ms', 'lower');
    const rssMax = highestOf(sampler.samples.map(({ serverRssBytes }) => serverRssBytes ?? Number.NaN));
    findings.addFigure('rssMaxBytes', 'memory of the server at most', rssMax, 'B', 'lower');
    findings.check(
      'every session came back',
      returned === population.providers,
      `${returned} of ${population.providers}`,
    );
    enterPhase(stage, 'watch on');
    await fleet.idle(watchOnMs);
    const late = await fleet.give('tally', null);
    checkRemovals(stage, late, 'no witness saw an instance leave');
    await verifyViews(stage, { changes: 0, holds: 'all' });
    const listed = await countRegistered(stage.server.endpoint, population.namespace);
    findings.check(
      'the registry lists all of them',
      listed.instances === population.instances,
      `${listed.instances} of ${population.instances}`,
    );
  },
};
