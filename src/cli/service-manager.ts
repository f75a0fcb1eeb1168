import { spawn } from 'node:child_process';

/** Sends what it is given to the socket of `NOTIFY_SOCKET`. Node has no datagram sockets of Unix, and whoever has systemd has this. */
const notifier = 'systemd-notify';

/** How many pings a service manager wants that waits for `WATCHDOG_USEC` until it restarts the service. */
const pingsPerTimeout = 2;

/**
 * The service manager that started this process, if it wants to be told when it is ready, as systemd does for `Type=notify`: it is told of readiness, of the end, and,
 * with `WatchdogSec`, that the main thread turns.
 */
export class ServiceManager {
  readonly #watchdogMs: number | undefined;
  #watchdog: ReturnType<typeof setInterval> | undefined;
  #isGivenUp = false;

  private constructor(watchdogMs: number | undefined) {
    this.#watchdogMs = watchdogMs;
  }

  static find(environment: Readonly<Record<string, string | undefined>>): ServiceManager | undefined {
    const { NOTIFY_SOCKET: socket = '', WATCHDOG_USEC: micros = '', WATCHDOG_PID: pid } = environment;
    if (socket === '') return undefined;
    // It may be meant for a parent.
    const isOurs = pid === undefined || pid === String(process.pid);
    return new ServiceManager(isOurs && Number(micros) > 0 ? Number(micros) / 1000 : undefined);
  }

  ready(status: string): void {
    this.#notify('READY=1', `STATUS=${status}`);
    if (this.#watchdogMs === undefined) return;
    this.#watchdog = setInterval(() => {
      this.#notify('WATCHDOG=1');
    }, this.#watchdogMs / pingsPerTimeout);
    this.#watchdog.unref();
  }

  /** The watchdog is still told: a stop takes its time. */
  stopping(): void {
    this.#notify('STOPPING=1', 'STATUS=asking clients to reconnect');
  }

  #notify(...assignments: readonly string[]): void {
    if (this.#isGivenUp) return;
    const child = spawn(notifier, assignments, { stdio: 'ignore' });
    child.once('error', (error) => {
      this.#giveUp(error.message);
    });
    child.once('exit', (code) => {
      if (code !== 0 && code !== null) this.#giveUp(`${notifier} ended with ${code}`);
    });
    child.unref();
  }

  /** Said once, as the log says things: the service manager will say the rest. */
  #giveUp(why: string): void {
    if (this.#isGivenUp) return;
    this.#isGivenUp = true;
    clearInterval(this.#watchdog);
    const msg = 'cannot tell the service manager that the registry is ready';
    process.stderr.write(`${JSON.stringify({ level: 40, time: Date.now(), why, msg })}\n`);
  }
}
