import { highestOf } from '../../protocol/extremes.ts';
import type { Scenario } from '../scenario.ts';
import { enterPhase } from '../stage.ts';
import { addRss, churn, setUp, sum, verifyViews } from '../steps.ts';
import { populateServices } from './churns.ts';

export const slowConsumers: Scenario = {
  name: 'slow-consumers',
  summary: 'one service that everybody watches, first with readers that all read, then with some that have stopped',
  measures: 'what those who do not read cost the others and the server: latency, its memory, the kernel’s TCP buffers',
  sizes: {
    instances: { meaning: 'instances of the service', at: [10, 100, 100] },
    sessions: { at: [2, 10, 10] },
    subscribers: { meaning: 'subscribers of the service, each a session', at: [20, 400, 1000] },
    stopped: { at: [20, 5, 30] },
    rate: { meaning: 'changes a second', at: [40, 50, 1000] },
    seconds: { meaning: 'how long each half is measured', at: [1, 12, 60] },
    warmUp: { at: [0, 2, 10] },
    metadataBytes: { at: [150, 150, 150] },
  },
  populate: (sizes) => populateServices({ ...sizes, services: 1 }),
  async run(stage) {
    const { findings, fleet, sampler, sizes } = stage;
    await setUp(stage);
    const warm =
      sizes.warmUp === 0 ? 0 : await churn(stage, { phase: 'warm up', firstChange: 0, seconds: sizes.warmUp });
    const common = { seconds: sizes.seconds };
    const half = await churn(stage, {
      ...common,
      phase: 'all read',
      firstChange: warm,
      title: 'all read',
      suffix: 'AllRead',
    });
    addRss(stage, 'rssAllReadBytes', 'memory of the server while all read');
    const stopped = sum(await fleet.give('stall', { percent: sizes.stopped }), ({ readers }) => readers);
    const changes = await churn(stage, {
      ...common,
      phase: 'some stopped',
      firstChange: half,
      title: `${stopped} stopped`,
      suffix: '',
    });
    addRss(stage, 'rssBytes', 'memory of the server while some had stopped');
    const tcpOf = (phase: string): number =>
      highestOf(
        sampler.samples
          .filter((sample) => sample.phase === phase)
          .map(({ tcpMemoryBytes }) => tcpMemoryBytes ?? Number.NaN),
      );
    findings.addFigure(
      'tcpAllReadBytes',
      'TCP buffers of this machine at most, while all read',
      tcpOf('all read'),
      'B',
      'lower',
    );
    findings.addFigure(
      'tcpBytes',
      'TCP buffers of this machine at most, while some had stopped',
      tcpOf('some stopped'),
      'B',
      'lower',
    );
    const p99Of = (key: string): number =>
      findings.latencies.find((each) => each.key === key)?.latency.p99Ms ?? Number.NaN;
    findings.addFigure(
      'healthyP99Ratio',
      'last push to those who read, p99: some stopped / all read',
      p99Of('last') / p99Of('lastAllRead'),
      '×',
      'lower',
    );
    findings.check('some readers stopped', stopped > 0, `${stopped} of ${sizes.subscribers}`);
    enterPhase(stage, 'read again');
    await fleet.give('resume', null);
    const { closedReaders } = await verifyViews(stage, { changes, holds: 'all' });
    findings.addFigure(
      'closedReaders',
      'readers that had stopped and that the server closed',
      closedReaders,
      '',
      'neither',
    );
  },
};
