/** `performance.now()` begins with the process; this counts from one moment for all processes of the machine (CLOCK_MONOTONIC). */
const [seconds, nanoseconds] = process.hrtime();
const offsetMs = seconds * 1000 + nanoseconds / 1e6 - performance.now();

export function nowMs(): number {
  return performance.now() + offsetMs;
}
