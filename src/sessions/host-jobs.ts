import { WorkQueue } from '../runtime/work-queue.ts';
import type { WorkQueueOptions } from '../runtime/work-queue.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** To send a session a frame, or to close it, costs as much as this many steps of other work. */
const stepsToTell = 4;

/** Notices to many sessions, and work that a small request can make large: as much per turn as there is time for. */
export class HostJobs {
  readonly #queue: WorkQueue;
  readonly #flush: () => void;

  /** `flush` sends the frames of a turn. */
  constructor(options: WorkQueueOptions, flush: () => void) {
    this.#queue = new WorkQueue(options);
    this.#flush = flush;
  }

  /** Does something with each session that is connected now; of many, in turns. Resolves when it is done with all. */
  async forEachConnected(sessions: Sessions, tell: (session: Session) => void): Promise<void> {
    const { connectedCount, lastArrival } = sessions;
    if (connectedCount === 0) return;
    const rest = sessions.all();
    await new Promise<void>((resolve) => {
      const job = {
        isDone: false,
        run: (steps: number): number => {
          let taken = 0;
          while (taken < steps) {
            const { value: session, done } = rest.next();
            // Who came later is not meant.
            job.isDone = done === true || session === undefined || session.arrival > lastArrival;
            if (job.isDone || session === undefined) break;
            taken += stepsToTell;
            if (session.state.kind === 'connected') tell(session);
          }
          this.#flush();
          if (job.isDone) resolve();
          return taken;
        },
      };
      this.#queue.add(job);
    });
  }

  /** Does what costs this many steps when its turn comes, which is now if there is time. */
  later(steps: number, work: () => void): void {
    const job = {
      isDone: false,
      run: (): number => {
        job.isDone = true;
        work();
        this.#flush();
        return steps;
      },
    };
    this.#queue.add(job);
  }
}
