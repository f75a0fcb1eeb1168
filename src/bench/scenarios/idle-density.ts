import { UsageError } from '../failures.ts';
import { readSlabBytes, readTcpMemoryBytes } from '../kernel-memory.ts';
import type { Scenario } from '../scenario.ts';
import { enterPhase, readServerRss } from '../stage.ts';
import { addRss, churn, noteForeign, openSessions, registerAll, subscribeAll, sum, verifyViews } from '../steps.ts';

/** So that what connecting left behind is gone from the kernel's books. */
const calmMs = 1000;

export const idleDensity: Scenario = {
  name: 'idle-density',
  summary: 'many sessions with one subscription each do nothing',
  measures: 'memory of a session, in the server and in the kernel; CPU while nothing happens',
  sizes: {
    services: { meaning: 'services with one instance each, shared by the sessions', at: [10, 100, 1000] },
    readers: { meaning: 'idle sessions', at: [200, 5000, 18_000] },
    seconds: { meaning: 'how long nothing happens', at: [1, 15, 60] },
    metadataBytes: { at: [150, 150, 150] },
  },
  populate({ services, readers, metadataBytes }) {
    if (readers % services !== 0) throw new UsageError(`--readers must be a multiple of --services (${services})`);
    return { services, instances: services, providers: 1, subscribers: readers / services, readers, metadataBytes };
  },
  async run(stage) {
    const { findings, fleet, population, sampler, sizes } = stage;
    await openSessions(stage, 'providers');
    await registerAll(stage);
    enterPhase(stage, 'calm');
    await fleet.idle(calmMs);
    const [rss, slab, tcp] = [readServerRss(stage), readSlabBytes(), readTcpMemoryBytes()];
    await openSessions(stage, 'readers');
    await subscribeAll(stage);
    enterPhase(stage, 'calm');
    await fleet.idle(calmMs);
    const after = addRss(stage, 'rssBytes', 'memory of the server, resident');
    const [slabAfter, tcpAfter] = [readSlabBytes(), readTcpMemoryBytes()];
    if (rss !== undefined && after !== undefined)
      findings.addFigure(
        'userBytesPerSession',
        'memory of the server for a session',
        (after - rss) / population.readers,
        'B',
        'lower',
      );
    if (slab !== null && slabAfter !== null) {
      findings.addFigure(
        'kernelBytesPerSession',
        'kernel memory for a session, both ends, of the whole machine',
        (slabAfter - slab) / population.readers,
        'B',
        'lower',
      );
      findings.notes.push(
        'kernel memory is the growth of all slabs of the machine, with both ends of each connection if the load is on it too; whatever else ran is in it',
      );
    }
    if (tcp !== null && tcpAfter !== null)
      findings.addFigure(
        'tcpBytesPerSession',
        'TCP buffers for a session, both ends',
        (tcpAfter - tcp) / population.readers,
        'B',
        'lower',
      );
    enterPhase(stage, 'idle', true);
    const stop = sampler.meter();
    await fleet.idle(sizes.seconds * 1000);
    const usage = stop();
    noteForeign(stage, usage);
    if (usage.serverCpuMs !== undefined)
      findings.addFigure(
        'idleCpuPercent',
        'CPU of the server while nothing happens, of one core',
        (usage.serverCpuMs / usage.wallMs) * 100,
        '%',
        'lower',
      );
    enterPhase(stage, 'ask');
    const asked = await fleet.give('ask', null);
    const [answered, sessions] = [sum(asked, (each) => each.answered), sum(asked, (each) => each.sessions)];
    findings.check(
      'every session still gets answers',
      answered === sessions && sessions === population.readers + 1,
      `${answered} of ${population.readers + 1}`,
    );
    const seconds = 1;
    const changes = await churn(stage, {
      phase: 'one change each',
      rate: population.services / seconds,
      firstChange: 0,
      seconds,
    });
    await verifyViews(stage, { changes, holds: 'all' });
  },
};
