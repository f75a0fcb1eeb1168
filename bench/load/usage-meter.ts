import { readCpuTimes, readHostTimes } from '../process-usage.ts';
import type { CpuTimes } from '../process-usage.ts';
import type { Usage } from './workloads.ts';

/** Measures what the server, this process and everybody else use from now on. */
export class UsageMeter {
  readonly #pid: number;
  readonly #startedAtMs: number;
  readonly #server: CpuTimes;
  readonly #host: ReturnType<typeof readHostTimes>;
  readonly #load: NodeJS.CpuUsage;

  constructor(pid: number) {
    this.#pid = pid;
    this.#host = readHostTimes();
    this.#load = process.cpuUsage();
    this.#startedAtMs = performance.now();
    this.#server = readCpuTimes(pid);
  }

  read(): Usage {
    const server = readCpuTimes(this.#pid);
    const wallMs = performance.now() - this.#startedAtMs;
    const load = process.cpuUsage(this.#load);
    const host = readHostTimes();
    const serverCpuMs = server.totalMs - this.#server.totalMs;
    const loadCpuMs = (load.user + load.system) / 1000;
    const stealMs = host.stealMs - this.#host.stealMs;
    return {
      wallMs,
      serverCpuMs,
      serverMainCpuMs: server.mainMs - this.#server.mainMs,
      loadCpuMs,
      foreignCpuMs: Math.max(0, host.busyMs - this.#host.busyMs - stealMs - serverCpuMs - loadCpuMs),
      stealMs,
    };
  }
}
