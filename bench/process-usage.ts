/** Reading /proc is also what the suite for users does, so it ships with the package. */
export { cpuTickMs, readCpuTimes, readHostTimes, readRssBytes } from '../src/bench/process-usage.ts';
export type { CpuTimes } from '../src/bench/process-usage.ts';
